//! Section 12: metrics tell how far behind each consumer of the feed is, and when it was seen last.

use serde_json::json;

use crate::feed::{page, store_all, walk};
use crate::fixtures::{eventually, message_with};
use crate::service::Service;

fn lag(service: &Service, name: &str) -> f64 {
    service.metric(&format!("feed_lag_messages{{consumer=\"{name}\"}}"))
}

fn seen(service: &Service, name: &str) -> f64 {
    service.metric(&format!("feed_consumer_seen_seconds{{consumer=\"{name}\"}}"))
}

#[test]
fn the_lag_of_a_consumer_is_what_is_behind_the_cursor_that_it_asked_with() {
    let service = Service::start();
    assert!(!service.get("/metrics").text().contains("feed_lag_messages"));
    store_all(&service, &["a", "b", "c"]);
    let lag = |name| lag(&service, name);
    let (_, cursor, _) = page(&service.get("/feed?limit=1&consumer=shell"));
    assert_eq!(lag("shell"), 3.0);
    service.get(&format!("/feed?limit=1&consumer=shell&after={cursor}")).expect(200);
    assert_eq!(lag("shell"), 2.0);
    store_all(&service, &["d"]);
    service.get("/feed?after=now&consumer=other").expect(200);
    assert_eq!((lag("shell"), lag("other")), (3.0, 0.0));
    assert!(seen(&service, "shell") < 60.0);
    // So many names are known, and the others are served.
    for number in 0..70 {
        service.get(&format!("/feed?limit=1&consumer=c{number}")).expect(200);
    }
    let lags = service.get("/metrics").text().matches("feed_lag_messages{").count();
    assert_eq!(lags, 64);
}

#[test]
fn what_is_erased_is_not_behind_anybody_any_more() {
    let mut service = Service::start();
    store_all(&service, &["a", "b"]);
    for id in ["c", "d", "e"] {
        service.store(&message_with(id, &json!({"from": "+7"})));
    }
    service.get("/feed?limit=1&consumer=shell").expect(200);
    let (_, cursor, _) = page(&service.get("/feed?limit=1"));
    service.get(&format!("/feed?limit=1&consumer=other&after={cursor}")).expect(200);
    assert_eq!((lag(&service, "shell"), lag(&service, "other")), (5.0, 4.0));
    assert_eq!(service.setup().run(&["erase", "--sender", "+7"]).code, Some(0));
    assert_eq!((lag(&service, "shell"), lag(&service, "other")), (2.0, 1.0));
    service.database().execute("DELETE FROM messages", []).unwrap();
    assert_eq!((lag(&service, "shell"), lag(&service, "other")), (0.0, 0.0));
}

#[test]
fn a_consumer_whose_cursor_does_not_fit_is_behind_everything_and_not_seen() {
    let (other, service) = (Service::start(), Service::start());
    store_all(&other, &["a"]);
    let (_, unfit) = walk(&other, "", 10);
    store_all(&service, &["a", "b", "c"]);
    let (_, end) = walk(&service, "", 10);
    service.get(&format!("/feed?consumer=shell&after={end}")).expect(200);
    assert_eq!(lag(&service, "shell"), 0.0);
    let before = seen(&service, "shell");
    for name in ["shell", "new"] {
        service.get(&format!("/feed?consumer={name}&after={unfit}")).expect(410);
        assert_eq!(lag(&service, name), 3.0);
    }
    eventually("it has not been seen for longer, although it asks", || {
        service.get(&format!("/feed?consumer=shell&after={unfit}")).expect(410);
        (seen(&service, "shell") > before + 0.2).then_some(())
    });
    service.get(&format!("/feed?consumer=shell&after={end}")).expect(200);
    assert_eq!(lag(&service, "shell"), 0.0);
}
