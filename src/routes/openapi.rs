//! `GET /openapi.json` tells programs the contract (contract, section 7).

use std::sync::LazyLock;

use serde_json::Value;

use super::Answer;
use crate::app::App;
use crate::http::{Request, Response};
use crate::metrics::Route;

const DESCRIPTION: &[u8] = include_bytes!("openapi.json");

/// The same without the routes of WhatsApp, for where they are not there.
static WITHOUT_WHATSAPP: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut description: Value = serde_json::from_slice(DESCRIPTION).expect("a part of the program is JSON");
    if let Some(paths) = description["paths"].as_object_mut() {
        paths.shift_remove(Route::Whatsapp.label());
    }
    serde_json::to_vec_pretty(&description).expect("what was read can be written")
});

pub(super) fn get(app: &App, _: &Request) -> Answer {
    let has_whatsapp = app.secrets.get().whatsapp.is_some();
    Response::json(200, if has_whatsapp { DESCRIPTION } else { &*WITHOUT_WHATSAPP }).into()
}
