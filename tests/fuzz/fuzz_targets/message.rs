//! A webhook's body: whatever it is, it is a message that keeps every rule, or a list of errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lyftr_webhook::testing::{Message, is_contract_ts, parse_instant};

fuzz_target!(|body: &[u8]| {
    match Message::parse(body) {
        Ok(message) => {
            assert!(!message.message_id().is_empty());
            assert!(message.text().is_none_or(|text| text.chars().count() <= 4096));
            for number in [message.from(), message.to()] {
                let digits = number.strip_prefix('+').expect("a number begins with a plus");
                assert!(!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
            }
            assert!(is_contract_ts(message.ts()));
            assert!(parse_instant(message.ts()).is_some(), "what is stored can be searched for");
        }
        Err(rejected) => assert!(!rejected.errors.is_empty(), "a refusal says why"),
    }
});
