//! Frames: the envelope of everything that is sent (section 4.2.3).
//!
//! ```text
//! 0      1         3              7              7 + length
//! ┌──────┬─────────┬──────────────┬─────────────┬──────────┐
//! │ kind │ channel │ length (u32) │   payload   │ end 0xCE │
//! └──────┴─────────┴──────────────┴─────────────┴──────────┘
//! content header payload: class (u16), weight (u16, always 0), body bytes (u64), flags and properties
//! ```
//! Decoding is in place: a frame borrows from the buffer it was read into. Encoding appends to a buffer
//! that the caller keeps. Both are on every message's way, so neither allocates beyond that buffer.

use std::ops::Range;

use super::DecodeError;
use super::codec::{Reader, cut, length};
use super::method::Method;

/// Ends every frame.
pub const FRAME_END: u8 = 0xCE;

/// What a frame has besides its payload: kind, channel, length and end.
pub const FRAME_OVERHEAD_BYTES: usize = 8;

/// The smallest frame size that may be negotiated (`frame-min-size` of the specification).
pub const FRAME_BYTES_MIN: u32 = 4096;

/// By how much a frame may exceed what was negotiated: clients that forget the overhead are common, and
/// RabbitMQ takes their frames.
const FRAME_GRACE_BYTES: u64 = FRAME_OVERHEAD_BYTES as u64;

/// Kind, channel and length.
const FRAME_HEAD_BYTES: usize = 7;

/// Class, weight and body size, before the properties.
const CONTENT_HEADER_BYTES: usize = 12;

/// The longest body that is copied along with the last one's frames and then written over: a second piece to append
/// would cost more.
const BODY_COPIED_TWICE_BYTES_MAX: usize = 64;

/// What a frame carries.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A method: [`Method`].
    Method = 1,
    /// A content header: [`ContentHeader`].
    Header = 2,
    /// A piece of a body.
    Body = 3,
    /// A sign of life.
    Heartbeat = 8,
}

/// A whole frame, in the buffer it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// 0 is the connection itself.
    pub channel: u16,
    /// Without the envelope.
    pub payload: &'a [u8],
}

/// Why bytes are no frame. Each ends the connection with `FRAME_ERROR`: nobody knows where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that does not exist.
    #[error("unknown frame type {kind} on channel {channel}")]
    UnknownKind {
        /// The octet that came.
        kind: u8,
        /// Its channel.
        channel: u16,
    },
    /// More than was negotiated.
    #[error(
        "frame of type {kind} on channel {channel} too large: {payload_bytes} bytes of payload, {frame_bytes_max} of frame allowed"
    )]
    TooLarge {
        /// The octet that came, a known kind or not.
        kind: u8,
        /// Its channel.
        channel: u16,
        /// As the frame says.
        payload_bytes: u32,
        /// As negotiated, of a whole frame.
        frame_bytes_max: u32,
    },
    /// Something else stands where [`FRAME_END`] belongs.
    #[error("frame of type {kind} on channel {channel} ends with {end:#04x}")]
    BadEnd {
        /// The octet that came.
        kind: u8,
        /// Its channel.
        channel: u16,
        /// What stands there.
        end: u8,
    },
}

/// Takes a frame off the front of `input`. `None`: it is not whole yet. Else also the bytes that it took.
/// `frame_bytes_max` counts the whole frame; 0 is no limit, and like RabbitMQ 8 bytes more are let pass.
///
/// # Errors
/// As soon as the first 7 bytes show a frame that is too large or of an unknown kind, or its end is wrong.
#[inline]
pub fn decode_frame(
    input: &[u8],
    frame_bytes_max: u32,
) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((&[kind, c0, c1, l0, l1, l2, l3], rest)) =
        input.split_first_chunk::<FRAME_HEAD_BYTES>()
    else {
        return Ok(None);
    };
    let channel = u16::from_be_bytes([c0, c1]);
    let payload_bytes = u32::from_be_bytes([l0, l1, l2, l3]);
    let frame_bytes = u64::from(payload_bytes) + FRAME_OVERHEAD_BYTES as u64;
    if frame_bytes_max != 0 && u64::from(frame_bytes_max) + FRAME_GRACE_BYTES < frame_bytes {
        return Err(FrameError::TooLarge {
            kind,
            channel,
            payload_bytes,
            frame_bytes_max,
        });
    }
    let frame_kind = match kind {
        1 => FrameKind::Method,
        2 => FrameKind::Header,
        3 => FrameKind::Body,
        8 => FrameKind::Heartbeat,
        _ => return Err(FrameError::UnknownKind { kind, channel }),
    };
    let Some((payload, rest)) = rest.split_at_checked(payload_bytes as usize) else {
        return Ok(None);
    };
    match rest.first() {
        None => Ok(None),
        Some(&FRAME_END) => {
            let frame = Frame {
                kind: frame_kind,
                channel,
                payload,
            };
            Ok(Some((frame, FRAME_OVERHEAD_BYTES + payload.len())))
        }
        Some(&end) => Err(FrameError::BadEnd { kind, channel, end }),
    }
}

