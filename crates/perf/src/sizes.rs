//! Body sizes: one, a range drawn from evenly, or sizes with weights.

use anyhow::{Context, Result, bail};

/// The largest body: RabbitMQ's own largest limit.
const BODY_BYTES_MAX: u32 = 512 * 1024 * 1024;

/// How large bodies are, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// `1024`
    One(u32),
    /// `100-2000`, both ends among them.
    Range(u32, u32),
    /// `16:9,1024:1`: nine of 16 bytes to one of 1024.
    Weighted(Vec<(u32, u32)>),
}

impl std::str::FromStr for Sizes {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Sizes> {
        if text.contains(':') {
            let parts: Result<Vec<_>> = text.split(',').map(parse_weighted).collect();
            let parts = parts?;
            if parts.iter().all(|(_, weight)| *weight == 0) {
                bail!("every weight is 0");
            }
            return Ok(Sizes::Weighted(parts));
        }
        if let Some((low, high)) = text.split_once('-') {
            let (low, high) = (parse_bytes(low)?, parse_bytes(high)?);
            if high < low {
                bail!("{low} is more than {high}");
            }
            return Ok(Sizes::Range(low, high));
        }
        Ok(Sizes::One(parse_bytes(text)?))
    }
}

fn parse_weighted(text: &str) -> Result<(u32, u32)> {
    let (bytes, weight) = text
        .split_once(':')
        .with_context(|| format!("{text} is no SIZE:WEIGHT"))?;
    let parsed: u32 = weight
        .parse()
        .with_context(|| format!("{weight} is no weight"))?;
    Ok((parse_bytes(bytes)?, parsed))
}

fn parse_bytes(text: &str) -> Result<u32> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    let unit: u32 = match unit {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1024,
        "M" | "MiB" => 1024 * 1024,
        _ => bail!("{text} is no size in bytes"),
    };
    let number: u32 = digits
        .parse()
        .with_context(|| format!("{text} is no size in bytes"))?;
    match number.checked_mul(unit) {
        Some(bytes) if bytes <= BODY_BYTES_MAX => Ok(bytes),
        _ => bail!("a body has at most {BODY_BYTES_MAX} bytes"),
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sizes::One(bytes) => write!(f, "{bytes}"),
            Sizes::Range(low, high) => write!(f, "{low}-{high}"),
            Sizes::Weighted(parts) => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(bytes, weight)| format!("{bytes}:{weight}"))
                    .collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

impl Sizes {
    /// How many sizes are drawn before they repeat: enough that a distribution shows.
    pub(crate) fn period(&self) -> usize {
        match self {
            Sizes::One(_) => 1,
            Sizes::Range(..) | Sizes::Weighted(_) => 1024,
        }
    }

    /// The size of message `index`. The same index has the same size in every run, so that runs compare.
    pub(crate) fn draw(&self, index: u64) -> u32 {
        let random = scrambled(index);
        match self {
            Sizes::One(bytes) => *bytes,
            Sizes::Range(low, high) => low + (random % (u64::from(high - low) + 1)) as u32,
            Sizes::Weighted(parts) => {
                let total: u64 = parts.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let mut left = random % total;
                for (bytes, weight) in parts {
                    if left < u64::from(*weight) {
                        return *bytes;
                    }
                    left -= u64::from(*weight);
                }
                unreachable!("the weights add up to their total")
            }
        }
    }
}

/// A number that looks random, from one that does not (the finishing step of splitmix64).
fn scrambled(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Sizes {
        text.parse().expect("it is a size")
    }

    #[test]
    fn forms_are_read() {
        assert_eq!(parsed("16"), Sizes::One(16));
        assert_eq!(parsed("2KiB"), Sizes::One(2048));
        assert_eq!(parsed("1-3"), Sizes::Range(1, 3));
        assert_eq!(
            parsed("16:9,1k:1"),
            Sizes::Weighted(vec![(16, 9), (1024, 1)])
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "3-1", "1:0", "1:x", "1024M", "-1"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_size_is_drawn_and_no_other() {
        let mut drawn: Vec<u32> = (0..1000).map(|index| parsed("5-8").draw(index)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, [5, 6, 7, 8]);
    }

    #[test]
    fn weights_are_kept() {
        let sizes = parsed("1:3,2:1");
        let ones = (0..4000).filter(|index| sizes.draw(*index) == 1).count();
        assert!((2700..3300).contains(&ones), "{ones} of 4000");
    }
}
