//! Publishes, encoded before the clock starts and written over and over.
//!
//! ```text
//! ┌─────────┬─────────┬─────────┬───┬─────────┐
//! │ publish │ publish │ publish │...│ publish │ then the first again
//! └─────────┴─────────┴─────────┴───┴─────────┘
//!           └ method, header, body; the body's first 8 bytes are the stamp
//! ```
//! A ring holds whole turns of all routing keys and sizes, and enough messages that one write is worth its
//! system call.

use std::ops::Range;

use wire::amqp091::frame::{
    FRAME_OVERHEAD_BYTES, encode_body, encode_content_header, encode_method,
};
use wire::amqp091::method::{BasicPublish, Method};
use wire::amqp091::properties::PropertiesBuf;

use crate::sizes::Sizes;

/// A ring has this many bytes if it can, so that writes are large.
const RING_BYTES: usize = 256 * 1024;

/// All rings together should not have more than this; one has a page at least.
const RINGS_BYTES: usize = 32 * 1024 * 1024;

/// A ring grows no larger than this for the sake of more keys and sizes.
const RING_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What is written at once, but for a message that is longer.
const BLOCK_BYTES_MAX: usize = 128 * 1024;

/// The smallest body that carries a stamp.
pub(crate) const STAMP_BYTES: usize = 8;

/// What is published.
#[derive(Debug, Clone)]
pub(crate) struct Publishes {
    pub(crate) exchange: String,
    /// Taken in turn; at least one.
    pub(crate) routing_keys: Vec<String>,
    pub(crate) sizes: Sizes,
    pub(crate) persistent: bool,
    pub(crate) mandatory: bool,
    /// How many rings there will be.
    pub(crate) rings: usize,
}

/// Where a message stands in the ring.
#[derive(Debug, Clone, Copy)]
struct Place {
    end: usize,
    /// Where its stamp goes; 0 if it has none.
    stamp_at: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// The next message to be written.
    next: usize,
    /// Where it begins.
    at: usize,
}

impl Ring {
    /// Encodes `publishes` for channel 1.
    pub(crate) fn new(publishes: &Publishes, frame_bytes_max: u32) -> Ring {
        let mut properties = PropertiesBuf::default();
        if publishes.persistent {
            properties.delivery_mode = Some(2);
        }
        let properties = properties.encode();
        let keys = &publishes.routing_keys;
        // Whole turns of the keys, as many as it takes to draw enough sizes.
        let turn = keys.len() * publishes.sizes.period().div_ceil(keys.len());
        let ring_bytes = (RINGS_BYTES / publishes.rings.max(1)).clamp(4096, RING_BYTES);
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        let mut body = Vec::new();
        while bytes.len() < RING_BYTES_MAX && (bytes.len() < ring_bytes || places.len() % turn != 0)
        {
            let index = places.len();
            body.resize(publishes.sizes.draw(index as u64) as usize, b'x');
            let publish = BasicPublish {
                exchange: &publishes.exchange,
                routing_key: &keys[index % keys.len()],
                mandatory: publishes.mandatory,
                immediate: false,
            };
            encode_method(&mut bytes, 1, &Method::BasicPublish(publish));
            encode_content_header(&mut bytes, 1, 60, body.len() as u64, &properties);
            let stamp_at = match body.len() {
                0..STAMP_BYTES => 0,
                _ => bytes.len() + FRAME_OVERHEAD_BYTES - 1,
            };
            encode_body(&mut bytes, 1, &body, frame_bytes_max);
            places.push(Place {
                end: bytes.len(),
                stamp_at,
            });
        }
        Ring {
            bytes,
            places,
            next: 0,
            at: 0,
        }
    }

    /// Takes up to `count` messages (at least 1) that can be written at once, stamps each with what `stamp` says
    /// of its number in this block. Says how many they are and where they lie.
    pub(crate) fn take(
        &mut self,
        count: u64,
        mut stamp: impl FnMut(u64) -> u64,
    ) -> (u64, Range<usize>) {
        let start = self.at;
        let mut taken = 0;
        while taken < count && self.next < self.places.len() {
            let place = self.places[self.next];
            if 0 < taken && BLOCK_BYTES_MAX < place.end - start {
                break;
            }
            if place.stamp_at != 0 {
                let stamp = stamp(taken).to_le_bytes();
                self.bytes[place.stamp_at..place.stamp_at + STAMP_BYTES].copy_from_slice(&stamp);
            }
            self.next += 1;
            self.at = place.end;
            taken += 1;
        }
        let range = start..self.at;
        if self.next == self.places.len() {
            (self.next, self.at) = (0, 0);
        }
        (taken, range)
    }

    /// The bytes of what was taken.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::amqp091::frame::{FrameKind, decode_frame};

    fn ring(keys: &[&str], sizes: &str) -> Ring {
        let publishes = Publishes {
            exchange: "e".into(),
            routing_keys: keys.iter().map(|key| key.to_string()).collect(),
            sizes: sizes.parse().expect("sizes"),
            persistent: true,
            mandatory: false,
            rings: 1,
        };
        Ring::new(&publishes, 4096)
    }

    /// Routing keys and stamps of the publishes in `bytes`.
    fn read(mut bytes: &[u8]) -> Vec<(String, u64)> {
        let mut read = Vec::new();
        let mut key = String::new();
        while let Some((frame, used)) = decode_frame(bytes, 0).expect("frames") {
            match frame.kind {
                FrameKind::Method => {
                    let method = Method::decode(frame.payload).expect("a method");
                    let Method::BasicPublish(publish) = method else {
                        panic!("{method:?}");
                    };
                    assert_eq!(publish.exchange, "e");
                    key = publish.routing_key.to_owned();
                }
                FrameKind::Body => {
                    let stamp = frame.payload.first_chunk().expect("8 bytes");
                    read.push((key.clone(), u64::from_le_bytes(*stamp)));
                }
                _ => {}
            }
            bytes = &bytes[used..];
        }
        assert!(bytes.is_empty(), "whole frames");
        read
    }

    #[test]
    fn keys_go_round_and_stamps_are_set() {
        let mut ring = ring(&["a", "b", "c"], "16");
        let (taken, range) = ring.take(4, |number| 100 + number);
        assert_eq!(taken, 4);
        let seen = read(ring.bytes(range));
        let seen: Vec<(&str, u64)> = seen.iter().map(|(key, s)| (key.as_str(), *s)).collect();
        assert_eq!(seen, [("a", 100), ("b", 101), ("c", 102), ("a", 103)]);
    }

    #[test]
    fn a_ring_ends_with_a_whole_turn_and_begins_again() {
        let mut ring = ring(&["a", "b", "c"], "16");
        let len = ring.places.len();
        assert_eq!(len % 3, 0);
        assert!(RING_BYTES <= ring.bytes.len());
        let mut left = len as u64;
        while 0 < left {
            let (taken, range) = ring.take(left, |_| 0);
            assert!(0 < taken && range.len() <= BLOCK_BYTES_MAX);
            left -= taken;
        }
        let (_, range) = ring.take(1, |_| 0);
        assert_eq!(range.start, 0);
    }

    #[test]
    fn a_long_body_is_written_alone() {
        let mut ring = ring(&["a"], "300000");
        let (taken, range) = ring.take(10, |_| 5);
        assert_eq!(taken, 1);
        assert!(300_000 < range.len());
    }
}
