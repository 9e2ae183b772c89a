//! The modes, and what they have in common.

mod backlog;
mod churn;
mod crew;
mod idle;
mod load;
mod plan;
mod queues;
mod rpc;
mod traffic;

use anyhow::Result;
use tokio::runtime::Builder;

use crate::options::{Arguments, Mode, Target};
use crate::report::Report;

/// Runs what the command line asks for, and reports it.
///
/// # Errors
/// If the broker cannot be reached, or breaks the rules, or a file cannot be written.
pub fn run(arguments: Arguments) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (target, report) = runtime.block_on(run_mode(arguments.mode))?;
    report.publish(&target)
}

async fn run_mode(mode: Mode) -> Result<(Target, Report)> {
    match mode {
        Mode::Throughput(options) => load::run(load::Kind::Throughput, options).await,
        Mode::Latency(options) => load::run(load::Kind::Latency, options).await,
        Mode::FanOut(options) => load::run(load::Kind::FanOut, options).await,
        Mode::Backlog(options) => backlog::run(options).await,
        Mode::Connections(options) => churn::run(churn::Kind::Connections, options).await,
        Mode::Channels(options) => churn::run(churn::Kind::Channels, options).await,
        Mode::Queues(options) => queues::run(options).await,
        Mode::Rpc(options) => rpc::run(options).await,
        Mode::Idle(options) => idle::run(options).await,
    }
}

/// Threads for so many connections.
fn thread_count(target: &Target, connections: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    target.threads.unwrap_or(processors.min(connections)).max(1)
}
