//! Whom the pages trust: no text of a sender, and nobody without the token.

use serde_json::json;

use crate::browser::Browser;
use crate::fixtures::{message, message_with};
use crate::page::{has_settled, listed, url};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

/// Texts that would do something if anybody took them for markup, or break a page that trusts them.
const HOSTILE: [&str; 8] = [
    "<img src=x onerror=\"globalThis.pwned=1\">",
    "<script>globalThis.pwned=1</script>",
    "</script><script>globalThis.pwned=1</script>",
    "<svg/onload=globalThis.pwned=1><b>bold</b>",
    "javascript:globalThis.pwned=1 {{version}} ${globalThis.pwned=1}",
    "\u{202e}right to left\u{202e} السلام عليكم \u{2067}",
    "<!-- \u{0} ]]> &lt;b&gt; &amp;",
    "Z\u{334}\u{335}\u{336}\u{337}\u{338}\u{340}\u{341}\u{342}\u{343}a",
];

#[test]
fn nothing_a_sender_controls_is_taken_for_markup() {
    if !has(&["chromium"]) {
        return;
    }
    let service = Service::start();
    for (n, text) in HOSTILE.into_iter().enumerate() {
        let id = format!("{n} {text}");
        service.store(&message_with(&id, &json!({"text": text})));
    }
    let long = "long".repeat(1024);
    service.store(&message_with(&long, &json!({"text": long, "from": format!("+{}", "9".repeat(3000))})));
    let browser = Browser::start();
    let tab = browser.open(&url(&service, "/"));
    has_settled(&tab);
    let shown = listed(&tab);
    for text in HOSTILE {
        // The replacement is the browser's, in any document: a text node keeps what it is given.
        assert!(shown.iter().any(|one| one == text), "{text:?} is not in {shown:?}");
    }
    let count = |selector: &str| tab.evaluate(&format!("document.querySelectorAll('{selector}').length"));
    assert_eq!(
        (count("script"), count("img, svg, #list b, #top script"), count("style")),
        (json!(1), json!(0), json!(1))
    );
    assert_eq!(tab.evaluate("typeof globalThis.pwned"), "undefined");
    // And none of it pushes the page wider than its window.
    for width in [1100, 360] {
        tab.window(width, 800);
        assert_eq!(tab.evaluate("document.documentElement.scrollWidth"), width, "at {width}");
    }
    let height = tab.evaluate("document.documentElement.scrollHeight").as_u64().expect("a page has a height");
    assert!(height < 4000, "nor much longer: {height}");
    tab.picture("page-hostile.png");
    // Whatever is searched for is said nowhere but in its field, and what was asked is text too.
    tab.go(&url(&service, "/#q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&from=%3Cb%3E"));
    tab.reload();
    has_settled(&tab);
    assert_eq!(tab.text("#list"), "No message matches.");
    assert_eq!(count("img, #list b"), 0);
    assert_eq!(browser.complaints(), [""; 0]);
    // The policy stands behind all this: even a script of the page's own could not.
    let refused = tab.evaluate(
        "(() => { try { document.body.innerHTML = '<b>markup</b>'; return 'made'; } catch (error) { return error.name; } })()",
    );
    assert_eq!(refused, "TypeError");
}

#[test]
fn a_token_is_asked_for_and_kept_for_the_tab_only() {
    if !has(&["chromium"]) {
        return;
    }
    let service = Setup::new().with("API_TOKEN", "t0ken").start();
    service.store(&message("m1"));
    let browser = Browser::start();
    let tab = browser.open(&url(&service, "/"));
    let asked = "!document.getElementById('access').hidden && document.getElementById('overview').hidden";
    tab.until("the token is asked for", asked);
    assert_eq!(tab.evaluate("document.activeElement.id"), "token");
    for wrong in ["wrong", "wröng"] {
        tab.evaluate("document.getElementById('token').select()");
        tab.enter(wrong);
        tab.press("Enter");
        tab.until(
            "it is refused",
            "document.getElementById('refused').innerText.includes('does not accept')",
        );
    }
    assert!(!tab.text("body").contains("Hello"));
    tab.evaluate("document.getElementById('token').select()");
    tab.enter("t0ken");
    tab.press("Enter");
    has_settled(&tab);
    assert!(tab.text("#list").contains("Hello"));
    tab.reload();
    has_settled(&tab);
    let kept =
        tab.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie, location.href]");
    assert_eq!(kept, json!([["t0ken"], 0, "", url(&service, "/")]));
    let other = browser.open(&url(&service, "/"));
    other.until("another tab is asked too", asked);
    assert_eq!(browser.complaints(), [""; 0]);
}
