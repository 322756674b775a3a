//! The headers of Standard Webhooks say which message it is, when it was sent, and who has signed both with the
//! body (standardwebhooks.com, specification 1.0.0).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256};

use crate::signature::{authenticate, sign};

/// How a secret begins that is base64 (specification, "Signature scheme").
const SECRET_PREFIX: &str = "whsec_";
/// An id up to here passes through every proxy and framework; they take 8 KiB for a whole head.
const MAX_ID_BYTES: usize = 256;

/// Padded when written; when read, as the libraries take it, with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What signs the requests to a target. `Debug` does not show it.
#[derive(Clone)]
pub struct ForwardSecret {
    /// As given: what `X-Signature` is made with.
    given: Vec<u8>,
    /// What Standard Webhooks are signed with.
    key: Vec<u8>,
}

impl ForwardSecret {
    /// `whsec_` and base64, or any other bytes, which are the key themselves. `None` where behind `whsec_` stands no
    /// base64, or nothing.
    pub fn parse(given: Vec<u8>) -> Option<Self> {
        let key = match given.strip_prefix(SECRET_PREFIX.as_bytes()) {
            Some(encoded) => BASE64.decode(encoded).ok()?,
            None => given.clone(),
        };
        (!key.is_empty()).then_some(Self { given, key })
    }

    /// The headers of one try of one message or batch.
    pub fn headers(&self, id: &str, sent: SystemTime, body: &[u8]) -> [(&'static str, String); 4] {
        let timestamp = seconds(sent);
        let content: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let signature = format!("v1,{}", BASE64.encode(authenticate(&self.key, &content)));
        [
            ("X-Signature", sign(&self.given, body)),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature),
        ]
    }
}

impl fmt::Debug for ForwardSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardSecret(…)")
    }
}

/// The headers of one try where no secret is set: the id is worth having.
pub fn unsigned_headers(id: &str, sent: SystemTime) -> [(&'static str, String); 2] {
    [("webhook-id", id.to_owned()), ("webhook-timestamp", seconds(sent))]
}

fn seconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs().to_string()
}

/// What `webhook-id` says of a message: its id, or, where no header can carry that as it is (it may be any text, of
/// any length), its hash. The same for every try, and for no two messages.
pub fn webhook_id(message_id: &str) -> String {
    let fits = message_id.len() <= MAX_ID_BYTES && message_id.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { message_id.to_owned() } else { hashed_id(message_id.as_bytes()) }
}

/// An id for what has none of its own.
pub fn hashed_id(content: &[u8]) -> String {
    format!("sha256-{}", hex::encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of the specification are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_example_of_the_libraries_is_signed_as_they_sign_it() {
        let secret = ForwardSecret::parse(SECRET.into()).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let headers = secret.headers(ID, at(1_614_265_330), body);
        assert_eq!(
            headers,
            [
                ("X-Signature", sign(SECRET.as_bytes(), body)),
                ("webhook-id", ID.to_owned()),
                ("webhook-timestamp", "1614265330".to_owned()),
                ("webhook-signature", SIGNATURE.to_owned()),
            ]
        );
        assert_eq!(unsigned_headers(ID, at(1_614_265_330)), [headers[1].clone(), headers[2].clone()]);
    }

    #[test]
    fn a_secret_is_base64_behind_its_prefix_or_the_key_itself() {
        let signature = |secret: &str| {
            let secret = ForwardSecret::parse(secret.into())?;
            Some(secret.headers("m1", at(1), b"{}")[3].1.clone())
        };
        // "key?" with its padding, without it, and raw.
        let key = signature("key?");
        assert!(key.is_some());
        assert_eq!(signature("whsec_a2V5Pw=="), key);
        assert_eq!(signature("whsec_a2V5Pw"), key);
        assert_ne!(signature("a2V5Pw=="), key);
        for bad in ["", "whsec_", "whsec_a2V5Pw==x", "whsec_!", "whsec_a2V5Pw==\n"] {
            assert_eq!(signature(bad), None, "{bad:?}");
        }
        assert_eq!(format!("{:?}", ForwardSecret::parse(b"key?".to_vec()).unwrap()), "ForwardSecret(…)");
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_hashed() {
        for id in ["m1", "wamid.HBgL=", "a%20b", &"x".repeat(MAX_ID_BYTES)] {
            assert_eq!(webhook_id(id), id);
        }
        let mut seen = std::collections::BTreeSet::new();
        for id in ["a b", "a\r\nX-Other: b", "é", "\u{e9}\u{301}", " ", "a\0", &"x".repeat(MAX_ID_BYTES + 1)]
        {
            let hashed = webhook_id(id);
            assert!(hashed.starts_with("sha256-") && hashed.len() == 71 && seen.insert(hashed), "{id:?}");
        }
    }
}
