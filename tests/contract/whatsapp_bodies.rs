//! Bodies as Meta sends them, signed, for the tests of section 14.

use serde_json::{Value, json};

use crate::fixtures::{eventually, sign};
use crate::http_client::Answer;
use crate::service::Service;
use crate::setup::Setup;

pub(crate) const APP_SECRET: &str = "test_app_secret";
pub(crate) const HEADER: &str = "X-Hub-Signature-256";
/// Its own bound, whatever `MAX_BODY_BYTES` says.
pub(crate) const MAX_BYTES: usize = 4 << 20;

pub(crate) fn whatsapp() -> Setup {
    Setup::new().with("WHATSAPP_APP_SECRET", APP_SECRET)
}

pub(crate) fn signature(body: &[u8]) -> String {
    format!("sha256={}", sign(APP_SECRET, body))
}

#[track_caller]
pub(crate) fn post(service: &Service, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    service.connect().request("POST", "/whatsapp", headers, Some(body))
}

#[track_caller]
pub(crate) fn deliver(service: &Service, body: impl AsRef<[u8]>) -> Answer {
    post(service, &[(HEADER, &signature(body.as_ref()))], body.as_ref())
}

/// A text message, as Meta sends it.
pub(crate) fn text(id: &str) -> Value {
    json!({"from": "14155550123", "id": id, "timestamp": "1749416383", "type": "text", "text": {"body": "Hello"}})
}

pub(crate) fn status(id: &str, status: &str) -> Value {
    json!({"id": id, "status": status, "timestamp": "1749416400", "recipient_id": "14155550123"})
}

/// A body with these elements under one field.
pub(crate) fn body(field: &str, array: &str, elements: &[Value]) -> String {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "14155550100", "phone_number_id": "200000000000001"},
        "contacts": [{"profile": {"name": "Ana Beispiel"}, "wa_id": "14155550123"}],
    });
    value[array] = json!(elements);
    let change = json!({"value": value, "field": field});
    json!({"object": "whatsapp_business_account", "entry": [{"id": "100000000000001", "changes": [change]}]})
        .to_string()
}

pub(crate) fn texts(ids: &[&str]) -> String {
    body("messages", "messages", &ids.iter().map(|id| text(id)).collect::<Vec<_>>())
}

/// One message whose body has so many bytes.
pub(crate) fn body_of(bytes: usize) -> Vec<u8> {
    let short = texts(&["wamid.long"]);
    short.replace("Hello", &"x".repeat(bytes + 5 - short.len())).into_bytes()
}

pub(crate) fn items(service: &Service, kind: &str, result: &str) -> f64 {
    service.metric(&format!(r#"whatsapp_items_total{{kind="{kind}",result="{result}"}}"#))
}

#[track_caller]
pub(crate) fn reload(service: &Service, event: &str) {
    let count = || service.stdout.json().iter().filter(|line| line["event"] == event).count();
    let before = count();
    service.signal("HUP");
    eventually(event, || (count() > before).then_some(()));
}
