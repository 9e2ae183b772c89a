//! A little traffic beside what another mode does, to see whether that makes messages wait.

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::consumer::{Acks, Consumer};
use crate::options::Target;
use crate::publisher::Publisher;
use crate::report::Phase;
use crate::ring::{Publishes, Ring};
use crate::sampler::Sampler;
use crate::sizes::Sizes;
use crate::topology::{declare_of, open_channel, subscribe};
use crate::workers::{Stopper, Workers};

/// Messages a second.
const RATE: f64 = 1000.0;

const SIZE: Sizes = Sizes::One(64);

/// See the module.
pub(super) struct Traffic {
    workers: Workers,
    tasks: JoinSet<Result<()>>,
    stopper: Stopper,
    target: Target,
}

impl Traffic {
    /// Starts it.
    pub(super) async fn start(target: &Target) -> Result<Traffic> {
        let workers = Workers::start(1)?;
        let stopper = Stopper::new();
        let mut tasks = JoinSet::new();
        let queue = format!("leveret-perf-{}-traffic", std::process::id());
        let (handle, meter) = workers.choose();
        let (uri, stop) = (target.uri.clone(), stopper.stop());
        let connecting = handle.spawn(async move {
            let mut clients = Vec::new();
            for _ in 0..2 {
                let mut client = Client::connect(&uri).await?;
                open_channel(&mut client).await?;
                clients.push(client);
            }
            anyhow::Ok((clients, queue))
        });
        let (mut clients, queue) = connecting.await??;
        let (mut from, mut to) = match (clients.pop(), clients.pop()) {
            (Some(from), Some(to)) => (from, to),
            _ => return Err(anyhow!("two connections were made")),
        };
        // It goes by itself when its consumer is gone.
        let mut arguments = wire::amqp091::table::FieldTable::new();
        arguments.set("x-expires", 60_000);
        let arguments = arguments.encode();
        let declare = declare_of(&queue, false, &arguments);
        to.call(1, &declare, crate::topology::DECLARE_OK).await?;
        subscribe(&mut to, &[&queue], 0, true, &[]).await?;
        let consumer = Consumer {
            link: to.into_link(),
            meter: meter.clone(),
            stop: stop.clone(),
            acks: Acks::Automatic,
            sample_every: 1,
        };
        let publishes = Publishes {
            exchange: String::new(),
            routing_keys: vec![queue],
            sizes: SIZE,
            persistent: false,
            mandatory: false,
            rings: 1,
        };
        let ring = Ring::new(&publishes, from.frame_bytes_max());
        from.flush().await?;
        let publisher = Publisher {
            link: from.into_link(),
            ring,
            meter,
            stop,
            count: None,
            confirms: None,
            rate: Some((RATE, 0.0)),
        };
        tasks.spawn_on(publisher.run(), handle);
        tasks.spawn_on(consumer.run(), handle);
        let target = Target {
            quiet: true,
            ..target.clone()
        };
        Ok(Traffic {
            workers,
            tasks,
            stopper,
            target,
        })
    }

    /// Ends it; how long its messages took.
    pub(super) async fn stop(mut self) -> Result<Phase> {
        self.stopper.say();
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| anyhow!("a task died: {error}"))??;
        }
        let sampler = Sampler::resume("traffic meanwhile", &self.workers, &self.target);
        let count = sampler.counts().delivered;
        Ok(sampler.finish("message", count, None))
    }
}
