//! How connections end from the broker's side.

use probe::Event;

use crate::broker::{Broker, PATIENCE, read_to_end};

#[test]
fn clients_are_told_when_the_broker_stops() {
    let mut broker = Broker::new();
    let mut client = broker.client();
    let mut silent = broker.socket();
    broker.begin_to_stop();
    let told = client.next(PATIENCE).expect("a close");
    assert!(told.to_string().contains("reply_code=320"), "{told}");
    client
        .send(0, "connection.close-ok", b"")
        .expect("it is read");
    assert!(matches!(read_to_end(&mut client)[..], [Event::Eof(_)]));
    read_to_end(&mut silent);
}

#[test]
fn who_closes_before_its_answers_are_durable_is_answered() {
    let broker = Broker::new();
    for index in 0..20 {
        let mut client = broker.client();
        let mut bytes = Vec::new();
        let declare = format!("queue.declare queue=durable-{index} durable");
        bytes.extend(client.encode(1, &declare, b"").expect("a line of ours"));
        bytes.extend(
            client
                .encode(0, "connection.close", b"")
                .expect("a line of ours"),
        );
        client.send_bytes(&bytes).expect("it is read");
        // The socket then stays open for the client to close.
        let heard = [client.next(PATIENCE), client.next(PATIENCE)];
        let names = heard
            .each_ref()
            .map(|event| event.as_ref().map(Event::name));
        assert_eq!(
            names,
            [Some("queue.declare-ok"), Some("connection.close-ok")],
            "{index}"
        );
    }
}
