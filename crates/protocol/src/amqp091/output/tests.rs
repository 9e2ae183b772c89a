//! Output against a queue of bytes, each with the ticket that it waits for.

use proptest::prelude::*;
use wire::amqp091::properties::Properties;

use super::*;

fn append(output: &mut Output, text: &str) {
    output.buffer().extend_from_slice(text.as_bytes());
}

#[test]
fn a_barrier_holds_back_what_follows() {
    let mut output = Output::default();
    append(&mut output, "free");
    output.hold_until(Ticket(2));
    append(&mut output, "held");
    output.hold_until(Ticket(1));
    append(&mut output, "+");
    assert_eq!(output.writable(Ticket(1).into()), b"free");
    output.advance(4);
    assert_eq!(output.writable(Ticket(1).into()), b"");
    assert_eq!(output.writable(Ticket(2).into()), b"held+");
    output.advance(5);
    assert!(output.is_empty());
}

/// The first of several may be kept before anybody asked what to wait for. Then the second is to be waited for.
#[test]
fn what_is_kept_already_is_not_waited_for() {
    let mut output = Output::default();
    for ticket in 1..=2 {
        output.hold_until(Ticket(ticket));
        append(&mut output, "held");
    }
    assert_eq!(output.awaited(Ticket(0).into()), Some(Ticket(1).into()));
    assert_eq!(output.awaited(Ticket(1).into()), Some(Ticket(2).into()));
    assert_eq!(output.awaited(Ticket(2).into()), None);
    assert_eq!(output.writable(Ticket(2).into()), b"heldheld");
}

#[test]
fn what_is_held_can_be_dropped() {
    let mut output = Output::default();
    append(&mut output, "free");
    output.hold_until(Ticket(2));
    append(&mut output, "held");
    output.drop_held();
    append(&mut output, "!");
    assert_eq!(output.writable(Ticket(0).into()), b"free!");
}

#[test]
fn a_barrier_waits_for_catalog_and_log_alike() {
    let mut output = Output::default();
    output.hold_until(LogPosition(5));
    append(&mut output, "a");
    output.hold_until(Ticket(1));
    append(&mut output, "b");
    let durable = |ticket, position| Promise {
        ticket: Ticket(ticket),
        position: LogPosition(position),
    };
    assert_eq!(output.writable(durable(1, 4)), b"");
    assert_eq!(output.writable(durable(0, 5)), b"a");
    assert_eq!(output.writable(durable(0, 9)), b"a");
    assert_eq!(output.writable(durable(1, 5)), b"ab");
}

fn body_of(bytes: Vec<u8>) -> Message {
    let properties = Properties::validate(&[0, 0]).expect("there are none");
    Message::new("", "q", &properties, None, &bytes, &mut Vec::new())
}

/// All that is writable, piece by piece, with room for so many pieces at once.
fn gathered(output: &mut Output, durable: Promise, room: usize) -> Vec<u8> {
    let mut pieces = vec![IoSlice::new(&[]); room];
    let count = output.writable_pieces(durable, &mut pieces);
    pieces[..count]
        .iter()
        .flat_map(|piece| piece.iter().copied())
        .collect()
}

#[test]
fn a_body_is_written_from_where_it_is_even_in_parts() {
    let message = body_of(b"0123456789".to_vec());
    for step in 1..=16 {
        let mut output = Output::default();
        append(&mut output, "head");
        output.push_body(&message, 0..6);
        append(&mut output, "E");
        append(&mut output, "head");
        output.push_body(&message, 6..10);
        append(&mut output, "E");
        let mut written = Vec::new();
        assert_eq!(output.len(), 20);
        while !output.is_empty() {
            let all = gathered(&mut output, Promise::NONE, 2);
            let first = output.writable(Promise::NONE);
            assert!(!first.is_empty() && all.starts_with(first));
            let count = all.len().min(step);
            written.extend_from_slice(&all[..count]);
            output.advance(count);
            assert_eq!(output.len(), 20 - written.len());
        }
        assert_eq!(written, b"head012345Ehead6789E");
        assert!(!output.is_in_pieces());
    }
}

