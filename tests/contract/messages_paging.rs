//! Section 3: the walk along `Link: …; rel="next"`.

use std::collections::BTreeSet;

use serde_json::json;

use crate::fixtures::{ids, message, message_with};
use crate::service::Service;

/// Follows every link, calling `between` after each page.
#[track_caller]
fn walk(service: &Service, first: &str, mut between: impl FnMut(usize)) -> Vec<String> {
    let mut met = Vec::new();
    let mut target = Some(first.to_owned());
    let mut pages = 0;
    while let Some(here) = target {
        assert!(here.starts_with("/messages?"), "{here}");
        let page = service.get(&here);
        let rows = ids(&page);
        target = page.next_page();
        assert!(target.is_none() || !rows.is_empty(), "an empty page leads nowhere: {here}");
        met.extend(rows);
        pages += 1;
        assert!(pages < 1000, "the walk ends");
        between(pages);
    }
    met
}

#[test]
fn a_walk_meets_every_row_once_whatever_the_page_size() {
    let service = Service::start();
    // Three rows share each instant, one of them written in another way, so that pages end inside a tie.
    let mut all = Vec::new();
    for number in 0..30 {
        let id = format!("m{number:02}");
        let fraction = ["", ".0", ".000"][number % 3];
        let ts = format!("2025-01-15T10:00:{:02}{fraction}Z", number / 3);
        service.store(&message_with(&id, &json!({"ts": ts})));
        all.push(id);
    }
    for limit in [1, 2, 3, 7, 29, 30, 100] {
        assert_eq!(walk(&service, &format!("/messages?limit={limit}"), |_| ()), all, "{limit}");
    }
    assert_eq!(walk(&service, "/messages?limit=4&offset=10", |_| ()), all[10..]);
    assert_eq!(service.get("/messages?limit=30").next_page(), None, "nothing follows");
    assert!(service.get("/messages?limit=29").next_page().is_some());
}

#[test]
fn a_walk_keeps_its_filters_and_its_total() {
    let service = Service::start();
    for number in 0..40 {
        let from = ["+1", "+2"][number % 2];
        let text = ["100% _ÉCOLE_ & co #1 +", "other"][usize::from(number % 4 == 3 || number % 4 == 2)];
        let ts = format!("2025-01-15T10:00:{number:02}.5Z");
        service
            .store(&message_with(&format!("m{number:02}"), &json!({"from": from, "text": text, "ts": ts})));
    }
    let q = crate::http_client::encode("% _école_ & CO #1 +");
    let first = format!("/messages?limit=3&from=+1&q={q}&since=2025-01-15T10:00:04%2B00:00");
    let expected: Vec<_> = (4..40).step_by(4).map(|number| format!("m{number:02}")).collect();
    assert_eq!(walk(&service, &first, |_| ()), expected);

    let mut target = Some(first);
    while let Some(here) = target {
        let page = service.get(&here);
        assert_eq!(page.expect(200).json()["total"], expected.len(), "{here}");
        assert_eq!(page.json()["limit"], 3, "{here}");
        target = page.next_page();
    }
}

#[test]
fn rows_that_arrive_meanwhile_neither_repeat_nor_hide_another() {
    let service = Service::start();
    let mut original = BTreeSet::new();
    for number in 0..40 {
        let id = format!("m{number:02}");
        service.store(&message_with(&id, &json!({"ts": format!("2025-01-15T10:00:{number:02}Z")})));
        original.insert(id);
    }
    let met = walk(&service, "/messages?limit=5", |page| {
        // Behind the cursor, and ahead of every row there is.
        service.store(&message_with(&format!("behind{page:02}"), &json!({"ts": "2025-01-15T09:00:00Z"})));
        if page <= 5 {
            let ts = format!("2025-01-15T11:00:{page:02}Z");
            service.store(&message_with(&format!("ahead{page:02}"), &json!({"ts": ts})));
        }
    });
    let distinct: BTreeSet<_> = met.iter().cloned().collect();
    assert_eq!(distinct.len(), met.len(), "no row is met twice: {met:?}");
    let mut expected = original;
    expected.extend((1..=5).map(|page| format!("ahead{page:02}")));
    assert_eq!(distinct, expected);
}

#[test]
fn a_row_that_arrives_at_the_cursor_is_met_by_its_place_in_the_order() {
    let service = Service::start();
    for id in ["a", "c", "e", "g"] {
        service.store(&message(id));
    }
    let met = walk(&service, "/messages?limit=2", |page| {
        if page == 1 {
            // The same instant as the last row of this page: only the id decides.
            for id in ["b", "d"] {
                service.store(&message_with(id, &json!({"ts": "2025-01-15T10:00:00.000Z"})));
            }
        }
    });
    assert_eq!(met, ["a", "c", "d", "e", "g"]);
}

#[test]
fn a_cursor_survives_ids_of_every_kind_and_a_restart() {
    let mut all = [
        " ", "\"", "%", "&", "+", "/", "<", "=", ">", "?", "\\", "a b", "a\0b", "a\nb", "a;b", "a,b", "é",
        "漢", "😀",
    ];
    all.sort_unstable();
    let service = Service::start();
    for id in all {
        service.store(&message(id));
    }
    let long = "l".repeat(3000);
    service.store(&message_with(&long, &json!({"ts": "2025-01-15T10:00:01Z"})));
    service.store(&message_with("last", &json!({"ts": "2025-01-15T10:00:02Z"})));
    let mut expected: Vec<String> = all.map(str::to_owned).to_vec();
    expected.extend([long, "last".to_owned()]);
    assert_eq!(walk(&service, "/messages?limit=1", |_| ()), expected);

    let link = service.get("/messages?limit=5").next_page().unwrap();
    let printable = link.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(printable, "{link}");
    let service = service.restart();
    assert_eq!(ids(&service.get(&link)), expected[5..10]);
}
