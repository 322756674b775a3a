//! `GET /whatsapp` answers the handshake by which Meta finds out whose webhook it is (contract, section 14).
//!
//! The answer repeats what was sent. That it is plain text, and taken for nothing else, keeps a browser from running it.

use ctutils::CtEq as _;

use super::super::{Answer, problem};
use crate::app::App;
use crate::http::{Request, Response};
use crate::url::query_parameters;

/// Characters of `hub.challenge`. Meta sends some ten.
const MAX_CHALLENGE_CHARS: usize = 256;

pub(in super::super) fn get(app: &App, request: &Request) -> Answer {
    let secrets = app.secrets.get();
    let token = secrets.whatsapp.as_ref().and_then(|whatsapp| whatsapp.verify_token.as_deref());
    let Some(token) = token else {
        return problem::unavailable("WHATSAPP_VERIFY_TOKEN is not set").into();
    };
    match challenge(&request.query, token) {
        Some(challenge) => Response::with_type(200, "text/plain", challenge.into_bytes()).into(),
        // Which of them it was is not said.
        None => {
            problem::detail(403, "hub.mode, hub.verify_token or hub.challenge is not as it has to be").into()
        }
    }
}

/// What is to be repeated to whoever sends the right token. Each parameter counts only where it was sent once.
fn challenge(query: &str, token: &str) -> Option<String> {
    let only = |name: &str| {
        let mut values = query_parameters(query).filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    };
    let is_right =
        only("hub.verify_token").is_some_and(|sent| sent.as_bytes().ct_eq(token.as_bytes()).to_bool());
    let is_fit = |challenge: &String| {
        (1..=MAX_CHALLENGE_CHARS).contains(&challenge.len())
            && challenge.bytes().all(|byte| byte.is_ascii_graphic())
    };
    (is_right && only("hub.mode")? == "subscribe").then(|| only("hub.challenge"))?.filter(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_repeated_to_whoever_sends_the_token() {
        let right = "hub.mode=subscribe&hub.verify_token=to+k%2Ben&hub.challenge=1158201444";
        assert_eq!(challenge(right, "to k+en").as_deref(), Some("1158201444"));
        assert_eq!(challenge(&format!("a=b&{right}&c&"), "to k+en").as_deref(), Some("1158201444"));
        let decoded = right.replace("1158201444", "%3Cb%3E%2Fa%2b~");
        assert_eq!(challenge(&decoded, "to k+en").as_deref(), Some("<b>/a+~"));
        let longest = "x".repeat(MAX_CHALLENGE_CHARS);
        assert!(challenge(&right.replace("1158201444", &longest), "to k+en").is_some());
        for (part, wrong) in [
            ("subscribe", "Subscribe"),
            ("subscribe", "unsubscribe"),
            ("hub.mode=subscribe&", ""),
            ("hub.mode", "hub_mode"),
            ("hub.mode=", "hub.mode=subscribe&hub.mode="),
            ("to+k%2Ben", "to+k+en"),
            ("to+k%2Ben", "to+k%2Be"),
            ("to+k%2Ben", ""),
            ("hub.verify_token", "hub.verify_token=to+k%2Ben&hub.verify_token"),
            ("&hub.challenge=1158201444", ""),
            ("hub.challenge=", "hub.challenge=1&hub.challenge="),
            ("1158201444", ""),
            ("1158201444", "1+1"),
            ("1158201444", "%0D%0A"),
            ("1158201444", "%C3%A9"),
            ("1158201444", "%00"),
            ("1158201444", "%7F"),
            ("1158201444", &"x".repeat(MAX_CHALLENGE_CHARS + 1)),
        ] {
            assert_eq!(challenge(&right.replacen(part, wrong, 1), "to k+en"), None, "{part} {wrong}");
        }
    }
}
