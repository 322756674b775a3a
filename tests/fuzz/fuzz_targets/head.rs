//! A request as it comes from a socket: head, framing and chunks read the same wherever the bytes
//! are cut, and never more of a body than is allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lyftr_webhook::testing::{Body, read_request};

const MAX_BODY_BYTES: usize = 64;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = read_request(&[bytes], MAX_BODY_BYTES);
    if let Ok(Some(request)) = &whole {
        assert!(request.consumed <= bytes.len());
        let Body::Whole(body) = &request.body else {
            return;
        };
        assert!(body.len() <= MAX_BODY_BYTES);
        assert!(!request.method.is_empty());
        // What follows a request changes nothing about it.
        let alone = read_request(&[&bytes[..request.consumed]], MAX_BODY_BYTES);
        assert_eq!(alone, whole);
    }
    let (first, rest) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(read_request(&[first, rest], MAX_BODY_BYTES), whole, "cut at {}", first.len());
});
