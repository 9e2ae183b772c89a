//! One rule a test. The words of the scripts: see `script`.

use super::super::*;
use super::script::{check, message};
use crate::message::LogPosition;

fn classic() -> QueueOptions {
    QueueOptions {
        dead_letter_exchange: Some("dlx".into()),
        ..QueueOptions::default()
    }
}

fn quorum() -> QueueOptions {
    QueueOptions {
        kind: QueueKind::Quorum,
        delivery_limit: Some(2),
        ..classic()
    }
}

#[test]
fn messages_come_out_in_the_order_of_arrival() {
    check(
        classic(),
        "publish a b
         publish c
         consume 1   | 1:a 1:b 1:c
         ack b a     | -b -a
         len         | ready=0 unacked=1",
    );
}

#[test]
fn a_waiting_no_ack_consumer_is_delivered_to_at_once() {
    check(
        classic(),
        "consume 1 no-ack
         publish a b | 1:a 1:b -a -b
         len         | ready=0 unacked=0",
    );
}

#[test]
fn requeued_messages_go_back_to_their_place() {
    check(
        classic(),
        "publish a b c d
         consume 1 prefetch=3 | 1:a 1:b 1:c
         cancel 1
         requeue c a          |
         requeue b
         consume 2            | 2:a* 2:b* 2:c* 2:d",
    );
}

#[test]
fn a_requeued_message_goes_to_whoever_has_credit() {
    check(
        classic(),
        "consume 1 prefetch=1
         publish a b  | 1:a
         requeue a    | 1:a*
         consume 2    | 2:b",
    );
}

#[test]
fn consumers_take_turns_message_by_message() {
    check(
        classic(),
        "consume 1
         consume 2
         consume 3 prefetch=1
         publish a b c d e f g | 1:a 2:b 3:c 1:d 2:e 1:f 2:g
         ack c                 | -c
         publish h i j         | 1:h 2:i 3:j",
    );
}

#[test]
fn consumers_of_higher_priority_go_first_while_they_have_credit() {
    check(
        classic(),
        "consume 1
         consume 2 pri=10 prefetch=2
         consume 3 pri=10 prefetch=1
         publish a b c d e | 2:a 3:b 2:c 1:d 1:e
         ack a             | -a
         publish f g       | 2:f 1:g",
    );
}

#[test]
fn prefetch_limits_what_a_consumer_holds() {
    check(
        classic(),
        "publish a b c
         consume 1 prefetch=2 | 1:a 1:b
         ack a                | 1:c -a
         ack a                |
         ack b c              | -b -c",
    );
}

#[test]
fn prefetch_means_nothing_without_acknowledgements() {
    check(
        classic(),
        "publish a b c
         consume 1 prefetch=1 no-ack shared | 1:a 1:b 1:c -a -b -c",
    );
}

#[test]
fn shared_prefetch_asks_the_gate_and_waits_to_be_resumed() {
    check(
        classic(),
        "gate 2
         consume 1 shared
         publish a b c | 1:a 1:b
         consume 2     | 2:c
         gate 1
         publish d     | 2:d
         resume 1
         publish e f   | 2:e 1:f",
    );
}

#[test]
fn a_consumer_that_does_not_read_leaves_messages_in_the_queue() {
    check(
        classic(),
        "consume 1
         publish a/size=150000 b/size=150000 c/size=10 | 1:a 1:b
         ack a b | -a -b
         len     | ready=1 unacked=0
         window 1 | 1:c",
    );
}