/// What a content header frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method before it: 60, `basic`.
    pub class: u16,
    /// How many bytes of body follow, in as many frames as it takes.
    pub body_bytes: u64,
    /// Flags and values, for [`Properties::validate`](super::properties::Properties::validate).
    pub properties: &'a [u8],
}

/// Reads a content header frame's payload.
///
/// # Errors
/// If it is too short, or its weight is not 0.
#[inline]
pub fn decode_content_header(payload: &[u8]) -> Result<ContentHeader<'_>, DecodeError> {
    let mut reader = Reader::new(payload);
    let class = reader.short()?;
    let weight = reader.short()?;
    if weight != 0 {
        return Err(DecodeError::WeightNotZero(weight));
    }
    let body_bytes = reader.long_long()?;
    Ok(ContentHeader {
        class,
        body_bytes,
        properties: reader.rest(),
    })
}

/// Appends a method in its frame.
pub fn encode_method(out: &mut Vec<u8>, channel: u16, method: &Method<'_>) {
    let start = out.len();
    out.extend_from_slice(&frame_head(FrameKind::Method, channel, 0));
    method.encode(out);
    let payload_bytes = length(out.len() - start - FRAME_HEAD_BYTES);
    if let Some(place) = out.get_mut(start + 3..start + FRAME_HEAD_BYTES) {
        place.copy_from_slice(&payload_bytes.to_be_bytes());
    }
    out.push(FRAME_END);
}

/// Appends a content header frame. `properties` are flags and values.
#[inline]
pub fn encode_content_header(
    out: &mut Vec<u8>,
    channel: u16,
    class: u16,
    body_bytes: u64,
    properties: &[u8],
) {
    let payload_bytes = length(CONTENT_HEADER_BYTES + properties.len());
    out.extend_from_slice(&frame_head(FrameKind::Header, channel, payload_bytes));
    let [a, b] = class.to_be_bytes();
    out.extend_from_slice(&[a, b, 0, 0]);
    out.extend_from_slice(&body_bytes.to_be_bytes());
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

/// Appends a body in as many frames as `frame_bytes_max` (0: no limit) makes of it; none for an empty body.
#[inline]
pub fn encode_body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_bytes_max: u32) {
    for piece in body.chunks(body_frame_payload_bytes(frame_bytes_max)) {
        encode_body_frame_head(out, channel, piece.len());
        out.extend_from_slice(piece);
        out.push(FRAME_END);
    }
}

/// Which parts of a body of so many bytes are in a frame each, when it is not copied: every part stands between an
/// [`encode_body_frame_head`] and a [`FRAME_END`].
pub fn body_frames(body_bytes: usize, frame_bytes_max: u32) -> impl Iterator<Item = Range<usize>> {
    let payload_bytes = body_frame_payload_bytes(frame_bytes_max);
    let starts = (0..body_bytes).step_by(payload_bytes);
    starts.map(move |start| start..body_bytes.min(start.saturating_add(payload_bytes)))
}

/// Appends what stands before the payload of a body frame.
#[inline]
pub fn encode_body_frame_head(out: &mut Vec<u8>, channel: u16, payload_bytes: usize) {
    out.extend_from_slice(&frame_head(FrameKind::Body, channel, length(payload_bytes)));
}

/// Appends a heartbeat.
pub fn encode_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&frame_head(FrameKind::Heartbeat, 0, 0));
    out.push(FRAME_END);
}

