//! Keys and tokens of NATS (github.com/nats-io/nkeys, JWT version 2) are made with openssl, as its own tools make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use crate::tools::run;

/// What a key is for, by the bits that make its first letter.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Account = 0,
    Operator = 14 << 3,
    User = 20 << 3,
}

const SEED: u8 = 18 << 3;

pub(crate) struct Nkey {
    file: PathBuf,
    /// `SU…`, a secret.
    pub(crate) seed: String,
    /// `U…`.
    pub(crate) public: String,
}

impl Nkey {
    pub(crate) fn new(folder: &Path, name: &str, role: Role) -> Self {
        let file = folder.join(format!("{name}.der"));
        let path = file.display().to_string();
        let made = run("openssl", &["genpkey", "-algorithm", "ed25519", "-outform", "DER", "-out", &path]);
        assert!(made.status.success(), "{made:?}");
        let private = fs::read(&file).expect("openssl has made it");
        let public =
            run("openssl", &["pkey", "-inform", "DER", "-in", &path, "-pubout", "-outform", "DER"]).stdout;
        let role = role as u8;
        let seed = [&[SEED | role >> 5, (role & 31) << 3], &private[private.len() - 32..]].concat();
        Self {
            file,
            seed: encoded(&seed),
            public: encoded(&[&[role], &public[public.len() - 32..]].concat()),
        }
    }

    /// A token of this key about another one.
    pub(crate) fn token(&self, about: &Self, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_secs();
        let mut body =
            json!({"jti": "test", "iat": now, "iss": self.public, "name": "test", "sub": about.public});
        for (name, value) in claims.as_object().expect("claims come as an object") {
            body[name] = value.clone();
        }
        let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
        let text = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(body.to_string()));
        let (key, file) =
            (self.file.display().to_string(), self.file.with_extension("text").display().to_string());
        fs::write(&file, &text).expect("the folder is ours");
        let signed =
            run("openssl", &["pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", &key, "-in", &file]);
        assert!(signed.status.success(), "{signed:?}");
        format!("{text}.{}", BASE64.encode(signed.stdout))
    }
}

/// Base32 (RFC 4648) without padding, of the bytes and their CRC-16/XMODEM.
fn encoded(bytes: &[u8]) -> String {
    let crc = bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 },
        )
    });
    let bytes = [bytes, &crc.to_le_bytes()].concat();
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let digit = |bits: &[bool]| {
        let value =
            (0..5).fold(0, |value, at| value << 1 | usize::from(bits.get(at).copied().unwrap_or(false)));
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value])
    };
    bits.chunks(5).map(digit).collect()
}
