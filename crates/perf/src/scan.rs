//! Finds deliveries in what was read, where they lie, and everything else that a broker says.
//!
//! A delivery is three frames, usually: method, header, body. It counts when its last byte is there. All
//! contents of a link belong to one channel, so one place to remember where we stand is enough.

use anyhow::{Result, bail};
use wire::amqp091::frame::{FRAME_END, FRAME_OVERHEAD_BYTES, FrameKind, decode_content_header};
use wire::amqp091::method::Method;

/// Class and method of `basic.deliver`, as they stand in a frame.
const DELIVER: [u8; 4] = [0, 60, 0, 60];

/// Kind, channel and length.
const FRAME_HEAD_BYTES: usize = 7;

/// Who wants to know.
pub(crate) trait Sink {
    /// A whole delivery. `stamp` is the first 8 bytes of its body, 0 if it is shorter.
    fn delivered(&mut self, delivery_tag: u64, stamp: u64);
    /// Any other method.
    fn method(&mut self, method: Method<'_>) -> Result<()>;
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// Of the delivery that is coming; 0 if a content is coming that is none (`basic.return`).
    delivery_tag: u64,
    stamp: u64,
    /// Bytes of its body that are still to come.
    missing: u64,
}

impl Scanner {
    /// Goes through all whole frames of `input`. Returns how many bytes they were.
    pub(crate) fn scan(&mut self, input: &[u8], sink: &mut impl Sink) -> Result<usize> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let Some((&[kind, _, _, l0, l1, l2, l3], behind)) =
                rest.split_first_chunk::<FRAME_HEAD_BYTES>()
            else {
                return Ok(used);
            };
            let payload_bytes = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
            let Some(&end) = behind.get(payload_bytes) else {
                return Ok(used);
            };
            if end != FRAME_END {
                bail!("the broker sent a frame that ends with {end:#04x}");
            }
            let payload = &behind[..payload_bytes];
            match kind {
                kind if kind == FrameKind::Method as u8 => self.handle_method(payload, sink)?,
                kind if kind == FrameKind::Header as u8 => self.handle_header(payload, sink)?,
                kind if kind == FrameKind::Body as u8 => self.handle_body(payload, sink),
                _ => {}
            }
            used += payload_bytes + FRAME_OVERHEAD_BYTES;
        }
    }

    #[inline]
    fn handle_method(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<()> {
        if payload.starts_with(&DELIVER) {
            let tag_start = 5 + payload.get(4).copied().unwrap_or_default() as usize;
            let tag = payload.get(tag_start..).and_then(<[u8]>::first_chunk::<8>);
            let Some(tag) = tag else {
                bail!("the broker sent a delivery that is cut short");
            };
            self.delivery_tag = u64::from_be_bytes(*tag);
            return Ok(());
        }
        let method = Method::decode(payload)?;
        if matches!(method, Method::BasicReturn(_)) {
            self.delivery_tag = 0;
        }
        sink.method(method)
    }

    #[inline]
    fn handle_header(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<()> {
        self.missing = decode_content_header(payload)?.body_bytes;
        self.stamp = 0;
        if self.missing == 0 {
            self.finish(sink);
        }
        Ok(())
    }

    #[inline]
    fn handle_body(&mut self, payload: &[u8], sink: &mut impl Sink) {
        if self.stamp == 0
            && let Some(stamp) = payload.first_chunk::<8>()
        {
            self.stamp = u64::from_le_bytes(*stamp);
        }
        self.missing = self.missing.saturating_sub(payload.len() as u64);
        if self.missing == 0 {
            self.finish(sink);
        }
    }

    #[inline]
    fn finish(&mut self, sink: &mut impl Sink) {
        if self.delivery_tag != 0 {
            sink.delivered(self.delivery_tag, self.stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::amqp091::frame::{
        encode_body, encode_content_header, encode_deliver, encode_heartbeat, encode_method,
    };
    use wire::amqp091::method::{BasicAck, BasicReturn};

    #[derive(Default, Debug, PartialEq)]
    struct Seen {
        delivered: Vec<(u64, u64)>,
        methods: Vec<&'static str>,
    }

    impl Sink for Seen {
        fn delivered(&mut self, delivery_tag: u64, stamp: u64) {
            self.delivered.push((delivery_tag, stamp));
        }

        fn method(&mut self, method: Method<'_>) -> Result<()> {
            self.methods.push(method.name());
            Ok(())
        }
    }

    fn deliver(out: &mut Vec<u8>, tag: u64, body: &[u8]) {
        encode_deliver(out, 1, "tag", tag, false, b"\0\x01k", &[0, 0], body, 4096);
    }

    fn said() -> Vec<u8> {
        let mut out = Vec::new();
        deliver(&mut out, 1, &7u64.to_le_bytes());
        encode_heartbeat(&mut out);
        deliver(&mut out, 2, b"");
        let ack = BasicAck {
            delivery_tag: 9,
            multiple: true,
        };
        encode_method(&mut out, 1, &Method::BasicAck(ack));
        encode_method(&mut out, 1, &Method::BasicReturn(BasicReturn::default()));
        encode_content_header(&mut out, 1, 60, 3, &[0, 0]);
        encode_body(&mut out, 1, b"abc", 4096);
        let mut long = 8u64.to_le_bytes().to_vec();
        long.resize(10_000, 0);
        deliver(&mut out, 3, &long);
        out
    }

    fn expected() -> Seen {
        Seen {
            delivered: vec![(1, 7), (2, 0), (3, 8)],
            methods: vec!["basic.ack", "basic.return"],
        }
    }

    #[test]
    fn deliveries_are_counted_and_the_rest_is_told() {
        let (said, mut seen) = (said(), Seen::default());
        let used = Scanner::default().scan(&said, &mut seen);
        assert_eq!(used.expect("it is well-formed"), said.len());
        assert_eq!(seen, expected());
    }

    #[test]
    fn cut_anywhere_it_counts_the_same() {
        let said = said();
        for cut in 0..said.len() {
            let (mut scanner, mut seen) = (Scanner::default(), Seen::default());
            let used = scanner.scan(&said[..cut], &mut seen).expect("a prefix");
            let rest = scanner.scan(&said[used..], &mut seen).expect("the rest");
            assert_eq!(used + rest, said.len());
            assert_eq!(seen, expected(), "cut at {cut}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [
            &[1, 0, 1, 0, 0, 0, 0, 0][..],
            &[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 60, 0xCE],
        ] {
            let scanned = Scanner::default().scan(bytes, &mut Seen::default());
            assert!(scanned.is_err(), "{bytes:?}");
        }
    }
}
