//! `GET /messages` answers with one page of messages (contract, section 3).

use super::{Answer, problem};
use crate::app::App;
use crate::filter::PageQuery;
use crate::http::{Request, Response};
use crate::store::Page;

pub(super) fn get(app: &App, request: &Request) -> Answer {
    page(app, request).into()
}

fn page(app: &App, request: &Request) -> Result<Response, Response> {
    let query = PageQuery::parse(&request.query).map_err(|errors| problem::invalid(&errors))?;
    let page = app.store.page(&query, request.received).map_err(|error| problem::storage(&error))?;
    let response = Response::json(200, body(&page, &query));
    Ok(match page.next {
        Some(cursor) => response.header("Link", format!("<{}>; rel=\"next\"", query.next_link(&cursor))),
        None => response,
    })
}

fn body(page: &Page, query: &PageQuery) -> Vec<u8> {
    let mut json = br#"{"data":"#.to_vec();
    serde_json::to_writer(&mut json, &page.rows).expect("strings always serialize, and a Vec takes them");
    let PageQuery { limit, offset, .. } = query;
    json.extend_from_slice(
        format!(r#","total":{},"limit":{limit},"offset":{offset}}}"#, page.total).as_bytes(),
    );
    json
}
