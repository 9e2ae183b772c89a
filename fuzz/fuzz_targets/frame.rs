//! A connection's bytes: frames, and in them methods and content headers.
//!
//! Checked: nothing panics, every frame takes bytes, and what decodes comes back from its encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::amqp091::frame::{FRAME_BYTES_MIN, FrameKind, decode_content_header, decode_frame};
use wire::amqp091::method::Method;
use wire::amqp091::properties::Properties;

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    while let Ok(Some((frame, took))) = decode_frame(rest, FRAME_BYTES_MIN) {
        assert!(took <= rest.len());
        assert_eq!(took, frame.payload.len() + 8);
        rest = &rest[took..];
        match frame.kind {
            FrameKind::Method => {
                if let Ok(method) = Method::decode(frame.payload) {
                    let mut out = Vec::new();
                    method.encode(&mut out);
                    assert_eq!(Method::decode(&out), Ok(method));
                }
            }
            FrameKind::Header => {
                if let Ok(header) = decode_content_header(frame.payload) {
                    let _ = Properties::validate(header.properties);
                }
            }
            FrameKind::Body | FrameKind::Heartbeat => {}
        }
    }
});
