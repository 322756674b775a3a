//! The health routes say whether the process serves, or whether it can store as well (contract, section 5).

use std::sync::atomic::Ordering::Relaxed;

use super::{Answer, problem};
use crate::app::App;
use crate::http::{Request, Response};

pub(super) fn live(_: &App, _: &Request) -> Answer {
    Response::json(200, br#"{"status":"ok"}"#.as_slice()).into()
}

pub(super) fn ready(app: &App, _: &Request) -> Answer {
    match first_obstacle(app) {
        None => Response::json(200, br#"{"status":"ready"}"#.as_slice()).into(),
        Some(reason) => problem::not_ready(&reason).into(),
    }
}

fn first_obstacle(app: &App) -> Option<String> {
    if app.stopping.load(Relaxed) {
        return Some("the service is stopping".to_owned());
    }
    if let Some(lack) = app.secrets.get().lack() {
        return Some(lack.to_owned());
    }
    app.store.ready().err().map(|error| error.to_string())
}
