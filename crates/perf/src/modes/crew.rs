//! The publishers and consumers of a load, from hiring to dismissal.
//!
//! They connect first, wait for the word, and work until they are done or told to stop. The first one that fails
//! ends the run.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::plan::{Plan, encoded};
use crate::client::Client;
use crate::consumer::{Acks, Consumer};
use crate::options::LoadOptions;
use crate::publisher::Publisher;
use crate::ring::Ring;
use crate::topology::{open_channel, select_confirms, subscribe};
use crate::workers::{Stopper, Workers};

/// Connections that are made at the same time.
const CONNECTING_MAX: usize = 64;

/// How long the crew may take to come to an end.
const DISMISSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Deliveries of which one has its latency recorded, when they come as fast as they can.
const SAMPLE_EVERY: u64 = 16;

/// When consumers subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscribe {
    /// Before anything starts.
    AtOnce,
    /// When the word is given.
    WhenTold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Publisher,
    Consumer,
}

/// See the module.
pub(super) struct Crew<'a> {
    options: &'a LoadOptions,
    plan: &'a Plan,
    workers: &'a Workers,
    tasks: JoinSet<Result<Role>>,
    /// Says when to begin.
    start: Stopper,
    stop: Stopper,
    publishers_left: usize,
}

impl<'a> Crew<'a> {
    pub(super) fn new(options: &'a LoadOptions, plan: &'a Plan, workers: &'a Workers) -> Crew<'a> {
        Crew {
            options,
            plan,
            workers,
            tasks: JoinSet::new(),
            start: Stopper::new(),
            stop: Stopper::new(),
            publishers_left: 0,
        }
    }

    /// Connects all publishers.
    pub(super) async fn hire_publishers(&mut self) -> Result<()> {
        let count = self.plan.publishers;
        let (ready, mut readies) = channel(count.max(1));
        for index in 0..count {
            if CONNECTING_MAX <= index {
                self.one_ready(&mut readies).await?;
            }
            self.hire_publisher(index, ready.clone());
        }
        self.publishers_left = count;
        drop(ready);
        while self.one_ready(&mut readies).await? {}
        Ok(())
    }

    /// Connects all consumers.
    pub(super) async fn hire_consumers(&mut self, when: Subscribe) -> Result<()> {
        let count = self.plan.consumers;
        let (ready, mut readies) = channel(count.max(1));
        for index in 0..count {
            if CONNECTING_MAX <= index {
                self.one_ready(&mut readies).await?;
            }
            self.hire_consumer(index, when, ready.clone());
        }
        drop(ready);
        while self.one_ready(&mut readies).await? {}
        Ok(())
    }

    /// Waits for one to be ready; `false` if all are.
    async fn one_ready(&mut self, readies: &mut tokio::sync::mpsc::Receiver<()>) -> Result<bool> {
        let ready = readies.recv().await.is_some();
        // One that failed does not become ready.
        self.check().await?;
        Ok(ready)
    }

    fn hire_publisher(&mut self, index: usize, ready: Sender<()>) {
        let (handle, meter) = self.workers.choose();
        let publishes = self.plan.publishes_of(index, self.options);
        let (uri, confirms) = (self.options.target.uri.clone(), self.options.confirms);
        let count = self.options.count.map(|count| {
            let publishers = self.plan.publishers as u64;
            count / publishers + u64::from((index as u64) < count % publishers)
        });
        let publishers = self.plan.publishers as f64;
        let rate = self.options.rate.map(|rate| {
            let phase = index as f64 / publishers;
            (rate / publishers, phase)
        });
        let (mut start, stop) = (self.start.stop(), self.stop.stop());
        let task = async move {
            let mut client = Client::connect(&uri).await?;
            open_channel(&mut client).await?;
            if confirms.is_some() {
                select_confirms(&mut client).await?;
            }
            let ring = Ring::new(&publishes, client.frame_bytes_max());
            let _ = ready.send(()).await;
            drop(ready);
            start.wait().await;
            let publisher = Publisher {
                link: client.into_link(),
                ring,
                meter,
                stop,
                count,
                confirms,
                rate,
            };
            publisher.run().await.context("publisher")?;
            Ok(Role::Publisher)
        };
        self.tasks.spawn_on(task, handle);
    }

    fn hire_consumer(&mut self, index: usize, when: Subscribe, ready: Sender<()>) {
        let (handle, meter) = self.workers.choose();
        let (queues, acks) = (self.plan.queues_of(index), self.plan.acks);
        let prefetch = self.plan.prefetch;
        let uri = self.options.target.uri.clone();
        let arguments = encoded(self.options.consumer_args.as_ref());
        // At a rate every delivery is recorded, for that is what a rate is for.
        let sample_every = match self.options.rate {
            Some(_) => 1,
            None => SAMPLE_EVERY,
        };
        let (mut start, stop) = (self.start.stop(), self.stop.stop());
        let task = async move {
            let mut client = Client::connect(&uri).await?;
            open_channel(&mut client).await?;
            let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
            let no_ack = acks == Acks::Automatic;
            // Nobody waits for one who has said that it is ready.
            if when == Subscribe::WhenTold {
                let _ = ready.send(()).await;
                drop(ready);
                start.wait().await;
                subscribe(&mut client, &queues, prefetch, no_ack, &arguments).await?;
            } else {
                subscribe(&mut client, &queues, prefetch, no_ack, &arguments).await?;
                let _ = ready.send(()).await;
                drop(ready);
            }
            let consumer = Consumer {
                link: client.into_link(),
                meter,
                stop,
                acks,
                sample_every,
            };
            consumer.run().await.context("consumer")?;
            Ok(Role::Consumer)
        };
        self.tasks.spawn_on(task, handle);
    }

    /// Gives the word.
    pub(super) fn go(&self) {
        self.start.say();
    }

    /// Whether every publisher has published and seen its confirms.
    pub(super) fn publishers_done(&self) -> bool {
        self.publishers_left == 0
    }

    /// Looks after those who came to an end.
    ///
    /// # Errors
    /// If one of them failed.
    pub(super) async fn check(&mut self) -> Result<()> {
        while let Some(ended) = self.tasks.try_join_next() {
            match ended.map_err(|error| anyhow!("a task died: {error}"))?? {
                Role::Publisher => self.publishers_left -= 1,
                Role::Consumer => {}
            }
        }
        Ok(())
    }

    /// Tells all to stop and waits for them.
    pub(super) async fn dismiss(mut self) -> Result<()> {
        self.stop.say();
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.map_err(|error| anyhow!("a task died: {error}"))??;
            }
            Ok(())
        };
        timeout(DISMISSAL_TIMEOUT, all)
            .await
            .context("some connections did not come to an end")?
    }
}
