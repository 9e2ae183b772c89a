//! Keys of RabbitMQ that we know and do not obey: accepted, so that a `rabbitmq.conf` may stay as it is, with a
//! note that says why nothing comes of them. Their values are checked as far as RabbitMQ would.

use std::sync::LazyLock;

use super::key::fit;
use super::value::Given;

/// See the module.
pub(super) struct Accepted {
    pub(super) name: &'static str,
    /// `int`, `bool`, words to choose from, with `|` between them; `text` is anything.
    kind: &'static str,
    pub(super) why: &'static str,
}

/// `## why`, then the keys it is true for, each with the kind of its value.
static ACCEPTED: LazyLock<Vec<Accepted>> = LazyLock::new(|| {
    let mut why = "";
    let mut keys = Vec::new();
    for line in include_str!("accepted_keys.txt").lines() {
        match (line.strip_prefix("## "), line.split_once(' ')) {
            (Some(reason), _) => why = reason,
            (None, Some((name, kind))) => keys.push(Accepted { name, kind, why }),
            (None, None) => {}
        }
    }
    keys
});

/// All of them.
pub(super) fn all() -> &'static [Accepted] {
    &ACCEPTED
}

/// The accepted key that this is.
pub(super) fn find(words: &[String]) -> Option<&'static Accepted> {
    // A key spelt out goes before one with `$` words.
    let mut fitting: Vec<_> = ACCEPTED
        .iter()
        .filter(|key| fit(key.name, words).is_some())
        .collect();
    fitting.sort_by_key(|key| key.name.matches('$').count());
    fitting.first().copied()
}

impl Accepted {
    /// Whether the value is one that the key can have.
    pub(super) fn check(&self, given: &Given<'_>) -> Result<(), String> {
        let fits = self.kind.split('|').any(|kind| match kind {
            "text" => true,
            "int" => given.value.parse::<i64>().is_ok(),
            "bool" | "flag" => given.switch().is_ok(),
            word => word == given.value,
        });
        if fits {
            return Ok(());
        }
        let kinds: Vec<_> = self
            .kind
            .split('|')
            .map(|kind| match kind {
                "int" => "a whole number",
                "bool" | "flag" => "true or false",
                word => word,
            })
            .collect();
        Err(format!("expected {}", kinds.join(" or ")))
    }
}
