//! Throughput, latency, fan-out: publishers and consumers at the same time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use super::crew::{Crew, Subscribe};
use super::plan::Plan;
use super::thread_count;
use crate::client::Client;
use crate::meter::Counts;
use crate::options::{LoadOptions, Target};
use crate::pace::now_ns;
use crate::report::{Phase, Report};
use crate::sampler::Sampler;
use crate::topology::open_channel;
use crate::workers::Workers;

/// How often it is looked whether a run is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// With a count: silence of so long means that no more is coming.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The three modes differ in their defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Throughput,
    Latency,
    FanOut,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Throughput => "throughput",
            Kind::Latency => "latency",
            Kind::FanOut => "fan-out",
        }
    }

    fn fill_in(self, options: &mut LoadOptions) {
        match self {
            Kind::Throughput => {}
            Kind::Latency => {
                options.rate.get_or_insert(20_000.0);
                options.ack_every.get_or_insert(1);
            }
            Kind::FanOut => {
                let queues = *options.queues.get_or_insert(10);
                options.consumers.get_or_insert(queues);
                options.exchange_type.get_or_insert("fanout".into());
            }
        }
    }
}

pub(super) async fn run(kind: Kind, mut options: LoadOptions) -> Result<(Target, Report)> {
    kind.fill_in(&mut options);
    let plan = Plan::new(&options)?;
    let connections = plan.publishers + plan.consumers;
    let workers = Workers::start(thread_count(&options.target, connections))?;
    let mut control = Client::connect(&options.target.uri).await?;
    open_channel(&mut control).await?;
    plan.topology.declare(&mut control).await?;
    let measured = measure(&options, &plan, &workers).await;
    if !options.keep {
        plan.topology.delete(&mut control).await?;
    }
    let report = Report {
        mode: kind.name(),
        broker: control.product.clone(),
        options: plan.describe(&options),
        phases: vec![measured?],
    };
    control.close().await?;
    Ok((options.target, report))
}

async fn measure(options: &LoadOptions, plan: &Plan, workers: &Workers) -> Result<Phase> {
    // What is counted to the last message is counted from the first: queues that exist may have some waiting.
    let counting = options
        .count
        .map(|_| Sampler::start("run", workers, &options.target));
    let mut crew = Crew::new(options, plan, workers);
    crew.hire_consumers(Subscribe::AtOnce).await?;
    crew.hire_publishers().await?;
    crew.go();
    if options.count.is_none() {
        run_for(
            &mut crew,
            options.warm_up,
            &mut Sampler::start("warm-up", workers, &options.target),
        )
        .await?;
    }
    let mut sampler = counting.unwrap_or_else(|| Sampler::start("run", workers, &options.target));
    let elapsed = match options.count {
        None => {
            run_for(&mut crew, options.duration, &mut sampler).await?;
            None
        }
        Some(count) => Some(run_out(&mut crew, plan, count, workers, &mut sampler).await?),
    };
    let counts = sampler.counts();
    let (unit, count) = denominator(plan, &counts);
    let phase = sampler.finish(unit, count, elapsed);
    crew.dismiss().await?;
    Ok(phase)
}

/// What costs are divided by: what arrived, if anybody was there for it to arrive.
fn denominator(plan: &Plan, counts: &Counts) -> (&'static str, u64) {
    match plan.consumers {
        0 => ("message", counts.published),
        _ if plan.copies() > 1 => ("delivery", counts.delivered),
        _ => ("message", counts.delivered),
    }
}

async fn run_for(crew: &mut Crew<'_>, seconds: f64, sampler: &mut Sampler<'_>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        crew.check().await?;
        sleep(left.min(LOOK_INTERVAL * 10)).await;
        sampler.sample_if_due();
    }
    Ok(())
}

/// Until `count` messages are published and delivered. How long that took.
async fn run_out(
    crew: &mut Crew<'_>,
    plan: &Plan,
    count: u64,
    workers: &Workers,
    sampler: &mut Sampler<'_>,
) -> Result<Duration> {
    let started_ns = now_ns();
    let expected = match plan.consumers {
        0 => 0,
        _ => count * plan.copies(),
    };
    let mut progress = (Counts::default(), Instant::now());
    loop {
        crew.check().await?;
        sampler.sample_if_due();
        let counts = sampler.counts();
        if crew.publishers_done() && expected <= counts.delivered + counts.nacked * plan.copies() {
            break;
        }
        if progress.0 != counts {
            progress = (counts, Instant::now());
        }
        if SILENCE_MAX < progress.1.elapsed() {
            bail!(
                "nothing moves any more: {} published, {} confirmed, {} of {expected} delivered",
                counts.published,
                counts.confirmed,
                counts.delivered
            );
        }
        sleep(LOOK_INTERVAL).await;
    }
    if expected == 0 {
        return Ok(sampler.elapsed());
    }
    let last_ns = workers
        .meters()
        .map(|meter| meter.delivered_at_ns.load(Ordering::Relaxed))
        .max()
        .unwrap_or(0);
    Ok(Duration::from_nanos(last_ns.saturating_sub(started_ns)))
}
