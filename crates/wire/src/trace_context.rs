//! W3C Trace Context: what the headers `traceparent` and `tracestate` say of the trace that a message belongs to.
//!
//! ```text
//! traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//!              │  trace id, 16 bytes               parent id, 8      flags
//!              version
//! ```
//! The rules are those of the W3C's recommendation (sections 3.2 and 3.3): what breaks one of them is no context at all.
//! Deliberately absent: writing the headers. Messages leave as they came.

/// Letters of a `traceparent` of version 00.
const TRACEPARENT_LETTERS: usize = 55;

/// A longer `tracestate` is dropped; the recommendation wants at least as much to be passed on.
const TRACESTATE_BYTES_MAX: usize = 512;

/// Members of a `tracestate`.
const TRACESTATE_MEMBERS_MAX: usize = 32;

/// The trace that something belongs to, and what of it came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the trace; not all zeros.
    pub trace_id: [u8; 16],
    /// Names the sender's span; not all zeros.
    pub parent_id: [u8; 8],
    /// Whether the sender records its spans.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads the value of a `traceparent`.
    pub fn parse(traceparent: &[u8]) -> Option<TraceContext> {
        let (head, more) = traceparent.split_at_checked(TRACEPARENT_LETTERS)?;
        let [version] = hex(head.get(..2)?)?;
        // Later versions may say more, behind another hyphen.
        let ends = match version {
            0xff => false,
            0 => more.is_empty(),
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let parted = [2, 35, 52].iter().all(|at| head.get(*at) == Some(&b'-'));
        if !ends || !parted {
            return None;
        }
        let trace_id = hex(head.get(3..35)?)?;
        let parent_id = hex(head.get(36..52)?)?;
        let [flags] = hex(head.get(53..55)?)?;
        let named = trace_id != [0; 16] && parent_id != [0; 8];
        named.then_some(TraceContext {
            trace_id,
            parent_id,
            sampled: flags & 1 == 1,
        })
    }
}

/// Reads twice as many hexadecimal digits, none of them a capital.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |letter: &u8| match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// The value of a `tracestate`, if it is a list of members as it should be.
pub fn tracestate(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let mut members = 0;
    for member in text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
    {
        // Empty members are allowed, and mean nothing.
        if !member.is_empty() {
            members += 1;
            let (key, value) = member.split_once('=')?;
            if !is_key(key) || !is_value(value) {
                return None;
            }
        }
    }
    let sound =
        0 < members && members <= TRACESTATE_MEMBERS_MAX && text.len() <= TRACESTATE_BYTES_MAX;
    sound.then_some(text)
}

fn is_key(key: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    key.len() <= 256
        && key.starts_with(letter)
        && key.chars().all(|c| letter(c) || "_-*/@".contains(c))
}

fn is_value(value: &str) -> bool {
    value.len() <= 256
        && value
            .chars()
            .all(|c| (' '..='~').contains(&c) && c != '=' && c != ',')
        && !value.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_names_trace_parent_and_flags() {
        let context = TraceContext::parse(WHOLE.as_bytes()).expect("it is one");
        assert_eq!(context.trace_id[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!(context.trace_id[15], 0x9c);
        assert_eq!(
            context.parent_id,
            [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
        );
        assert!(context.sampled);
    }

    #[test]
    fn flags_are_bits() {
        for (flags, sampled) in [
            ("00", false),
            ("01", true),
            ("02", false),
            ("03", true),
            ("ff", true),
        ] {
            let text = format!("{}{flags}", &WHOLE[..53]);
            let context = TraceContext::parse(text.as_bytes()).expect("any flags do");
            assert_eq!(context.sampled, sampled, "{flags}");
        }
    }

    /// What the recommendation says of versions: section 3.2.2 and 4.3.
    #[test]
    fn later_versions_may_say_more() {
        let body = &WHOLE[2..];
        for (version, more, good) in [
            ("00", "", true),
            ("00", "-", false),
            ("00", "-more", false),
            ("01", "", true),
            ("01", "-", true),
            ("01", "-what-comes", true),
            ("01", "more", false),
            ("cc", "-x", true),
            ("fe", "", true),
            ("ff", "", false),
            ("ff", "-x", false),
            ("0", "", false),
            ("FE", "", false),
            ("0g", "", false),
        ] {
            let text = format!("{version}{body}{more}");
            assert_eq!(
                TraceContext::parse(text.as_bytes()).is_some(),
                good,
                "{text}"
            );
        }
    }

    #[test]
    fn what_breaks_a_rule_is_no_context() {
        for bad in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c0-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "00-0af7651916cd43dd8448eb211c80319\u{e4}-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn no_single_byte_may_be_wrong_or_missing() {
        let whole = WHOLE.as_bytes();
        for at in 0..whole.len() {
            assert_eq!(TraceContext::parse(&whole[..at]), None, "cut at {at}");
            for wrong in [0, b' ', b'G', b'-', 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                if std::mem::replace(&mut bytes[at], wrong) != wrong {
                    assert_eq!(TraceContext::parse(&bytes), None, "{wrong} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_tracestate_is_a_list_of_keys_and_values() {
        let many = |count: usize| vec!["a=b"; count].join(",");
        let long = format!("a={}", "b".repeat(256));
        for (value, good) in [
            ("congo=t61rcWkgMzE", true),
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true),
            ("a=b , c=d,,", true),
            ("fw529a3039@dt=FfD/6k", true),
            ("a=b c", true),
            (&many(32), true),
            (&long, true),
            ("", false),
            (",", false),
            ("a", false),
            ("=b", false),
            ("a=", false),
            ("A=b", false),
            ("a=b=c", false),
            ("a b=c", false),
            ("a=\u{e4}", false),
            ("a=b\n", false),
            (&many(33), false),
            (&format!("{long}b"), false),
            (&format!("{long},{long}"), false),
        ] {
            assert_eq!(tracestate(value.as_bytes()).is_some(), good, "{value}");
        }
        assert_eq!(tracestate(b"a=\xff"), None);
    }
}
