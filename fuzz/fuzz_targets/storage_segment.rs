//! A segment: header, records, indexes, directory, footer. Every other one without the manifest, which knows
//! the footer's checksum.
//!
//! Checked: nothing panics or hangs, whatever is damaged is named, and a repair leaves a directory that opens.
#![no_main]

mod storage;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| self::storage::check("segment-", input, input.len() % 2 == 1));
