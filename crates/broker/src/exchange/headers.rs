//! `headers`: the binding's arguments are conditions on the message's headers.
//!
//! A condition is "this header is there" (a void argument) or "this header has this value". Bindings are not
//! tried one by one: each is filed under conditions, and a message looks up only what its own headers could meet.
//! An `any` binding is filed under each of its conditions, and meeting one is the match. An `all` binding is
//! filed under one, the one that shared a drawer with the fewest others when it was bound, and is then checked
//! in full. One without conditions matches everything (`all`) or nothing (`any`).
//!
//! `x-match` is `all` where it is missing. Keys starting `x-` are conditions only under `all-with-x` and
//! `any-with-x`, and `x-match` itself never is (RabbitMQ 4.3).

use wire::amqp091::table::{Table, Value};

use super::arguments::{Side, push_header_value};
use super::counted_set::CountedSet;
use super::{BindingSlot, FixedMap, Sink, Target};

/// The values of `x-match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MatchMode {
    any: bool,
    with_x: bool,
}

impl MatchMode {
    /// Reads `x-match` out of a binding's arguments; gives the offending value back.
    pub(crate) fn of<'a>(arguments: Table<'a>) -> Result<Self, Value<'a>> {
        let (any, with_x) = match arguments.find("x-match") {
            None => (false, false),
            Some(Value::LongStr(b"all")) => (false, false),
            Some(Value::LongStr(b"any")) => (true, false),
            Some(Value::LongStr(b"all-with-x")) => (false, true),
            Some(Value::LongStr(b"any-with-x")) => (true, true),
            Some(other) => return Err(other),
        };
        Ok(MatchMode { any, with_x })
    }

    fn skips(self, key: &str) -> bool {
        if self.with_x {
            key == "x-match"
        } else {
            key.starts_with("x-")
        }
    }
}

/// One condition, as bytes: the key with its length before it, and for a value its comparable form behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    bytes: Box<[u8]>,
    has_value: bool,
}

#[derive(Debug)]
struct Compiled {
    target: Target,
    mode: MatchMode,
    conditions: Vec<Condition>,
    /// Which conditions it is filed under: all of them for `any`, one at most for `all`.
    filed: Vec<Condition>,
}

/// Bindings of a headers exchange.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    bindings: FixedMap<BindingSlot, Compiled>,
    /// Filed under a header's presence.
    by_key: FixedMap<Box<[u8]>, CountedSet<BindingSlot>>,
    /// Filed under a header's value.
    by_value: FixedMap<Box<[u8]>, CountedSet<BindingSlot>>,
    /// `all` bindings without conditions.
    always: CountedSet<BindingSlot>,
}

/// One header of the message: where its condition bytes stand in `HeadersScratch::bytes`.
#[derive(Debug, Clone, Copy)]
struct Header {
    start: u32,
    key_end: u32,
    end: u32,
}

/// A message's headers in comparable form.
#[derive(Debug, Default)]
pub(crate) struct HeadersScratch {
    bytes: Vec<u8>,
    /// Sorted by key; of equal keys the last in the message alone is left, as in RabbitMQ.
    headers: Vec<Header>,
}

impl HeadersScratch {
    /// Reads a message's headers; to be done once a message, however many headers exchanges it meets.
    pub(crate) fn read(&mut self, headers: Option<Table<'_>>) {
        self.bytes.clear();
        self.headers.clear();
        let Some(table) = headers else { return };
        for (key, value) in table.iter() {
            let start = self.bytes.len() as u32;
            push_key(&mut self.bytes, key);
            let key_end = self.bytes.len() as u32;
            push_header_value(&mut self.bytes, &value, Side::Message);
            self.headers.push(Header {
                start,
                key_end,
                end: self.bytes.len() as u32,
            });
        }
        let bytes = &self.bytes;
        let key = |header: &Header| &bytes[header.start as usize..header.key_end as usize];
        // Later ones first among equals, because dedup keeps the first. The start tells them apart, so that the
        // unstable sort, which does not allocate, is as good.
        self.headers
            .sort_unstable_by(|a, b| key(a).cmp(key(b)).then(b.start.cmp(&a.start)));
        self.headers.dedup_by(|a, b| key(a) == key(b));
    }

    fn key(&self, header: &Header) -> &[u8] {
        &self.bytes[header.start as usize..header.key_end as usize]
    }

    fn whole(&self, header: &Header) -> &[u8] {
        &self.bytes[header.start as usize..header.end as usize]
    }