#[test]
fn a_settlement_of_the_past_does_not_touch_the_present() {
    let mut queue = Queue::new(classic(), 0);
    let mut effects = Effects::default();
    let options = ConsumerOptions::new(ConsumerId(1));
    queue
        .add_consumer(0, options, &mut OpenGate, &mut effects)
        .expect("not in use");
    let incoming = Incoming::new(super::script::message("a", None, None, 1), LogPosition(7));
    queue.publish(0, [incoming], &mut OpenGate, &mut effects);
    let first = effects.deliveries[0].id;
    let requeue = Settlement::Requeue { counted: false };
    queue.settle(0, &[first], requeue, &mut OpenGate, &mut effects);
    let second = effects.deliveries[1].id;
    assert_eq!(first.slot, second.slot);
    queue.settle(
        0,
        &[first, DeliveryId::NONE],
        Settlement::Ack,
        &mut OpenGate,
        &mut effects,
    );
    assert_eq!((queue.unacked_len(), queue.stale_settlements()), (1, 2));
    queue.settle(0, &[second], Settlement::Ack, &mut OpenGate, &mut effects);
    assert_eq!(effects.released, [LogPosition(7)]);
}

#[test]
fn refused_messages_become_dead_letters() {
    check(
        classic(),
        "publish a b
         consume 1 | 1:a 1:b
         reject b  | b!rejected
         reject b  |
         ack a     | -a",
    );
}

#[test]
fn without_a_dead_letter_exchange_the_dead_are_released() {
    check(
        QueueOptions {
            length_max: Some(1),
            ..QueueOptions::default()
        },
        "publish a b/ttl=5 | -a
         at 5              | -b
         publish c
         consume 1         | 1:c
         reject c          | -c",
    );
}

#[test]
fn the_ttl_of_a_queue_expires_messages_in_order() {
    check(
        QueueOptions {
            message_ttl_ms: Some(10),
            ..classic()
        },
        "publish a
         at 3
         publish b
         at 9
         at 10    | a!expired
         at 12
         at 13    | b!expired",
    );
}

#[test]
fn a_message_expires_wherever_it_stands() {
    check(
        classic(),
        "publish a b/ttl=20 c/ttl=10 d/ttl=10 e
         at 10     | c!expired d!expired
         at 20     | b!expired
         consume 1 | 1:a 1:e",
    );
}

#[test]
fn the_lower_of_both_ttls_wins() {
    check(
        QueueOptions {
            message_ttl_ms: Some(10),
            ..classic()
        },
        "publish a/ttl=30 b/ttl=5
         at 5  | b!expired
         at 10 | a!expired",
    );
}

#[test]
fn ttl_zero_is_delivered_at_once_or_never() {
    check(
        classic(),
        "publish a/ttl=0 | a!expired
         consume 1 prefetch=1
         publish b/ttl=0 c/ttl=0 | 1:b c!expired",
    );
}

#[test]
fn what_is_due_is_not_delivered() {
    check(
        QueueOptions {
            message_ttl_ms: Some(10),
            ..classic()
        },
        "publish a
         at 5
         publish b
         at 9",
    );
    let mut queue = Queue::new(
        QueueOptions {
            message_ttl_ms: Some(10),
            ..classic()
        },
        0,
    );
    let mut effects = Effects::default();
    let message = super::script::message("a", None, None, 1);
    queue.publish(
        0,
        [Incoming::new(message, LogPosition::NONE)],
        &mut OpenGate,
        &mut effects,
    );
    assert!(queue.get(10, true, &mut effects).is_none());
    assert_eq!(effects.dead.len(), 1);
}

#[test]
fn unacked_messages_do_not_expire_until_they_come_back() {
    check(
        classic(),
        "publish a/ttl=10 b
         consume 1 prefetch=1 | 1:a
         at 50
         requeue a            | 1:b a!expired",
    );
}

#[test]
fn a_requeued_message_keeps_its_deadline() {
    check(
        classic(),
        "publish a/ttl=10
         at 4
         get        | get:a
         requeue a
         at 9
         at 10      | a!expired",
    );
}

