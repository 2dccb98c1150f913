//! Lists as the caller may see them: full pages, also where rows that are hidden from him drop out; and where they go on.

use std::time::Duration;

use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse};
use url::form_urlencoded;

use crate::account::Right;
use crate::admin::access::Caller;
use crate::admin::{Admin, masked};
use crate::issue;
use crate::store::{self, DeliveryFilter, DeliveryView, NotificationFilter, NotificationView, Page, StoreResult};

/// How long a page is looked for; then it may be short, and says where the list goes on.
const PATIENCE: Duration = Duration::from_millis(60);
/// So many are read at once when some of a page are hidden: most of what was found may be.
const MORE: u32 = 200;

/// The deliveries of a filter, less what is hidden from the caller and what was found by it.
pub(super) async fn deliveries(
    admin: &Admin,
    caller: &Caller,
    filter: DeliveryFilter,
) -> StoreResult<Page<DeliveryView>> {
    let mut asked = filter.clone();
    let read = async |further: Option<i64>| {
        if further.is_some() {
            asked.go_on(further);
            asked.limit = Some(MORE);
        }
        let mut page = admin.store.deliveries(asked.clone()).await?;
        masked::deliveries(admin, &mut page.rows).await?;
        unveil_nothing(caller, &mut page.rows, &filter);
        Ok(page)
    };
    filled(admin, filter.length(), |view: &DeliveryView| view.delivery_id.0, read).await
}

/// The notifications of a filter, less what is hidden from the caller and what was found by it.
pub(super) async fn notifications(
    admin: &Admin,
    caller: &Caller,
    filter: NotificationFilter,
) -> StoreResult<Page<NotificationView>> {
    let mut asked = filter.clone();
    let read = async |further: Option<i64>| {
        if further.is_some() {
            asked.go_on(further);
            asked.limit = Some(MORE);
        }
        let mut page = admin.store.notifications(asked.clone()).await?;
        masked::notifications(admin, &mut page.rows).await?;
        if let Some(text) = &filter.text {
            let said = |view: &NotificationView| view.reason.as_deref().map(|reason| as_seen(caller, reason));
            page.rows.retain(|view| said(view).is_some_and(|reason| reason.contains(text)));
        }
        if let Some(search) = &filter.search {
            page.rows.retain(|view| store::is_found_by(&view.search, search));
        }
        Ok(page)
    };
    filled(admin, filter.length(), |view: &NotificationView| view.notification.row, read).await
}

/// Reads on from where a page ended until it is full, there is nothing more, or it took too long.
async fn filled<T>(
    admin: &Admin,
    length: usize,
    id: impl Fn(&T) -> i64,
    mut read: impl AsyncFnMut(Option<i64>) -> StoreResult<Page<T>>,
) -> StoreResult<Page<T>> {
    let begun = admin.clock.monotonic();
    let mut page = Page::default();
    loop {
        let Page { mut rows, next } = read(page.next).await?;
        page.append(&mut rows);
        page.next = next;
        let is_late = admin.clock.monotonic().saturating_sub(begun) > PATIENCE;
        if page.len() >= length || next.is_none() || is_late {
            return Ok(page.cut(length, id));
        }
    }
}

/// Leaves of what was found by a text what the caller sees it in.
fn unveil_nothing(caller: &Caller, views: &mut Vec<DeliveryView>, filter: &DeliveryFilter) {
    for view in views.iter_mut() {
        view.reason = view.reason.take().map(|reason| as_seen(caller, &reason));
    }
    keep_what_shows(views, filter.text.as_deref(), filter.kept.as_deref(), filter.search.as_deref());
}

/// Leaves of what was found that in which it still shows; the views are masked already.
pub(super) fn keep_what_shows(
    views: &mut Vec<DeliveryView>,
    text: Option<&str>,
    kept: Option<&str>,
    search: Option<&str>,
) {
    masked::only_what_shows(views, text, kept);
    if let Some(search) = search {
        views.retain(|view| store::is_found_by(&view.search, search));
    }
}

fn as_seen(caller: &Caller, reason: &str) -> String {
    if caller.has(Right::Payload) { reason.to_owned() } else { issue::without_values(reason) }
}

/// The answer with the address of the next page, where there may be one (RFC 8288).
pub(super) fn linked(answer: HttpResponse, request: &HttpRequest, next: Option<i64>) -> HttpResponse {
    let mut asked = form_urlencoded::parse(request.query_string().as_bytes());
    let cursor = if asked.any(|(key, _)| key == "after") { "after" } else { "before" };
    linked_to(answer, request, next.map(|next| (cursor, next.to_string())))
}

/// The same, where the cursor has a name of its own.
pub(super) fn linked_to(mut answer: HttpResponse, request: &HttpRequest, next: Option<(&str, String)>) -> HttpResponse {
    let link = next.and_then(|next| next_page(request.path(), request.query_string(), &next).parse().ok());
    if let Some(link) = link {
        answer.headers_mut().insert(LINK, link);
    }
    answer
}

/// The link to the next page: the same question with another cursor.
fn next_page(path: &str, query: &str, (cursor, next): &(&str, String)) -> String {
    let asked = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key != "after" && key != "before");
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).append_pair(cursor, next).finish();
    format!("<{path}?{query}>; rel=\"next\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_question_with_another_cursor() {
        for (cursor, query, expected) in [
            ("before", "", "</api/v1/dead?before=7>; rel=\"next\""),
            ("before", "before=9&text=a%26b", "</api/v1/dead?text=a%26b&before=7>; rel=\"next\""),
            ("after", "after=2&limit=5", "</api/v1/dead?limit=5&after=7>; rel=\"next\""),
        ] {
            assert_eq!(next_page("/api/v1/dead", query, &(cursor, "7".to_owned())), expected);
        }
    }
}
