//! The text form of methods, tables and strings, read and written.
//!
//! `queue.declare queue=q durable arguments={x-max-length: 5}`: a name, then fields. A word without
//! `=` is a bit set to true. Strings need quotes only when they hold more than letters, digits and
//! `-_.:/#*@+$%~`; inside quotes `\n \r \t \\ \" \xNN` mean what they mean in Rust, for bytes.

use crate::field::{Field, Table};

/// Why a text could not be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason} at column {column} of: {text}")]
pub struct ParseError {
    /// What was wrong.
    pub reason: String,
    /// Where, counted in bytes from 0.
    pub column: usize,
    /// The whole text.
    pub text: String,
}

/// The bytes as text: bare when that can be read back, quoted and escaped otherwise.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                    out.push_str(&format!("\\x{:02x}", c as u32));
                }
                c => out.push(c),
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

/// Reads words, `key=value` pairs and values off a line.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the head of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips white space; true at the end of the line or at a comment (` # ...`).
    pub fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty() || self.rest().starts_with("# ")
    }

    /// One bare word, perhaps empty.
    pub fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|c: char| !is_bare(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Takes `c` if it is next.
    pub fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    /// A quoted string or a bare word, as bytes.
    pub fn string(&mut self) -> Result<Vec<u8>, ParseError> {
        if !self.take('"') {
            let rest = self.rest();
            // A bare value may hold `=`, which a bare word, being perhaps a key, may not.
            let end = rest
                .find(|c: char| !is_bare(c) && c != '=')
                .unwrap_or(rest.len());
            self.at += end;
            return Ok(rest.as_bytes()[..end].to_vec());
        }
        let mut out = Vec::new();
        loop {
            let rest = self.rest();
            let Some(c) = rest.chars().next() else {
                return Err(self.error("unterminated string"));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self) -> Result<u8, ParseError> {
        let rest = self.rest();
        let c = rest.chars().next().unwrap_or(' ');
        self.at += c.len_utf8();
        Ok(match c {
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            '"' => b'"',
            'x' => {
                let digits = self.rest().get(..2).unwrap_or("");
                let byte = u8::from_str_radix(digits, 16).map_err(|_| self.error("bad \\x"))?;
                self.at += 2;
                byte
            }
            _ => return Err(self.error("unknown escape")),
        })
    }

    /// A table: `{key: value, ...}`.
    pub fn table(&mut self) -> Result<Table, ParseError> {
        self.skip_space();
        if !self.take('{') {
            return Err(self.error("a table opens with {"));
        }
        let mut table = Table::new();
        loop {
            self.skip_space();
            if self.take('}') {
                return Ok(table);
            }
            let key = if self.rest().starts_with('"') {
                self.string()?
            } else {
                let rest = self.rest();
                let end = rest.find([':', '}', ' ']).unwrap_or(rest.len());
                self.at += end;
                rest.as_bytes()[..end].to_vec()
            };
            self.skip_space();
            if !self.take(':') {
                return Err(self.error("a key is followed by :"));
            }
            table.push((key, self.field()?));
            self.skip_space();
            self.take(',');
        }
    }

    /// One field value.
    pub fn field(&mut self) -> Result<Field, ParseError> {
        self.skip_space();
        match self.rest().chars().next() {
            Some('{') => return self.table().map(Field::Table),
            Some('"') => return self.string().map(Field::Str),
            Some('[') => {
                self.take('[');
                let mut items = Vec::new();
                loop {
                    self.skip_space();
                    if self.take(']') {
                        return Ok(Field::Array(items));
                    }
                    items.push(self.field()?);
                    self.skip_space();
                    self.take(',');
                }
            }
            _ => {}
        }
        if self.rest().starts_with("x:\"") {
            self.at += 2;
            return self.string().map(Field::Bytes);
        }
        let word = self.word();
        self.bare_field(word)
    }

    fn bare_field(&self, word: &str) -> Result<Field, ParseError> {
        match word {
            "true" => return Ok(Field::Bool(true)),
            "false" => return Ok(Field::Bool(false)),
            "void" => return Ok(Field::Void),
            _ => {}
        }
        if let Ok(number) = word.parse::<i32>() {
            return Ok(Field::from(number));
        }
        let bad = |_| self.error(&format!("cannot read the number in {word}"));
        Ok(match word.split_once(':') {
            Some((tag @ ("b" | "B" | "s" | "U" | "u" | "I" | "i" | "l" | "L"), number)) => {
                let value = number.parse().map_err(|_| self.error("bad integer"))?;
                Field::Int(tag.as_bytes()[0], value)
            }
            Some(("f", number)) => Field::Float(number.parse().map_err(bad)?),
            Some(("d", number)) => Field::Double(number.parse().map_err(bad)?),
            Some(("T", number)) => {
                Field::Timestamp(number.parse().map_err(|_| self.error("bad timestamp"))?)
            }
            Some(("D", rest)) => {
                let (scale, value) = rest.split_once(':').unwrap_or((rest, ""));
                let number =
                    |text: &str| text.parse::<u32>().map_err(|_| self.error("bad decimal"));
                Field::Decimal(number(scale)? as u8, number(value)?)
            }
            _ => Field::from(word),
        })
    }

    /// An error at the present place.
    pub fn error(&self, reason: &str) -> ParseError {
        ParseError {
            reason: reason.into(),
            column: self.at,
            text: self.text.into(),
        }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || "-_.:/#*@+$%~!<>?&'".contains(c)
}
