//! The PROXY protocol on a listener that expects it: clients are where the proxy says they are.

use node::settings::Settings;
use probe::{Client, Options};
use server::Listeners;

use crate::broker::{Broker, read_to_end};
use crate::tunnel::proxy;

fn start() -> Broker {
    let listeners = Listeners {
        proxy_protocol: true,
        tls_handshake_timeout_ms: 2000,
        ..Listeners::default()
    };
    Broker::start_with(Settings::default(), listeners)
}

#[test]
fn guest_behind_a_proxy_is_where_the_proxy_says() {
    let broker = start();
    for (header, welcome) in [
        (
            &b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672\r\n"[..],
            false,
        ),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 56324 5672\r\n", true),
        (b"PROXY UNKNOWN\r\n", true),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x16\x28",
            false,
        ),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", true),
    ] {
        let outcome = Client::open(proxy(broker.address, header), &Options::default());
        assert_eq!(outcome.is_ok(), welcome, "{header:?}: {:?}", outcome.err());
    }
}

#[test]
fn who_says_no_header_is_dropped() {
    let broker = start();
    for input in [
        &b"AMQP\0\0\x09\x01AMQP\0\0\x09\x01"[..],
        b"PROXY TCP4 a b c d\r\n",
        b"PROXY TCP4 127",
    ] {
        let mut client = broker.socket();
        client.send_bytes(input).expect("sent");
        if input.len() < 15 {
            client.shutdown_write().expect("shut");
        }
        read_to_end(&mut client);
    }
}
