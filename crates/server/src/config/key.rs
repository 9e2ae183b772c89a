//! A key of the configuration: its name, what it does, and how near another name is to it.

use super::Config;
use super::value::{Given, Outcome};

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    /// With the next reload (SIGHUP).
    Live,
    /// With the next start.
    Restart,
}

/// A key that is obeyed.
pub(super) struct Key {
    /// Words with dots between them; one that begins with `$` stands for any.
    pub(super) name: &'static str,
    pub(super) applies: Applies,
    /// The value it has when nobody sets it, as text.
    pub(super) default: &'static str,
    /// What it does, and the unit of its value: one sentence, for the user's documents.
    pub(super) about: &'static str,
    pub(super) apply: fn(&mut Config, &Given<'_>) -> Outcome,
}

/// A [`Key`], in the order in which it reads best.
pub(super) const fn key(
    name: &'static str,
    applies: Applies,
    default: &'static str,
    about: &'static str,
    apply: fn(&mut Config, &Given<'_>) -> Outcome,
) -> Key {
    Key {
        name,
        applies,
        default,
        about,
        apply,
    }
}

/// What the `$` words of a name stand for in a key, if the key fits.
pub(super) fn fit<'a>(name: &str, words: &'a [String]) -> Option<Vec<&'a str>> {
    let mut stands_for = Vec::new();
    let mut wanted = name.split('.');
    for word in words {
        match wanted.next()? {
            any if any.starts_with('$') => stands_for.push(word.as_str()),
            exact if exact == word => {}
            _ => return None,
        }
    }
    wanted.next().is_none().then_some(stands_for)
}

/// How a name is written so that it is nearest to a key: its `$` words are the key's.
pub(super) fn adapt(name: &str, words: &[String]) -> String {
    let adapted = name
        .split('.')
        .enumerate()
        .map(|(index, word)| match words.get(index) {
            Some(theirs) if word.starts_with('$') => theirs.replace('.', "\\."),
            _ => word.to_owned(),
        });
    adapted.collect::<Vec<_>>().join(".")
}

/// Levenshtein's distance: how many letters must be put in, taken out or changed.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