#[test]
fn expiry_is_bounded_work() {
    let mut queue = Queue::new(
        QueueOptions {
            message_ttl_ms: Some(10),
            ..classic()
        },
        0,
    );
    let mut effects = Effects::default();
    let message = super::script::message("a", None, None, 1);
    let batch = vec![Incoming::new(message, LogPosition::NONE); WORK_PER_CALL_MAX + 1];
    queue.publish(0, batch, &mut OpenGate, &mut effects);
    queue.handle_timeout(10, &mut OpenGate, &mut effects);
    assert_eq!(effects.dead.len(), WORK_PER_CALL_MAX);
    assert_eq!(queue.poll_timeout(), Some(10));
    queue.handle_timeout(10, &mut OpenGate, &mut effects);
    assert_eq!(effects.dead.len(), WORK_PER_CALL_MAX + 1);
    queue.handle_timeout(10, &mut OpenGate, &mut effects);
    assert_eq!(queue.poll_timeout(), None);
}

#[test]
fn a_full_queue_drops_its_head() {
    check(
        QueueOptions {
            length_max: Some(2),
            ..classic()
        },
        "publish a b c           | a!maxlen
         consume 1 prefetch=1    | 1:b
         publish d               |
         publish e               | c!maxlen
         requeue b               | 1:d b!maxlen
         len                     | ready=1 unacked=1",
    );
}

#[test]
fn bytes_are_those_of_bodies() {
    check(
        QueueOptions {
            bytes_max: Some(10),
            ..classic()
        },
        "publish a/size=4 b/size=6
         publish c/size=1  | a!maxlen
         publish d/size=11 | b!maxlen c!maxlen d!maxlen",
    );
}

#[test]
fn a_length_of_zero_delivers_to_a_waiting_consumer() {
    check(
        QueueOptions {
            length_max: Some(0),
            ..classic()
        },
        "publish a | a!maxlen
         consume 1 prefetch=1
         publish b c | 1:b c!maxlen",
    );
}

#[test]
fn a_full_queue_refuses_publishes() {
    check(
        QueueOptions {
            length_max: Some(1),
            overflow: Overflow::RejectPublish,
            ..classic()
        },
        "publish a b          | b?
         consume 1 prefetch=1 | 1:a
         publish c d          | d?
         requeue a            | 1:a*
         ack a                | 1:c -a
         ack c                | -c",
    );
}

#[test]
fn a_full_queue_refuses_and_dead_letters() {
    check(
        QueueOptions {
            length_max: Some(1),
            overflow: Overflow::RejectPublishDeadLetter,
            ..classic()
        },
        "publish a b | b? b!maxlen
         consume 1   | 1:a",
    );
}

#[test]
fn a_lower_limit_holds_at_once() {
    check(
        classic(),
        "publish a b c d\nlimit 1 | a!maxlen b!maxlen c!maxlen",
    );
}

#[test]
fn classic_priorities_go_up_to_their_maximum() {
    check(
        QueueOptions {
            priority_max: Some(5),
            ..classic()
        },
        "publish a b/pri=3 c/pri=5 d/pri=200 e/pri=0 f/pri=3
         consume 1 | 1:c 1:d 1:b 1:f 1:a 1:e",
    );
    check(classic(), "publish a b/pri=9\nconsume 1 | 1:a 1:b");
}

#[test]
fn with_priorities_the_head_is_the_highest() {
    check(
        QueueOptions {
            priority_max: Some(5),
            length_max: Some(2),
            ..classic()
        },
        "publish a b/pri=3 c | b!maxlen",
    );
}

#[test]
fn requeued_messages_keep_their_priority_and_place() {
    check(
        QueueOptions {
            priority_max: Some(5),
            ..classic()
        },
        "publish a/pri=1 b/pri=1 c/pri=2
         get | get:c
         get | get:a
         requeue a c
         consume 1 | 1:c* 1:a* 1:b",
    );
}

#[test]
fn quorum_priorities_are_strict_and_default_to_four() {
    check(
        quorum(),
        "publish a b/pri=5 c/pri=4 d/pri=31 e/pri=99 f/pri=0
         consume 1 | 1:d 1:e 1:b 1:a 1:c 1:f",
    );
}

