//! The consumers of a queue, and whose turn it is.
//!
//! Consumers that can take a message stand in a line, one line a priority; the first of the highest line is
//! next, and goes to the end of its line if it can take another. Who cannot (no credit, window full, gate closed,
//! not the active one) stands in no line, so that finding the next one costs nothing however many there are.
//! Deliberately absent: messages.

use std::collections::{BTreeMap, VecDeque};

use slab::Slab;

use super::effects::{DELIVERY_WINDOW_BYTES, Gate};
use super::options::{ConsumerId, ConsumerOptions};
use super::unacked::List;

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) options: ConsumerOptions,
    /// Number of its registration: who came first.
    pub(super) registration: u64,
    pub(super) unacked: List,
    pub(super) unacked_len: u32,
    /// Bytes of deliveries that have not reached its socket.
    pub(super) window_bytes: u64,
    /// It stands in its line.
    in_line: bool,
    gate_closed: bool,
    /// It is delivered to no more; it stays until its last unacked message is settled.
    pub(super) cancelled: bool,
    /// It has held a message for too long, and is delivered to no more.
    pub(super) timed_out: bool,
}

impl Consumer {
    fn can_take(&self) -> bool {
        let options = &self.options;
        !self.cancelled
            && !self.timed_out
            && !self.gate_closed
            && self.window_bytes < DELIVERY_WINDOW_BYTES
            && (options.no_ack || options.prefetch == 0 || self.unacked_len < options.prefetch)
    }
}

#[derive(Debug)]
struct Line {
    priority: i64,
    consumers: VecDeque<u32>,
}

/// Single active consumer, when the queue has one.
#[derive(Debug, Default)]
struct Single {
    active: Option<u32>,
    /// One of higher priority waits for the active one to settle what it holds.
    quiescing: bool,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    places: Slab<Consumer>,
    by_id: BTreeMap<ConsumerId, u32>,
    /// Highest priority first; every priority that some consumer has.
    lines: Vec<Line>,
    /// How many stand in line.
    waiting: usize,
    next_registration: u64,
    single: Option<Single>,
    /// The place of what `basic.get` fetched, once there was a get.
    getter: Option<u32>,
    pub(super) exclusive: Option<ConsumerId>,
}

