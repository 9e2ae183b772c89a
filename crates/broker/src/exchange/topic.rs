//! `topic`: patterns of words, matched through a trie.
//!
//! ```text
//!   root ──a──▶ ● ──b──▶ ●          a.b
//!               ├──*──▶ ●           a.*
//!               └──#──▶ ● ──c──▶ ●  a.#  and  a.#.c
//! ```
//! Words are what stands between dots; the empty key has none, and `a..b` has an empty one in its middle, which
//! `*` matches like any other (as RabbitMQ 4.3 does). Literal edges of all nodes share one hash table, so that a
//! node costs no table of its own.
//!
//! Matching walks the key once and keeps the set of nodes that the words so far can lead to. A `#` node stays in
//! the set from where it is first reached, so a key costs at most its words times the nodes of the trie, however
//! many `#` the patterns hold: there is no backtracking.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;

use super::counted_set::CountedSet;
use super::{Sink, Target};

/// How many words `#` a binding key may have (RabbitMQ 4.3.5).
pub const MULTI_WORD_WILDCARDS_MAX: usize = 2;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node {
    parent: u32,
    /// The edge from the parent; `*` and `#` are wildcards, never literals.
    word: Box<[u8]>,
    /// The child behind `*`, or `NONE`.
    star: u32,
    /// The child behind `#`, or `NONE`.
    hash: u32,
    /// How many children are in `Topic::edges`.
    literal_len: u32,
    targets: CountedSet<Target>,
}

impl Node {
    fn new(parent: u32, word: &[u8]) -> Self {
        Node {
            parent,
            word: word.into(),
            star: NONE,
            hash: NONE,
            literal_len: 0,
            targets: CountedSet::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.star == NONE && self.hash == NONE && self.literal_len == 0 && self.targets.is_empty()
    }
}

/// Working space of a match: the nodes that the words so far lead to.
#[derive(Debug, Default)]
pub(crate) struct TopicScratch {
    /// Nodes behind a literal or `*`. Each at most once, because each has one parent and one edge.
    plain: Vec<u32>,
    plain_next: Vec<u32>,
    /// Nodes behind `#`. Sorted, without duplicates.
    open: Vec<u32>,
}

/// The trie of a topic exchange.
#[derive(Debug)]
pub(crate) struct Topic {
    nodes: Slab<Node>,
    root: u32,
    /// Children by literal word: node numbers, hashed by `edge_hash`.
    edges: HashTable<u32>,
}

impl Default for Topic {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new(NONE, b"")) as u32;
        Topic {
            nodes,
            root,
            edges: HashTable::new(),
        }
    }
}

impl Topic {
    pub(crate) fn insert(&mut self, pattern: &str, target: Target) {
        let mut at = self.root;
        for word in words(pattern.as_bytes()) {
            at = match self.child(at, word) {
                Some(child) => child,
                None => self.add_child(at, word),
            };
        }
        self.nodes[at as usize].targets.insert(target);
    }

    /// Removing what was never put in does nothing.
    pub(crate) fn remove(&mut self, pattern: &str, target: Target) {
        let mut at = self.root;
        for word in words(pattern.as_bytes()) {
            let Some(child) = self.child(at, word) else {
                return;
            };
            at = child;
        }
        self.nodes[at as usize].targets.remove(target);
        while at != self.root && self.nodes[at as usize].is_empty() {
            at = self.remove_leaf(at);
        }
    }

