//! The cursor of a page: any bytes are a place to go on from, which survives its own link, or refused.
#![no_main]

use std::fmt::Write as _;

use libfuzzer_sys::fuzz_target;
use lyftr_webhook::testing::PageQuery;

fuzz_target!(|cursor: &[u8]| {
    let mut query = String::from("after=");
    for byte in cursor {
        write!(query, "%{byte:02X}").expect("a string takes text");
    }
    let Ok(page) = PageQuery::parse(&query) else {
        return;
    };
    if let Some(cursor) = &page.after {
        let link = page.next_link(cursor);
        assert!(link.bytes().all(|byte| byte.is_ascii_graphic()), "a link is fit for a header: {link}");
        let (_, again) = link.split_once('?').expect("a link has a query");
        let next = PageQuery::parse(again).expect("what the service links to it understands");
        assert_eq!(next.after.as_ref(), Some(cursor));
    }
});
