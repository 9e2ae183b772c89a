//! A queue stands in the timers once, at the moment it asked for last.

use std::sync::atomic::{AtomicUsize, Ordering};

use broker::queue::QueueOptions;
use metadata::topology::QueueSpec;

use super::*;
use crate::queue_cell::Around;

fn cell(id: u64) -> Arc<QueueCell> {
    let spec = QueueSpec {
        name: "q".into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Default::default(),
    };
    let options = QueueOptions::default();
    QueueCell::new(QueueId(id), spec, options, None, Around::default(), 0)
}

fn schedule(timers: &Timers, before_ms: u64, deadline_ms: u64, cell: &Arc<QueueCell>) {
    timers.schedule(before_ms, deadline_ms, cell.id, Arc::downgrade(cell));
}

fn due(timers: &Timers, now_ms: u64) -> Vec<u64> {
    timers
        .take_due(now_ms)
        .iter()
        .map(|cell| cell.id.0)
        .collect()
}

#[test]
fn queues_come_in_the_order_of_their_deadlines() {
    let timers = Timers::default();
    let (one, two, three) = (cell(1), cell(2), cell(3));
    schedule(&timers, u64::MAX, 30, &one);
    schedule(&timers, u64::MAX, 10, &two);
    schedule(&timers, u64::MAX, 10, &three);
    assert_eq!(timers.next_ms(), Some(10));
    assert_eq!(due(&timers, 9), [0_u64; 0]);
    assert_eq!(due(&timers, 10), [2, 3]);
    assert_eq!(timers.next_ms(), Some(30));
    assert_eq!(due(&timers, 1000), [1]);
    assert!(timers.is_empty());
}

#[test]
fn an_earlier_deadline_takes_the_place_of_the_later() {
    let timers = Timers::default();
    let one = cell(1);
    schedule(&timers, u64::MAX, 30, &one);
    schedule(&timers, 30, 20, &one);
    assert_eq!((timers.len(), timers.next_ms()), (1, Some(20)));
    timers.cancel(20, one.id);
    assert!(timers.is_empty());
}

#[test]
fn a_queue_that_is_gone_is_not_woken() {
    let timers = Timers::default();
    let one = cell(1);
    schedule(&timers, u64::MAX, 30, &one);
    drop(one);
    assert_eq!(due(&timers, 30), [0_u64; 0]);
    assert!(timers.is_empty());
}

#[test]
fn the_driver_is_told_of_earlier_deadlines_only() {
    let timers = Timers::default();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    timers.on_earlier(Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let cells = [cell(1), cell(2), cell(3), cell(4)];
    for (cell, deadline_ms) in cells.iter().zip([50, 60, 50, 40]) {
        schedule(&timers, u64::MAX, deadline_ms, cell);
    }
    assert_eq!(told.load(Ordering::SeqCst), 2);
}
