//! Looking at it: the pages in a real browser, with a real service behind them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::browser::{Browser, Tab};
use crate::fixtures::{SENDER, message, message_with};
use crate::http_client::Address;
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

pub(crate) fn url(service: &Service, path: &str) -> String {
    match &service.address {
        Address::Tcp(address) => format!("http://{address}{path}"),
        Address::Unix(path) => panic!("a browser does not open {}", path.display()),
    }
}

/// A service with twelve senders and a hundred and twenty messages, one every ten minutes, and a browser, if the
/// machine has one.
pub(crate) fn some_stored() -> Option<(Service, Browser)> {
    if !has(&["chromium"]) {
        return None;
    }
    let service = Service::start();
    for n in 0..120_u32 {
        let ts = format!("2025-01-{:02}T{:02}:{:02}:00Z", 15 + n / 144, n / 6 % 24, n % 6 * 10);
        let fields = json!({"ts": ts, "from": format!("+9198765432{:02}", n * n % 12), "text": format!("Message {n}")});
        service.store(&message_with(&format!("m{n}"), &fields));
    }
    Some((service, Browser::start()))
}

/// Shown, and nothing is on its way.
#[track_caller]
pub(crate) fn has_settled(tab: &Tab<'_>) {
    tab.until(
        "the page shows what is stored",
        "!document.getElementById('overview').hidden && !document.querySelector('[aria-busy]') \
         && document.getElementById('list').innerText !== 'Loading…' \
         && document.getElementById('reading').innerText !== 'Loading…'",
    );
}

/// The texts of the listed messages, as they stand on the page.
pub(crate) fn listed(tab: &Tab<'_>) -> Vec<String> {
    let texts = tab.evaluate(
        "[...document.querySelectorAll('#list tbody tr')].map(row => row.cells[3].firstChild.textContent)",
    );
    serde_json::from_value(texts).expect("texts are strings")
}

