//! A queue's consumers as their connections: where each delivery goes.
//!
//! Deliveries are handed over a mailbox at a time, in the order of assignment: two consumers on one channel see
//! the queue's order between them (AMQP 0-9-1, 4.7).

use std::sync::Arc;

use broker::queue::{ConsumerId, Delivery, Gate};
use hashbrown::HashMap;
use slab::Slab;

use crate::mailbox::{Event, Mailbox};
use crate::queue_cell::{ConsumerInfo, SharedPrefetch};

/// One consumer's link to its connection.
struct Link {
    consumer: ConsumerId,
    /// Its place in [`Links::outboxes`].
    outbox: usize,
    shared: Option<Arc<SharedPrefetch>>,
    info: ConsumerInfo,
}

/// A connection with consumers on this queue.
struct Outbox {
    mailbox: Arc<Mailbox>,
    /// Links that lead here.
    links: usize,
    /// Deliveries of the batch under way.
    pending: Vec<Delivery>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Links {
    /// By consumer id, which ascends with age.
    links: Vec<Link>,
    outboxes: Slab<Outbox>,
    /// Places of the outboxes, by the address of their mailbox.
    places: HashMap<usize, usize>,
}

fn address(mailbox: &Arc<Mailbox>) -> usize {
    Arc::as_ptr(mailbox) as usize
}

impl Links {
    /// The link of a consumer, looked for at `hint` first: deliveries come in runs.
    fn index(&self, consumer: ConsumerId, hint: usize) -> Option<usize> {
        match self.links.get(hint) {
            Some(link) if link.consumer == consumer => Some(hint),
            _ => self
                .links
                .binary_search_by_key(&consumer, |link| link.consumer)
                .ok(),
        }
    }

    /// Adds a consumer.
    ///
    /// # Panics
    /// If it is there: consumer ids are unique in the node.
    pub(crate) fn insert(
        &mut self,
        consumer: ConsumerId,
        mailbox: Arc<Mailbox>,
        shared: Option<Arc<SharedPrefetch>>,
        info: ConsumerInfo,
    ) {
        let found = self
            .links
            .binary_search_by_key(&consumer, |link| link.consumer);
        let at = found.expect_err("consumer ids are unique in the node");
        let outboxes = &mut self.outboxes;
        let outbox = *self.places.entry(address(&mailbox)).or_insert_with(|| {
            outboxes.insert(Outbox {
                mailbox,
                links: 0,
                pending: Vec::new(),
            })
        });
        self.outboxes[outbox].links += 1;
        self.links.insert(
            at,
            Link {
                consumer,
                outbox,
                shared,
                info,
            },
        );
    }

    /// Removes a consumer, if it is there.
    pub(crate) fn remove(&mut self, consumer: ConsumerId) {
        let Some(index) = self.index(consumer, usize::MAX) else {
            return;
        };
        let place = self.links.remove(index).outbox;
        self.outboxes[place].links -= 1;
        if self.outboxes[place].links == 0 {
            let outbox = self.outboxes.remove(place);
            self.places.remove(&address(&outbox.mailbox));
        }
    }

    /// Lets a consumer draw on its channel's shared credit.
    pub(crate) fn share(&mut self, consumer: ConsumerId, shared: Arc<SharedPrefetch>) {
        if let Some(index) = self.index(consumer, usize::MAX) {
            self.links[index].shared = Some(shared);
        }
    }

    /// Tells a consumer's connection.
    pub(crate) fn notify(&self, consumer: ConsumerId, event: Event) {
        if let Some(index) = self.index(consumer, usize::MAX) {
            self.outboxes[self.links[index].outbox]
                .mailbox
                .notify(event);
        }
    }

    /// Tells every consumer's connection that its queue is gone, and forgets them.
    pub(crate) fn cancel_all(&mut self) {
        for link in self.links.drain(..) {
            let mailbox = &self.outboxes[link.outbox].mailbox;
            mailbox.notify(Event::ConsumerCancelled(link.consumer));
        }
        self.outboxes.clear();
        self.places.clear();
    }

    /// Hands deliveries to their connections, one append and one wake-up each.
    pub(crate) fn deliver(&mut self, deliveries: &mut Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        if self.outboxes.len() == 1
            && let Some((_, only)) = self.outboxes.iter().next()
        {
            only.mailbox.deliver(deliveries);
            return;
        }
        let mut hint = 0;
        for delivery in deliveries.drain(..) {
            if let Some(index) = self.index(delivery.consumer, hint) {
                hint = index;
                self.outboxes[self.links[index].outbox]
                    .pending
                    .push(delivery);
            }
        }
        for (_, outbox) in &mut self.outboxes {
            if !outbox.pending.is_empty() {
                outbox.mailbox.deliver(&mut outbox.pending);
            }
        }
    }

    /// The consumers as they are listed, oldest first.
    pub(crate) fn list(&self) -> impl Iterator<Item = (ConsumerId, &ConsumerInfo)> {
        self.links.iter().map(|link| (link.consumer, &link.info))
    }
}

impl Gate for Links {
    fn admit(&mut self, consumer: ConsumerId) -> bool {
        let index = self.index(consumer, usize::MAX);
        let shared = index.and_then(|index| self.links[index].shared.as_ref());
        shared.is_none_or(|shared| shared.take())
    }
}
