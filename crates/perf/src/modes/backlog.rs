//! Backlog: publishes a number of messages that nobody consumes yet, then consumes them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use super::crew::{Crew, Subscribe};
use super::plan::Plan;
use super::thread_count;
use crate::client::Client;
use crate::options::{LoadOptions, Target};
use crate::pace::now_ns;
use crate::report::{Phase, Report};
use crate::sampler::Sampler;
use crate::topology::open_channel;
use crate::workers::Workers;

/// How often it is looked whether a phase is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Silence of so long means that no more is coming.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Messages, if nobody says how many.
const COUNT_DEFAULT: u64 = 1_000_000;

pub(super) async fn run(mut options: LoadOptions) -> Result<(Target, Report)> {
    let count = *options.count.get_or_insert(COUNT_DEFAULT);
    let plan = Plan::new(&options)?;
    let connections = plan.publishers.max(plan.consumers);
    let workers = Workers::start(thread_count(&options.target, connections))?;
    let mut control = Client::connect(&options.target.uri).await?;
    open_channel(&mut control).await?;
    plan.topology.declare(&mut control).await?;
    let phases = measure(&options, &plan, &workers, &mut control, count).await;
    if !options.keep {
        plan.topology.delete(&mut control).await?;
    }
    let report = Report {
        mode: "backlog",
        broker: control.product.clone(),
        options: plan.describe(&options),
        phases: phases?,
    };
    control.close().await?;
    Ok((options.target, report))
}

async fn measure(
    options: &LoadOptions,
    plan: &Plan,
    workers: &Workers,
    control: &mut Client,
    count: u64,
) -> Result<Vec<Phase>> {
    let expected = count * plan.copies();
    let published = publish(options, plan, workers, control, expected).await?;
    let consumed = consume(options, plan, workers, expected).await?;
    Ok(vec![published, consumed])
}

/// Until all queues together hold `expected` messages: what is still on its way is not there yet.
async fn publish(
    options: &LoadOptions,
    plan: &Plan,
    workers: &Workers,
    control: &mut Client,
    expected: u64,
) -> Result<Phase> {
    let mut crew = Crew::new(options, plan, workers);
    crew.hire_publishers().await?;
    let mut sampler = Sampler::start("publish", workers, &options.target);
    crew.go();
    let mut progress = (0, Instant::now());
    loop {
        crew.check().await?;
        sampler.sample_if_due();
        if crew.publishers_done() {
            let ready = plan.topology.ready_len(control).await?;
            if expected <= ready {
                break;
            }
            if progress.0 != ready {
                progress = (ready, Instant::now());
            }
            if SILENCE_MAX < progress.1.elapsed() {
                bail!("the queues hold {ready} messages, and not {expected}");
            }
        } else {
            progress.1 = Instant::now();
        }
        sleep(LOOK_INTERVAL).await;
    }
    let phase = sampler.finish("message", expected, None);
    crew.dismiss().await?;
    Ok(phase)
}

async fn consume(
    options: &LoadOptions,
    plan: &Plan,
    workers: &Workers,
    expected: u64,
) -> Result<Phase> {
    let mut crew = Crew::new(options, plan, workers);
    crew.hire_consumers(Subscribe::WhenTold).await?;
    let mut sampler = Sampler::start("consume", workers, &options.target);
    let started_ns = now_ns();
    crew.go();
    let mut progress = (0, Instant::now());
    loop {
        crew.check().await?;
        sampler.sample_if_due();
        let delivered = sampler.counts().delivered;
        if expected <= delivered {
            break;
        }
        if progress.0 != delivered {
            progress = (delivered, Instant::now());
        }
        if SILENCE_MAX < progress.1.elapsed() {
            bail!("{delivered} of {expected} messages came, and no more");
        }
        sleep(LOOK_INTERVAL).await;
    }
    let last_ns = workers
        .meters()
        .map(|meter| meter.delivered_at_ns.load(Ordering::Relaxed))
        .max()
        .unwrap_or(0);
    let elapsed = Duration::from_nanos(last_ns.saturating_sub(started_ns));
    let phase = sampler.finish("message", expected, Some(elapsed));
    crew.dismiss().await?;
    Ok(phase)
}