#[test]
fn the_page_shows_totals_a_chart_senders_and_the_latest_messages() {
    let Some((service, browser)) = some_stored() else { return };
    let tab = browser.open(&url(&service, "/"));
    has_settled(&tab);
    assert_eq!(tab.text("#total"), "120");
    assert_eq!(tab.text("#senders"), service.get("/stats").json()["senders_count"].to_string());
    assert_eq!(tab.text("#last"), "2025-01-15 19:50:00");
    assert_eq!(tab.text("#state"), "Ready");
    // All of the time, since nothing is recent; every message is in one bar.
    assert_eq!(tab.evaluate("document.querySelector('#span :checked').parentNode.innerText"), "All");
    assert!(
        tab.text("#reading").starts_with("120 messages; most, 6, from 2025-01-15 00:00"),
        "{}",
        tab.text("#reading")
    );
    assert_eq!(tab.evaluate("bars.counts.reduce((a, b) => a + b)"), 120);
    let senders = tab.evaluate("[...document.querySelectorAll('#top li')].map(one => [one.children[0].innerText, one.children[1].innerText])");
    let expected = service.get("/stats").json()["messages_per_sender"].take();
    let expected: Vec<Value> = expected
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["from"], one["count"].to_string()]))
        .collect();
    assert_eq!(senders, json!(expected));
    let newest: Vec<String> = (100..120).rev().map(|n| format!("Message {n}")).collect();
    assert_eq!(listed(&tab), newest);
    assert_eq!(tab.text("#found"), "1–20 of 120");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_comes_in_is_seen_without_asking() {
    if !has(&["chromium"]) {
        return;
    }
    let service = Service::start();
    let browser = Browser::start();
    let tab = browser.open(&url(&service, "/"));
    has_settled(&tab);
    assert!(tab.text("#list").starts_with("No message yet."), "{}", tab.text("#list"));
    assert_eq!(tab.text("#reading"), "No messages in this time.");
    service.store(&message("m1"));
    service.post_signed(&[], b"{}").expect(401);
    tab.until("the message is listed", "document.getElementById('list').innerText.includes('Hello')");
    tab.until("it is counted", "document.getElementById('total').innerText === '1'");
    tab.until("its rate is seen", "Number(document.getElementById('rate').innerText) > 0");
    tab.until(
        "what was refused is seen",
        "/Refused[^\\n]*\\n0\\.\\d a second/.test(document.getElementById('live').innerText)",
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn messages_come_through_the_feed_and_its_consumers_are_shown() {
    let Some((service, browser)) = some_stored() else { return };
    let tab = browser.open(&url(&service, "/"));
    has_settled(&tab);
    assert_eq!(tab.evaluate("document.getElementById('readers').hidden"), true);
    service.counted("feed_waiters", 1.0);
    service.store(&message_with("new", &json!({"text": "Through the feed", "ts": "2026-01-15T10:00:00Z"})));
    tab.until("it is listed", "document.getElementById('list').innerText.includes('Through the feed')");
    service.get("/feed?consumer=shell&limit=1").expect(200);
    tab.until(
        "the consumer is shown",
        "/shell\\s+121\\s/.test(document.getElementById('consumers').innerText)",
    );
    assert_eq!(browser.complaints(), [] as [&str; 0]);
}

#[test]
fn searching_and_paging_work_from_the_keyboard() {
    let Some((service, browser)) = some_stored() else { return };
    let tab = browser.open(&url(&service, "/"));
    has_settled(&tab);
    tab.evaluate("document.getElementById('older').focus()");
    tab.press("Enter");
    tab.until("an older page is shown", "document.getElementById('found').innerText === '21–40 of 120'");
    // What arrives meanwhile moves nothing.
    let before = listed(&tab);
    service.store(&message_with("new", &json!({"ts": "2025-02-01T00:00:00Z", "text": "New"})));
    tab.until("the new message is counted", "document.getElementById('total').innerText === '121'");
    assert_eq!(listed(&tab), before);
    for _ in 0..5 {
        tab.press("Enter");
        has_settled(&tab);
    }
    tab.until("the oldest is shown", "document.getElementById('list').innerText.includes('Message 0\\n')");
    assert_eq!(tab.evaluate("document.getElementById('older').getAttribute('aria-disabled')"), "true");
    assert_eq!(tab.evaluate("document.activeElement.id"), "older", "the focus stays");

    tab.evaluate("document.getElementById('q').focus()");
    tab.enter("MESSAGE 11");
    tab.press("Enter");
    tab.until("the search is answered", "document.getElementById('found').innerText === '1–11 of 11'");
    assert_eq!(listed(&tab)[0], "Message 119");
    tab.press("Tab");
    tab.enter("+919876543201");
    tab.press("Enter");
    let filtered = service.get("/messages?limit=1&q=message+11&from=%2B919876543201").json()["total"].take();
    tab.until(
        "both filters hold",
        &format!("document.getElementById('found').innerText.endsWith(' of {filtered}')"),
    );
    // A reload keeps what was asked, and the service is not told but by the question itself.
    tab.reload();
    has_settled(&tab);
    assert_eq!(tab.evaluate("document.getElementById('q').value"), "MESSAGE 11");
    assert!(tab.text("#found").ends_with(&format!(" of {filtered}")));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_service_that_is_away_or_not_ready_is_said_and_waited_for() {
    if !has(&["chromium"]) {
        return;
    }
    let service = Setup::new().without("WEBHOOK_SECRET").start();
    let browser = Browser::start();
    let tab = browser.open(&url(&service, "/"));
    let state = |text: &str| format!("document.getElementById('state').innerText.startsWith('{text}')");
    tab.until("it is said that it is not ready", &state("Not ready: WEBHOOK_SECRET is not set"));
    let setup = service.stop();
    tab.until("it is said that nobody answers", &state("No answer since "));
    let service = setup.with("WEBHOOK_SECRET", crate::fixtures::SECRET).start();
    tab.until("it is seen again", &state("Ready"));
    service.store(&message("m1"));
    tab.until("and what comes in", "document.getElementById('list').innerText.includes('Hello')");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Serves what is under `/hooks/` from the service, as a proxy in front of it does. Ends with the test.
fn proxy(service: &Service) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    let here = listener.local_addr().expect("a bound socket has an address");
    let Address::Tcp(service) = service.address.clone() else { panic!("the service has a port") };
    let pass_on = move |mut client: TcpStream| -> io::Result<()> {
        let mut head = String::new();
        let mut reader = BufReader::new(client.try_clone()?);
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
        // What is elsewhere belongs to others.
        if !head.starts_with("GET /hooks/") {
            return Ok(());
        }
        let head = head.replacen(" /hooks/", " /", 1).replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let mut service = TcpStream::connect(&service)?;
        service.write_all(head.as_bytes())?;
        io::copy(&mut service, &mut client).map(drop)
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let pass_on = pass_on.clone();
            thread::spawn(move || pass_on(client));
        }
    });
    format!("http://{here}/hooks/")
}

#[test]
fn behind_a_proxy_it_works_in_a_folder() {
    let Some((service, browser)) = some_stored() else { return };
    let folder = proxy(&service);
    let tab = browser.open(&folder);
    has_settled(&tab);
    assert_eq!(tab.text("#found"), "1–20 of 120");
    assert_eq!(tab.text("nav [aria-current]"), "Messages");
    tab.evaluate("document.querySelectorAll('nav a')[1].click()");
    tab.until("the description is shown", "document.querySelectorAll('.op').length > 5");
    assert_eq!(tab.evaluate("location.href"), format!("{folder}docs"));
    assert_eq!(tab.text("nav [aria-current]"), "API");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_docs_describe_every_path_and_try_it() {
    if !has(&["chromium"]) {
        return;
    }
    let service = Setup::new().with("API_TOKEN", "t0ken").start();
    let browser = Browser::start();
    let tab = browser.open(&url(&service, "/docs#listMessages"));
    tab.until("the description is shown", "document.querySelectorAll('.op').length > 5");
    let paths = tab.evaluate("[...document.querySelectorAll('.path')].map(one => one.innerText)");
    for path in ["/webhook", "/messages", "/stats", "/health/live", "/health/ready", "/metrics"] {
        assert!(
            paths.as_array().expect("there are some").iter().any(|one| one == path),
            "{path} is not in {paths}"
        );
    }
    let status = "document.querySelector('#listMessages [role=status]')?.innerText || ''";
    let send = "document.querySelector('#listMessages form').requestSubmit()";
    tab.evaluate(send);
    tab.until("a token is wanted", &format!("({status}).startsWith('401')"));
    tab.evaluate("document.getElementById('token').focus()");
    tab.enter("t0ken");
    tab.evaluate(send);
    tab.until("the list is shown", &format!("({status}).startsWith('200')"));
    tab.evaluate(&format!(
        "document.getElementById('receiveMessage').open = true; \
         document.getElementById('receiveMessage-secret').value = {}; \
         document.querySelector('#receiveMessage form').requestSubmit()",
        json!(crate::fixtures::SECRET)
    ));
    tab.until(
        "the message is taken",
        "document.querySelector('#receiveMessage [role=status]')?.innerText.startsWith('200')",
    );
    assert!(
        service
            .database()
            .query_row("SELECT from_msisdn FROM messages", [], |row| row.get::<_, String>(0))
            .is_ok_and(|from| from == SENDER)
    );
    assert_eq!(browser.complaints(), [""; 0]);
}
