//! Confirms against a list of what was published and refused.

use broker::message::LogPosition;
use proptest::prelude::*;
use wire::amqp091::frame::decode_frame;

use super::*;

/// How each publish was answered, by number: `Some(true)` is an ack.
fn answers(mut bytes: &[u8], answered: &mut Vec<bool>) {
    while let Some((frame, count)) = decode_frame(bytes, u32::MAX).expect("a frame of ours") {
        bytes = &bytes[count..];
        assert_eq!(frame.channel, 7);
        match Method::decode(frame.payload).expect("a method of ours") {
            Method::BasicAck(ack) => {
                let from = answered.len() as u64;
                assert!(
                    from < ack.delivery_tag,
                    "{} was answered before",
                    ack.delivery_tag
                );
                assert_eq!(ack.multiple, ack.delivery_tag - from > 1);
                answered.resize(ack.delivery_tag as usize, true);
            }
            Method::BasicNack(nack) => {
                assert_eq!(nack.delivery_tag, answered.len() as u64 + 1);
                assert!(!nack.multiple && !nack.requeue);
                answered.push(false);
            }
            method => panic!("{method:?}"),
        }
    }
}

proptest! {
    /// Batches of publishes; a number is refused as often as it has queues that refuse it, in any order.
    #[test]
    fn every_number_is_answered_once_and_rightly(
        batches in prop::collection::vec(prop::collection::vec(0..4_u8, 0..30), 0..10),
        backwards in any::<bool>(),
    ) {
        let mut confirms = Confirms::default();
        let (mut expected, mut answered) = (Vec::new(), Vec::new());
        for batch in batches {
            let mut refused = Vec::new();
            for kind in batch {
                let number = confirms.next();
                // 0 and 1 are accepted; 2 is refused by one queue, 3 by two.
                expected.push(kind < 2);
                prop_assert_eq!(number, expected.len() as u64);
                refused.extend((1..kind).map(|_| number));
            }
            if backwards {
                refused.reverse();
            }
            for number in refused {
                confirms.reject(number);
            }
            prop_assert_eq!(confirms.pending(), (expected.len() - answered.len()) as u64);
            let mut out = Vec::new();
            confirms.promise(Promise::NONE);
            confirms.answer(Promise::NONE, 7, &mut out);
            answers(&out, &mut answered);
            prop_assert_eq!(&answered, &expected);
            prop_assert_eq!(confirms.pending(), 0);
            out.clear();
            confirms.answer(Promise::NONE, 7, &mut out);
            prop_assert!(out.is_empty(), "said twice");
        }
    }
}

/// Publishes so many, of which the log has the last at `position`.
fn publish(confirms: &mut Confirms, count: u64, position: u64) {
    for _ in 0..count {
        confirms.next();
    }
    confirms.promise(LogPosition(position).into());
}

fn answered(confirms: &mut Confirms, durable: u64) -> Vec<bool> {
    let mut out = Vec::new();
    confirms.answer(LogPosition(durable).into(), 7, &mut out);
    let mut rest = &out[..];
    let mut said = Vec::new();
    while let Some((frame, bytes)) = decode_frame(rest, u32::MAX).expect("a frame of ours") {
        rest = &rest[bytes..];
        let method = Method::decode(frame.payload).expect("a method of ours");
        said.push(matches!(method, Method::BasicAck(_)));
    }
    said
}

#[test]
fn nothing_is_said_before_the_log_has_it() {
    let mut confirms = Confirms::default();
    publish(&mut confirms, 3, 10);
    publish(&mut confirms, 1, 0);
    publish(&mut confirms, 2, 20);
    confirms.reject(5);
    assert!(answered(&mut confirms, 9).is_empty());
    assert_eq!(confirms.pending(), 6);
    // One ack for the three and for what waited behind them.
    assert_eq!(answered(&mut confirms, 19), [true]);
    assert_eq!(confirms.pending(), 2);
    assert_eq!(answered(&mut confirms, 20), [false, true]);
    assert_eq!(confirms.pending(), 0);
}

#[test]
fn what_the_log_will_never_have_is_refused() {
    let mut confirms = Confirms::default();
    publish(&mut confirms, 2, 10);
    publish(&mut confirms, 2, 20);
    let mut out = Vec::new();
    confirms.refuse_waiting(LogPosition(10).into(), 7, &mut out);
    let mut said = Vec::new();
    answers(&out, &mut said);
    assert_eq!(said, [true, true, false, false]);
    assert_eq!(confirms.pending(), 0);
}
