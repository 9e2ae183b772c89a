//! A permission's regular expression, with RabbitMQ's meaning.
//!
//! Matched anywhere in the name unless anchored, byte by byte (a name's encoding is of no account, as in
//! RabbitMQ); the empty pattern matches the empty name only. Deliberately absent: look-around and
//! back-references. Matching takes time linear in the name, whatever the pattern, so that nobody who may set
//! permissions can stall the broker; a pattern that needs more is refused when it is set.

use regex::bytes::{Regex, RegexBuilder};

/// The longest pattern, in bytes (RabbitMQ's limit).
pub const PATTERN_BYTES_MAX: usize = 1024;

/// The largest compiled program, in bytes: bounded repetitions of bounded repetitions grow fast.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// The largest cache of one pattern's matcher, in bytes.
const MATCHER_CACHE_BYTES_MAX: usize = 1 << 18;

/// A compiled pattern and the text it came from. Two are equal if their texts are.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Box<str>,
    matcher: Matcher,
}

/// What nearly every permission is (`.*` and nothing) needs no engine, and no memory for one.
#[derive(Debug, Clone)]
enum Matcher {
    Everything,
    EmptyName,
    Regex(Regex),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If it is too long, or no regular expression, or one that needs look-around or back-references.
    pub fn parse(source: &str) -> Result<Pattern, PatternError> {
        if source.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::new(source, "pattern_too_long"));
        }
        let matcher = match source {
            ".*" | "^.*" => Matcher::Everything,
            "" | "^$" => Matcher::EmptyName,
            _ => Matcher::Regex(compile(source)?),
        };
        Ok(Pattern {
            source: source.into(),
            matcher,
        })
    }

    /// The pattern as it was set.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the pattern matches somewhere in `name`.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::EmptyName => name.is_empty(),
            Matcher::Regex(regex) => regex.is_match(name.as_bytes()),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// A pattern that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression '{pattern}': {reason}")]
pub struct PatternError {
    /// The pattern as it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl PatternError {
    fn new(pattern: &str, reason: impl Into<String>) -> PatternError {
        PatternError {
            pattern: pattern.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Bytes first, as RabbitMQ matches; characters for what has no meaning in bytes, such as `[é]`.
fn compile(source: &str) -> Result<Regex, PatternError> {
    let translated = escape_literal_braces(source);
    let build = |unicode: bool| {
        RegexBuilder::new(&translated)
            .unicode(unicode)
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(MATCHER_CACHE_BYTES_MAX)
            .build()
    };
    build(false).or_else(|_| build(true)).map_err(|error| {
        // The engine draws the pattern with a marker under the fault; the last line says what it is.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        PatternError::new(source, last.trim().trim_start_matches("error: "))
    })
}

/// Writes braces as this engine wants them. In Perl's expressions, which RabbitMQ uses, a `{` that opens no
/// repetition stands for itself, and `{,m}` is `{0,m}`; here both are errors.
fn escape_literal_braces(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut chars = source.char_indices();
    let mut in_class = false;
    while let Some((at, c)) = chars.next() {
        let rest = source.get(at + c.len_utf8()..).unwrap_or_default();
        match c {
            '\\' => {
                out.push(c);
                let Some((_, escaped)) = chars.next() else {
                    break;
                };
                out.push(escaped);
                // `\x{..}`, `\p{..}` and their like own the brace that follows.
                let owns_brace = matches!(escaped, 'x' | 'p' | 'P' | 'u' | 'U' | 'b');
                if owns_brace
                    && rest
                        .get(escaped.len_utf8()..)
                        .is_some_and(|r| r.starts_with('{'))
                {
                    out.push('{');
                    chars.next();
                }
            }
            '{' if !in_class => out.push_str(match rest.starts_with(',') {
                _ if !opens_repetition(rest) => "\\{",
                true => "{0",
                false => "{",
            }),
            _ => {
                in_class = (in_class || c == '[') && c != ']';
                out.push(c);
            }
        }
    }
    out
}

/// Whether what follows a `{` makes it `{n}`, `{n,}`, `{,m}` or `{n,m}`.
fn opens_repetition(rest: &str) -> bool {
    let Some((counts, _)) = rest.split_once('}') else {
        return false;
    };
    let (low, high) = counts.split_once(',').unwrap_or((counts, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    digits(low) && digits(high) && !(low.is_empty() && high.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern = Pattern::parse(pattern).unwrap();
        for name in matching {
            assert!(pattern.matches(name), "{} on {name:?}", pattern.source());
        }
        for name in others {
            assert!(!pattern.matches(name), "{} on {name:?}", pattern.source());
        }
    }

    /// The outcomes are those of `re:run/3` on RabbitMQ 4.3.
    #[test]
    fn patterns_match_as_in_rabbitmq() {
        check(".*", &["", "orders"], &[]);
        check("", &[""], &["orders", " "]);
        check("^$", &[""], &["orders"]);
        check("orders", &["orders", "my-orders-2"], &["order", ""]);
        check("^orders", &["orders-2"], &["my-orders"]);
        check(
            "^(amq\\.gen.*|amq\\.default)$",
            &["amq.gen-x", "amq.default"],
            &["amq.topic"],
        );
        check("^.{2}$", &["ab", "é"], &["abc", "éé"]);
        check("^é+$", &["éé"], &["e"]);
        check("^[éa]$", &["é", "a"], &["b"]);
        check("^\\w$", &["a", "_"], &["é"]);
    }

    #[test]
    fn a_brace_that_repeats_nothing_stands_for_itself() {
        check("^{user}", &["{user}x"], &["user"]);
        check("a{b}", &["a{b}"], &["ab"]);
        check("x{2", &["x{2"], &["xx"]);
        check("^x{2}$", &["xx"], &["x{2}"]);
        check("^x{2,}$", &["xxx"], &["x"]);
        check("^x{,2}$", &["", "xx"], &["xxx"]);
        check("^[{]{2}$", &["{{"], &["{"]);
        check("^\\x{61}\\{$", &["a{"], &[]);
        check("{}", &["{}"], &["x"]);
    }

    #[test]
    fn what_cannot_be_compiled_is_refused_with_its_reason() {
        let reason = |pattern: &str| Pattern::parse(pattern).unwrap_err().reason;
        assert_eq!(reason("("), "unclosed group");
        assert_eq!(reason("*a"), "repetition operator missing expression");
        assert_eq!(
            reason("^(?!amq)"),
            "look-around, including look-ahead and look-behind, is not supported"
        );
        assert_eq!(reason("(a)\\1"), "backreferences are not supported");
        assert_eq!(
            reason(&"a".repeat(PATTERN_BYTES_MAX + 1)),
            "pattern_too_long"
        );
        assert!(reason("((a{1000}){1000}){1000}").contains("size limit"));
        assert_eq!(
            Pattern::parse("(").unwrap_err().to_string(),
            "invalid regular expression '(': unclosed group"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_panics(source in ".{0,40}", name in ".{0,20}") {
            if let Ok(pattern) = Pattern::parse(&source) {
                pattern.matches(&name);
            }
        }
    }
}
