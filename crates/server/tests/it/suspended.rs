//! Listeners that are suspended: nobody new is let in, whoever is in stays, and all is as before once they are resumed.

use std::io::{Read, Write};
use std::net::TcpStream;

use node::settings::Settings;
use probe::Event;
use server::Listeners;
use server::control::connect;

use crate::broker::{Broker, wait_until};

fn control(broker: &Broker, verb: &str) {
    let mut socket = connect(broker.data_dir()).expect("it listens");
    writeln!(socket, r#"{{"verb":"{verb}"}}"#).expect("sent");
    socket
        .shutdown(std::net::Shutdown::Write)
        .expect("it can be");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it is text");
    assert_eq!(answer, "\"done\"\n", "{verb}");
}

#[test]
fn suspended_listeners_refuse_clients_until_they_are_resumed() {
    let broker = Broker::start_with(Settings::default(), Listeners::default());
    let mut inside = broker.client();
    control(&broker, "suspend_listeners");
    control(&broker, "suspend_listeners");
    wait_until("clients are refused", || {
        TcpStream::connect(broker.address).is_err()
    });
    let answer = inside.call(1, "queue.declare queue=q exclusive");
    assert_eq!(answer.as_ref().map(Event::name), Some("queue.declare-ok"));
    control(&broker, "resume_listeners");
    wait_until("clients are let in", || {
        TcpStream::connect(broker.address).is_ok()
    });
    broker.serve_a_healthy_client();
}
