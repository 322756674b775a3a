//! Looking at what WhatsApp has sent: the page shows kind and sender's name, whatever they hold.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::fixtures::sign;
use crate::page::{has_settled, listed, url};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

const APP_SECRET: &str = "test_app_secret";

#[track_caller]
fn deliver(service: &Service, name: &Value, message: &Value) {
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "14155550100", "phone_number_id": "200000000000001"},
        "contacts": [{"profile": {"name": name}, "wa_id": "14155550123"}],
        "messages": [message],
    });
    let change = json!({"value": value, "field": "messages"});
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]})
        .to_string();
    let signature = format!("sha256={}", sign(APP_SECRET, body.as_bytes()));
    let headers = [("X-Hub-Signature-256", &*signature)];
    service.connect().request("POST", "/whatsapp", &headers, Some(body.as_bytes())).expect(200);
}

#[test]
fn kind_and_name_are_shown_and_nothing_in_them_is_taken_for_markup() {
    if !has(&["chromium"]) {
        return;
    }
    let service = Setup::new().with("WHATSAPP_APP_SECRET", APP_SECRET).start();
    let markup = "<img src=x onerror=alert(1)>";
    for (n, (name, kind, text)) in [
        (json!("Ana Beispiel"), json!("text"), json!({"text": {"body": "Hello"}})),
        (json!(markup), json!("image"), json!({"image": {"id": "1"}})),
        (json!(["no", "text"]), json!({"type": markup}), json!({"text": {"body": markup}})),
        (json!("n".repeat(5_000)), json!(markup), json!({"sticker": {}})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut message = text;
        message["from"] = json!("14155550123");
        message["id"] = json!(format!("wamid.{n}"));
        message["timestamp"] = json!((1_749_416_383 + n).to_string());
        message["type"] = kind;
        deliver(&service, &name, &message);
    }
    let browser = Browser::start();
    let tab = browser.open(&url(&service, "/"));
    has_settled(&tab);
    assert_eq!(listed(&tab), ["no text", markup, "no text", "Hello"]);
    let shown = |class: &str| {
        let script = format!(
            "[...document.querySelectorAll('#list tbody tr')].map(row => row.querySelector('.{class}')?.textContent ?? null)"
        );
        tab.evaluate(&script)
    };
    assert_eq!(shown("name"), json!(["n".repeat(100), null, markup, "Ana Beispiel"]));
    assert_eq!(shown("kind"), json!([markup, null, "image", "text"]));
    assert_eq!(tab.evaluate("document.querySelectorAll('#list img').length"), 0);
    assert_eq!(tab.text("#total"), "4");
    tab.until("the rate was seen", "document.getElementById('live').innerText.includes('Refused')");
    assert_eq!(browser.complaints(), [""; 0]);
}
