//! The stream of events at the socket: what clients do is told while they do it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use probe::{Client, Options};

use crate::broker::{Broker, PATIENCE};

#[test]
fn what_clients_do_is_told() {
    let (broker, http) = Broker::with_api();
    let mut socket = TcpStream::connect(http).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("it can be");
    write!(
        socket,
        "GET /api/events?interval=0 HTTP/1.1\r\nhost: h\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n"
    )
    .expect("sent");
    let mut lines = BufReader::new(socket).lines();
    let mut next = |wanted: &str| {
        let found = lines.by_ref().map(|line| line.expect("it goes on"));
        let mut found = found.skip_while(|line| !line.starts_with(wanted));
        found.next().expect("it goes on")
    };
    next(": ok");

    let mut client = Client::open(broker.address, &Options::default()).expect("it is served");
    client.open_channel(1);
    client.call(1, "queue.declare queue=q exclusive");
    client.call(0, "connection.close").expect("it is answered");
    for (event, property) in [
        ("connection_created", "\"user\":\"guest\""),
        ("channel_created", "\"number\":1"),
        ("queue_created", "\"exclusive\":true"),
        ("channel_closed", "\"number\":1"),
        ("queue_deleted", "\"name\":\"q\""),
        ("connection_closed", "\"vhost\":\"/\""),
    ] {
        next(&format!("event: {event}"));
        let data = next("data: ");
        assert!(data.contains(property), "{event}: {data}");
    }
}
