//! A program takes batches over HTTP: the status of its answer confirms one, or not (contract, section 13).

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use super::MAX_SHOWN_CHARS;
use super::batch::MessageBatch;
use super::handover::Handover;
use super::retry_after::retry_after;
use super::standard_webhooks::{ForwardSecret, hashed_id, unsigned_headers, webhook_id};
use crate::http::Headers;
use crate::http_client::{ClientRequest, HttpClient, Url};
use crate::version::VERSION;

/// A program's URL. One connection to it is kept from batch to batch.
pub struct PostTarget {
    client: HttpClient,
    path: String,
    secret: Option<ForwardSecret>,
}

impl PostTarget {
    pub fn new(url: Url, secret: Option<ForwardSecret>) -> Self {
        Self { client: HttpClient::new(url.endpoint).judging_by_status(), path: url.path, secret }
    }

    /// One attempt, from looking the name up to the head of the answer.
    pub fn hand_on(&mut self, batch: &MessageBatch<'_>, timeout: Duration) -> Handover {
        let deadline = Instant::now() + timeout;
        let now = SystemTime::now();
        let Payload { content_type, id, body } = Payload::of(batch);
        let mut headers = vec![
            ("User-Agent", format!("lyftr-webhook/{VERSION}")),
            ("Content-Type", content_type.to_owned()),
        ];
        match &self.secret {
            Some(secret) => headers.extend(secret.headers(&id, now, &body)),
            None => headers.extend(unsigned_headers(&id, now)),
        }
        let request = ClientRequest { method: "POST", target: &self.path, headers: &headers, body: &body };
        match self.client.send(&request, deadline) {
            Ok(response) => judge(response.status, &response.headers, now),
            Err(error) => Handover::Retry { reason: error.to_string(), after: None },
        }
    }
}

/// What is sent for a batch: the same for every attempt.
#[derive(Debug, PartialEq, Eq)]
struct Payload<'a> {
    content_type: &'static str,
    id: String,
    body: Cow<'a, [u8]>,
}

impl<'a> Payload<'a> {
    fn of(batch: &MessageBatch<'a>) -> Self {
        if let [message] = batch.messages {
            return Self {
                content_type: "application/json",
                id: webhook_id(&message.id),
                body: Cow::Borrowed(message.json.as_bytes()),
            };
        }
        let body = batch.ndjson();
        let id = match batch.last.cursor.as_str() {
            // What `export` has written knows no cursors.
            "" => hashed_id(&body),
            cursor => webhook_id(cursor),
        };
        Self { content_type: "application/x-ndjson", id, body: Cow::Owned(body) }
    }
}

/// What an answer means. Its body is not shown: it may repeat what a message says.
fn judge(status: u16, headers: &Headers, now: SystemTime) -> Handover {
    let said = format!("the target answered {status}");
    let reason = match status {
        200..=299 => return Handover::Confirmed,
        410 => {
            return Handover::Gone(format!(
                "{said}: it wants no more messages; end this follower, or name another --post"
            ));
        }
        300..=399 => match headers.only("Location") {
            Some(location) => {
                let location: String = location.chars().take(MAX_SHOWN_CHARS).collect();
                format!(
                    "{said} and points to {location}; redirects are not followed: name that URL with --post"
                )
            }
            None => format!("{said}; redirects are not followed: name another URL with --post"),
        },
        401 | 403 => format!("{said}; look whether it has the same FORWARD_SECRET"),
        404 | 405 => format!("{said}; look at the path of --post"),
        413 => format!("{said}; let it take larger bodies, or lower --batch"),
        _ => said,
    };
    Handover::Retry { reason, after: retry_after(headers, now) }
}

#[cfg(test)]
mod tests {
    use super::super::batch::FeedMessage;
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name, value);
        }
        headers
    }

    #[test]
    fn every_status_says_what_becomes_of_the_batch() {
        let judged = |status| judge(status, &Headers::default(), SystemTime::now());
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judged(status), Handover::Confirmed, "{status}");
        }
        assert!(matches!(judged(410), Handover::Gone(reason) if reason.contains("410")));
        for (status, said) in [
            (300, "redirects are not followed"),
            (304, "redirects are not followed"),
            (307, "redirects are not followed"),
            (400, "400"),
            (401, "FORWARD_SECRET"),
            (403, "FORWARD_SECRET"),
            (404, "path"),
            (405, "path"),
            (408, "408"),
            (409, "409"),
            (411, "411"),
            (413, "--batch"),
            (422, "422"),
            (429, "429"),
            (500, "500"),
            (503, "503"),
            (599, "599"),
            (999, "999"),
        ] {
            let Handover::Retry { reason, after: None } = judged(status) else { panic!("{status}") };
            assert!(reason.contains(&status.to_string()) && reason.contains(said), "{reason}");
        }
        let Handover::Retry { reason, .. } =
            judge(308, &headers(&[("Location", &"/new".repeat(1000))]), SystemTime::now())
        else {
            panic!("308 confirms nothing");
        };
        assert!(reason.contains("points to /new") && reason.len() < 400, "{reason}");
    }

    #[test]
    fn an_answer_says_when_to_come_again() {
        let now = SystemTime::now();
        for status in [429, 503, 500, 301] {
            let judged = judge(status, &headers(&[("Retry-After", "7")]), now);
            assert!(matches!(judged, Handover::Retry { after: Some(after), .. } if after.as_secs() == 7));
        }
    }

    #[test]
    fn one_message_is_json_and_several_are_lines_of_it() {
        let message = |id: &str, cursor: &str| {
            FeedMessage::parse(&format!(r#"{{"message_id":"{id}","cursor":"{cursor}"}}"#)).unwrap()
        };
        let (one, two) = (message("m1", "c1"), message("m2", "c2"));
        let json = |message: &FeedMessage| message.json.clone();
        let messages = [one.clone(), two.clone()];
        let of = |messages| Payload::of(&MessageBatch::of(messages).unwrap());
        assert_eq!(
            of(&messages[..1]),
            Payload {
                content_type: "application/json",
                id: "m1".to_owned(),
                body: Cow::Borrowed(one.json.as_bytes())
            }
        );
        assert_eq!(
            of(&messages),
            Payload {
                content_type: "application/x-ndjson",
                id: "c2".to_owned(),
                body: Cow::Owned(format!("{}\n{}\n", json(&one), json(&two)).into_bytes())
            }
        );
        let exported = [message("m1", ""), message("m2", "")];
        let others = [message("m1", ""), message("m3", "")];
        let (id, other) = (of(&exported).id.clone(), of(&others).id.clone());
        assert!(id.starts_with("sha256-") && id != other, "a batch without a cursor has an id of its own");
    }
}
