//! Reads `rabbitmq.conf`'s format, as cuttlefish defines it.
//!
//! ```text
//! # a comment
//! listeners.tcp.default = 5672        # another
//! default_pass = 'with # and spaces'
//! log.console.formatter.plaintext.format = '''several
//! lines'''
//! loopback_users.my\.user = false
//! include conf.d/*.conf
//! ```
//! Later statements of a key win over earlier ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::statement::{ConfigError, Origin, Statement, words};
use super::toml_file;

/// How deep files may include files.
const INCLUDE_DEPTH_MAX: usize = 8;

/// Largest file read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a file and what it includes, and adds their names to `files`. A name that ends with `.toml` is TOML.
pub(super) fn read(
    path: &Path,
    files: &mut Vec<PathBuf>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    read_into(path, 0, files, &mut statements, errors);
    statements
}

fn read_into(
    path: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    statements: &mut Vec<Statement>,
    errors: &mut Vec<ConfigError>,
) {
    let file: Arc<str> = path.display().to_string().into();
    let text = match text(path) {
        Ok(text) => text,
        Err(text) => {
            let origin = Origin::File { file, line: 0 };
            return errors.push(ConfigError { origin, text });
        }
    };
    // Operators are told where they are, wherever the process was started.
    files.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        return toml_file::parse(&file, &text, statements, errors);
    }
    for line in parse(&file, &text, errors) {
        match line {
            Line::Statement(statement) => statements.push(statement),
            Line::Include { wanted, origin } if depth < INCLUDE_DEPTH_MAX => {
                let base = path.parent().unwrap_or(Path::new(""));
                match expand(&base.join(&wanted)) {
                    Ok(paths) => {
                        for path in paths {
                            read_into(&path, depth + 1, files, statements, errors);
                        }
                    }
                    Err(text) => errors.push(ConfigError { origin, text }),
                }
            }
            Line::Include { origin, .. } => {
                let text = format!("includes are nested more than {INCLUDE_DEPTH_MAX} deep");
                errors.push(ConfigError { origin, text });
            }
        }
    }
}

fn text(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("is longer than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(cannot)
}

/// The files that a name stands for: itself, or if its last part has a `*`, or if it is a directory, all that fit,
/// in alphabetical order.
pub(super) fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    let (dir, pattern) = if path.is_dir() {
        (path.to_owned(), "*.conf".to_owned())
    } else {
        let name = path.file_name().map(|name| name.to_string_lossy());
        match name {
            Some(name) if name.contains('*') => {
                let dir = path.parent().unwrap_or(Path::new("")).to_owned();
                (dir, name.into_owned())
            }
            _ => return Ok(vec![path.to_owned()]),
        }
    };
    let entries = std::fs::read_dir(&dir)
        .map_err(|error| format!("{} cannot be read: {error}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| fits(&name.to_string_lossy(), &pattern))
        })
        .collect();
    paths.sort();
    Ok(paths)
}

/// Whether a name fits a pattern with `*`.
fn fits(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// What a line can be, when it is more than a comment.
enum Line {
    Statement(Statement),
    Include { wanted: String, origin: Origin },
}

fn parse(file: &Arc<str>, text: &str, errors: &mut Vec<ConfigError>) -> Vec<Line> {
    let mut found = Vec::new();
    let mut lines = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate();
    while let Some((index, line)) = lines.next() {
        let origin = Origin::File {
            file: Arc::clone(file),
            line: index + 1,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(wanted) = line
            .strip_prefix("include")
            .filter(|rest| rest.starts_with([' ', '\t']))
        {
            let wanted = wanted
                .split('#')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
            found.push(Line::Include { wanted, origin });
            continue;
        }
        match statement(line, &mut lines) {
            Ok((key, value)) => found.push(Line::Statement(Statement {
                words: words(&key),
                value,
                origin,
            })),
            Err(text) => errors.push(ConfigError { origin, text }),
        }
    }
    found
}

/// `KEY = VALUE`; a value in triple quotes goes on in the next lines.
fn statement<'a>(
    line: &str,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<(String, String), String> {
    let Some((key, value)) = line.split_once('=') else {
        return Err("expected KEY = VALUE".into());
    };
    let (key, value) = (key.trim(), value.trim());
    let allowed = |char: char| char.is_ascii_alphanumeric() || "._-\\/@:%".contains(char);
    if key.is_empty() || !key.chars().all(allowed) || words(key).iter().any(String::is_empty) {
        return Err(format!(
            "expected KEY = VALUE, where KEY is words of letters, digits, - and _ with dots between them, \
             and not {key}"
        ));
    }
    let value = if let Some(rest) = value.strip_prefix("'''") {
        several_lines(rest, lines)?
    } else if let Some(rest) = value.strip_prefix('\'') {
        let Some((value, rest)) = rest.split_once('\'') else {
            return Err(format!("{key}: the value's closing quote is missing"));
        };
        if !rest.trim().is_empty() && !rest.trim_start().starts_with('#') {
            return Err(format!(
                "{key}: unexpected text after the closing quote: {}",
                rest.trim()
            ));
        }
        value.to_owned()
    } else {
        // As in RabbitMQ, # begins a comment wherever it stands: a value with # in it needs quotes.
        value
            .split('#')
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    };
    if value.is_empty() && !line.contains('\'') {
        return Err(format!("{key}: expected a value"));
    }
    Ok((key.to_owned(), value))
}

fn several_lines<'a>(
    first: &str,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<String, String> {
    let mut value = first.to_owned();
    loop {
        if let Some(end) = value.find("'''") {
            value.truncate(end);
            return Ok(value.trim_matches(['\n', '\r']).to_owned());
        }
        let Some((_, line)) = lines.next() else {
            return Err("the closing ''' is missing".into());
        };
        value.push('\n');
        value.push_str(line);
    }
}

/// The statements of a text, for keys given in one piece: an environment variable, a test.
pub(super) fn parse_text(file: &str, text: &str, errors: &mut Vec<ConfigError>) -> Vec<Statement> {
    let lines = parse(&file.into(), text, errors);
    let statements = lines.into_iter().filter_map(|line| match line {
        Line::Statement(statement) => Some(statement),
        Line::Include { origin, .. } => {
            let text = "include is for files".to_owned();
            errors.push(ConfigError { origin, text });
            None
        }
    });
    statements.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit() {
        for (name, pattern, expected) in [
            ("10-a.conf", "*.conf", true),
            ("10-a.conf.bak", "*.conf", false),
            ("10-a.conf", "10-*.conf", true),
            ("a.conf", "a.conf", true),
            ("ab", "a", false),
            ("abcabc", "a*b*c", true),
        ] {
            assert_eq!(fits(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn values_are_read_as_cuttlefish_reads_them() {
        let text =
            "a = 1 # one\nb = 'x # y' # z\nc = '''two\nlines'''\nd.e\\.f.g = it''s\n  h=''\n";
        let mut errors = Vec::new();
        let found = parse_text("f", text, &mut errors);
        assert_eq!(errors, []);
        let found: Vec<_> = found.iter().map(|s| (s.key(), s.value.as_str())).collect();
        let expected = [
            ("a", "1"),
            ("b", "x # y"),
            ("c", "two\nlines"),
            ("d.e\\.f.g", "it''s"),
            ("h", ""),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value)));
    }
}
