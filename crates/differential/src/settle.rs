//! Waiting until nothing more can follow from what was sent, without guessing a time.
//!
//! Each open channel is asked a harmless question (a passive declare of amq.direct): when its answer
//! is here, the channel has handled all that went before. Each queue is asked for its counts: when
//! the answer is here, the queue has been reached. A message may pass several hands (channel, queue,
//! dead-letter queue, other channel), so the round is walked several times.

use std::time::{Duration, Instant};

use anyhow::Result;
use probe::Event;

use crate::player::Side;
use crate::seen::Seen;

/// Channel on which queues are asked; scripts use low numbers.
pub(crate) const QUESTION_CHANNEL: u16 = 99;
/// Longest wait for an answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for outstanding confirms.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
/// Rounds of questions: one for each hand a message may pass, but at least enough for a queue to
/// serve a lower priority (RabbitMQ answers counts before it looks at publishes).
const ROUNDS: usize = 3;

const QUESTION: &str = "exchange.declare exchange=amq.direct passive";

impl Side {
    /// Waits until nothing more can follow from what was sent.
    pub(crate) fn settle(&mut self, seen: &mut Seen) -> Result<()> {
        for round in 0..ROUNDS {
            let letters: Vec<char> = self.connections.keys().copied().collect();
            for letter in &letters {
                self.ask_channels(*letter, seen)?;
            }
            if round + 1 == ROUNDS {
                seen.forget_counts();
            }
            self.ask_queues(round + 1 == ROUNDS && self.counts, seen)?;
        }
        let letters: Vec<char> = self.connections.keys().copied().collect();
        for letter in &letters {
            self.ask_channels(*letter, seen)?;
            self.await_confirms(*letter, seen)?;
        }
        Ok(())
    }

    /// Takes what comes on every connection until there is silence.
    pub(crate) fn quiet(&mut self, seen: &mut Seen, silence: Duration) -> Result<()> {
        let letters: Vec<char> = self.connections.keys().copied().collect();
        for letter in letters {
            while let Some(connection) = self.connections.get_mut(&letter) {
                let Some(event) = connection.client.next(silence) else {
                    break;
                };
                self.handle(letter, event, seen)?;
            }
        }
        Ok(())
    }

