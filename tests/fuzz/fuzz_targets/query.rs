//! A query string: whatever it is, it is a page within its bounds, or a list of errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lyftr_webhook::testing::PageQuery;

fuzz_target!(|query: &str| {
    match PageQuery::parse(query) {
        Ok(page) => {
            assert!((1..=100).contains(&page.limit) && page.offset >= 0);
            if let Some(cursor) = &page.after {
                let link = page.next_link(cursor);
                let (_, again) = link.split_once('?').expect("a link has a query");
                let next = PageQuery::parse(again).expect("what the service links to it understands");
                assert_eq!((&next.filter, &next.after), (&page.filter, &page.after));
                assert_eq!(next.limit, page.limit);
            }
        }
        Err(errors) => assert!(!errors.is_empty(), "a refusal says why"),
    }
});
