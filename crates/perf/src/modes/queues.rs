//! Queue and binding churn: declares queues, binds each to an exchange, deletes them.
//!
//! One after another, or so many requests open at a time, or from many connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::amqp091::method::{Method, QueueBind};

use super::churn::done;
use super::plan::encoded;
use super::thread_count;
use super::traffic::Traffic;
use crate::client::Client;
use crate::meter::Meter;
use crate::options::{QueuesOptions, Target};
use crate::pace::now_ns;
use crate::report::{Phase, Report};
use crate::sampler::Sampler;
use crate::topology::{
    BIND_OK, DECLARE_OK, DELETE_OK, Topology, declare_of, delete_of, open_channel,
};
use crate::workers::Workers;

const LOOK_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Declare,
    Bind,
    Delete,
}

impl Request {
    fn name(self) -> &'static str {
        match self {
            Request::Declare => "declare",
            Request::Bind => "bind",
            Request::Delete => "delete",
        }
    }

    fn answer(self) -> (u16, u16) {
        match self {
            Request::Declare => DECLARE_OK,
            Request::Bind => BIND_OK,
            Request::Delete => DELETE_OK,
        }
    }
}

/// A connection and the queues that are its part.
struct Clerk {
    client: Client,
    meter: Arc<Meter>,
    topology: Arc<Topology>,
    queues: Vec<usize>,
    pipeline: usize,
}

pub(super) async fn run(options: QueuesOptions) -> Result<(Target, Report)> {
    let clients = options.clients.clamp(1, options.queues.max(1));
    let workers = Workers::start(thread_count(&options.target, clients))?;
    let topology = Arc::new(plan(&options));
    let mut control = Client::connect(&options.target.uri).await?;
    open_channel(&mut control).await?;
    declare_exchange(&topology, &mut control).await?;
    let traffic = match options.with_traffic {
        true => Some(Traffic::start(&options.target).await?),
        false => None,
    };
    let mut clerks = hire(&options, &topology, &workers, clients).await?;
    let mut phases = Vec::new();
    for request in [Request::Declare, Request::Bind, Request::Delete] {
        let (phase, back) = measure(request, &options, &workers, clerks).await?;
        clerks = back;
        phases.push(phase);
    }
    if let Some(traffic) = traffic {
        phases.push(traffic.stop().await?);
    }
    let only_exchange = Topology {
        queues: Vec::new(),
        ..Topology::clone(&topology)
    };
    only_exchange.delete(&mut control).await?;
    let report = Report {
        mode: "queues",
        broker: control.product.clone(),
        options: vec![
            ("queues".into(), options.queues.to_string()),
            ("durable".into(), options.durable.to_string()),
            ("clients".into(), clients.to_string()),
            ("pipeline".into(), options.pipeline.to_string()),
        ],
        phases,
    };
    control.close().await?;
    Ok((options.target, report))
}

fn plan(options: &QueuesOptions) -> Topology {
    let run = format!("leveret-perf-{}", std::process::id());
    Topology {
        queues: (0..options.queues).map(|n| format!("{run}-{n}")).collect(),
        durable: options.durable,
        queue_arguments: encoded(options.queue_args.as_ref()),
        exchange: run,
        exchange_kind: options.exchange_type.clone(),
        exchange_exists: false,
        queues_exist: false,
        bindings: Vec::new(),
    }
}

/// The exchange is there before the clock starts.
async fn declare_exchange(topology: &Topology, control: &mut Client) -> Result<()> {
    let only_exchange = Topology {
        queues: Vec::new(),
        ..Topology::clone(topology)
    };
    only_exchange.declare(control).await
}

async fn hire(
    options: &QueuesOptions,
    topology: &Arc<Topology>,
    workers: &Workers,
    clients: usize,
) -> Result<Vec<(usize, Clerk)>> {
    let mut clerks = Vec::new();
    for index in 0..clients {
        let (handle, meter) = workers.choose();
        let uri = options.target.uri.clone();
        let connecting = handle.spawn(async move {
            let mut client = Client::connect(&uri).await?;
            open_channel(&mut client).await?;
            anyhow::Ok(client)
        });
        let clerk = Clerk {
            client: connecting.await??,
            meter,
            topology: Arc::clone(topology),
            queues: (index..options.queues).step_by(clients).collect(),
            pipeline: options.pipeline.max(1),
        };
        clerks.push((index, clerk));
    }
    Ok(clerks)
}

async fn measure(
    request: Request,
    options: &QueuesOptions,
    workers: &Workers,
    clerks: Vec<(usize, Clerk)>,
) -> Result<(Phase, Vec<(usize, Clerk)>)> {
    let mut sampler = Sampler::start(request.name(), workers, &options.target);
    let mut tasks = JoinSet::new();
    for (index, mut clerk) in clerks {
        // Its socket belongs to the runtime that it was made in, which drives it from wherever it is used.
        let (handle, _) = workers.choose();
        let task = async move {
            clerk.work(request).await?;
            anyhow::Ok((index, clerk))
        };
        tasks.spawn_on(task, handle);
    }
    let mut back = Vec::new();
    while !tasks.is_empty() {
        while let Some(ended) = tasks.try_join_next() {
            back.push(ended.map_err(|error| anyhow!("a task died: {error}"))??);
        }
        sampler.sample_if_due();
        if !tasks.is_empty() {
            sleep(LOOK_INTERVAL).await;
        }
    }
    let count = sampler.counts().operations;
    Ok((sampler.finish(request.name(), count, None), back))
}

impl Clerk {
    async fn work(&mut self, request: Request) -> Result<()> {
        let mut open = VecDeque::new();
        let mut next = 0;
        while next < self.queues.len() || !open.is_empty() {
            while open.len() < self.pipeline && next < self.queues.len() {
                self.push(request, self.queues[next]);
                open.push_back(now_ns());
                next += 1;
            }
            self.client.await_method(request.answer()).await?;
            if let Some(started_ns) = open.pop_front() {
                done(&self.meter, started_ns);
            }
        }
        Ok(())
    }

    fn push(&mut self, request: Request, index: usize) {
        let topology = &self.topology;
        let queue = topology.queues[index].as_str();
        let method = match request {
            Request::Declare => declare_of(queue, topology.durable, &topology.queue_arguments),
            Request::Bind => Method::QueueBind(QueueBind {
                queue,
                exchange: &topology.exchange,
                routing_key: queue,
                ..QueueBind::default()
            }),
            Request::Delete => delete_of(queue),
        };
        self.client.push(1, &method);
    }
}
