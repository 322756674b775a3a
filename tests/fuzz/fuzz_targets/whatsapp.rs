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
