//! A message as the bytes of a log record, and back: docs/formats/message.md.
//!
//! Eight bytes of head, then the message's own bytes as they are in memory: nothing is encoded anew. Deliberately
//! absent: whose it is and when it expires, which the log's record says itself.

use broker::message::{Message, Origin, StoredForm};

/// The version of the form below.
const VERSION: u8 = 1;
/// Length of the head.
pub(super) const HEAD_BYTES: usize = 8;

/// The bytes that go before those of the message.
pub(super) fn head(origin: Origin, form: StoredForm) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[0] = VERSION;
    head[1] = origin.to_u8();
    // Two short strings are 512 bytes at most.
    head[2..4].copy_from_slice(&(form.address_end as u16).to_le_bytes());
    head[4..].copy_from_slice(&form.properties_end.to_le_bytes());
    head
}

/// The message of a record. `None` if its bytes are no message: written by a later version, or not by us.
pub(super) fn message(payload: &[u8]) -> Option<Message> {
    let (head, bytes) = payload.split_first_chunk::<HEAD_BYTES>()?;
    let [VERSION, origin, a0, a1, p0, p1, p2, p3] = *head else {
        return None;
    };
    let form = StoredForm {
        address_end: u32::from(u16::from_le_bytes([a0, a1])),
        properties_end: u32::from_le_bytes([p0, p1, p2, p3]),
    };
    Message::from_stored(Origin::from_u8(origin)?, form, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::amqp091::properties::Properties;

    fn stored(message: &Message) -> Vec<u8> {
        let (form, bytes) = message.stored();
        [&head(message.origin(), form)[..], bytes].concat()
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        // delivery-mode 2, priority 7, expiration "60000"
        let raw = [0x19, 0x00, 2, 7, 5, b'6', b'0', b'0', b'0', b'0'];
        let properties = Properties::validate(&raw).expect("well-formed");
        for origin in [
            Origin::Published,
            Origin::DeadLetter,
            Origin::DeadLetterRerouted,
        ] {
            for (exchange, key, body) in [("", "", &b""[..]), ("x", "kä", b"body")] {
                let mut scratch = Vec::new();
                let before =
                    Message::new(exchange, key, &properties, Some(60000), body, &mut scratch)
                        .with_origin(origin);
                let after = message(&stored(&before)).expect("it is whole");
                assert_eq!(after.exchange(), exchange);
                assert_eq!(after.routing_key(), key);
                assert_eq!(after.properties(), raw);
                assert_eq!(after.body(), body);
                assert_eq!(after.origin(), origin);
                assert_eq!(after.expiration_ms(), Some(60000));
                assert_eq!(after.priority(), Some(7));
                assert!(after.persistent());
            }
        }
    }

    #[test]
    fn what_is_cut_or_strange_is_no_message_and_no_panic() {
        let properties = Properties::validate(&[0, 0]).expect("well-formed");
        let whole = stored(&Message::new(
            "x",
            "key",
            &properties,
            None,
            b"",
            &mut Vec::new(),
        ));
        for end in 0..whole.len() {
            assert!(message(&whole[..end]).is_none(), "{end}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 2, 3, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                if let Some(message) = message(&changed) {
                    let _ = (message.exchange(), message.routing_key(), message.body());
                }
            }
        }
    }
}
