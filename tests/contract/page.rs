//! Section 7: the pages for people, as a browser receives them. `tests/operator/page.rs` looks at them in one.

use sha2::{Digest, Sha256};

use crate::fixtures::{from_base64, message};
use crate::service::Service;
use crate::setup::Setup;

const PAGES: [&str; 2] = ["/", "/docs"];

/// What stands between two marks, which are there once.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    assert_eq!((text.matches(before).count(), text.matches(after).count()), (1, 1), "{before}…{after}");
    let (_, rest) = text.split_once(before).expect("it is there");
    rest.split_once(after).expect("it follows").0
}

#[test]
fn a_page_is_one_small_file_and_may_run_only_what_is_in_it() {
    let service = Service::start();
    for path in PAGES {
        let answer = service.get(path);
        assert_eq!(answer.expect(200).header("Content-Type"), Some("text/html; charset=utf-8"));
        assert!(answer.body.len() < 40_000, "{path} has {} bytes", answer.body.len());

        let policy = answer.header("Content-Security-Policy").expect("a page comes with a policy");
        let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
        for directive in [
            "default-src 'none'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ] {
            assert!(directives.contains(&directive), "{directive} is not in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");

        let html = answer.text();
        for (directive, content) in [
            ("script-src", between(&html, "<script>", "</script>")),
            ("style-src", between(&html, "<style>", "</style>")),
        ] {
            let sources =
                directives.iter().find_map(|one| one.strip_prefix(directive)).expect(directive).trim();
            let hash =
                sources.strip_prefix("'sha256-").and_then(|rest| rest.strip_suffix('\'')).expect(sources);
            assert_eq!(from_base64(hash), Sha256::digest(content).to_vec(), "{path} {directive}");
        }
    }
}

#[test]
fn a_page_is_neither_framed_nor_guessed_at_and_tells_nobody_where_it_was() {
    let service = Service::start();
    for path in PAGES {
        let answer = service.get(path);
        assert_eq!(answer.expect(200).header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"));
        assert_eq!(answer.header("Cross-Origin-Opener-Policy"), Some("same-origin"));
    }
}

#[test]
fn a_page_is_shown_without_a_token_and_holds_nothing_that_is_stored() {
    let service = Setup::new().with("API_TOKEN", "t0ken").start();
    for path in PAGES {
        let before = service.get(path).expect(200).body.clone();
        service.store(&message(&format!("stored before {path}")));
        assert!(service.get(path).body == before, "{path}");
    }
    assert!(service.get("/?q=%3Cscript%3E").expect(200).body == service.get("/").body);
}
