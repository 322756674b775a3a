//! A request id is what a request is found by in the log: the client's own, or a fresh one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::http::Headers;

/// Characters of a client's `X-Request-ID` that are still echoed (contract, section 7).
const MAX_REQUEST_ID_CHARS: usize = 128;

/// The client's `X-Request-ID` if it sent one that is sane (contract, section 7), otherwise a fresh one.
pub(super) fn of(headers: &Headers) -> String {
    headers.only("X-Request-ID").filter(|id| is_sane(id)).map_or_else(fresh, str::to_owned)
}

/// An id that no other request has: 64 random bits of this process, and a count.
pub(super) fn fresh() -> String {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| {
        let mut random = [0_u8; 8];
        // Without randomness at boot the ids of two runs could meet; nothing else depends on it.
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
        u64::from_ne_bytes(random)
    });
    format!("{process:016x}{:016x}", COUNT.fetch_add(1, Relaxed))
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_CHARS).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let with = |id: &str| {
            let mut headers = Headers::default();
            headers.push("x-request-id", id);
            of(&headers)
        };
        assert_eq!(with("abc-123"), "abc-123");
        assert_eq!(with(&"x".repeat(128)), "x".repeat(128));
        for bad in ["", "a b", "é", &"x".repeat(129)] {
            assert_ne!(with(bad), bad);
        }
        assert_ne!(fresh(), fresh());
        assert!(is_sane(&fresh()));
    }
}
