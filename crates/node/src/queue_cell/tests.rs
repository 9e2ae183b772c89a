//! A queue and its consumers' mailboxes, from one thread and from several.

use std::collections::BTreeMap;

use broker::message::{LogPosition, Message};
use wire::amqp091::properties::Properties;

use super::*;

fn cell(options: QueueOptions) -> Arc<QueueCell> {
    let spec = QueueSpec {
        name: "q".into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::new(),
    };
    QueueCell::new(QueueId(1), spec, options, None, Around::default(), 0)
}

fn publish(cell: &Arc<QueueCell>, body: &[u8]) {
    let message = Message::new("", "q", &Properties::EMPTY, None, body, &mut Vec::new());
    let mut batch = vec![Incoming::new(message, LogPosition::NONE)];
    let aftermath = cell.publish(0, &mut batch, &mut Vec::new());
    assert!(aftermath.is_empty());
}

fn consume(cell: &Arc<QueueCell>, id: u64, prefetch: u32, mailbox: &Arc<Mailbox>) {
    let options = ConsumerOptions {
        id: ConsumerId(id),
        no_ack: false,
        exclusive: false,
        prefetch,
        priority: 0,
        timeout_ms: None,
        shared_prefetch: false,
    };
    let info = ConsumerInfo {
        tag: format!("c{id}").into(),
        connection: ConnectionId(1),
        connection_name: "c".into(),
        channel: 1,
        no_ack: false,
        exclusive: false,
        prefetch,
        arguments: FieldTable::new(),
    };
    let (added, _) = cell.consume(0, options, Arc::clone(mailbox), None, info);
    assert_eq!(added, Ok(()));
}

fn take(mailbox: &Mailbox) -> Vec<Delivery> {
    let mut taken = Vec::new();
    mailbox.take_deliveries(&mut taken);
    taken
}

fn bodies(deliveries: &[Delivery]) -> Vec<u8> {
    deliveries
        .iter()
        .map(|delivery| delivery.message.body()[0])
        .collect()
}

#[test]
fn consumers_of_one_mailbox_see_one_order() {
    let cell = cell(QueueOptions::default());
    let (ours, theirs) = (Mailbox::new(), Mailbox::new());
    for body in 0..9 {
        publish(&cell, &[body]);
    }
    // The last comer asks for the first messages: what is in the queue goes out at once.
    consume(&cell, 3, 2, &ours);
    consume(&cell, 1, 2, &ours);
    consume(&cell, 2, 2, &theirs);
    assert_eq!(bodies(&take(&ours)), [0, 1, 2, 3]);
    let held = take(&theirs);
    assert_eq!(bodies(&held), [4, 5]);
    let ids: Vec<_> = held.iter().map(|delivery| delivery.id).collect();
    let _ = cell.settle(0, &ids, Settlement::Ack);
    assert_eq!(bodies(&take(&theirs)), [6, 7]);
    assert_eq!((cell.counts().ready, cell.counts().unacked), (1, 6));
}

#[test]
fn a_cancelled_consumer_gets_nothing_more() {
    let cell = cell(QueueOptions::default());
    let mailbox = Mailbox::new();
    consume(&cell, 1, 0, &mailbox);
    publish(&cell, &[1]);
    let _ = cell.cancel(0, ConsumerId(1));
    publish(&cell, &[2]);
    assert_eq!(bodies(&take(&mailbox)), [1]);
    assert_eq!((cell.counts().ready, cell.counts().unacked), (1, 1));
}

#[test]
fn a_closed_queue_tells_its_consumers_and_takes_nothing() {
    let cell = cell(QueueOptions::default());
    let mailbox = Mailbox::new();
    consume(&cell, 7, 1, &mailbox);
    publish(&cell, &[1]);
    publish(&cell, &[2]);
    assert!(matches!(
        cell.close(|counts| counts.ready == 0),
        Some(Err(_))
    ));
    assert_eq!(cell.close(|_| true), Some(Ok(1)));
    assert_eq!(cell.close(|_| true), None);
    assert_eq!(
        mailbox.take_events(),
        [Event::ConsumerCancelled(ConsumerId(7))]
    );
    publish(&cell, &[3]);
    let held: Vec<_> = take(&mailbox).iter().map(|delivery| delivery.id).collect();
    let _ = cell.settle(0, &held, Settlement::Requeue { counted: false });
    assert_eq!((cell.counts().ready, cell.counts().unacked), (0, 0));
}

#[test]
fn every_message_reaches_one_consumer_whatever_the_threads_do() {
    const PUBLISHERS: u64 = 3;
    const MESSAGES: u64 = 2000;
    let cell = cell(QueueOptions::default());
    let mailboxes: Vec<_> = (0..3).map(|_| Mailbox::new()).collect();
    for (id, mailbox) in mailboxes.iter().enumerate() {
        consume(&cell, id as u64, 10, mailbox);
    }
    let left = AtomicU32::new((PUBLISHERS * MESSAGES) as u32);
    let drain = |mailbox: &Arc<Mailbox>| {
        let mut seen = Vec::new();
        while left.load(Ordering::SeqCst) > 0 {
            let taken = take(mailbox);
            let ids: Vec<_> = taken.iter().map(|delivery| delivery.id).collect();
            seen.extend(
                taken
                    .iter()
                    .map(|delivery| delivery.message.body().to_vec()),
            );
            let _ = cell.settle(0, &ids, Settlement::Ack);
            for delivery in &taken {
                let bytes = broker::queue::delivery_bytes(&delivery.message);
                let _ = cell.return_window(0, delivery.consumer, bytes);
            }
            left.fetch_sub(ids.len() as u32, Ordering::SeqCst);
        }
        seen
    };
    let seen: Vec<Vec<Vec<u8>>> = std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let cell = &cell;
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let body = [publisher.to_be_bytes(), number.to_be_bytes()].concat();
                    publish(cell, &body);
                }
            });
        }
        let threads: Vec<_> = mailboxes
            .iter()
            .map(|mailbox| scope.spawn(|| drain(mailbox)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let mut count: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for consumer in &seen {
        // One publisher's messages come in their order, though other consumers have some between.
        for publisher in 0..PUBLISHERS {
            let from = consumer
                .iter()
                .filter(|body| body[..8] == publisher.to_be_bytes());
            assert!(from.is_sorted());
        }
        for body in consumer {
            *count.entry(body.clone()).or_default() += 1;
        }
    }
    assert_eq!(count.len() as u64, PUBLISHERS * MESSAGES);
    assert!(count.values().all(|times| *times == 1));
    assert_eq!((cell.counts().ready, cell.counts().unacked), (0, 0));
}
