//! Idle connections: opened with a channel and a consumer each, then left alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::churn::done;
use super::thread_count;
use crate::client::Client;
use crate::options::{IdleOptions, Target};
use crate::pace::now_ns;
use crate::report::{Phase, Report};
use crate::sampler::Sampler;
use crate::topology::{
    DECLARE_OK, DELETE_OK, call_all, declare_of, delete_of, open_channel, subscribe,
};
use crate::workers::Workers;

/// Connections that are made at the same time.
const CONNECTING_MAX: usize = 32;

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Open files beside the connections.
const FILES_BESIDE: u64 = 64;

pub(super) async fn run(options: IdleOptions) -> Result<(Target, Report)> {
    allow_files(options.connections as u64)?;
    let workers = Workers::start(thread_count(&options.target, options.connections))?;
    let mut control = Client::connect(&options.target.uri).await?;
    open_channel(&mut control).await?;
    let run = format!("leveret-perf-{}-idle", std::process::id());
    let queues: Vec<String> = (0..options.queues).map(|n| format!("{run}-{n}")).collect();
    call_all(&mut control, queues.len(), DECLARE_OK, |index, client| {
        client.push(1, &declare_of(&queues[index], false, &[]));
    })
    .await?;
    let (open, clients) = open_all(&options, &queues, &workers).await?;
    let hold = hold(&options, &workers, clients.len() as u64).await;
    drop(clients);
    call_all(&mut control, queues.len(), DELETE_OK, |index, client| {
        client.push(1, &delete_of(&queues[index]));
    })
    .await?;
    let report = Report {
        mode: "idle",
        broker: control.product.clone(),
        options: vec![
            ("connections".into(), options.connections.to_string()),
            ("queues".into(), options.queues.to_string()),
        ],
        phases: vec![open, hold],
    };
    control.close().await?;
    Ok((options.target, report))
}

/// Raises the limit of open files as far as the system lets us.
fn allow_files(connections: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections + FILES_BESIDE;
    if limit.current.is_none_or(|current| wanted <= current) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted))),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raising the limit of open files")
}

async fn open_all(
    options: &IdleOptions,
    queues: &[String],
    workers: &Workers,
) -> Result<(Phase, Vec<Client>)> {
    let mut sampler = Sampler::start("open", workers, &options.target);
    let mut tasks = JoinSet::new();
    let mut clients = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let (handle, meter) = workers.choose();
        let uri = options.target.uri.clone();
        let queue = (!queues.is_empty()).then(|| queues[index % queues.len()].clone());
        let task = async move {
            let started_ns = now_ns();
            let mut client = Client::connect(&uri).await?;
            open_channel(&mut client).await?;
            if let Some(queue) = &queue {
                subscribe(&mut client, &[queue], 10, false, &[]).await?;
            }
            done(&meter, started_ns);
            anyhow::Ok(client)
        };
        tasks.spawn_on(task, handle);
        if CONNECTING_MAX <= tasks.len()
            && let Some(opened) = tasks.join_next().await
        {
            clients.push(opened.map_err(|error| anyhow!("a task died: {error}"))??);
        }
        sampler.sample_if_due();
    }
    while let Some(opened) = tasks.join_next().await {
        clients.push(opened.map_err(|error| anyhow!("a task died: {error}"))??);
    }
    let count = clients.len() as u64;
    Ok((
        sampler.finish("connection", count, None).with_memory(),
        clients,
    ))
}

async fn hold(options: &IdleOptions, workers: &Workers, count: u64) -> Phase {
    let mut sampler = Sampler::start("idle", workers, &options.target);
    let end = Instant::now() + Duration::from_secs_f64(options.duration);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        sleep(left.min(LOOK_INTERVAL)).await;
        sampler.sample_if_due();
    }
    sampler.finish("connection", count, None)
}
