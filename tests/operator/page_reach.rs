//! For whom the pages are: with a keyboard, in the light and in the dark, on a phone.

use serde_json::json;

use crate::page::{has_settled, some_stored, url};

#[test]
fn everything_is_reached_by_tab_and_the_chart_is_read_by_arrows() {
    let Some((service, browser)) = some_stored() else { return };
    let tab = browser.open(&url(&service, "/"));
    has_settled(&tab);
    let focused = "(() => { const at = document.activeElement; return at.id || at.name || at.className || at.innerText; })()";
    let mut met: Vec<String> = Vec::new();
    for _ in 0..14 + 10 {
        tab.press("Tab");
        met.push(tab.evaluate(focused).as_str().expect("an element has a name").to_owned());
        let outline = tab.evaluate(
            "(() => { const at = document.activeElement; const shown = at.name === 'span' ? at.parentNode : at; \
             return getComputedStyle(shown).outlineStyle; })()",
        );
        assert_eq!(outline, "solid", "the focus is seen on {met:?}");
    }
    assert_eq!(met[0], "skip");
    for name in ["Messages", "API", "span", "chart", "link", "q", "from", "since"] {
        assert!(met.iter().any(|one| one == name), "{name} is not in {met:?}");
    }
    let nameless = tab.evaluate(
        "[...document.querySelectorAll('input, button, [tabindex=\"0\"]')].filter(one => one.checkVisibility() && \
         !one.innerText && !one.labels?.length && !one.ariaLabel).length",
    );
    assert_eq!(nameless, 0, "what can be used has a name");

    tab.evaluate("document.getElementById('chart').focus()");
    tab.press("End");
    let last = tab.text("#reading");
    assert!(last.ends_with(" to 2025-01-15 20:00: 6 messages"), "{last}");
    tab.press("ArrowLeft");
    assert_ne!(tab.text("#reading"), last);
    assert_eq!(
        tab.evaluate("document.getElementById('chart').getAttribute('aria-valuetext')"),
        tab.text("#reading")
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Text whose colour stands out too little from what is behind it (WCAG 2.2, 1.4.3).
const FAINT: &str = "(() => {
    const channel = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
    const behind = node => {
        for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if (colour[3] !== 0) return colour;
        }
        return [255, 255, 255];
    };
    return [...document.querySelectorAll('body *')].filter(node => node.checkVisibility() && !node.closest('[aria-disabled=true]')
        && [...node.childNodes].some(kid => kid.nodeType === 3 && kid.data.trim())).filter(node => {
        const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map(node => node.outerHTML.slice(0, 80));
})()";

#[test]
fn text_stands_out_in_light_and_dark_and_fits_a_phone() {
    let Some((service, browser)) = some_stored() else { return };
    for path in ["/", "/docs"] {
        let tab = browser.open(&url(&service, path));
        match path {
            "/" => has_settled(&tab),
            _ => tab.until("the description is shown", "document.querySelectorAll('.op').length > 5"),
        }
        let name = path.trim_start_matches('/');
        for scheme in ["light", "dark"] {
            tab.prefer(scheme);
            for (kind, width) in [("wide", 1100), ("phone", 360)] {
                tab.window(width, 800);
                assert_eq!(tab.evaluate(FAINT), json!([]), "{path} {scheme} {kind}");
                assert_eq!(
                    tab.evaluate("document.documentElement.scrollWidth"),
                    width,
                    "{path} {scheme} {kind}"
                );
                let height = tab
                    .evaluate("document.documentElement.scrollHeight")
                    .as_u64()
                    .expect("a page has a height");
                tab.window(width, u32::try_from(height).expect("a page is not that high"));
                tab.picture(&format!("page{name}-{scheme}-{kind}.png"));
            }
        }
    }
    assert_eq!(browser.complaints(), [""; 0]);
}
