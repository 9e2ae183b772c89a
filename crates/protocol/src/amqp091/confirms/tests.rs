//! Confirms against a list of what was published and refused.

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
            confirms.answer_all(7, &mut out);
            answers(&out, &mut answered);
            prop_assert_eq!(&answered, &expected);
            prop_assert_eq!(confirms.pending(), 0);
            out.clear();
            confirms.answer_all(7, &mut out);
            prop_assert!(out.is_empty(), "said twice");
        }
    }
}
