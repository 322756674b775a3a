//! `GET /` and `GET /docs` answer with a page for people: one of what is stored and what comes in, one of the API.
//!
//! All they show they ask of the API, with the visitor's token.
//!
//! They are put together from the files in `page/` and load nothing else. What a page may do is said by
//! its policy: run this one script, ask this service, and never make markup of a string.

use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};

use super::Answer;
use crate::app::App;
use crate::http::{Request, Response};

static OVERVIEW: LazyLock<HtmlPage> = LazyLock::new(|| {
    HtmlPage::assemble(
        include_str!("page/overview.html"),
        concat!(include_str!("page/common.css"), include_str!("page/overview.css")),
        concat!(
            include_str!("page/common.js"),
            include_str!("page/messages.js"),
            include_str!("page/chart.js"),
            include_str!("page/overview.js"),
        ),
    )
});

static DOCS: LazyLock<HtmlPage> = LazyLock::new(|| {
    HtmlPage::assemble(
        include_str!("page/docs.html"),
        concat!(include_str!("page/common.css"), include_str!("page/docs.css")),
        concat!(include_str!("page/common.js"), include_str!("page/docs.js")),
    )
});

struct HtmlPage {
    html: String,
    policy: String,
}

pub(super) fn overview(_: &App, _: &Request) -> Answer {
    OVERVIEW.response().into()
}

pub(super) fn docs(_: &App, _: &Request) -> Answer {
    DOCS.response().into()
}

impl HtmlPage {
    fn assemble(body: &str, style: &str, script: &str) -> Self {
        let html = include_str!("page/frame.html")
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{body}}", body)
            .replace("{{style}}", style)
            .replace("{{script}}", script);
        // The icon is an empty `data:` URL, so that browsers do not ask for /favicon.ico.
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash_source(script),
            hash_source(style),
        );
        Self { html, policy }
    }

    fn response(&'static self) -> Response {
        Response::with_type(200, "text/html; charset=utf-8", self.html.as_bytes())
            .header("Content-Security-Policy", self.policy.as_str())
            .header("Referrer-Policy", "no-referrer")
            .header("Cross-Origin-Opener-Policy", "same-origin")
    }
}

/// The content of an inline element as a policy names it (CSP 3, section 2.3.1).
fn hash_source(content: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_parts_ends_an_element_early_and_all_of_them_are_there() {
        for page in [&OVERVIEW, &DOCS] {
            for tag in ["<style>", "</style>", "<script>", "</script>"] {
                assert_eq!(page.html.matches(tag).count(), 1, "{tag}");
            }
            assert!(!page.html.contains("{{") && !page.html.contains("<!--"));
        }
    }
}
