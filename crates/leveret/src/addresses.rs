//! What is listened on: what flags and configuration say, what holds when they say nothing, and the real addresses
//! behind names.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use anyhow::{Context, Result};
use server::HttpAddresses;
use server::config::{Addresses, HttpListen};

/// Ports without TLS and with it.
pub(crate) struct HttpPorts {
    plain: u16,
    over_tls: u16,
}

/// The management API's, as RabbitMQ's.
pub(crate) const MANAGEMENT_PORTS: HttpPorts = HttpPorts {
    plain: 15672,
    over_tls: 15671,
};

/// Those of the metrics, as RabbitMQ's.
pub(crate) const METRICS_PORTS: HttpPorts = HttpPorts {
    plain: 15692,
    over_tls: 15691,
};

/// A port of every address of this machine.
fn everywhere(port: u16) -> String {
    // An IPv6 socket takes IPv4 clients too; not every machine has IPv6.
    match TcpListener::bind("[::]:0") {
        Ok(_) => format!("[::]:{port}"),
        Err(_) => format!("0.0.0.0:{port}"),
    }
}

/// `port` is where it is served when nobody says where; none if it is not.
pub(crate) fn addresses(configured: &Addresses, port: Option<u16>) -> Result<Vec<SocketAddr>> {
    let wanted = match &configured.wanted[..] {
        _ if configured.none => Vec::new(),
        [] => port.map(everywhere).into_iter().collect(),
        wanted => wanted.to_vec(),
    };
    let mut addresses = Vec::new();
    for wanted in wanted {
        // rabbitmq.conf allows a bare port.
        let full = match wanted.parse::<u16>() {
            Ok(port) => everywhere(port),
            Err(_) => wanted.clone(),
        };
        let found = full.to_socket_addrs();
        let found = found.with_context(|| format!("{wanted} is no HOST:PORT to listen on"))?;
        addresses.extend(found);
    }
    Ok(addresses)
}

/// Where something is served over HTTP. As in RabbitMQ, who configures it over TLS alone gets it over TLS alone.
pub(crate) fn http(
    flags: &[String],
    configured: &HttpListen,
    ports: HttpPorts,
) -> Result<HttpAddresses> {
    let said = match flags {
        [] if configured.is_plain() && !configured.none => {
            let port = configured.port.unwrap_or(ports.plain);
            vec![address(configured.ip, port)]
        }
        flags => flags.to_vec(),
    };
    let plain = match said.is_empty() {
        true if configured.none || configured.is_over_tls() => Vec::new(),
        true => wished_for(ports.plain)?,
        false => {
            let none = said.iter().any(|wanted| wanted == "none");
            addresses(&Addresses { none, wanted: said }, None)?
        }
    };
    let over_tls = match configured.is_over_tls() {
        true => {
            let port = configured.tls_port.unwrap_or(ports.over_tls);
            let wanted = vec![address(configured.tls_ip, port)];
            addresses(
                &Addresses {
                    none: false,
                    wanted,
                },
                None,
            )?
        }
        false => Vec::new(),
    };
    Ok(HttpAddresses {
        plain,
        over_tls,
        tls: configured.tls.clone(),
        plain_options: configured.plain_options.clone(),
        tls_options: configured.tls_options.clone(),
    })
}

/// As [`addresses`] takes it.
fn address(ip: Option<std::net::IpAddr>, port: u16) -> String {
    ip.map_or_else(
        || port.to_string(),
        |ip| SocketAddr::new(ip, port).to_string(),
    )
}

/// Where it is served when nobody said anything. It is only wished for: a second broker of this machine starts
/// without it.
fn wished_for(port: u16) -> Result<Vec<SocketAddr>> {
    let found = addresses(&Addresses::default(), Some(port))?;
    for address in &found {
        if let Err(error) = TcpListener::bind(address) {
            tracing::warn!("no HTTP on {address}, which was not asked for: {error}");
            return Ok(Vec::new());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use server::config::Sources;

    /// Ports without TLS and with it, under flags and configuration.
    fn ports(flags: &[&str], conf: &str) -> [Vec<String>; 2] {
        let mut sources = Sources::default();
        for line in conf.lines() {
            let (key, value) = line.split_once('=').expect("a pair");
            sources.flags.push(("--set", key.into(), value.into()));
        }
        let config = server::Config::load(&sources).expect("it is right");
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        // Nobody listens on port 0 but whom the system gives another.
        let free = HttpPorts {
            plain: 0,
            over_tls: 15671,
        };
        let found = http(&flags, &config.management, free).expect("they are addresses");
        let shown = |found: Vec<SocketAddr>| {
            let shown = found.iter().map(|address| {
                let shown = address.to_string();
                shown.replace("[::]", "*").replace("0.0.0.0", "*")
            });
            shown.collect::<Vec<_>>()
        };
        [shown(found.plain), shown(found.over_tls)]
    }

    #[test]
    fn http_is_served_as_rabbitmq_would() {
        let certificate = "management.ssl.certfile=/c";
        for (flags, conf, plain, over_tls) in [
            (&[][..], "", &["*:0"][..], &[][..]),
            (&[], "management.tcp.port=7", &["*:7"], &[]),
            (&[], "management.tcp.ip=127.0.0.1", &["127.0.0.1:0"], &[]),
            (&[], "management.tcp.ip=::1", &["[::1]:0"], &[]),
            (&[], certificate, &[], &["*:15671"]),
            (&[], "management.ssl.port=8", &[], &["*:8"]),
            (
                &[],
                "management.ssl.ip=127.0.0.1",
                &[],
                &["127.0.0.1:15671"],
            ),
            (
                &[],
                "management.tcp.port=7\nmanagement.ssl.port=8",
                &["*:7"],
                &["*:8"],
            ),
            (
                &["127.0.0.1:9"],
                "management.tcp.port=7",
                &["127.0.0.1:9"],
                &[],
            ),
            (&["9"], certificate, &["*:9"], &["*:15671"]),
            (&["none"], "management.tcp.port=7", &[], &[]),
            (&["none"], certificate, &[], &["*:15671"]),
        ] {
            let expected = [plain, over_tls]
                .map(|all| all.iter().map(|one| one.to_string()).collect::<Vec<_>>());
            assert_eq!(ports(flags, conf), expected, "{flags:?} {conf}");
        }
    }
}
