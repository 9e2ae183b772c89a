//! Names of traces and spans, worked out from a key that no other process has.
//!
//! They need be unlike one another, not secret: whoever sees the spans may see them. Deliberately absent: chance.

use broker::message::TraceMark;

use super::{Place, SpanId};

/// What the names of this process are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(seed: u64) -> Key {
        Key(mix(seed))
    }

    /// A number that looks like chance.
    pub(super) fn draw(self, number: u64) -> u64 {
        self.words(&[1, number])
    }

    pub(super) fn trace_id(self, mark: TraceMark) -> [u8; 16] {
        let word = |which| self.words(&[which, u64::from(mark.0)]).max(1).to_be_bytes();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&word(2));
        id[8..].copy_from_slice(&word(3));
        id
    }

    /// Of a marked message at a place. A dead letter may come to its queue again; its headers have changed by then.
    pub(super) fn span_id(self, mark: TraceMark, place: Place, properties: &[u8]) -> SpanId {
        let (which, queue) = match place {
            Place::Publish => (4, 0),
            Place::Route => (5, 0),
            Place::Enqueue(queue) => (6, queue.0),
        };
        let mut state = self.words(&[which, u64::from(mark.0), queue]);
        if matches!(place, Place::Enqueue(_)) {
            for chunk in properties.chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                state = mix(state ^ u64::from_be_bytes(word));
            }
        }
        state.max(1).to_be_bytes()
    }

    /// Of what happens once.
    pub(super) fn number_id(self, number: u64) -> SpanId {
        self.words(&[7, number]).max(1).to_be_bytes()
    }

    fn words(self, words: &[u64]) -> u64 {
        words.iter().fold(self.0, |state, word| mix(state ^ *word))
    }
}

/// One step of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
