//! Round trips: clients ask through a queue and are answered through `amq.rabbitmq.reply-to`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::amqp091::frame::{
    FrameKind, decode_content_header, decode_frame, encode_body, encode_content_header,
    encode_method,
};
use wire::amqp091::method::{BasicPublish, Method};
use wire::amqp091::properties::{Properties, PropertiesBuf};

use super::churn::done;
use super::thread_count;
use crate::client::Client;
use crate::link::Link;
use crate::meter::Meter;
use crate::options::{RpcOptions, Target};
use crate::pace::now_ns;
use crate::publisher::refuse;
use crate::report::{Phase, Report};
use crate::sampler::Sampler;
use crate::scan::{Scanner, Sink};
use crate::topology::{DECLARE_OK, DELETE_OK, declare_of, delete_of, open_channel, subscribe};
use crate::workers::{Stop, Stopper, Workers};

/// RabbitMQ's name for answers without a queue.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) async fn run(options: RpcOptions) -> Result<(Target, Report)> {
    let connections = options.clients + options.servers;
    let workers = Workers::start(thread_count(&options.target, connections))?;
    let mut control = Client::connect(&options.target.uri).await?;
    open_channel(&mut control).await?;
    let queue = format!("leveret-perf-{}-rpc", std::process::id());
    let declare = declare_of(&queue, false, &[]);
    control.call(1, &declare, DECLARE_OK).await?;
    let phase = measure(&options, &queue, &workers).await;
    control.call(1, &delete_of(&queue), DELETE_OK).await?;
    let report = Report {
        mode: "rpc",
        broker: control.product.clone(),
        options: vec![
            ("clients".into(), options.clients.to_string()),
            ("servers".into(), options.servers.to_string()),
            ("size".into(), options.size.to_string()),
        ],
        phases: vec![phase?],
    };
    control.close().await?;
    Ok((options.target, report))
}

async fn measure(options: &RpcOptions, queue: &str, workers: &Workers) -> Result<Phase> {
    let stopper = Stopper::new();
    let mut tasks = JoinSet::new();
    let body = vec![b'x'; options.size.draw(0) as usize];
    for index in 0..options.servers + options.clients {
        let (handle, meter) = workers.choose();
        let (uri, source) = (options.target.uri.clone(), queue.to_owned());
        let serves = index < options.servers;
        let connecting = handle.spawn(async move {
            let mut client = Client::connect(&uri).await?;
            open_channel(&mut client).await?;
            let source = if serves { source.as_str() } else { REPLY_TO };
            subscribe(&mut client, &[source], 0, true, &[]).await?;
            anyhow::Ok(client)
        });
        let client = connecting.await??;
        let end = End {
            frame_bytes_max: client.frame_bytes_max(),
            link: client.into_link(),
            meter,
            stop: stopper.stop(),
            body: body.clone(),
        };
        match serves {
            true => tasks.spawn_on(end.serve(), handle),
            false => tasks.spawn_on(end.ask(queue.to_owned()), handle),
        };
    }
    hold(options.warm_up, &mut tasks, None).await?;
    let mut sampler = Sampler::start("round trips", workers, &options.target);
    hold(options.duration, &mut tasks, Some(&mut sampler)).await?;
    let count = sampler.counts().operations;
    let phase = sampler.finish("round trip", count, None);
    stopper.say();
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| anyhow!("a task died: {error}"))??;
    }
    Ok(phase)
}

async fn hold(
    seconds: f64,
    tasks: &mut JoinSet<Result<()>>,
    mut sampler: Option<&mut Sampler<'_>>,
) -> Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        while let Some(ended) = tasks.try_join_next() {
            ended.map_err(|error| anyhow!("a task died: {error}"))??;
        }
        sleep(left.min(LOOK_INTERVAL)).await;
        if let Some(sampler) = &mut sampler {
            sampler.sample_if_due();
        }
    }
    Ok(())
}

/// One who asks, or one who answers.
struct End {
    link: Link,
    meter: Arc<Meter>,
    stop: Stop,
    body: Vec<u8>,
    frame_bytes_max: u32,
}

#[derive(Default)]
struct Answers(u64);

impl Sink for Answers {
    fn delivered(&mut self, _delivery_tag: u64, _stamp: u64) {
        self.0 += 1;
    }

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        refuse(&method)
    }
}

impl End {
    async fn ask(mut self, queue: String) -> Result<()> {
        let properties = PropertiesBuf {
            reply_to: Some(REPLY_TO.into()),
            correlation_id: Some("1".into()),
            ..PropertiesBuf::default()
        };
        let mut request = Vec::new();
        self.encode(&mut request, &queue, &properties.encode());
        let mut scanner = Scanner::default();
        let mut answers = Answers::default();
        let mut asked = 0;
        while !self.stop.is_said() {
            let started_ns = now_ns();
            self.write(&request).await?;
            asked += 1;
            while answers.0 < asked {
                if !self.read().await? {
                    return Ok(());
                }
                let used = scanner.scan(self.link.unread(), &mut answers)?;
                self.link.use_up(used);
            }
            done(&self.meter, started_ns);
        }
        Ok(())
    }

    async fn serve(mut self) -> Result<()> {
        let mut output = Vec::new();
        let mut reply_to = String::new();
        let mut missing = 0;
        loop {
            let mut used = 0;
            while let Some((frame, bytes)) = decode_frame(&self.link.unread()[used..], 0)? {
                used += bytes;
                match frame.kind {
                    FrameKind::Method => {
                        refuse(&Method::decode(frame.payload)?)?;
                        continue;
                    }
                    FrameKind::Header => {
                        let header = decode_content_header(frame.payload)?;
                        let properties = Properties::validate(header.properties)?;
                        reply_to = properties.reply_to().unwrap_or_default().to_owned();
                        missing = header.body_bytes;
                    }
                    FrameKind::Body => missing -= frame.payload.len() as u64,
                    FrameKind::Heartbeat => continue,
                }
                if missing == 0 {
                    let properties = PropertiesBuf::default().encode();
                    self.encode(&mut output, &reply_to, &properties);
                }
            }
            self.link.use_up(used);
            self.write(&output).await?;
            output.clear();
            if !self.read().await? {
                return Ok(());
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>, routing_key: &str, properties: &[u8]) {
        let publish = BasicPublish {
            exchange: "",
            routing_key,
            ..BasicPublish::default()
        };
        encode_method(out, 1, &Method::BasicPublish(publish));
        encode_content_header(out, 1, 60, self.body.len() as u64, properties);
        encode_body(out, 1, &self.body, self.frame_bytes_max);
    }

    async fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            written += self.link.try_write(&bytes[written..])?;
            if written < bytes.len() {
                self.link.socket.writable().await?;
            }
        }
        Ok(())
    }

    /// Waits for more; `false` when it is time to stop.
    async fn read(&mut self) -> Result<bool> {
        while !self.link.try_read()? {
            tokio::select! {
                ready = self.link.ready(false) => ready?,
                () = self.stop.wait() => return Ok(false),
            }
        }
        Ok(true)
    }
}
