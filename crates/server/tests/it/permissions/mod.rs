//! What users may do, against RabbitMQ 4.3: every tag on every route of the API, every permission on every AMQP
//! method that needs one.
//!
//! Both matrices are generated, played against a broker of ours, and compared with what RabbitMQ answered when
//! they were recorded. To record anew:
//!
//! ```sh
//! RABBITMQ_HTTP=127.0.0.1:15672 RABBITMQ_AMQP=127.0.0.1:5672 \
//!     cargo nextest run -p server --run-ignored only permissions_are_recorded
//! ```

mod amqp;
mod http;

use std::net::SocketAddr;

use crate::service::ask;

/// May do everything in a vhost.
const ALL: &str = r#"{"configure":".*","write":".*","read":".*"}"#;

/// The `Authorization` of a user whose password is the name.
pub(crate) fn login(user: &str) -> String {
    use base64::Engine as _;
    let word = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{user}"));
    format!("Basic {word}")
}

/// A request of the administrator, which succeeds.
#[track_caller]
fn must(http: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let (status, text) = ask(http, method, &format!("/api/{path}"), &login("guest"), body);
    assert!(
        (200..300).contains(&status),
        "{method} {path}: {status} {text}"
    );
    text
}

/// A request of the administrator, whatever comes of it.
fn may(http: SocketAddr, method: &str, path: &str, body: &str) -> u16 {
    ask(http, method, &format!("/api/{path}"), &login("guest"), body).0
}
