//! What was done and what is in force: the audit log, the configuration, and the guide of a gateway that has none.

use actix_web::{HttpRequest, web};
use askama::Template;
use serde_json::Value as Json;

use super::document::Doc;
use super::lists::parsed;
use super::{Page, Shell, asked, page, query_of, read};
use crate::admin::access::Caller;
use crate::admin::{Admin, api, book, day, keep, reload, what_if as comparing};
use crate::store::AuditFilter;

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit<'a> {
    shell: Shell,
    rows: Vec<Entry<'a>>,
    who: String,
    verb: String,
    object: String,
    object_id: String,
    from: String,
    to: String,
    next: Option<String>,
}

/// An entry of the log, its values taken apart.
struct Entry<'a> {
    row: Doc<'a>,
    /// Why, how it was before and afterwards, what came of it.
    said: [Said; 4],
}

impl<'a> Entry<'a> {
    fn of(row: Doc<'a>) -> Self {
        Self { row, said: ["reason", "was", "became", "result"].map(|key| Said::of(&row.at(key).text())) }
    }
}

/// A value of the log as people read it: words, and what stands behind them in JSON as names and values.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    words: String,
    pairs: Vec<(String, String)>,
}

/// What is longer is folded.
const FOLDED_BEYOND: usize = 160;

impl Said {
    fn of(text: &str) -> Self {
        let begin = text.find('{').filter(|_| text.ends_with('}'));
        let document = begin.and_then(|at| text.get(at..)).and_then(|json| serde_json::from_str::<Json>(json).ok());
        let (Some(at), Some(document)) = (begin, document) else {
            return Self { words: text.to_owned(), pairs: Vec::new() };
        };
        let words = text.get(..at).unwrap_or_default().trim_end().to_owned();
        let mut pairs = Vec::new();
        flatten("", &document, &mut pairs);
        Self { words, pairs }
    }

    /// The beginning of words that are folded; none where all are shown.
    fn fold(&self) -> Option<String> {
        let is_long = self.words.chars().count() > FOLDED_BEYOND;
        is_long.then(|| self.words.chars().take(FOLDED_BEYOND / 2).chain(['…']).collect())
    }
}

/// Each value by its path; moments as people read them, what is null left out.
fn flatten(path: &str, value: &Json, pairs: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Json::Null => {}
        Json::Object(members) => members.iter().for_each(|(name, member)| flatten(&below(name), member, pairs)),
        Json::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let items: Vec<String> = items.iter().map(|item| Doc::new(item).moment()).collect();
            pairs.push((path.replace('_', " "), items.join(", ")));
        }
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| flatten(&below(&(place + 1).to_string()), item, pairs));
        }
        Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            pairs.push((path.replace('_', " "), Doc::new(value).moment()));
        }
    }
}

pub(in crate::admin) async fn audit(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let query = query_of(&request, &[], &[("limit", "100")]);
    let filter = parsed::<AuditFilter>(&query)?;
    let answer = read(keep::audit(admin, filter).await).await?;
    let rows = Doc::new(&answer.document).list();
    let last = rows.last().filter(|_| rows.len() >= 100).map(|row| row.at("id").text());
    let next = last.map(|before| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let kept = url::form_urlencoded::parse(request.query_string().as_bytes());
        query.extend_pairs(kept.filter(|(name, _)| name != "before"));
        query.append_pair("before", &before);
        format!("/audit?{}", query.finish())
    });
    let of = |name| asked(&request, name);
    page(&Audit {
        shell: Shell::new(&request, &caller, "/audit", "Audit"),
        rows: rows.into_iter().map(Entry::of).collect(),
        who: of("who"),
        verb: of("verb"),
        object: of("object"),
        object_id: of("object_id"),
        from: of("from"),
        to: of("to"),
        next,
    })
}

#[derive(Template)]
#[template(path = "ledger.html")]
struct Ledger<'a> {
    shell: Shell,
    day: Doc<'a>,
}

/// A day's accounts and whether anything of it was lost; of yesterday when it is not said.
pub(in crate::admin) async fn ledger(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let asked = parsed(&query_of(&request, &[], &[]))?;
    let told = read(day::day(admin, asked).await).await?.document;
    let day = Doc::new(&told);
    page(&Ledger { shell: Shell::new(&request, &caller, "/ledger", format!("Ledger of {}", day.at("day"))), day })
}

#[derive(Template)]
#[template(path = "configuration.html")]
struct Configuration<'a> {
    shell: Shell,
    /// Which is in force, and what was before.
    standing: Doc<'a>,
    /// What it says.
    facts: Doc<'a>,
    status: Doc<'a>,
}

pub(in crate::admin) async fn configuration(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let status = read(api::status(admin.clone(), caller.clone()).await).await?.document;
    // A gateway without a file has facts and no standing.
    let standing = read(reload::config(admin).await).await.map(|answer| answer.document).unwrap_or_default();
    page(&Configuration {
        shell: Shell::new(&request, &caller, "/configuration", "Configuration"),
        standing: Doc::new(&standing),
        facts: Doc::new(&facts).at("facts"),
        status: Doc::new(&status),
    })
}

#[derive(Template)]
#[template(path = "what_if.html")]
struct WhatIf<'a> {
    shell: Shell,
    last: String,
    source: String,
    sources: Vec<Doc<'a>>,
    /// Why there is nothing to compare; empty when there is.
    problem: String,
    found: Doc<'a>,
}

/// What the file on disk would make other of what is stored.
pub(in crate::admin) async fn what_if(admin: web::Data<Admin>, request: HttpRequest, caller: Caller) -> Page {
    let facts = read(book::facts(admin.clone()).await).await?.document;
    let query = query_of(&request, &[], &[]);
    let found = read(comparing::what_if(admin, parsed(&query)?, caller.clone()).await).await;
    let (found, problem) = match found {
        Ok(answer) => (answer.document, String::new()),
        // A file that is wrong is what people come here to see.
        Err(problem) => (Json::Null, problem.to_string()),
    };
    let last = asked(&request, "last");
    page(&WhatIf {
        shell: Shell::new(&request, &caller, "/configuration", "What would change"),
        last: if last.is_empty() { "100".to_owned() } else { last },
        source: asked(&request, "source"),
        sources: Doc::new(&facts).at("facts.sources").list(),
        problem,
        found: Doc::new(&found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_says_in_json_is_read_as_names_and_values() {
        let pairs = |text: &str| Said::of(text).pairs.into_iter().map(|(name, value)| format!("{name}={value}"));
        let pairs = |text: &str| pairs(text).collect::<Vec<_>>().join("; ");
        let pause = "paused: {\"reason\":\"maintenance\",\"since\":\"2026-01-31T06:00:00.000Z\",\"until\":null}";
        assert_eq!(Said::of(pause).words, "paused:");
        assert_eq!(pairs(pause), "reason=maintenance; since=2026-01-31 06:00:00 UTC");
        assert_eq!(pairs("{\"a\":{\"b_c\":[1,\"x\"]},\"d\":[{\"e\":45000.0}]}"), "a.b c=1, x; d.1.e=45000.0");
        for plain in ["done", "", "order {4711}", "{broken"] {
            assert_eq!(Said::of(plain), Said { words: plain.to_owned(), pairs: Vec::new() });
        }
        assert_eq!((Said::of("short").fold(), Said::of(&"x".repeat(161)).fold().unwrap().chars().count()), (None, 81));
    }
}