    fn meets(&self, condition: &Condition) -> bool {
        let wanted = &*condition.bytes;
        let Some((&key_len, _)) = wanted.split_first() else {
            return false;
        };
        let wanted_key = &wanted[..1 + usize::from(key_len)];
        let found = self
            .headers
            .binary_search_by(|header| self.key(header).cmp(wanted_key));
        match found {
            Ok(at) => !condition.has_value || self.whole(&self.headers[at]) == wanted,
            Err(_) => false,
        }
    }
}

impl Headers {
    pub(crate) fn insert(&mut self, binding: BindingSlot, arguments: Table<'_>, target: Target) {
        // Checked when the binding was; a mode that is none would be `all`, as in RabbitMQ.
        let mode = MatchMode::of(arguments).unwrap_or(MatchMode {
            any: false,
            with_x: false,
        });
        let wanted = arguments.iter().filter(|&(key, _)| !mode.skips(key));
        let conditions: Vec<Condition> =
            wanted.map(|(key, value)| condition(key, &value)).collect();
        let filed = match (mode.any, conditions.is_empty()) {
            (true, _) => conditions.clone(),
            (false, true) => {
                self.always.insert(binding);
                Vec::new()
            }
            (false, false) => {
                let emptiest = conditions
                    .iter()
                    .min_by_key(|condition| self.drawer_len(condition));
                emptiest.into_iter().cloned().collect()
            }
        };
        for condition in &filed {
            let drawer = self
                .drawers(condition.has_value)
                .entry(condition.bytes.clone());
            drawer.or_default().insert(binding);
        }
        self.bindings.insert(
            binding,
            Compiled {
                target,
                mode,
                conditions,
                filed,
            },
        );
    }

    pub(crate) fn remove(&mut self, binding: BindingSlot) {
        let Some(compiled) = self.bindings.remove(&binding) else {
            return;
        };
        self.always.remove(binding);
        for condition in &compiled.filed {
            let drawers = self.drawers(condition.has_value);
            let Some(drawer) = drawers.get_mut(&condition.bytes) else {
                continue;
            };
            drawer.remove(binding);
            if drawer.is_empty() {
                drawers.remove(&condition.bytes);
            }
        }
    }

    /// `message` has read the message's headers.
    pub(crate) fn route(&self, message: &HeadersScratch, sink: &mut Sink) {
        for binding in self.always.iter() {
            self.push_if_met(binding, message, sink);
        }
        for header in &message.headers {
            let by_key = self.by_key.get(message.key(header));
            let by_value = self.by_value.get(message.whole(header));
            for drawer in by_key.into_iter().chain(by_value) {
                for binding in drawer.iter() {
                    self.push_if_met(binding, message, sink);
                }
            }
        }
    }

    fn push_if_met(&self, binding: BindingSlot, message: &HeadersScratch, sink: &mut Sink) {
        let Some(compiled) = self.bindings.get(&binding) else {
            return;
        };
        // Being found in a drawer is all that `any` asks for.
        if compiled.mode.any
            || compiled
                .conditions
                .iter()
                .all(|wanted| message.meets(wanted))
        {
            sink.push(compiled.target);
        }
    }

    fn drawers(&mut self, has_value: bool) -> &mut FixedMap<Box<[u8]>, CountedSet<BindingSlot>> {
        if has_value {
            &mut self.by_value
        } else {
            &mut self.by_key
        }
    }

    fn drawer_len(&self, condition: &Condition) -> usize {
        let drawers = if condition.has_value {
            &self.by_value
        } else {
            &self.by_key
        };
        drawers.get(&condition.bytes).map_or(0, CountedSet::len)
    }
}

fn condition(key: &str, value: &Value<'_>) -> Condition {
    let mut bytes = Vec::new();
    push_key(&mut bytes, key);
    let has_value = !matches!(value, Value::Void);
    if has_value {
        push_header_value(&mut bytes, value, Side::Binding);
    }
    Condition {
        bytes: bytes.into(),
        has_value,
    }
}

/// The length first, so that no key is the beginning of another's condition.
fn push_key(bytes: &mut Vec<u8>, key: &str) {
    // Table keys are short strings; one that is not could only be cut, and would then meet nothing.
    let key = &key.as_bytes()[..key.len().min(usize::from(u8::MAX))];
    bytes.push(key.len() as u8);
    bytes.extend_from_slice(key);
}

#[cfg(test)]
mod tests;
