//! Worker threads: each runs its own single-threaded runtime and the connections that were given to it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use node::connections::ConnectionId;
use node::node::Node;
use protocol::amqp091::Connection;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::driver::drive;
use crate::sockets::{Door, Ready};

/// How often a worker makes the allocator give memory back. What is freed is kept for a second in case it is needed
/// again, and a memory alarm ends only when it has been given back.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(1);

/// A socket on its way to its worker. There are no more of these than connections are admitted.
struct Accepted {
    id: ConnectionId,
    socket: TcpStream,
    peer: SocketAddr,
    door: Arc<Door>,
}

struct Worker {
    accepted: Option<UnboundedSender<Accepted>>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// See the module.
pub(crate) struct Workers(Vec<Worker>);

impl Workers {
    /// Starts `count` workers. Each calls `give_back_memory` now and then.
    pub(crate) fn start(
        count: usize,
        node: &Arc<Node>,
        clock: Clock,
        give_back_memory: Option<fn()>,
    ) -> io::Result<Self> {
        (0..count)
            .map(|index| Worker::start(index, Arc::clone(node), clock, give_back_memory))
            .collect::<Result<_, _>>()
            .map(Workers)
    }

    /// Gives a socket to the worker with the fewest connections.
    pub(crate) fn give(
        &self,
        id: ConnectionId,
        socket: TcpStream,
        peer: SocketAddr,
        door: &Arc<Door>,
    ) {
        let load = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        if let Some(worker) = self.0.iter().min_by_key(load)
            && let Some(accepted) = &worker.accepted
        {
            worker.connections.fetch_add(1, Ordering::Relaxed);
            // A worker that is gone takes the process with it; the socket is dropped.
            let door = Arc::clone(door);
            let _ = accepted.send(Accepted {
                id,
                socket,
                peer,
                door,
            });
        }
    }

    /// Ends the workers, dropping the connections that are left.
    pub(crate) fn stop(&mut self) {
        for worker in &mut self.0 {
            worker.accepted = None;
        }
        for worker in &mut self.0 {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

impl Worker {
    fn start(
        index: usize,
        node: Arc<Node>,
        clock: Clock,
        give_back_memory: Option<fn()>,
    ) -> io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let counter = Arc::clone(&connections);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                let accepting = accept_all(receiver, node, clock, counter);
                LocalSet::new().block_on(&runtime, async {
                    tokio::select! {
                        () = accepting => {}
                        () = give_back(give_back_memory) => {}
                    }
                });
            })?;
        Ok(Worker {
            accepted: Some(sender),
            connections,
            thread: Some(thread),
        })
    }
}

async fn accept_all(
    mut accepted: UnboundedReceiver<Accepted>,
    node: Arc<Node>,
    clock: Clock,
    connections: Arc<AtomicUsize>,
) {
    while let Some(accepted) = accepted.recv().await {
        let (node, connections) = (Arc::clone(&node), Arc::clone(&connections));
        tokio::task::spawn_local(async move {
            serve(accepted, node, clock).await;
            connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn give_back(give_back_memory: Option<fn()>) {
    let Some(give_back_memory) = give_back_memory else {
        return std::future::pending().await;
    };
    let mut interval = interval(GIVE_BACK_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        give_back_memory();
    }
}

async fn serve(accepted: Accepted, node: Arc<Node>, clock: Clock) {
    let Accepted {
        id,
        socket,
        peer,
        door,
    } = accepted;
    match door.open(socket, peer).await {
        Ok(Ready::Plain(socket, peer)) => {
            let connection = Connection::new(node, id, peer, clock.now_ms());
            drive(socket, connection, clock).await;
        }
        Ok(Ready::Tls(socket, peer)) => {
            let connection = Connection::new(node, id, peer, clock.now_ms());
            drive(socket, connection, clock).await;
        }
        Err(error) => {
            tracing::warn!(%peer, "a connection was not made: {error}");
            node.connections.leave(id);
        }
    }
}
