//! A hash that stays the same for ever: from run to run, machine to machine, version to version.
//!
//! Hash exchanges send what they hash to a queue that may be on disk; a hash that changed with the build would
//! tear an ordered sequence apart at an upgrade. FNV-1a, finished by splitmix64's mixer for the high bits.

/// Hashes bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    mix(bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
}

/// Spreads every bit of the input over all bits of the output.
pub(crate) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These numbers, worked out apart from this code, may never change: see the head of this file.
    #[test]
    fn is_what_it_always_was() {
        assert_eq!(hash(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(hash(b"orders.eu.17"), 0x8297_4953_4104_40b0);
    }
}
