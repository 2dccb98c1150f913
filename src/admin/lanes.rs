//! Lanes that do not go on: which, what stands at their head and why, and what is behind it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::form_urlencoded;

use crate::admin::access::Caller;
use crate::admin::names::{Asked, no_system};
use crate::admin::openapi::answers;
use crate::admin::question::Question;
use crate::admin::{Admin, api, lists, masked};
use crate::store::{LaneFilter, LaneView, Lanes, Page, StoreResult};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.route("/lanes", web::get().to(lanes)).route("/lanes/{system}/{lane}", web::get().to(lane));
}

/// Which lanes to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LaneQuery {
    system: Option<String>,
    /// Behind this one, as the link to the next page names it.
    after: Option<String>,
    limit: Option<u32>,
}

/// Lanes in which something is blocked, or that a dead or held delivery stops.
#[utoipa::path(get, path = "/api/v1/lanes", params(LaneQuery), responses((status = 200, body = Vec<answers::LaneTold>)))]
pub(super) async fn lanes(
    admin: web::Data<Admin>,
    query: Question<LaneQuery>,
    caller: Caller,
    request: HttpRequest,
) -> HttpResponse {
    let LaneQuery { system, after, limit } = query.into_inner();
    if let Some(fault) = (Asked { limit, ..Asked::default() }).fault(&admin).await {
        return fault;
    }
    let after = match after.as_deref().map(read_cursor) {
        Some(None) => return api::problem(400, "after is what the link to the next page names, and nothing else"),
        Some(cursor) => cursor,
        None => None,
    };
    let unknown = system.as_deref().and_then(|system| no_system(&admin, system));
    let found = admin.store.lanes(LaneFilter { system, after, limit }).await;
    let Lanes { rows, next } = match hidden(&admin, found).await {
        Ok(lanes) => lanes,
        Err(error) => return api::from_store(&error),
    };
    // What is gone from the configuration may have lanes still.
    if let Some(reason) = unknown.filter(|_| rows.is_empty()) {
        return api::problem(400, &reason);
    }
    let answer = api::show(&caller, told(&admin, rows).await);
    lists::linked_to(answer, &request, next.map(|next| ("after", written_cursor(&next))))
}

/// Lanes, each with why its head is not under way.
async fn told(admin: &Admin, lanes: Vec<LaneView>) -> StoreResult<Vec<Json>> {
    let heads = api::explained(admin, lanes.iter().map(|lane| lane.head.clone()).collect()).await?;
    let told = |(LaneView { head, behind, is_more, since }, explained): (LaneView, api::Explained)| {
        json!({"system": head.system, "lane": head.lane, "behind": behind, "is_more": is_more, "since": since,
               "head": explained})
    };
    Ok(lanes.into_iter().zip(heads).map(told).collect())
}

/// Lanes less what is masked of their heads.
async fn hidden(admin: &Admin, found: StoreResult<Lanes>) -> StoreResult<Lanes> {
    let mut lanes = found?;
    for lane in &mut lanes.rows {
        masked::deliveries(admin, std::slice::from_mut(&mut lane.head)).await?;
    }
    Ok(lanes)
}

/// Where in a lane to begin.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Within {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

/// What is not settled in a lane, in order.
#[utoipa::path(
    get,
    path = "/api/v1/lanes/{system}/{lane}",
    params(("system" = String, Path), ("lane" = String, Path), Within),
    responses((status = 200, body = Vec<api::Explained>))
)]
pub(super) async fn lane(
    admin: web::Data<Admin>,
    path: web::Path<(String, String)>,
    within: Question<Within>,
    caller: Caller,
    request: HttpRequest,
) -> HttpResponse {
    let (system, lane) = path.into_inner();
    let Within { after, limit } = within.into_inner();
    if let Some(fault) = (Asked { limit, ..Asked::default() }).fault(&admin).await {
        return fault;
    }
    let unknown = no_system(&admin, &system);
    let found = admin.store.lane(system, lane, after, limit.unwrap_or(LENGTH)).await;
    if let (Ok(Page { rows, .. }), Some(reason)) = (&found, unknown)
        && rows.is_empty()
    {
        return api::problem(404, &reason);
    }
    match shown(&admin, found).await {
        Ok((told, next)) => {
            let next = next.map(|next| ("after", next.to_string()));
            lists::linked_to(api::show(&caller, Ok(told)), &request, next)
        }
        Err(error) => api::from_store(&error),
    }
}

/// How many of a lane are shown when it is not said.
const LENGTH: u32 = 100;

async fn shown(
    admin: &Admin,
    found: StoreResult<Page<crate::store::DeliveryView>>,
) -> StoreResult<(Vec<api::Explained>, Option<i64>)> {
    let Page { mut rows, next } = found?;
    masked::deliveries(admin, &mut rows).await?;
    Ok((api::explained(admin, rows).await?, next))
}

/// A lane as a cursor names it.
fn written_cursor((system, lane): &(String, String)) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(system, lane).finish()
}

fn read_cursor(text: &str) -> Option<(String, String)> {
    let (system, lane) = form_urlencoded::parse(text.as_bytes()).next()?;
    text.contains('=').then(|| (system.into_owned(), lane.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for lane in [("erp", "006A"), ("a=b&c", "x/y z+ä"), ("s", "")] {
            let lane = (lane.0.to_owned(), lane.1.to_owned());
            assert_eq!(read_cursor(&written_cursor(&lane)), Some(lane));
        }
        assert_eq!(read_cursor("nonsense"), None);
        assert_eq!(read_cursor(""), None);
    }
}