/// Appends all frames of a delivery. `address` is exchange and routing key, each as a short string, as a
/// message carries them; `properties` are flags and values.
#[expect(
    clippy::too_many_arguments,
    reason = "a struct of them would be built for one call a message"
)]
#[inline]
pub fn encode_deliver(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &str,
    delivery_tag: u64,
    redelivered: bool,
    address: &[u8],
    properties: &[u8],
    body: &[u8],
    frame_bytes_max: u32,
) {
    encode_deliver_head(
        out,
        channel,
        consumer_tag,
        delivery_tag,
        redelivered,
        address,
        properties,
        body.len(),
    );
    let frames = body
        .len()
        .div_ceil(body_frame_payload_bytes(frame_bytes_max));
    out.reserve(body.len() + frames * FRAME_OVERHEAD_BYTES);
    encode_body(out, channel, body, frame_bytes_max);
}

/// Appends the frames of a delivery that come before those of its body.
#[expect(clippy::too_many_arguments, reason = "as encode_deliver")]
#[inline]
pub fn encode_deliver_head(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &str,
    delivery_tag: u64,
    redelivered: bool,
    address: &[u8],
    properties: &[u8],
    body_bytes: usize,
) {
    let consumer_tag = cut(consumer_tag);
    // Class, method, consumer tag, delivery tag, redelivered, address.
    let method_bytes = 4 + 1 + consumer_tag.len() + 8 + 1 + address.len();
    let header_bytes = CONTENT_HEADER_BYTES + properties.len();
    out.reserve(method_bytes + header_bytes + 2 * FRAME_OVERHEAD_BYTES);

    let [kind, c0, c1, l0, l1, l2, l3] =
        frame_head(FrameKind::Method, channel, length(method_bytes));
    let tag_bytes = consumer_tag.len() as u8;
    out.extend_from_slice(&[kind, c0, c1, l0, l1, l2, l3, 0, 60, 0, 60, tag_bytes]);
    out.extend_from_slice(consumer_tag.as_bytes());
    let [t0, t1, t2, t3, t4, t5, t6, t7] = delivery_tag.to_be_bytes();
    out.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, u8::from(redelivered)]);
    out.extend_from_slice(address);
    out.push(FRAME_END);
    encode_content_header(out, channel, 60, body_bytes as u64, properties);
}

/// Appends all frames of a delivery that differs from the last one in `out` in its delivery tag and the bytes of its
/// body only: consumer, address, properties and lengths are the same, and the body is in one frame. `last_bytes` is how
/// long that one is.
#[inline]
pub fn encode_deliver_again(
    out: &mut Vec<u8>,
    last_bytes: usize,
    consumer_tag: &str,
    delivery_tag: u64,
    body: &[u8],
) {
    let start = out.len();
    let last = start.saturating_sub(last_bytes);
    let tag_at = start + FRAME_HEAD_BYTES + 4 + 1 + cut(consumer_tag).len();
    let body_at = start + last_bytes.saturating_sub(body.len() + 1);
    let short = body.len() <= BODY_COPIED_TWICE_BYTES_MAX;
    if short {
        out.extend_from_within(last..);
        if let Some(place) = out.get_mut(body_at..body_at + body.len()) {
            place.copy_from_slice(body);
        }
    } else {
        out.reserve(last_bytes);
        out.extend_from_within(last..(last + body_at - start).min(start));
    }
    // Class, method and the consumer tag's length stand before the tags.
    if let Some(place) = out.get_mut(tag_at..tag_at + 8) {
        place.copy_from_slice(&delivery_tag.to_be_bytes());
    }
    if !short {
        out.extend_from_slice(body);
        out.push(FRAME_END);
    }
}

/// Whether a body of so many bytes is in exactly one frame.
#[inline]
pub fn is_one_frame(body_bytes: usize, frame_bytes_max: u32) -> bool {
    0 < body_bytes && body_bytes <= body_frame_payload_bytes(frame_bytes_max)
}

/// How much of a body fits in a frame. At least a byte, so that a nonsensical limit cannot loop.
#[inline]
fn body_frame_payload_bytes(frame_bytes_max: u32) -> usize {
    let frame_bytes_max = if frame_bytes_max == 0 {
        u32::MAX
    } else {
        frame_bytes_max
    };
    (frame_bytes_max as usize)
        .saturating_sub(FRAME_OVERHEAD_BYTES)
        .max(1)
}

#[inline]
fn frame_head(kind: FrameKind, channel: u16, payload_bytes: u32) -> [u8; FRAME_HEAD_BYTES] {
    let [c0, c1] = channel.to_be_bytes();
    let [l0, l1, l2, l3] = payload_bytes.to_be_bytes();
    [kind as u8, c0, c1, l0, l1, l2, l3]
}