impl Roster {
    /// Without the cancelled ones.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn set_single_active(&mut self, single_active: bool) {
        if single_active != self.single.is_some() {
            self.single = single_active.then(Single::default);
            self.elect(false);
            let all: Vec<u32> = self.by_id.values().copied().collect();
            all.into_iter().for_each(|place| self.refresh(place));
        }
    }

    pub(super) fn active(&self) -> Option<ConsumerId> {
        let active = self.single.as_ref()?.active?;
        Some(self.places[active as usize].options.id)
    }

    pub(super) fn find(&self, id: ConsumerId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn consumer(&self, place: u32) -> &Consumer {
        &self.places[place as usize]
    }

    pub(super) fn consumer_mut(&mut self, place: u32) -> &mut Consumer {
        &mut self.places[place as usize]
    }

    /// Registers a consumer. Says whether another one is active now.
    pub(super) fn add(&mut self, options: ConsumerOptions) -> bool {
        assert!(options.id != ConsumerId::NONE, "the id of no consumer");
        let place = self.place(options);
        let before = self.by_id.insert(options.id, place);
        assert!(before.is_none(), "a consumer's id is unique");
        if options.exclusive {
            self.exclusive = Some(options.id);
        }
        let line = self
            .lines
            .partition_point(|line| options.priority < line.priority);
        if self
            .lines
            .get(line)
            .is_none_or(|line| line.priority != options.priority)
        {
            let consumers = VecDeque::new();
            self.lines.insert(
                line,
                Line {
                    priority: options.priority,
                    consumers,
                },
            );
        }
        let changed = self.elect(false);
        self.refresh(place);
        changed
    }

    /// Delivers to it no more. Says whether another one is active now.
    pub(super) fn cancel(&mut self, id: ConsumerId) -> Option<bool> {
        let place = self.by_id.remove(&id)?;
        self.places[place as usize].cancelled = true;
        self.refresh(place);
        if self.exclusive == Some(id) {
            self.exclusive = None;
        }
        let priority = self.places[place as usize].options.priority;
        let same = |id: &u32| self.places[*id as usize].options.priority == priority;
        if !self.by_id.values().any(same) {
            self.lines.retain(|line| line.priority != priority);
        }
        let mut changed = false;
        if let Some(single) = &mut self.single
            && single.active == Some(place)
        {
            *single = Single::default();
            self.elect(false);
            changed = true;
        }
        self.forget_if_done(place);
        Some(changed)
    }

    /// The place of messages that are fetched without a consumer.
    pub(super) fn getter(&mut self) -> u32 {
        if self.getter.is_none() {
            self.getter = Some(self.place(ConsumerOptions::new(ConsumerId::NONE)));
        }
        self.getter.expect("it was just made")
    }

    /// Who takes the next message, if anyone can. Whom the gate refuses leaves the line until it is resumed.
    pub(super) fn next(&mut self, gate: &mut dyn Gate) -> Option<u32> {
        if self.waiting == 0 {
            return None;
        }
        let mut line = 0;
        while let Some(Line { consumers, .. }) = self.lines.get_mut(line) {
            let Some(place) = consumers.front().copied() else {
                line += 1;
                continue;
            };
            let consumer = &mut self.places[place as usize];
            let asks = consumer.options.shared_prefetch && !consumer.options.no_ack;
            if !asks || gate.admit(consumer.options.id) {
                return Some(place);
            }
            consumer.gate_closed = true;
            consumer.in_line = false;
            consumers.pop_front();
            self.waiting -= 1;
        }
        None
    }

    /// Whether [`Roster::next`] may find someone.
    pub(super) fn anyone_waits(&self) -> bool {
        self.waiting != 0
    }

    /// The one that [`Roster::next`] named was delivered to: it goes to the end of its line, or leaves it.
    pub(super) fn turn(&mut self, place: u32) {
        let consumer = &mut self.places[place as usize];
        let stays = consumer.can_take();
        if stays && self.waiting == 1 {
            return;
        }
        let priority = consumer.options.priority;
        consumer.in_line = stays;
        let line = self.lines.iter_mut().find(|line| line.priority == priority);
        let consumers = &mut line.expect("a consumer has a line").consumers;
        let first = consumers.pop_front();
        debug_assert_eq!(first, Some(place));
        if stays {
            consumers.push_back(place);
        } else {
            self.waiting -= 1;
        }
    }

    pub(super) fn open_gate(&mut self, place: u32) {
        self.places[place as usize].gate_closed = false;
        self.refresh(place);
    }

    /// One of its messages was settled. Says whether another consumer is active now.
    pub(super) fn settled(&mut self, place: u32) -> bool {
        let consumer = &mut self.places[place as usize];
        consumer.unacked_len -= 1;
        if consumer.cancelled {
            self.forget_if_done(place);
            return false;
        }
        let idle = consumer.unacked_len == 0;
        let mut changed = false;
        if idle
            && self
                .single
                .as_ref()
                .is_some_and(|s| s.quiescing && s.active == Some(place))
        {
            changed = self.elect(true);
        }
        if !self.places[place as usize].in_line {
            self.refresh(place);
        }
        changed
    }

    /// It has held a message for too long and is delivered to no more. Says whether another one is active now.
    pub(super) fn time_out(&mut self, place: u32) -> bool {
        self.places[place as usize].timed_out = true;
        self.refresh(place);
        match &mut self.single {
            Some(single) if single.active == Some(place) => *single = Single::default(),
            _ => return false,
        }
        self.elect(false);
        true
    }

    /// With a single active consumer: one of higher priority takes over, as soon as the active one holds nothing
    /// (RabbitMQ's quorum queues).
    pub(super) fn prefer_priority(&mut self) -> bool {
        self.elect(true)
    }

    /// Puts the consumer in line, or takes it out, as it can or cannot take a message now.
    pub(super) fn refresh(&mut self, place: u32) {
        let may = match &self.single {
            None => true,
            Some(single) => single.active == Some(place) && !single.quiescing,
        };
        let consumer = &mut self.places[place as usize];
        let can_take = may && consumer.can_take() && consumer.options.id != ConsumerId::NONE;
        if can_take == consumer.in_line {
            return;
        }
        consumer.in_line = can_take;
        let priority = consumer.options.priority;
        let line = self.lines.iter_mut().find(|line| line.priority == priority);
        let consumers = &mut line.expect("a consumer has a line").consumers;
        if can_take {
            consumers.push_back(place);
            self.waiting += 1;
        } else {
            let index = consumers.iter().position(|p| *p == place);
            consumers.remove(index.expect("who is in line is found there"));
            self.waiting -= 1;
        }
    }

    /// Chooses the single active consumer: the one there is, unless one of higher priority takes over; without
    /// one, the highest priority, and among these who came first. Says whether it is another one now.
    fn elect(&mut self, prefer_priority: bool) -> bool {
        let Some(single) = &self.single else {
            return false;
        };
        let rank = |place: u32| {
            let consumer = &self.places[place as usize];
            (
                consumer.options.priority,
                std::cmp::Reverse(consumer.registration),
            )
        };
        let fit = self
            .by_id
            .values()
            .copied()
            .filter(|p| !self.places[*p as usize].timed_out);
        let best = fit.max_by_key(|place| rank(*place));
        let chosen = match (single.active, best) {
            (None, best) => Single {
                active: best,
                quiescing: false,
            },
            (Some(active), Some(best)) if prefer_priority && rank(active).0 < rank(best).0 => {
                if self.places[active as usize].unacked_len == 0 {
                    Single {
                        active: Some(best),
                        quiescing: false,
                    }
                } else {
                    Single {
                        active: Some(active),
                        quiescing: true,
                    }
                }
            }
            (Some(active), _) => Single {
                active: Some(active),
                quiescing: single.quiescing,
            },
        };
        let before = single.active;
        let after = chosen.active;
        self.single = Some(chosen);
        for place in [before, after].into_iter().flatten() {
            self.refresh(place);
        }
        before != after
    }

    fn place(&mut self, options: ConsumerOptions) -> u32 {
        let registration = self.next_registration;
        self.next_registration += 1;
        self.places.insert(Consumer {
            options,
            registration,
            unacked: List::default(),
            unacked_len: 0,
            window_bytes: 0,
            in_line: false,
            gate_closed: false,
            cancelled: false,
            timed_out: false,
        }) as u32
    }

    fn forget_if_done(&mut self, place: u32) {
        let consumer = &self.places[place as usize];
        if consumer.cancelled && consumer.unacked_len == 0 {
            self.places.remove(place as usize);
        }
    }

    /// With their places, the cancelled ones and the getter among them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Consumer)> {
        self.places
            .iter()
            .map(|(place, consumer)| (place as u32, consumer))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ConsumerId> {
        self.by_id.keys().copied()
    }

    /// # Panics
    /// If something that must hold does not.
    pub(super) fn check_invariants(&self) {
        let in_lines: usize = self.lines.iter().map(|line| line.consumers.len()).sum();
        assert_eq!(self.waiting, in_lines);
        assert!(self.lines.is_sorted_by(|a, b| b.priority < a.priority));
        for line in &self.lines {
            let members = self.by_id.values().map(|place| self.consumer(*place));
            assert!(
                members
                    .into_iter()
                    .any(|c| c.options.priority == line.priority)
            );
            for place in &line.consumers {
                assert_eq!(self.consumer(*place).options.priority, line.priority);
                assert!(self.consumer(*place).in_line);
            }
        }
        for (place, consumer) in self.iter() {
            let may = match &self.single {
                None => true,
                Some(single) => single.active == Some(place) && !single.quiescing,
            };
            let is_getter = consumer.options.id == ConsumerId::NONE;
            assert_eq!(consumer.in_line, may && !is_getter && consumer.can_take());
            assert!(
                !consumer.cancelled || 0 < consumer.unacked_len,
                "who is done is forgotten"
            );
            let known = self.by_id.get(&consumer.options.id) == Some(&place);
            assert_eq!(known, !consumer.cancelled && !is_getter);
        }
        if let Some(single) = &self.single {
            assert!(single.active.is_none_or(|p| !self.consumer(p).cancelled));
            assert!(
                single.active.is_some() || self.by_id.values().all(|p| self.consumer(*p).timed_out)
            );
        }
    }
}
