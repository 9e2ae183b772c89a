//! Answers of an authority that is asked over the network what a user may do.
//!
//! A handler that needs one gives up ([`Fault::undecided`](super::fault::Fault::undecided)) before it has changed
//! anything; the connection asks, and gives it the same frame anew. Meanwhile nothing behind that frame is looked
//! at. What the method under way was told is kept until it is done, however much that is; of what was allowed a
//! channel remembers the newest, as RabbitMQ's channels do. Refusals are never remembered.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use node::identities::{Question, Verdict};

use super::limits::{ANSWERS_IDLE_MS, ANSWERS_MAX};

/// What a channel remembers.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    resources: VecDeque<Question>,
    topics: VecDeque<Question>,
}

impl Allowed {
    fn of(&mut self, question: &Question) -> &mut VecDeque<Question> {
        match question {
            Question::Topic { .. } => &mut self.topics,
            _ => &mut self.resources,
        }
    }

    /// Whether this was allowed.
    pub(crate) fn has(&self, question: &Question) -> bool {
        self.resources.contains(question) || self.topics.contains(question)
    }

    /// Whether any right on this queue or exchange was allowed.
    pub(crate) fn has_any(&self, kind: &str, wanted: &str) -> bool {
        let about = |question: &Question| {
            matches!(question, Question::Resource { resource, name, .. }
                if *resource == kind && name == wanted)
        };
        self.resources.iter().any(about)
    }

    /// This was allowed.
    pub(crate) fn add(&mut self, question: Question) {
        let known = self.of(&question);
        known.push_front(question);
        known.truncate(ANSWERS_MAX);
    }
}

/// What a connection was told.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// For the method under way.
    told: BTreeMap<Question, Verdict>,
    /// How often everything was forgotten: what was found out before is found out anew.
    pub(crate) era: u64,
    last_input_ms: u64,
}

impl Answers {
    /// What was said to a question of the method under way.
    pub(crate) fn find(&self, question: &Question) -> Option<&Verdict> {
        self.told.get(question)
    }

    /// An answer for the method under way.
    pub(crate) fn tell(&mut self, question: Question, verdict: Verdict) {
        self.told.insert(question, verdict);
    }

    /// The method under way is done.
    pub(crate) fn conclude(&mut self) {
        if !self.told.is_empty() {
            self.told.clear();
        }
    }

    /// Input came. Whether what channels remember is to be forgotten: the connection was idle for a while.
    pub(crate) fn is_stale(&mut self, now_ms: u64) -> bool {
        let last_ms = std::mem::replace(&mut self.last_input_ms, now_ms);
        last_ms + ANSWERS_IDLE_MS <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str) -> Question {
        Question::Resource {
            vhost: "/".into(),
            resource: "queue",
            name: name.into(),
            permission: "read",
        }
    }

    fn topic(key: &str) -> Question {
        Question::Topic {
            vhost: "/".into(),
            exchange: "t".into(),
            permission: "write",
            routing_key: key.into(),
        }
    }

    #[test]
    fn the_newest_are_remembered_topics_apart() {
        let mut allowed = Allowed::default();
        for n in 0..=ANSWERS_MAX {
            allowed.add(resource(&n.to_string()));
        }
        allowed.add(topic("k"));
        assert!(!allowed.has(&resource("0")));
        assert!(allowed.has(&resource("1")) && allowed.has(&topic("k")));
        assert!(!allowed.has(&topic("l")));
        assert!(allowed.has_any("queue", "1") && !allowed.has_any("exchange", "1"));
    }

    #[test]
    fn idleness_makes_answers_stale() {
        let mut answers = Answers::default();
        assert!(answers.is_stale(ANSWERS_IDLE_MS));
        assert!(!answers.is_stale(2 * ANSWERS_IDLE_MS - 1));
        assert!(answers.is_stale(3 * ANSWERS_IDLE_MS - 1));
    }

    #[test]
    fn a_method_keeps_what_it_was_told_until_it_is_done() {
        let mut answers = Answers::default();
        answers.tell(resource("q"), Ok(()));
        assert_eq!(answers.find(&resource("q")), Some(&Ok(())));
        answers.conclude();
        assert_eq!(answers.find(&resource("q")), None);
    }
}
