//! Erlang terms as people write them: what queries of LDAP are written in.
//!
//! ```text
//! {'and', [{in_group, "cn=${vhost},ou=vhosts"}, {constant, true}]}
//! ```
//! Atoms, strings, binaries, whole numbers, lists and tuples, with comments and a full stop at the end if one likes.
//! Deliberately absent: floats, maps, functions and characters, which no query has.

/// How deep terms may be within each other.
const DEPTH_MAX: usize = 64;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    /// `true`, `'and'`
    Atom(String),
    /// `"text"` or `<<"text">>`
    Text(String),
    /// `1`
    Number(i64),
    /// `[a, b]`
    List(Vec<Term>),
    /// `{a, b}`
    Tuple(Vec<Term>),
}

struct Reader<'a> {
    rest: &'a str,
    whole: usize,
}

/// The one term of a text.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn parse(text: &str) -> Result<Term, String> {
    let mut reader = Reader {
        rest: text,
        whole: text.len(),
    };
    let term = reader.term(0)?;
    reader.skip();
    reader.take('.');
    reader.skip();
    match reader.rest {
        "" => Ok(term),
        _ => Err(reader.error("something is left over")),
    }
}

impl Reader<'_> {
    fn error(&self, what: &str) -> String {
        let at = self.whole - self.rest.len() + 1;
        format!("{what} at character {at}")
    }

    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('%') {
                Some(comment) => self.rest = comment.find('\n').map_or("", |end| &comment[end..]),
                None => return,
            }
        }
    }

    fn take(&mut self, c: char) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn term(&mut self, depth: usize) -> Result<Term, String> {
        self.skip();
        if DEPTH_MAX < depth {
            return Err(self.error("too many terms within each other"));
        }
        match self.rest.chars().next() {
            None => Err(self.error("a term is missing")),
            Some('{') => Ok(Term::Tuple(self.items('{', '}', depth)?)),
            Some('[') => Ok(Term::List(self.items('[', ']', depth)?)),
            Some('"') => Ok(Term::Text(self.texts()?)),
            Some('\'') => Ok(Term::Atom(self.quoted('\'')?)),
            Some('<') => self.binary(),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            Some(c) if c.is_lowercase() => Ok(self.atom()),
            Some(_) => Err(self.error("this is no term")),
        }
    }

    fn items(&mut self, open: char, close: char, depth: usize) -> Result<Vec<Term>, String> {
        self.take(open);
        let mut items = Vec::new();
        if self.take(close) {
            return Ok(items);
        }
        loop {
            items.push(self.term(depth + 1)?);
            if self.take(close) {
                return Ok(items);
            }
            if !self.take(',') {
                return Err(self.error(&format!("expected , or {close}")));
            }
        }
    }

    fn binary(&mut self) -> Result<Term, String> {
        let Some(rest) = self.rest.strip_prefix("<<") else {
            return Err(self.error("this is no term"));
        };
        self.rest = rest;
        self.skip();
        let text = match self.rest.starts_with('"') {
            true => self.texts()?,
            false => String::new(),
        };
        self.rest = self.rest.strip_prefix("/utf8").unwrap_or(self.rest);
        self.skip();
        match self.rest.strip_prefix(">>") {
            Some(rest) => self.rest = rest,
            None => return Err(self.error("expected >>")),
        }
        Ok(Term::Text(text))
    }

    /// Strings beside each other are one.
    fn texts(&mut self) -> Result<String, String> {
        let mut text = String::new();
        while self.rest.starts_with('"') {
            text += &self.quoted('"')?;
            self.skip();
        }
        Ok(text)
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, escaped)) => text.push(unescaped(escaped)),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err(self.error(&format!("the closing {quote} is missing")))
    }

    fn number(&mut self) -> Result<Term, String> {
        let digits = self.rest.trim_start_matches('-');
        let end = digits.find(|c: char| !c.is_ascii_digit());
        let end = end.unwrap_or(digits.len()) + (self.rest.len() - digits.len());
        let (number, rest) = self.rest.split_at(end);
        let number = number
            .parse()
            .map_err(|_| self.error("this is no number"))?;
        self.rest = rest;
        Ok(Term::Number(number))
    }

    fn atom(&mut self) -> Term {
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '@'));
        let (atom, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Term::Atom(atom.to_owned())
    }
}

fn unescaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        's' => ' ',
        'b' => '\u{8}',
        'e' => '\u{1b}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        'd' => '\u{7f}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read() {
        let text = |text: &str| Term::Text(text.to_owned());
        let atom = |text: &str| Term::Atom(text.to_owned());
        for (input, expected) in [
            ("true", atom("true")),
            (" 'and' . ", atom("and")),
            ("\"a\\\"b\\\\c\" \"d\".", text("a\"b\\cd")),
            ("<<\"x\"/utf8>>", text("x")),
            ("<<>>", text("")),
            ("-12", Term::Number(-12)),
            ("[]", Term::List(vec![])),
            (
                "{for, [ {permission, configure, {constant, true}} % all of it\n ]}",
                Term::Tuple(vec![
                    atom("for"),
                    Term::List(vec![Term::Tuple(vec![
                        atom("permission"),
                        atom("configure"),
                        Term::Tuple(vec![atom("constant"), atom("true")]),
                    ])]),
                ]),
            ),
        ] {
            assert_eq!(parse(input), Ok(expected), "{input}");
        }
    }

    #[test]
    fn what_is_no_term_is_told_with_its_place() {
        let deep = "[".repeat(100);
        for (input, expected) in [
            ("", "a term is missing at character 1"),
            ("{a", "expected , or } at character 3"),
            ("{a b}", "expected , or } at character 4"),
            ("[a,]", "this is no term at character 4"),
            ("\"a", "the closing \" is missing at character 1"),
            ("a b", "something is left over at character 3"),
            ("Atom", "this is no term at character 1"),
            ("<a", "this is no term at character 1"),
            ("<<a>>", "expected >> at character 3"),
            ("-", "this is no number at character 1"),
            (&deep, "too many terms within each other at character 66"),
        ] {
            assert_eq!(parse(input), Err(expected.to_owned()), "{input}");
        }
    }
}
