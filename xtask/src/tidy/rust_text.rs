//! Reading Rust by its braces: enough to find functions and to tell code from comments and strings.
//!
//! Deliberately absent: a grammar. The rules need names, lines and braces; a parser would cost more
//! to build than all of xtask. Macro bodies are read as code.

use std::ops::Range;

/// The source with comments, strings and character literals turned into spaces; lines stay where
/// they are, and so do the quotes.
pub(super) fn blanked(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'\'' => character_end(bytes, at),
            b'r' if !continues_a_word(bytes, at) => raw_string_end(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut out[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters were blanked, or none of their bytes")
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |length| start + length)
}

/// Block comments nest.
fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The end of a string whose text starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"..."` or `r#"..."#`; of the `r` alone when no string starts there.
fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let quote = start + 1 + hashes;
    if bytes.get(quote) != Some(&b'"') {
        return start + 1;
    }
    let mut closing = vec![b'"'];
    closing.resize(1 + hashes, b'#');
    let text = &bytes[quote + 1..];
    let length = text
        .windows(closing.len())
        .position(|window| window == closing);
    length.map_or(bytes.len(), |length| quote + 1 + length + closing.len())
}

/// The end of a character literal; of the quote alone when it is a lifetime's.
fn character_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start + 1) {
        Some(b'\\') => {
            let rest = bytes.get(start + 3..).unwrap_or_default();
            rest.iter()
                .position(|byte| *byte == b'\'')
                .map_or(bytes.len(), |length| start + 4 + length)
        }
        Some(first) => {
            let width = match first {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            };
            let quote = start + 1 + width;
            if bytes.get(quote) == Some(&b'\'') {
                quote + 1
            } else {
                start + 1
            }
        }
        None => bytes.len(),
    }
}

/// Whether the byte at `at` goes on with a word, as the `r` of `for` does. The `b` of `br"..."`
/// does not count.
fn continues_a_word(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else {
        return false;
    };
    let prefix = matches!(bytes[before], b'b' | b'c')
        && before
            .checked_sub(1)
            .is_none_or(|earlier| !is_word(bytes[earlier]));
    is_word(bytes[before]) && !prefix
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// A word of the code: an identifier, a keyword or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Where it starts, in bytes.
    pub(super) start: usize,
}

/// The words of blanked code, in order.
pub(super) fn words(code: &str) -> impl Iterator<Item = Word<'_>> {
    let bytes = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !is_word(bytes[at]) {
            at += 1;
        }
        let start = at;
        while at < bytes.len() && is_word(bytes[at]) {
            at += 1;
        }
        (at > start).then(|| Word {
            text: &code[start..at],
            start,
        })
    })
}

/// The line that a byte stands on, from 1.
pub(super) fn line_of(code: &str, position: usize) -> usize {
    1 + code.as_bytes()[..position]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// Where `fn` stands, in bytes.
    pub(super) start: usize,
    /// The same as a line, from 1.
    pub(super) line: usize,
    /// From the line of `fn` to that of the closing brace, both counted.
    pub(super) lines: usize,
}

/// Every function of blanked code that has a body, nested ones too.
pub(super) fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    let mut previous: Option<Word<'_>> = None;
    for word in words(code) {
        let keyword = previous
            .replace(word)
            .filter(|previous| previous.text == "fn");
        let Some(keyword) = keyword else {
            continue;
        };
        // `fn(u8) -> u8` is a type: its next word is not next to it.
        if !code[keyword.start + 2..word.start].trim().is_empty() {
            continue;
        }
        let Some(end) = body_end(code, word.start + word.text.len()) else {
            continue;
        };
        let line = line_of(code, keyword.start);
        found.push(Function {
            name: word.text,
            start: keyword.start,
            line,
            lines: 1 + line_of(code, end) - line,
        });
    }
    found
}

/// Where the body of an item ends whose head goes on at `start`; `None` when it has none.
fn body_end(code: &str, start: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut brackets = 0_usize;
    let mut braces = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' if braces == 0 => brackets += 1,
            b')' | b']' if braces == 0 => brackets = brackets.saturating_sub(1),
            b';' if braces == 0 && brackets == 0 => return None,
            b'{' if brackets == 0 => braces += 1,
            b'}' if brackets == 0 => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Where the modules `#[cfg(test)] mod tests { ... }` stand, in bytes.
pub(super) fn test_modules(code: &str) -> Vec<Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut modules = Vec::new();
    let mut from = 0;
    while let Some(offset) = code[from..].find(ATTRIBUTE) {
        let start = from + offset;
        from = start + ATTRIBUTE.len();
        let head = code[from..].trim_start();
        let is_module = head.starts_with("mod ") || head.starts_with("pub(crate) mod ");
        if let Some(end) = body_end(code, from).filter(|_| is_module) {
            modules.push(start..end + 1);
            from = end;
        }
    }
    modules
}

/// How many lines are not in a test module.
pub(super) fn lines_without_tests(code: &str) -> usize {
    let lines = |module: Range<usize>| code[module].lines().count();
    code.lines().count() - test_modules(code).into_iter().map(lines).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x{y", z)"#, "f(     , z)"),
            (r#"f("\"{", z)"#, "f(     , z)"),
            ("f(r#\"a\"{\"#, z)", "f(        , z)"),
            ("f(br\"{\", z)", "f(b    , z)"),
            ("f('{', z)", "f(   , z)"),
            (r"f('\'', '\u{7d}')", "f(    ,         )"),
            ("f('é', z)", "f(    , z)"),
            ("f<'a>(x: &'a str)", "f<'a>(x: &'a str)"),
            ("for x in bar {}", "for x in bar {}"),
            ("let r#fn = 1;", "let r#fn = 1;"),
        ];
        for (source, expected) in cases {
            assert_eq!(blanked(source), expected, "{source}");
        }
    }

    #[test]
    fn text_cut_anywhere_is_read_without_panic() {
        let source = "fn a() { let s = r#\"x\"#; let c = '\\n'; /* /* */ */ \"\\\"\" } // é 'é'";
        for end in (0..source.len()).filter(|end| source.is_char_boundary(*end)) {
            let code = blanked(&source[..end]);
            assert_eq!(code.len(), end);
            functions(&code);
        }
    }

    #[test]
    fn functions_are_measured() {
        let source = "fn one() {}\n\
                      trait T { fn none(&self, a: [u8; 4]); }\n\
                      fn four(\n    f: fn(u8) -> u8,\n) -> [u8; 2] {\n    '}'; \"}\" // }\n}\n";
        let code = blanked(source);
        let found: Vec<_> = functions(&code)
            .iter()
            .map(|f| (f.name, f.line, f.lines))
            .collect();
        assert_eq!(found, [("one", 1, 1), ("four", 3, 5)]);
    }

    #[test]
    fn test_modules_do_not_count() {
        let source = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        assert_eq!(lines_without_tests(&blanked(source)), 2);
        let outside = "#[cfg(test)]\nmod tests;\nfn a() {\n}\n";
        assert_eq!(lines_without_tests(&blanked(outside)), 4);
    }
}
