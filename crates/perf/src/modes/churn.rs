//! Connection and channel churn: opened, closed, and again, each client one after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::amqp091::method::{ChannelClose, Method};

use super::thread_count;
use crate::client::Client;
use crate::meter::{Meter, add};
use crate::options::{ChurnOptions, Target};
use crate::pace::now_ns;
use crate::report::{Phase, Report};
use crate::sampler::Sampler;
use crate::topology::{CHANNEL_OPEN_OK, open_channel};
use crate::uri::Uri;
use crate::workers::{Stop, Stopper, Workers};

const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);

/// What is opened and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A connection and a channel in it.
    Connections,
    /// A channel of a connection that stays.
    Channels,
}

pub(super) async fn run(kind: Kind, options: ChurnOptions) -> Result<(Target, Report)> {
    let (mode, unit) = match kind {
        Kind::Connections => ("connections", "connection"),
        Kind::Channels => ("channels", "channel"),
    };
    let mut control = Client::connect(&options.target.uri).await?;
    let workers = Workers::start(thread_count(&options.target, options.clients))?;
    let phase = measure(kind, unit, &options, &workers).await?;
    let mut described = vec![("clients".to_owned(), options.clients.to_string())];
    described.extend(
        options
            .count
            .map(|count| ("count".to_owned(), count.to_string())),
    );
    let report = Report {
        mode,
        broker: std::mem::take(&mut control.product),
        options: described,
        phases: vec![phase],
    };
    control.close().await?;
    Ok((options.target, report))
}

async fn measure(
    kind: Kind,
    unit: &'static str,
    options: &ChurnOptions,
    workers: &Workers,
) -> Result<Phase> {
    let stopper = Stopper::new();
    let mut tasks = JoinSet::new();
    let mut sampler = Sampler::start("churn", workers, &options.target);
    for index in 0..options.clients.max(1) as u64 {
        let (handle, meter) = workers.choose();
        let clients = options.clients.max(1) as u64;
        let count = options
            .count
            .map(|count| count / clients + u64::from(index < count % clients));
        let churner = Churner {
            uri: options.target.uri.clone(),
            meter,
            stop: stopper.stop(),
            left: count.unwrap_or(u64::MAX),
        };
        match kind {
            Kind::Connections => tasks.spawn_on(churner.churn_connections(), handle),
            Kind::Channels => tasks.spawn_on(churner.churn_channels(), handle),
        };
    }
    let end = Instant::now() + Duration::from_secs_f64(options.duration);
    while !tasks.is_empty() {
        while let Some(ended) = tasks.try_join_next() {
            ended.map_err(|error| anyhow!("a task died: {error}"))??;
        }
        if options.count.is_none() && end <= Instant::now() {
            break;
        }
        sleep(LOOK_INTERVAL).await;
        sampler.sample_if_due();
    }
    let count = sampler.counts().operations;
    let phase = sampler.finish(unit, count, None);
    stopper.say();
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| anyhow!("a task died: {error}"))??;
    }
    Ok(phase)
}

/// One client.
struct Churner {
    uri: Uri,
    meter: Arc<Meter>,
    stop: Stop,
    left: u64,
}

impl Churner {
    async fn churn_connections(mut self) -> Result<()> {
        while self.goes_on() {
            let started_ns = now_ns();
            let mut client = Client::connect(&self.uri).await?;
            open_channel(&mut client).await?;
            client.close().await?;
            done(&self.meter, started_ns);
        }
        Ok(())
    }

    async fn churn_channels(mut self) -> Result<()> {
        let mut client = Client::connect(&self.uri).await?;
        let close = ChannelClose {
            reply_code: 200,
            reply_text: "bye",
            ..ChannelClose::default()
        };
        while self.goes_on() {
            let started_ns = now_ns();
            client
                .call(1, &Method::ChannelOpen, CHANNEL_OPEN_OK)
                .await?;
            client
                .call(1, &Method::ChannelClose(close), CHANNEL_CLOSE_OK)
                .await?;
            done(&self.meter, started_ns);
        }
        client.close().await
    }

    fn goes_on(&mut self) -> bool {
        let goes_on = 0 < self.left && !self.stop.is_said();
        self.left = self.left.saturating_sub(1);
        goes_on
    }
}

/// Counts an operation that began at `started_ns`.
pub(super) fn done(meter: &Meter, started_ns: u64) {
    add(&meter.operations, 1);
    let latency_ns = now_ns().saturating_sub(started_ns).max(1);
    meter.record(|latencies| latencies.main.saturating_record(latency_ns));
}
