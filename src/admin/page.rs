//! Pages of deliveries as the caller may see them: what is found by a text or a kept value and hidden from him leaves no gap.

use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse};

use crate::account::Right;
use crate::admin::access::Caller;
use crate::admin::{Admin, masked};
use crate::issue;
use crate::store::{DeliveryFilter, DeliveryView, LIST_DEFAULT, StoreResult};

/// How many deliveries more are looked at when some of a page are hidden, and how often. A page that is not full by then
/// tells where to go on.
const MORE: u32 = 200;
const ROUNDS_MAX: u32 = 25;

/// A page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) views: Vec<DeliveryView>,
    /// The delivery behind which to go on; none: there are no more.
    pub(super) next: Option<i64>,
    /// Whether the oldest come first.
    rises: bool,
}

/// The deliveries of a filter, less what is hidden from the caller, and less those in which he does not see what he looks
/// for. Reads on until the page is full.
pub(super) async fn of_deliveries(admin: &Admin, caller: &Caller, filter: DeliveryFilter) -> StoreResult<Page> {
    let length = filter.limit.unwrap_or(LIST_DEFAULT) as usize;
    let mut page = Page { rises: filter.after.is_some(), ..Page::default() };
    let mut asked = filter;
    for _ in 0..ROUNDS_MAX {
        let mut views = match admin.store.deliveries(asked.clone()).await {
            Ok(views) => views,
            // What was found so far is worth an answer; the next one says what is wrong.
            Err(error) if page.views.is_empty() => return Err(error),
            Err(_) => break,
        };
        let is_last = views.len() < asked.limit.unwrap_or(LIST_DEFAULT) as usize;
        let last = views.last().map(|view| view.delivery_id.0);
        masked::deliveries(admin, &mut views).await?;
        unveil_nothing(caller, &mut views, &asked);
        page.views.append(&mut views);
        if page.views.len() > length || (page.views.len() == length && !is_last) {
            page.views.truncate(length);
            // What was looked at beyond it stands on the next page.
            page.next = page.views.last().map(|view| view.delivery_id.0);
            break;
        }
        page.next = last.filter(|_| !is_last);
        let Some(next) = page.next else { break };
        (asked.before, asked.after) = if page.rises { (asked.before, Some(next)) } else { (Some(next), None) };
        asked.limit = Some(MORE);
    }
    Ok(page)
}

/// Leaves of what was found by a text or a kept value what the caller sees it in.
fn unveil_nothing(caller: &Caller, views: &mut Vec<DeliveryView>, asked: &DeliveryFilter) {
    if !caller.has(Right::Payload) {
        for view in views.iter_mut() {
            view.reason = view.reason.take().map(|reason| issue::without_values(&reason));
        }
    }
    masked::only_what_shows(views, asked.text.as_deref(), asked.kept.as_deref());
}

impl Page {
    /// Where the next page is, as RFC 8288 has it: the question with another cursor.
    pub(super) fn link(&self, request: &HttpRequest) -> Option<String> {
        let (next, cursor) = (self.next?, if self.rises { "after" } else { "before" });
        let others =
            request.query_string().split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(cursor));
        let query: String = others.map(|pair| format!("{pair}&")).collect();
        Some(format!("<{}?{query}{cursor}={next}>; rel=\"next\"", request.path()))
    }
}

/// An answer that tells where the next page is.
pub(super) fn linked(mut answer: HttpResponse, link: Option<String>) -> HttpResponse {
    if let Some(link) = link.and_then(|link| link.parse().ok()) {
        answer.headers_mut().insert(LINK, link);
    }
    answer
}
