//! Who waits for whom, and how long.

use std::task::{Context, Waker};

use super::*;

fn backlog(bytes: u64) -> Backlog {
    Backlog {
        ready: 0,
        ready_bytes: bytes,
        is_consumed: true,
    }
}

fn is_woken(mailbox: &Arc<Mailbox>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    mailbox.poll_signalled(&mut context).is_ready()
}

#[test]
fn publishers_wait_from_high_to_low() {
    let (mut flow, one, two) = (Flow::default(), Mailbox::new(), Mailbox::new());
    assert!(!flow.holds(backlog(BACKLOG_BYTES_HIGH), &one));
    assert!(flow.holds(backlog(BACKLOG_BYTES_HIGH + 1), &one));
    assert!(flow.holds(backlog(BACKLOG_BYTES_HIGH + 1), &one));
    assert!(flow.holds(backlog(BACKLOG_BYTES_HIGH + 1), &two));
    flow.follow(backlog(BACKLOG_BYTES_LOW + 1));
    assert!(flow.is_waiting(&one) && !is_woken(&one));
    flow.follow(backlog(BACKLOG_BYTES_LOW));
    assert!(!flow.is_waiting(&one) && is_woken(&one));
    assert!(!flow.is_waiting(&two) && is_woken(&two));
}

#[test]
fn small_messages_count_with_what_they_take() {
    let (mut flow, publisher) = (Flow::default(), Mailbox::new());
    let many = Backlog {
        ready: BACKLOG_BYTES_HIGH / MESSAGE_BYTES + 1,
        ..backlog(0)
    };
    assert!(flow.holds(many, &publisher));
}

#[test]
fn nobody_waits_for_a_queue_that_nobody_consumes() {
    let (mut flow, publisher) = (Flow::default(), Mailbox::new());
    let mut idle = backlog(u64::MAX / 2);
    idle.is_consumed = false;
    assert!(!flow.holds(idle, &publisher));
    assert!(flow.holds(backlog(u64::MAX / 2), &publisher));
    // The last consumer goes.
    flow.follow(idle);
    assert!(is_woken(&publisher));
}

#[test]
fn slow_consumers_are_waited_for_once() {
    let (mut flow, one, two) = (Flow::default(), Mailbox::new(), Mailbox::new());
    let long = backlog(BACKLOG_BYTES_HIGH + 1);
    assert!(flow.holds(long, &one) && flow.holds(long, &two));
    flow.give_up();
    assert!(is_woken(&one) && is_woken(&two));
    assert!(!flow.holds(long, &one));
    flow.follow(backlog(BACKLOG_BYTES_LOW + 1));
    assert!(!flow.holds(long, &one));
    flow.follow(backlog(BACKLOG_BYTES_LOW));
    assert!(flow.holds(long, &one));
}
