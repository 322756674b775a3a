//! The signature covers the raw bytes, under the app secret alone.

use crate::fixtures::{SECRET, sign};
use crate::{APP_SECRET, count, post, start};

#[test]
fn a_body_that_says_the_same_in_other_bytes_is_another_body() {
    let service = start();
    let sent = br#"{"object":"whatsapp_business_account","entry":[],"a":"\/"}"#;
    let said_again = br#"{"object":"whatsapp_business_account","entry":[],"a":"/"}"#;
    let of_sent = format!("sha256={}", sign(APP_SECRET, sent));
    let of_webhook = format!("sha256={}", sign(SECRET, sent));
    let ask = |signature: &str, body: &[u8]| {
        let headers = [("X-Hub-Signature-256", signature)];
        service.connect().request("POST", "/whatsapp", &headers, Some(body)).status
    };
    assert_eq!(ask(&of_sent, said_again), 401);
    assert_eq!(ask(&of_webhook, sent), 401);
    assert_eq!(service.connect().request("POST", "/whatsapp", &[], Some(sent)).status, 401);
    assert_eq!(ask(&of_sent, sent), 200);
}

#[test]
fn what_is_signed_is_taken_whatever_it_is() {
    let service = start();
    let bodies: [&[u8]; 5] = [b"{", b"null", b"\xff\xfe", b"[1,2]", br#"{"entry":7}"#];
    for body in bodies {
        let answer = post(&service, body);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(body));
        assert_eq!(answer.json(), serde_json::json!({"status": "ok"}));
    }
    assert_eq!(count(&service, "messages"), 0);
    assert_eq!(count(&service, "messages_items"), 5);
}
