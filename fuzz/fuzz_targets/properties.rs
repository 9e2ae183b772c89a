//! Content properties.
//!
//! Checked: nothing panics, a rewrite that changes nothing keeps every byte but the meaningless flags, and an
//! owned copy comes back from its encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::amqp091::properties::{Properties, PropertiesBuf, PropertyChanges};

fuzz_target!(|input: &[u8]| {
    let Ok(view) = Properties::validate(input) else {
        return;
    };
    assert_eq!(view.as_bytes(), input);
    let mut kept = input.to_vec();
    kept[1] &= !3;
    assert_eq!(view.rewrite(&PropertyChanges::default()), kept);
    let owned = PropertiesBuf::from_view(&view);
    let encoded = owned.encode();
    let again = Properties::validate(&encoded).expect("we wrote it");
    assert_eq!(PropertiesBuf::from_view(&again), owned);
});