#[test]
fn counted_returns_reach_the_delivery_limit() {
    check(
        quorum(),
        "publish a
         consume 1         | 1:a
         requeue-counted a | 1:a*1
         requeue a         | 1:a*1
         requeue-counted a | 1:a*2
         requeue a         | 1:a*2
         requeue-counted a | a!delivery_limit",
    );
}

#[test]
fn without_a_delivery_limit_returns_go_on() {
    check(
        QueueOptions {
            delivery_limit: None,
            ..quorum()
        },
        "publish a
         consume 1         | 1:a
         requeue-counted a | 1:a*1
         requeue-counted a | 1:a*2
         requeue-counted a | 1:a*3",
    );
}

#[test]
fn classic_queues_count_nothing() {
    check(
        QueueOptions {
            delivery_limit: Some(0),
            ..classic()
        },
        "publish a
         consume 1         | 1:a
         requeue-counted a | 1:a*",
    );
}

#[test]
fn delayed_retry_waits_longer_each_time() {
    let retry = DelayedRetry {
        kind: DelayedRetryKind::Failed,
        min_ms: 10,
        max_ms: 15,
    };
    check(
        QueueOptions {
            delayed_retry: Some(retry),
            ..quorum()
        },
        "publish a b
         consume 1 prefetch=1 | 1:a
         requeue a            | 1:a*
         requeue-counted a    | 1:b
         len                  | ready=1 unacked=1
         ack b                | -b
         at 9
         at 10                | 1:a*1
         requeue-counted a
         at 24
         at 25                | 1:a*2
         requeue-counted a    | a!delivery_limit",
    );
}

#[test]
fn an_exclusive_consumer_is_alone() {
    check(
        classic(),
        "consume 1
         consume 2 exclusive | in-use
         cancel 1
         consume 2 exclusive
         consume 3           | in-use
         cancel 2
         consume 3",
    );
}

#[test]
fn a_quorum_queue_knows_no_exclusive_consumer() {
    check(
        quorum(),
        "consume 1
         consume 2 exclusive
         consume 3 exclusive",
    );
}

#[test]
fn a_classic_queue_drops_what_came_back_before_it_delivers_anew() {
    check(
        QueueOptions {
            length_max: Some(1),
            ..classic()
        },
        "consume 1
         publish a b | 1:a 1:b
         requeue a b | 1:b* a!maxlen",
    );
}

#[test]
fn a_single_active_consumer_passes_on_to_the_next() {
    check(
        QueueOptions {
            single_active_consumer: true,
            ..classic()
        },
        "consume 1 exclusive | in-use
         consume 1 prefetch=1  | active=1
         consume 2
         consume 3 pri=5
         publish a b         | 1:a
         cancel 1            | 3:b active=3
         requeue a           | 3:a*
         cancel 2
         cancel 3            | active=none
         publish c",
    );
}

#[test]
fn in_quorum_queues_a_higher_priority_takes_over_when_nothing_is_held() {
    check(
        QueueOptions {
            single_active_consumer: true,
            ..quorum()
        },
        "consume 1         | active=1
         publish a         | 1:a
         consume 2 pri=5
         publish b
         ack a             | 2:b -a active=2
         consume 3 pri=1
         consume 4 pri=9
         ack b             | -b active=4
         publish c         | 4:c",
    );
}

#[test]
fn get_takes_the_next_message() {
    check(
        classic(),
        "get         | get:
         publish a b c
         get         | get:a
         get-no-ack  | get:b -b
         requeue a
         get         | get:a*
         ack a       | -a",
    );
}

#[test]
fn purge_leaves_the_unacked() {
    check(
        classic(),
        "publish a b c
         consume 1 prefetch=1 | 1:a
         purge     | n=2 -b -c
         requeue a | 1:a*",
    );
}

