//! Stopping: clients are told, what is on its way to disk arrives, and it does not take long.

use std::time::{Duration, Instant};

use crate::broker::{Broker, call, farewell};

/// An operator's patience with a stop, from the signal to the end of the process.
const STOP_LIMIT: Duration = Duration::from_secs(5);

const SHUTDOWN: &str =
    "320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";

/// A signal stops the broker, which tells its clients.
fn stops_at(signal: &str) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut client = broker.client();
    client.open_channel(1);
    call(&mut client, r#"queue.declare queue="q" durable"#);
    let started = Instant::now();
    broker.signal(signal);
    assert_eq!(farewell(&mut client), SHUTDOWN);
    let status = broker.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(started.elapsed() < STOP_LIMIT);
    assert!(!dir.path().join("control.sock").exists());
    let broker = Broker::start(dir.path());
    assert_eq!(broker.ctl("list_queues name"), "q\n");
}

#[test]
fn sigterm_stops() {
    stops_at("TERM");
}

#[test]
fn ctrl_c_stops() {
    stops_at("INT");
}

#[test]
fn clients_that_do_not_answer_do_not_hold_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    // One that never answers the close, one that never says anything.
    let _deaf = broker.client();
    let _mute = std::net::TcpStream::connect(broker.address).unwrap();
    let started = Instant::now();
    broker.stop();
    assert!(started.elapsed() < STOP_LIMIT);
}

#[test]
fn a_killed_broker_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    Broker::start(dir.path()).kill();
    // Its control socket is still there, with nobody behind it.
    assert!(dir.path().join("control.sock").exists());
    let broker = Broker::start(dir.path());
    assert_eq!(broker.ctl("ping"), "Ping succeeded\n");
    broker.stop();
}