    pub(crate) fn route(&self, routing_key: &[u8], scratch: &mut TopicScratch, sink: &mut Sink) {
        scratch.plain.clear();
        scratch.open.clear();
        scratch.plain.push(self.root);
        self.open_wildcards(scratch);
        for word in words(routing_key) {
            if scratch.plain.is_empty() && scratch.open.is_empty() {
                return;
            }
            let word_hash = hash_word(word);
            scratch.plain_next.clear();
            for &at in scratch.plain.iter().chain(&scratch.open) {
                let node = &self.nodes[at as usize];
                if node.star != NONE {
                    scratch.plain_next.push(node.star);
                }
                if 0 < node.literal_len
                    && let Some(child) = self.literal(at, word, word_hash)
                {
                    scratch.plain_next.push(child);
                }
            }
            std::mem::swap(&mut scratch.plain, &mut scratch.plain_next);
            self.open_wildcards(scratch);
        }
        for &at in scratch.plain.iter().chain(&scratch.open) {
            sink.take(&self.nodes[at as usize].targets);
        }
    }

    #[cfg(test)]
    pub(crate) fn node_len(&self) -> usize {
        self.nodes.len()
    }

    /// Adds what `#` reaches from the plain nodes without taking a word.
    fn open_wildcards(&self, scratch: &mut TopicScratch) {
        let known = scratch.open.len();
        for &at in &scratch.plain {
            let mut child = self.nodes[at as usize].hash;
            // `#.#`: the second one too is reached without a word.
            while child != NONE {
                scratch.open.push(child);
                child = self.nodes[child as usize].hash;
            }
        }
        if known < scratch.open.len() && 1 < scratch.open.len() {
            scratch.open.sort_unstable();
            scratch.open.dedup();
        }
    }

    fn child(&self, parent: u32, word: &[u8]) -> Option<u32> {
        let node = &self.nodes[parent as usize];
        match word {
            b"*" => (node.star != NONE).then_some(node.star),
            b"#" => (node.hash != NONE).then_some(node.hash),
            _ => self.literal(parent, word, hash_word(word)),
        }
    }

    fn literal(&self, parent: u32, word: &[u8], word_hash: u64) -> Option<u32> {
        let is_it = |&child: &u32| {
            let node = &self.nodes[child as usize];
            node.parent == parent && *node.word == *word
        };
        self.edges
            .find(edge_hash(parent, word_hash), is_it)
            .copied()
    }

    fn add_child(&mut self, parent: u32, word: &[u8]) -> u32 {
        let child = self.nodes.insert(Node::new(parent, word)) as u32;
        match word {
            b"*" => self.nodes[parent as usize].star = child,
            b"#" => self.nodes[parent as usize].hash = child,
            _ => {
                self.nodes[parent as usize].literal_len += 1;
                let nodes = &self.nodes;
                self.edges
                    .insert_unique(edge_hash(parent, hash_word(word)), child, |&other| {
                        let node = &nodes[other as usize];
                        edge_hash(node.parent, hash_word(&node.word))
                    });
            }
        }
        child
    }

    /// Cuts a childless node off and gives its parent.
    fn remove_leaf(&mut self, leaf: u32) -> u32 {
        let node = self.nodes.remove(leaf as usize);
        let parent = &mut self.nodes[node.parent as usize];
        match &*node.word {
            b"*" => parent.star = NONE,
            b"#" => parent.hash = NONE,
            word => {
                parent.literal_len -= 1;
                let hash = edge_hash(node.parent, hash_word(word));
                let edge = self.edges.find_entry(hash, |&child| child == leaf);
                edge.expect("every literal child is in the edges").remove();
            }
        }
        node.parent
    }
}

/// How many words `#` a binding key has.
pub(crate) fn multi_word_wildcards(pattern: &str) -> usize {
    words(pattern.as_bytes())
        .filter(|word| *word == b"#")
        .count()
}

fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = (!key.is_empty()).then_some(key);
    whole
        .into_iter()
        .flat_map(|key| key.split(|&byte| byte == b'.'))
}

fn hash_word(word: &[u8]) -> u64 {
    FixedState::default().hash_one(word)
}

/// Mixes the parent in after the word is hashed, because many parents ask for one word of the routing key.
fn edge_hash(parent: u32, word_hash: u64) -> u64 {
    let mixed = word_hash ^ u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests;