#[test]
fn a_deleted_queue_releases_everything() {
    check(
        classic(),
        "publish a b c
         consume 1 prefetch=1 | 1:a
         drain | n=2 -b -c -a
         ack a",
    );
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    check(
        QueueOptions {
            auto_delete: true,
            ..classic()
        },
        "publish a
         consume 1 | 1:a
         consume 2
         cancel 1
         cancel 1
         cancel 2  | auto-delete",
    );
}

#[test]
fn an_unused_queue_expires() {
    check(
        QueueOptions {
            expires_ms: Some(10),
            ..classic()
        },
        "at 9
         get       | get:
         at 18
         touch
         at 27
         consume 1
         at 100
         cancel 1
         at 109
         at 110    | expired-queue
         at 200",
    );
}

#[test]
fn a_consumer_that_holds_for_too_long_is_reported_once() {
    check(
        QueueOptions {
            consumer_timeout_ms: Some(10),
            ..quorum()
        },
        "publish a
         consume 1 prefetch=2 | 1:a
         at 5
         publish b c      | 1:b
         at 10            | 1~a
         at 11
         requeue a
         cancel 1
         consume 2 timeout=100 | 2:a* 2:c
         at 15            | 1~b
         at 111           | 2~a,c",
    );
}

#[test]
fn a_timeout_of_the_oldest_counts_from_its_delivery() {
    check(
        QueueOptions {
            consumer_timeout_ms: Some(10),
            ..quorum()
        },
        "publish a
         get    | get:a
         at 5
         ack a  | -a
         publish b
         get    | get:b
         at 14
         at 15  | get~b",
    );
}

#[test]
fn a_timed_out_active_consumer_gives_way() {
    check(
        QueueOptions {
            consumer_timeout_ms: Some(10),
            single_active_consumer: true,
            ..quorum()
        },
        "consume 1 prefetch=1 | active=1
         consume 2
         publish a b          | 1:a
         at 10                | 2:b 1~a active=2",
    );
}

#[test]
fn a_stuck_message_costs_nothing_while_others_pass() {
    let mut queue = Queue::new(classic(), 0);
    let mut effects = Effects::default();
    let options = ConsumerOptions {
        prefetch: 2,
        ..ConsumerOptions::new(ConsumerId(1))
    };
    let message = super::script::message("a", None, None, 1);
    queue
        .add_consumer(0, options, &mut OpenGate, &mut effects)
        .expect("not in use");
    let incoming = Incoming::new(message, LogPosition::NONE);
    queue.publish(0, [incoming.clone()], &mut OpenGate, &mut effects);
    for _ in 0..100_000 {
        effects.clear();
        queue.publish(0, [incoming.clone()], &mut OpenGate, &mut effects);
        let delivery = &effects.deliveries[0];
        let (id, bytes) = (delivery.id, delivery_bytes(&delivery.message));
        queue.settle(0, &[id], Settlement::Ack, &mut OpenGate, &mut effects);
        queue.return_window(0, ConsumerId(1), bytes, &mut OpenGate, &mut effects);
    }
    assert_eq!(queue.unacked_len(), 1);
    assert_eq!(effects.deliveries[0].id.slot, 1, "places are used again");
    queue.check_invariants();
}

/// Holes that expiry left between messages became too many when the messages before them were taken.
#[test]
fn holes_stay_bounded_while_messages_leave_in_front() {
    let mut queue = Queue::new(classic(), 0);
    let mut effects = Effects::default();
    let lasting = (0..40).map(|_| None);
    let mixed = (0..82).map(|at| (at % 2 == 0).then_some(1));
    let batch = lasting
        .chain(mixed)
        .map(|ttl_ms| Incoming::new(message("m", ttl_ms, None, 1), LogPosition::NONE));
    queue.publish(0, batch.collect::<Vec<_>>(), &mut OpenGate, &mut effects);
    while queue.get(1, true, &mut effects).is_some() {
        queue.check_invariants();
    }
    assert_eq!(queue.ready_len(), 0);
}
