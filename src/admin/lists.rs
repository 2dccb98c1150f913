//! Lists as the caller may see them: full pages, also where rows that are hidden from him drop out; and where they go on.

use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse};
use url::form_urlencoded;

use crate::account::Right;
use crate::admin::access::Caller;
use crate::admin::{Admin, masked};
use crate::issue;
use crate::store::{self, DeliveryFilter, DeliveryView, NotificationFilter, NotificationView, Page, StoreResult};

/// So many are read at once when some of a page are hidden: most of what was found may be.
const MORE: u32 = 200;
/// So many are read for a page at the most; then it may be short, and says where the list goes on.
const READ_MAX: usize = 2_000;

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
        let (read, is_short) = (page.len(), page.len() < asked.length());
        masked::deliveries(admin, &mut page.rows).await?;
        unveil_nothing(caller, &mut page.rows, &filter);
        Ok(Read { read, is_short, seen: page })
    };
    filled(filter.length(), |view: &DeliveryView| view.delivery_id.0, read).await
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
        let (read, is_short) = (page.len(), page.len() < asked.length());
        masked::notifications(admin, &mut page.rows).await?;
        if let Some(text) = &filter.text {
            let said = |view: &NotificationView| view.reason.as_deref().map(|reason| as_seen(caller, reason));
            page.rows.retain(|view| said(view).is_some_and(|reason| reason.contains(text)));
        }
        if let Some(search) = &filter.search {
            page.rows.retain(|view| store::is_found_by(&view.search, search));
        }
        Ok(Read { read, is_short, seen: page })
    };
    filled(filter.length(), |view: &NotificationView| view.notification.row, read).await
}

/// Some rows of a list: how many were read, and what of them the caller sees.
struct Read<T> {
    read: usize,
    /// Whether the store ended before it had as many as it was asked for: it looked far enough.
    is_short: bool,
    seen: Page<T>,
}

/// Reads on from where a page ended until it is full, there is nothing more, or it was looked far enough.
async fn filled<T>(
    length: usize,
    id: impl Fn(&T) -> i64,
    mut read: impl AsyncFnMut(Option<i64>) -> StoreResult<Read<T>>,
) -> StoreResult<Page<T>> {
    let (mut page, mut looked_at) = (Page::default(), 0);
    loop {
        let Read { read, is_short, seen: Page { mut rows, next } } = read(page.next).await?;
        page.append(&mut rows);
        page.next = next;
        looked_at += read;
        if page.len() >= length || next.is_none() || is_short || looked_at >= READ_MAX {
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

/// A reason as the caller may read it: without what it quotes where he may not see what records hold.
pub(super) fn as_seen(caller: &Caller, reason: &str) -> String {
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

    /// Rows 1 to the end, of which the caller sees those that `shows` names.
    async fn seen(end: i64, length: usize, shows: impl Fn(i64) -> bool) -> (Page<i64>, usize) {
        let mut times = 0;
        let read = async |from: Option<i64>| {
            times += 1;
            let begin = from.unwrap_or(0) + 1;
            let rows: Vec<i64> = (begin..=end).take(MORE as usize).collect();
            let next = rows.last().copied().filter(|last| *last < end);
            let (read, is_short) = (rows.len(), rows.len() < MORE as usize);
            let rows = rows.into_iter().filter(|row| shows(*row)).collect();
            Ok(Read { read, is_short, seen: Page { rows, next } })
        };
        (filled(length, |row| *row, read).await.unwrap(), times)
    }

    #[tokio::test]
    async fn a_page_is_full_unless_far_too_much_is_hidden() {
        let page = |rows: &[i64], next| Page { rows: rows.to_vec(), next };
        assert_eq!(seen(1_000, 2, |row| row > 700).await, (page(&[701, 702], Some(702)), 4));
        assert_eq!(seen(450, 2, |row| row == 450).await, (page(&[450], None), 3), "there is nothing more");
        // Of very many that are hidden some are looked at; then the list goes on elsewhere.
        assert_eq!(seen(100_000, 2, |row| row == 5).await, (page(&[5], Some(2_000)), 10));
    }

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
