//! The PROXY protocol, versions 1 and 2: a proxy says whose connection it hands on, before the first byte.
//!
//! ```text
//! v1  "PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672\r\n", or "PROXY UNKNOWN ...\r\n"; 107 bytes at most
//! v2  12 bytes of signature │ version and command │ family │ length (2) │ addresses │ more, which is skipped
//! ```
//! A listener expects it of everybody or of nobody, as HAProxy's specification demands: who could choose could
//! lie about where it comes from. Deliberately absent: the TLV extras of version 2.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;

/// Longest part after the fixed 16 bytes of version 2 that is read: addresses, and extras to skip.
const V2_BYTES_MAX: usize = 4096;

/// Both ends of the proxied connection, the client's first; `None` if the proxy speaks for itself, to look whether
/// we live for example.
pub(crate) type Proxied = Option<(SocketAddr, SocketAddr)>;

fn wrong(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("PROXY protocol: {text}"),
    )
}

/// Reads the header, and not a byte more.
///
/// # Errors
/// If there is none, or it is wrong.
pub(crate) async fn read_header(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Proxied> {
    let mut start = [0; 12];
    // The shortest header of version 1, `PROXY UNKNOWN\r\n`, is longer than this.
    socket.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_v2(socket).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(wrong("the client did not begin with a header"));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if LINE_BYTES_MAX <= line.len() {
            return Err(wrong("the line is too long"));
        }
        line.push(socket.read_u8().await?);
    }
    parse_v1(&line).ok_or_else(|| wrong("the line cannot be read"))
}

fn parse_v1(line: &[u8]) -> Option<Proxied> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ');
    let (_, family) = (words.next()?, words.next()?);
    if family == "UNKNOWN" {
        return Some(None);
    }
    let mut ip = || -> Option<IpAddr> {
        match family {
            "TCP4" => words.next()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => words.next()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, destination) = (ip()?, ip()?);
    let mut port = || words.next()?.parse::<u16>().ok();
    let (source_port, destination_port) = (port()?, port()?);
    words.next().is_none().then_some(Some((
        SocketAddr::new(source, source_port),
        SocketAddr::new(destination, destination_port),
    )))
}

async fn read_v2(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Proxied> {
    let command = socket.read_u8().await?;
    let family = socket.read_u8().await?;
    let bytes = usize::from(socket.read_u16().await?);
    if V2_BYTES_MAX < bytes {
        return Err(wrong("the header is too long"));
    }
    let mut rest = vec![0; bytes];
    socket.read_exact(&mut rest).await?;
    match command {
        0x20 => Ok(None),
        0x21 => addresses_v2(family, &rest).ok_or_else(|| wrong("the addresses cannot be read")),
        _ => Err(wrong("an unknown version or command")),
    }
}

fn addresses_v2(family: u8, mut bytes: &[u8]) -> Option<Proxied> {
    let bytes = &mut bytes;
    let (source, destination) = match family {
        // Over TCP: IPv4, IPv6.
        0x11 => (
            IpAddr::V4(Ipv4Addr::from(take::<4>(bytes)?)),
            IpAddr::V4(Ipv4Addr::from(take::<4>(bytes)?)),
        ),
        0x21 => (
            IpAddr::V6(Ipv6Addr::from(take::<16>(bytes)?)),
            IpAddr::V6(Ipv6Addr::from(take::<16>(bytes)?)),
        ),
        // Unspecified, or a kind that has no address of ours: the proxy's own is as good as any.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Some(None),
        _ => return None,
    };
    let source_port = u16::from_be_bytes(take(bytes)?);
    let destination_port = u16::from_be_bytes(take(bytes)?);
    Some(Some((
        SocketAddr::new(source, source_port),
        SocketAddr::new(destination, destination_port),
    )))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(Proxied, usize), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut rest = bytes;
        let outcome = runtime.expect("a runtime").block_on(read_header(&mut rest));
        outcome
            .map(|proxied| (proxied, rest.len()))
            .map_err(|error| error.to_string())
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((addresses.len() as u16).to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    #[test]
    fn both_versions_say_whose_connection_it_is() {
        let four = Some((
            "192.0.2.1:56324".parse().unwrap(),
            "198.51.100.2:5672".parse().unwrap(),
        ));
        let six = Some((
            "[2001:db8::1]:1".parse().unwrap(),
            "[2001:db8::2]:2".parse().unwrap(),
        ));
        let mut v4 = vec![192, 0, 2, 1, 198, 51, 100, 2];
        v4.extend([0xdc, 0x04, 0x16, 0x28]);
        let with_extras = [&v4[..], &[4, 0, 1, 9]].concat();
        let mut v6 = Vec::new();
        v6.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([0, 1, 0, 2]);
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 5672\r\n".to_vec(),
                four,
            ),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(), six),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), four),
            (v2(0x21, 0x11, &with_extras), four),
            (v2(0x21, 0x21, &v6), six),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x00, &[]), None),
        ] {
            let mut input = header.clone();
            input.extend(b"AMQP");
            assert_eq!(read(&input), Ok((expected, 4)), "{header:?}");
            for cut in 0..header.len() {
                assert!(read(&header[..cut]).is_err(), "{header:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200], b"\r\n".to_vec()].concat();
        for (input, expected) in [
            (
                b"AMQP\0\0\x09\x01\0\0\0\0\0".to_vec(),
                "PROXY protocol: the client did not begin with a header",
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n".to_vec(),
                "PROXY protocol: the line cannot be read",
            ),
            (
                b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(),
                "PROXY protocol: the line cannot be read",
            ),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n".to_vec(),
                "PROXY protocol: the line cannot be read",
            ),
            (long, "PROXY protocol: the line is too long"),
            (
                v2(0x11, 0x11, &[0; 12]),
                "PROXY protocol: an unknown version or command",
            ),
            (
                v2(0x21, 0x11, &[0; 11]),
                "PROXY protocol: the addresses cannot be read",
            ),
            (
                v2(0x21, 0x77, &[0; 12]),
                "PROXY protocol: the addresses cannot be read",
            ),
            (
                v2(0x21, 0x11, &[0; 5000]),
                "PROXY protocol: the header is too long",
            ),
        ] {
            assert_eq!(read(&input), Err(expected.to_owned()), "{input:?}");
        }
    }
}
