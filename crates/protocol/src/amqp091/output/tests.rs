//! Output against a queue of bytes, each with the ticket that it waits for.

use proptest::prelude::*;

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

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
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
                    for _ in 0..count {
                        byte = byte.wrapping_mul(31).wrapping_add(7);
                        real.buffer().push(byte);
                        model.waiting.push_back((byte, model.last));
                    }
                }
                Step::Hold(above) => {
                    let ticket = Ticket(durable.0 + above);
                    real.hold_until(ticket);
                    model.last = model.last.max(ticket);
                }
                Step::Durable(more) => durable = Ticket(durable.0 + more),
                Step::Write(most) => {
                    let count = real.writable(durable.into()).len().min(most);
                    prop_assert_eq!(&real.writable(durable.into())[..count], &model.writable(durable)[..count]);
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
            prop_assert_eq!(real.writable(durable.into()), model.writable(durable));
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
