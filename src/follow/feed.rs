//! The feed of a service is asked for the messages behind a cursor (contract, section 12).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::value::RawValue;

use super::MAX_SHOWN_CHARS;
use super::batch::FeedMessage;
use super::retry_after::retry_after;
use crate::http_client::{ClientRequest, ClientResponse, HttpClient, HttpClientError, Url};
use crate::url::percent_encode;
use crate::waker::Waker;

/// How long the service may wait for a message before it answers that there is none, and how long the answer may take
/// beyond that: a page of the largest messages over a slow line.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Beginning,
    /// Behind the newest message.
    Now,
}

/// Messages in the order in which they were stored, and where to go on behind them.
#[derive(Debug)]
pub struct FeedPage {
    pub messages: Vec<FeedMessage>,
    pub cursor: String,
    /// There are more already.
    pub more: bool,
}

/// Why there is no page.
#[derive(Debug)]
pub enum FeedError {
    /// Trying again helps.
    Unavailable { reason: String, after: Option<Duration> },
    /// The cursor is one of another store, or of one that was put back since.
    Unfit(String),
    /// The service wants another token.
    Unauthorized(String),
    /// The service will never answer this.
    Refused(String),
    /// A stop was asked for.
    Interrupted,
}

/// The feed of one service.
pub struct Feed {
    client: HttpClient,
    /// The path, up to the parameters.
    path: String,
    /// What the service knows this follower by.
    consumer: String,
    headers: Vec<(&'static str, String)>,
    limit: usize,
    /// With what WhatsApp sent.
    originals: bool,
}

impl Feed {
    /// `limit` is how many messages a page may have; `stop` ends a wait for them.
    pub fn new(url: &Url, consumer: &str, token: Option<&str>, limit: usize, stop: Arc<Waker>) -> Self {
        let client = HttpClient::new(url.endpoint.clone()).interrupted_by(stop);
        let headers = token.map(|token| ("Authorization", format!("Bearer {token}"))).into_iter().collect();
        let base = url.path.trim_end_matches('/');
        let path = format!("{}/feed", base.strip_suffix("/feed").unwrap_or(base));
        Self { client, path, consumer: consumer.to_owned(), headers, limit, originals: false }
    }

    /// Whether it asks for what WhatsApp sent of each message as well.
    pub fn with_originals(self, originals: bool) -> Self {
        Self { originals, ..self }
    }

    /// The cursor at which a follower that is new begins: empty is the beginning.
    pub fn start(&mut self, start: Start) -> Result<String, FeedError> {
        match start {
            Start::Beginning => Ok(String::new()),
            Start::Now => Ok(self.page("now", Duration::ZERO)?.cursor),
        }
    }

    /// What is behind `cursor`, waiting for it where there is nothing yet.
    pub fn after(&mut self, cursor: &str) -> Result<FeedPage, FeedError> {
        self.page(cursor, PATIENCE)
    }

