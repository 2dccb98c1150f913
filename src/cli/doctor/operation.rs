//! Whether the system still offers what its WSDL here says: the one that it hands out, against ours.

use std::collections::{BTreeSet, VecDeque};

use reqwest::Url;

use super::finding::Judged;
use super::question::Question;
use crate::cli::wsdl::Disk;
use crate::cli::wsdl::fetch::{Fetched, charset, file_name, joined, rewritten};
use crate::outcome::Response;
use crate::wsdl::changes::{self, Change};
use crate::wsdl::{self, Model, Operation, links};

/// Of more documents a WSDL is not brought together here.
const DOCUMENTS_MAX: usize = 60;
/// So many differences are told.
const TOLD_MAX: usize = 5;

/// Where a SOAP endpoint commonly hands out its WSDL.
pub(super) fn address(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    let query = match endpoint.query() {
        None | Some("") => "wsdl".to_owned(),
        Some(query) if query.split('&').any(|part| part.eq_ignore_ascii_case("wsdl")) => query.to_owned(),
        Some(query) => format!("{query}&wsdl"),
    };
    url.set_query(Some(&query));
    url
}

/// Compares what came with ours.
pub(super) async fn look(question: &Question<'_>, url: &Url, first: &Response, ours: &Operation) -> Judged {
    let brought = tokio::time::timeout(question.patience(), bring(question, url, first)).await;
    let unread = |reason: String| {
        Judged::warning(
            format!("what it hands out at ?wsdl cannot be compared: {reason}"),
            "`omgate wsdl fetch` brings it, `omgate wsdl diff` compares",
        )
    };
    match brought {
        Ok(Ok(theirs)) => compared(ours, &theirs),
        Ok(Err(reason)) => unread(reason),
        Err(_) => unread("its documents did not come in time".to_owned()),
    }
}

/// The WSDL with what it imports from the same server.
async fn bring(question: &Question<'_>, url: &Url, first: &Response) -> Result<Model, String> {
    let mut documents: Vec<Fetched> = Vec::new();
    let mut names = BTreeSet::new();
    let mut known = BTreeSet::from([url.to_string()]);
    let mut wanted = VecDeque::from([(url.clone(), Some(first.clone()))]);
    while let Some((url, answer)) = wanted.pop_front() {
        if documents.len() >= DOCUMENTS_MAX {
            return Err(format!("it is made of more than {DOCUMENTS_MAX} documents"));
        }
        let answer = match answer {
            Some(answer) => answer,
            None => question.put("GET", &url).await?.response,
        };
        if answer.status != 200 || answer.cut {
            let why = if answer.cut { "is too long" } else { "is not handed out" };
            return Err(format!("one of its documents ({}) {why}: {}", url.path(), answer.status));
        }
        let charset = answer.header("content-type").and_then(charset);
        let linked = links::read(&answer.body, charset.as_deref()).map_err(|reason| format!("it {reason}"))?;
        for link in &linked.links {
            let next = joined(&url, &link.location).filter(|next| next.origin() == url.origin());
            if let Some(next) = next.filter(|next| known.insert(next.to_string())) {
                wanted.push_back((next, None));
            }
        }
        let name = file_name(&url, linked.kind, &mut names);
        documents.push(Fetched { url, name, linked });
    }
    loaded(&documents)
}

fn loaded(documents: &[Fetched]) -> Result<Model, String> {
    let scratch = tempfile::tempdir().map_err(|error| format!("no folder to read it in: {error}"))?;
    for (name, text) in rewritten(documents) {
        std::fs::write(scratch.path().join(&name), text).map_err(|error| format!("writing {name}: {error}"))?;
    }
    let main = documents.first().map(|document| document.name.as_str()).unwrap_or_default();
    wsdl::load(&scratch.path().join(main), &Disk).map_err(|findings| {
        let first = findings.iter().find(|finding| finding.severity == wsdl::Severity::Error);
        first.map_or_else(|| "it cannot be used".to_owned(), |finding| finding.message.clone())
    })
}

fn compared(ours: &Operation, theirs: &Model) -> Judged {
    let name = ours.name();
    let offered: Vec<String> =
        theirs.services().into_iter().flat_map(|service| service.ports).flat_map(|port| port.operations).collect();
    if !offered.iter().any(|known| known == name) {
        return Judged::failed(
            format!("the WSDL that it hands out has no operation {name}; it has {}", offered.join(", ")),
            "was the system updated? fetch the new WSDL (`omgate wsdl fetch`), and map to what it offers now",
        );
    }
    let at_port = format!("{name} of port ");
    let changes: Vec<Change> = changes::of_models(&ours.wsdl(), theirs)
        .into_iter()
        .filter(|change| change.within == name || change.within.starts_with(&at_port))
        .collect();
    let breaking: Vec<String> = changes.iter().filter(|change| change.breaks).map(in_words).collect();
    if breaking.is_empty() {
        let others = if changes.is_empty() { "" } else { ", with differences that break nothing" };
        return Judged::ok(format!("{name} is in the WSDL that it hands out, as in ours{others}"));
    }
    let more = breaking.len().saturating_sub(TOLD_MAX);
    let mut told = breaking.into_iter().take(TOLD_MAX).collect::<Vec<_>>().join("; ");
    if more > 0 {
        told = format!("{told}; and {more} more");
    }
    Judged::warning(
        format!("{name} is another in the WSDL that it hands out: {told}"),
        "fetch it (`omgate wsdl fetch`), and see what breaks for which route: `omgate wsdl diff OLD NEW --config FILE`",
    )
}

fn in_words(change: &Change) -> String {
    if change.path.is_empty() { change.what.clone() } else { format!("{}: {}", change.path, change.what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wsdl_is_asked_for_at_the_endpoint_itself() {
        for (endpoint, expected) in [
            ("http://h/orders", "http://h/orders?wsdl"),
            ("http://h/orders?", "http://h/orders?wsdl"),
            ("http://h/orders?client=100", "http://h/orders?client=100&wsdl"),
            ("http://h/orders?WSDL", "http://h/orders?WSDL"),
        ] {
            assert_eq!(address(&Url::parse(endpoint).unwrap()).as_str(), expected);
        }
    }
}
