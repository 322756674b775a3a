//! A body of WhatsApp: whatever it is, each of its items can be mapped again and searched for a person.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lyftr_webhook::testing::{map_again, names, split};

fuzz_target!(|body: &[u8]| {
    let delivery = split(body);
    assert!(!delivery.items.is_empty());
    for item in &delivery.items {
        map_again(&item.original);
        names(&item.original, "+14155550123");
    }
});
