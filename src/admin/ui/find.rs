//! What there is of a text, whatever it may be: the page behind the box at the top of every page.

use actix_web::{HttpRequest, web};
use askama::Template;
use serde_json::Value as Json;

use super::document::Doc;
use super::lists::parsed;
use super::{Page, Shell, asked, page, read};
use crate::admin::Admin;
use crate::admin::access::Caller;
use crate::admin::find as api;

#[derive(Template)]
#[template(path = "find.html")]
struct Find<'a> {
    shell: Shell,
    text: String,
    answer: Doc<'a>,
}

impl Find<'_> {
    fn looked_in(&self) -> String {
        self.answer.at("looked_in").list().into_iter().map(Doc::text).collect::<Vec<_>>().join(", ")
    }

    /// The query of the lists that show all of what was found in one way.
    fn all(found: &Doc<'_>) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair(&found.at("filter.name").text(), &found.at("filter.value").text())
            .finish()
    }
}

pub(in crate::admin) async fn find(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let text = asked(&request, "q");
    let answer = if text.is_empty() {
        Json::Null
    } else {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", &text).finish();
        read(api::find(admin, parsed(&query)?, caller.clone()).await).await?.document
    };
    page(&Find { shell: Shell::new(&request, &caller, "/find", "Find"), text, answer: Doc::new(&answer) })
}
