//! Percent-encoding in the two forms that RabbitMQ uses.

/// `properties_key`'s form: letters, digits and `-._` stay, a space is `+`, all else is `%XX`.
pub(crate) fn quote_plus(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if is_plain(byte) => out.push(char::from(byte)),
            byte => push_hex(&mut out, byte),
        }
    }
    out
}

/// A path segment's form: as [`quote_plus`], but `~` stays and a space is `%20`.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'~' => out.push('~'),
            byte if is_plain(byte) => out.push(char::from(byte)),
            byte => push_hex(&mut out, byte),
        }
    }
    out
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Undoes [`quote_plus`] and [`quote`]. `None` for what is no UTF-8; a `%` without two digits stands for itself.
pub(crate) fn unquote_plus(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| {
        let byte = bytes.get(at).copied()?;
        char::from(byte).to_digit(16).map(|digit| digit as u8)
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'+' => out.push(b' '),
            b'%' => match (digit(at), digit(at + 1)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is what RabbitMQ 4.3 shows for that routing key.
    #[test]
    fn quoting_is_rabbitmqs_and_goes_back() {
        assert_eq!(quote_plus("a b/é~#%"), "a+b%2F%C3%A9%7E%23%25");
        assert_eq!(quote("a+b%2F~"), "a%2Bb%252F~");
        for text in ["", "a b/é~#%", "%zz", "+", "100%"] {
            assert_eq!(unquote_plus(&quote_plus(text)).as_deref(), Some(text));
        }
        assert_eq!(unquote_plus("100%").as_deref(), Some("100%"));
        assert_eq!(unquote_plus("%FF"), None);
    }
}
