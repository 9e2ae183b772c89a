//! Policies and operator policies against RabbitMQ 4.3: what becomes of them for a queue, and what it then does.
//!
//! Both parts were played against RabbitMQ when they were recorded. To record anew:
//!
//! ```sh
//! RABBITMQ_HTTP=127.0.0.1:15672 RABBITMQ_AMQP=127.0.0.1:5672 \
//!     cargo nextest run -p server --run-ignored only policies_are_recorded
//! ```

mod live;
mod merged;

use std::net::SocketAddr;

use crate::service::{GUEST, ask};

/// Status and text of a request of the administrator.
fn call(http: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    ask(http, method, &format!("/api/{path}"), GUEST, body)
}

/// Makes a vhost anew.
fn fresh_vhost(http: SocketAddr, name: &str) {
    call(http, "DELETE", &format!("vhosts/{name}"), "");
    for (path, body) in [
        (format!("vhosts/{name}"), "{}"),
        (
            format!("permissions/{name}/guest"),
            r#"{"configure":".*","write":".*","read":".*"}"#,
        ),
    ] {
        let (status, text) = call(http, "PUT", &path, body);
        assert!((200..300).contains(&status), "{path}: {status} {text}");
    }
}
