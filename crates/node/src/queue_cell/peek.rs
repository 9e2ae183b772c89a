//! Looking into a queue, and taking single messages out, wherever they are.

use std::sync::Arc;

use broker::message::Message;
use broker::queue::{Incoming, MessageId, Peeked, Removed, Sight, Stretch};
use storage::ReadLimit;

use super::QueueCell;
use crate::mailbox::Mailbox;
use crate::message_log::{MessageLog, StorageError};

/// How much is read at once while somebody looks.
const LOOK: ReadLimit = ReadLimit {
    messages: 1024,
    bytes: 1 << 20,
};

/// What came of taking out a message.
#[derive(Debug)]
pub enum TakenOut {
    /// It is out.
    Message(Message),
    /// It is not there, or not ready.
    Nothing,
    /// It is on its way into memory: ask again when the mailbox is woken.
    Coming,
}

impl QueueCell {
    /// Shows ready messages in the order in which they would be delivered, `count` of them at most behind the first
    /// `skip`, until `visit` says that it has seen enough. May wait for the disk. What moves meanwhile may be missed.
    ///
    /// # Errors
    /// What the log says, of messages that are only there.
    pub fn look(
        &self,
        skip: usize,
        count: usize,
        visit: &mut dyn FnMut(Peeked) -> bool,
    ) -> Result<(), StorageError> {
        let sights = self.state.lock().queue.peek(skip as u64, count as u64);
        for sight in sights {
            let goes_on = match sight {
                Sight::Here(peeked) => visit(peeked),
                Sight::Away(stretch) => self.look_away(stretch, visit)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// A ready message.
    ///
    /// # Errors
    /// What the log says, if the message is only there.
    pub fn find(&self, id: MessageId) -> Result<Option<Peeked>, StorageError> {
        let sight = self.state.lock().queue.find(id);
        let mut found = None;
        match sight {
            None => {}
            Some(Sight::Here(peeked)) => found = Some(peeked),
            Some(Sight::Away(stretch)) => {
                self.look_away(stretch, &mut |peeked| {
                    found = Some(peeked);
                    false
                })?;
            }
        }
        Ok(found)
    }

    /// Gives whether to go on.
    fn look_away(
        &self,
        mut stretch: Stretch,
        visit: &mut dyn FnMut(Peeked) -> bool,
    ) -> Result<bool, StorageError> {
        let Some(log) = &self.log else {
            return Ok(true);
        };
        let (mut from, mut goes_on) = (Some(stretch.from), true);
        while let Some(position) = from
            && position <= stretch.up_to
            && goes_on
            && !stretch.is_over()
        {
            from = log.read(self.id, position, LOOK, &mut |incoming| {
                if goes_on && let Some(peeked) = stretch.peek(incoming) {
                    goes_on = visit(peeked);
                }
            })?;
        }
        Ok(goes_on)
    }

    /// Takes one ready message out for good. `mailbox` is woken when one that is on its way into memory is there.
    ///
    /// # Errors
    /// What the log says, if the message is only there.
    pub fn take_out(
        self: &Arc<Self>,
        now_ms: u64,
        id: MessageId,
        mailbox: &Arc<Mailbox>,
    ) -> Result<TakenOut, StorageError> {
        let (taken, aftermath) = self.run(now_ms, |state| {
            match state.queue.remove(id, &mut state.effects) {
                Removed::Message(message) => Ok(TakenOut::Message(message)),
                Removed::Nothing => Ok(TakenOut::Nothing),
                Removed::Coming => {
                    state.getters.push(Arc::clone(mailbox));
                    Ok(TakenOut::Coming)
                }
                Removed::Away => {
                    let Some(log) = &self.log else {
                        return Ok(TakenOut::Nothing);
                    };
                    // Under the lock, so that it is still there when the queue is told: one message, for an operator.
                    let taken = self
                        .read_one(log, id)?
                        .filter(|incoming| state.queue.remove_away(incoming, &mut state.effects));
                    Ok(match taken {
                        Some(incoming) => TakenOut::Message(incoming.message),
                        None => TakenOut::Nothing,
                    })
                }
            }
        });
        debug_assert!(aftermath.is_empty(), "nothing follows of it");
        taken
    }

    fn read_one(&self, log: &MessageLog, id: MessageId) -> Result<Option<Incoming>, StorageError> {
        let Some(position) = id.position() else {
            return Ok(None);
        };
        let one = ReadLimit {
            messages: 1,
            bytes: 1,
        };
        let mut found = None;
        log.read(self.id, position, one, &mut |incoming| {
            if incoming.position == position {
                found = Some(incoming);
            }
        })?;
        Ok(found)
    }
}