    fn page(&mut self, after: &str, wait: Duration) -> Result<FeedPage, FeedError> {
        let mut target = format!(
            "{}?limit={}&wait={}&consumer={}{}&after=",
            self.path,
            self.limit,
            wait.as_secs(),
            self.consumer,
            if self.originals { "&original=1" } else { "" }
        );
        percent_encode(&mut target, after);
        let request = ClientRequest { method: "GET", target: &target, headers: &self.headers, body: b"" };
        match self.client.send(&request, Instant::now() + wait + PATIENCE) {
            Ok(response) => judge(&response),
            Err(HttpClientError::Interrupted) => Err(FeedError::Interrupted),
            // The largest messages by the thousand are more than anybody wants at a time.
            Err(HttpClientError::TooLarge) if self.limit > 1 => {
                self.limit /= 2;
                self.page(after, wait)
            }
            Err(error) => Err(FeedError::Unavailable { reason: error.to_string(), after: None }),
        }
    }
}

fn judge(response: &ClientResponse) -> Result<FeedPage, FeedError> {
    let detail = detail(&response.body);
    let said = format!("the service answered {}{detail}", response.status);
    match response.status {
        200 => read(&response.body).map_err(|why| {
            FeedError::Refused(format!(
                "the answer is no page of a feed: {why}; look whether --url names the service"
            ))
        }),
        401 => Err(FeedError::Unauthorized(format!(
            "{said}; set API_TOKEN, or API_TOKEN_FILE, to the token of the service"
        ))),
        404 => Err(FeedError::Refused(format!("{said}; look whether --url names a service that has a feed"))),
        // Of what is asked only the cursor can be no cursor.
        410 | 422 => Err(FeedError::Unfit(said)),
        408 | 425 | 429 | 500.. => Err(FeedError::Unavailable {
            reason: said,
            after: retry_after(&response.headers, SystemTime::now()),
        }),
        _ => Err(FeedError::Refused(format!("{said}; look whether --url names the service"))),
    }
}

/// What the service said beside the status, short enough for a line.
fn detail(body: &[u8]) -> String {
    let fields: Option<BTreeMap<String, &RawValue>> = serde_json::from_slice(body).ok();
    let detail = fields.as_ref().and_then(|fields| fields.get("detail")).map(|detail| detail.get());
    detail.map_or_else(String::new, |detail| {
        format!(" ({})", detail.chars().take(MAX_SHOWN_CHARS).collect::<String>())
    })
}

fn read(body: &[u8]) -> Result<FeedPage, String> {
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let field = |name: &str| fields.get(name).map(|value| value.get()).ok_or(format!("it has no {name}"));
    let cursor: String = serde_json::from_str(field("cursor")?).map_err(|error| error.to_string())?;
    let data: Vec<&RawValue> = serde_json::from_str(field("data")?).map_err(|error| error.to_string())?;
    let messages =
        data.into_iter().map(|message| FeedMessage::parse(message.get())).collect::<Result<Vec<_>, _>>()?;
    if cursor.is_empty() || messages.iter().any(|message| message.cursor.is_empty()) {
        return Err("a cursor is missing".to_owned());
    }
    Ok(FeedPage { messages, cursor, more: fields.get("more").is_some_and(|more| more.get() == "true") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn answer(status: u16, body: &str) -> Result<FeedPage, FeedError> {
        let mut headers = Headers::default();
        headers.push("Retry-After", "7");
        judge(&ClientResponse { status, headers, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn a_page_has_messages_and_cursors() {
        let page = answer(
            200,
            r#"{"data":[{"message_id":"m1","cursor":"c1"},{"message_id":"m2","cursor":"c2"}],"cursor":"c2","more":true}"#,
        );
        let page = page.unwrap();
        assert_eq!(page.messages.iter().map(|message| &*message.id).collect::<Vec<_>>(), ["m1", "m2"]);
        assert!(page.cursor == "c2" && page.more);
        let empty = answer(200, r#"{"data":[],"cursor":"c2","more":false}"#).unwrap();
        assert!(empty.messages.is_empty() && !empty.more);
    }

    #[test]
    fn every_other_answer_says_whether_trying_again_helps() {
        for status in [408, 429, 500, 502, 503] {
            let error = answer(status, r#"{"detail":"stopping"}"#).unwrap_err();
            let FeedError::Unavailable { reason, after } = error else { panic!("{status}: {error:?}") };
            assert!(reason.contains("stopping") && after == Some(Duration::from_secs(7)), "{reason}");
        }
        for (status, body, said) in
            [(410, "{}", "410"), (422, r#"{"detail":[{"msg":"bad cursor"}]}"#, "bad cursor")]
        {
            let error = answer(status, body).unwrap_err();
            assert!(matches!(&error, FeedError::Unfit(line) if line.contains(said)), "{error:?}");
        }
        let error = answer(401, r#"{"detail":"invalid token"}"#).unwrap_err();
        assert!(matches!(&error, FeedError::Unauthorized(line) if line.contains("API_TOKEN")), "{error:?}");
        for (status, body, said) in [
            (404, "not json", "has a feed"),
            (301, "", "--url"),
            (200, "<html>", "--url"),
            (200, r#"{"data":[],"cursor":""}"#, "a cursor is missing"),
            (200, r#"{"data":[{"message_id":"m1"}],"cursor":"c"}"#, "a cursor is missing"),
            (200, r#"{"total":1}"#, "no cursor"),
        ] {
            let error = answer(status, body).unwrap_err();
            let FeedError::Refused(line) = error else { panic!("{status}: {error:?}") };
            assert!(line.contains(said), "{line}");
        }
    }
}