    /// Takes what comes on every connection for this long.
    pub(crate) fn wait(&mut self, time: Duration, seen: &mut Seen) -> Result<()> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let letters: Vec<char> = self.connections.keys().copied().collect();
            if letters.is_empty() {
                std::thread::sleep(left);
            }
            for letter in letters {
                let Some(connection) = self.connections.get_mut(&letter) else {
                    continue;
                };
                if let Some(event) = connection.client.next(left.min(Duration::from_millis(20))) {
                    self.handle(letter, event, seen)?;
                }
            }
        }
    }

    fn ask_channels(&mut self, letter: char, seen: &mut Seen) -> Result<()> {
        let Some(connection) = self.connections.get_mut(&letter) else {
            return Ok(());
        };
        let numbers: Vec<u16> = connection
            .channels
            .keys()
            .copied()
            .filter(|n| *n != 0)
            .collect();
        let mut bytes = Vec::new();
        for number in &numbers {
            bytes.extend(connection.client.encode(*number, QUESTION, b"")?);
        }
        // A failed write means that the broker has closed the socket; why, is still to be read.
        let _ = connection.client.send_bytes(&bytes);
        self.hear_channels(letter, numbers, seen)?;
        // A connection without channels may be told something as well.
        while let Some(connection) = self.connections.get_mut(&letter) {
            let Some(event) = connection.client.next(Duration::ZERO) else {
                break;
            };
            self.handle(letter, event, seen)?;
        }
        Ok(())
    }

    /// Waits until each of these channels has answered its question or is gone.
    fn hear_channels(
        &mut self,
        letter: char,
        mut awaited: Vec<u16>,
        seen: &mut Seen,
    ) -> Result<()> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while !awaited.is_empty() {
            let Some(connection) = self.connections.get_mut(&letter) else {
                return Ok(());
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = connection.client.next(left) else {
                if !connection.client.is_ended() {
                    seen.note(letter, &format!("NO ANSWER on channels {awaited:?}"));
                }
                return Ok(());
            };
            let index = awaited.iter().position(|number| *number == event.channel());
            let answered = index.filter(|_| !event.is_unasked());
            if answered.is_none() || event.name() != "exchange.declare-ok" {
                self.handle(letter, event, seen)?;
            }
            answered.map(|index| awaited.remove(index));
        }
        Ok(())
    }

    /// Sends a question on the question channel and returns the answer.
    fn ask(&mut self, letter: char, text: &str, seen: &mut Seen) -> Result<Option<Event>> {
        let Some(connection) = self.connections.get_mut(&letter) else {
            return Ok(None);
        };
        let _ = connection.client.send(QUESTION_CHANNEL, text, b"");
        self.hear(letter, seen)
    }

    /// Waits for the answer on the question channel; what else arrives is handled. `None` when the
    /// connection is gone.
    fn hear(&mut self, letter: char, seen: &mut Seen) -> Result<Option<Event>> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let Some(connection) = self.connections.get_mut(&letter) else {
                return Ok(None);
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = connection.client.next(left) else {
                if !connection.client.is_ended() {
                    seen.note(letter, "NO ANSWER to a question");
                }
                return Ok(None);
            };
            if event.channel() == QUESTION_CHANNEL && !event.is_unasked() {
                return Ok(Some(event));
            }
            self.handle(letter, event, seen)?;
        }
    }

    fn ask_queues(&mut self, show: bool, seen: &mut Seen) -> Result<()> {
        let letters: Vec<char> = self.connections.keys().copied().collect();
        // A queue whose declarer is gone is asked for by whoever is there.
        if let Some(first) = letters.first() {
            for owner in self
                .queues
                .values_mut()
                .filter(|owner| !letters.contains(owner))
            {
                *owner = *first;
            }
        }
        for letter in letters {
            let mut mine: Vec<String> = self
                .queues
                .iter()
                .filter(|(_, owner)| **owner == letter)
                .map(|(queue, _)| queue.clone())
                .collect();
            while !mine.is_empty() && self.connections.contains_key(&letter) {
                mine = self.ask_some(letter, mine, show, seen)?;
            }
        }
        Ok(())
    }

    /// Asks for the counts of all these queues at once; returns those still to be asked because the
    /// question channel was closed over one that is gone.
    fn ask_some(
        &mut self,
        letter: char,
        queues: Vec<String>,
        show: bool,
        seen: &mut Seen,
    ) -> Result<Vec<String>> {
        self.open_question(letter, seen)?;
        let Some(connection) = self.connections.get_mut(&letter) else {
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        for queue in &queues {
            let text = format!(
                "queue.declare passive queue={}",
                probe::quote(queue.as_bytes())
            );
            bytes.extend(connection.client.encode(QUESTION_CHANNEL, &text, b"")?);
        }
        let _ = connection.client.send_bytes(&bytes);
        for (index, queue) in queues.iter().enumerate() {
            let Some(event) = self.hear(letter, seen)? else {
                return Ok(Vec::new());
            };
            if event.name() == "queue.declare-ok" {
                if let (true, Some(method)) = (show, event.method()) {
                    seen.count(method);
                }
                continue;
            }
            if let Some(connection) = self.connections.get_mut(&letter) {
                connection.question_open = false;
                let _ = connection
                    .client
                    .send(QUESTION_CHANNEL, "channel.close-ok", b"");
            }
            self.queues.remove(queue);
            return Ok(queues[index + 1..].to_vec());
        }
        Ok(Vec::new())
    }

    fn open_question(&mut self, letter: char, seen: &mut Seen) -> Result<()> {
        if self
            .connections
            .get(&letter)
            .is_some_and(|c| !c.question_open)
        {
            let answer = self.ask(letter, "channel.open", seen)?;
            if let Some(connection) = self.connections.get_mut(&letter) {
                connection.question_open = answer.is_some_and(|e| e.name() == "channel.open-ok");
            }
        }
        Ok(())
    }

    fn await_confirms(&mut self, letter: char, seen: &mut Seen) -> Result<()> {
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        loop {
            let Some(connection) = self.connections.get_mut(&letter) else {
                return Ok(());
            };
            if connection
                .channels
                .values()
                .all(|channel| channel.outstanding.is_empty())
            {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = connection.client.next(left) else {
                if !connection.client.is_ended() {
                    seen.note(letter, "CONFIRMS MISSING");
                    connection
                        .channels
                        .values_mut()
                        .for_each(|c| c.outstanding.clear());
                }
                return Ok(());
            };
            self.handle(letter, event, seen)?;
        }
    }
}
