//! The manifest. The other files are sound.
//!
//! Checked: nothing panics or hangs, whatever is damaged is named, and a repair leaves a directory that opens.
#![no_main]

mod storage;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| self::storage::check("manifest", input, false));
