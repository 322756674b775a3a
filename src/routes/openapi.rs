//! `GET /openapi.json` tells programs the contract (contract, section 7).

use super::Answer;
use crate::app::App;
use crate::http::{Request, Response};

const DESCRIPTION: &[u8] = include_bytes!("openapi.json");

pub(super) fn get(_: &App, _: &Request) -> Answer {
    Response::json(200, DESCRIPTION).into()
}