#[test]
fn a_body_behind_a_barrier_is_held_and_dropped_with_it() {
    let message = body_of(b"body".to_vec());
    let mut output = Output::default();
    append(&mut output, "a");
    output.push_body(&message, 0..4);
    append(&mut output, "E");
    output.hold_until(Ticket(2));
    append(&mut output, "b");
    output.push_body(&message, 0..4);
    append(&mut output, "E");
    assert_eq!(gathered(&mut output, Promise::NONE, 9), b"abodyE");
    assert_eq!(gathered(&mut output, Ticket(2).into(), 0), b"");
    output.hold_until(Ticket(3));
    append(&mut output, "c");
    output.drop_held();
    assert_eq!(output.len(), 12);
    output.advance(12);
    output.hold_until(Ticket(4));
    append(&mut output, "d");
    output.push_body(&message, 0..4);
    append(&mut output, "E");
    output.drop_held();
    assert!(output.is_empty() && !output.is_in_pieces());
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    /// The part of a body that stays where it is, with a byte before it and behind it.
    Body(usize),
    /// Waits for a ticket this far above those that are durable.
    Hold(u64),
    /// So many more tickets are durable.
    Durable(u64),
    /// The socket takes at most this much.
    Write(usize),
    DropHeld,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..50_000_usize).prop_map(Step::Append),
        4 => (0..50_000_usize).prop_map(Step::Body),
        2 => (0..5_u64).prop_map(Step::Hold),
        2 => (0..4_u64).prop_map(Step::Durable),
        6 => (0..80_000_usize).prop_map(Step::Write),
        1 => Just(Step::DropHeld),
    ];
    prop::collection::vec(step, 0..80)
}

/// Bytes by the ticket that they wait for, and what was written.
#[derive(Default)]
struct Model {
    waiting: VecDeque<(u8, Ticket)>,
    last: Ticket,
}

impl Model {
    /// So many more bytes, which are returned.
    fn append(&mut self, byte: &mut u8, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        for _ in 0..count {
            *byte = byte.wrapping_mul(31).wrapping_add(7);
            bytes.push(*byte);
            self.waiting.push_back((*byte, self.last));
        }
        bytes
    }

    fn writable(&self, durable: Ticket) -> Vec<u8> {
        let free = self.waiting.iter();
        let free = free.take_while(|(_, ticket)| *ticket <= durable);
        free.map(|(byte, _)| *byte).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn output_is_a_queue_of_bytes_with_tickets(steps in steps()) {
        let (mut real, mut model) = (Output::default(), Model::default());
        let mut durable = Ticket(0);
        let mut byte = 0_u8;
        for step in steps {
            match step {
                Step::Append(count) => {
                    let bytes = model.append(&mut byte, count);
                    real.buffer().extend_from_slice(&bytes);
                }
                Step::Body(count) => {
                    let bytes = model.append(&mut byte, count + 2);
                    real.buffer().push(bytes[0]);
                    real.push_body(&body_of(bytes.clone()), 1..count + 1);
                    real.buffer().push(bytes[count + 1]);
                }
                Step::Hold(above) => {
                    let ticket = Ticket(durable.0 + above);
                    real.hold_until(ticket);
                    model.last = model.last.max(ticket);
                }
                Step::Durable(more) => durable = Ticket(durable.0 + more),
                Step::Write(most) => {
                    // As many pieces as come; a socket that knows none takes the first.
                    let pieces = gathered(&mut real, durable.into(), 1 + most % 5);
                    prop_assert!(pieces.starts_with(real.writable(durable.into())));
                    let count = pieces.len().min(most);
                    prop_assert_eq!(&pieces[..count], &model.writable(durable)[..count]);
                    real.advance(count);
                    model.waiting.drain(..count);
                }
                Step::DropHeld => {
                    // As its caller does: what is durable is let go first.
                    let _ = real.writable(durable.into());
                    real.drop_held();
                    let free = model.writable(durable).len();
                    model.waiting.truncate(free);
                    model.last = durable;
                }
            }
            prop_assert_eq!(real.len(), model.waiting.len());
            prop_assert_eq!(real.is_empty(), model.waiting.is_empty());
            prop_assert_eq!(gathered(&mut real, durable.into(), 1000), model.writable(durable));
        }
    }
}

#[test]
fn what_is_written_is_not_kept_for_long() {
    let mut output = Output::default();
    for _ in 0..10_000 {
        output.buffer().extend_from_slice(&[1; 1000]);
        // One byte is always left.
        let count = output.writable(Ticket(0).into()).len() - 1;
        output.advance(count);
        assert!(output.buffer().len() < 1024 * 1024);
    }
}
