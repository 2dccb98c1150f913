//! `after` of a route: which others it comes after, what they keep for it, and what of that cannot be.

use std::collections::HashMap;

use super::destination::Configured;
use super::read::{Field, Section};
use super::route::{Built, Parts};
use crate::delivery::After;
use crate::expression::{Expression, ExpressionError, nearest};

/// More routes than this do not come one after the other.
const CHAIN_MAX: usize = 5;

/// What a route comes after.
#[derive(Clone, Debug)]
pub(super) struct Follows {
    pub(super) planned: After,
    /// How many stand before it.
    pub(super) depth: usize,
    /// What those before it keep of their answers.
    pub(super) names: Vec<String>,
}

/// A route, as far as others need to know it.
struct Draft {
    name: String,
    source: String,
    destination: Option<usize>,
    after: Option<Field<String>>,
    takes: Takes,
}

/// Which notifications it takes, as it is written.
struct Takes {
    when: Option<String>,
    empty: bool,
    /// What is deleted and not taken.
    deleted: Option<String>,
    coalesce: bool,
}

impl Takes {
    fn of(section: &Section<'_, '_>) -> Self {
        let word = |key| section.plain(key).map(|field| field.value.trim().to_owned());
        let passes_by = word("on_deleted").is_some_and(|policy| policy != "deliver");
        Self {
            when: word("when"),
            empty: word("on_empty").is_some_and(|policy| policy == "deliver"),
            deleted: word("deleted_when").filter(|_| passes_by),
            coalesce: section.has("coalesce") && section.boolean("coalesce") == Some(true),
        }
    }

    /// What this one takes and the one before it may not; none when it is certain that there is no such thing.
    fn beyond(&self, before: &Self) -> Option<&'static str> {
        let narrower = match (&before.when, &self.when) {
            (None, _) => true,
            (Some(before), Some(own)) => {
                let is_one = !before.contains(" or ") && !before.contains(" if ");
                own == before || (is_one && own.starts_with(&format!("{before} and ")))
            }
            (Some(_), None) => false,
        };
        if !narrower {
            return Some("its `when` differs");
        }
        if self.empty && !before.empty {
            return Some("it takes notifications without record (on_empty)");
        }
        let same_deleted = before.deleted.is_none() || before.deleted == self.deleted;
        (!same_deleted).then_some("it takes records that were deleted (on_deleted)")
    }
}

/// What each route comes after, in the order of the sections; what is wrong is reported.
pub(super) fn follows(sections: &[Section<'_, '_>], parts: &Parts<'_>) -> Vec<Option<Follows>> {
    let drafts: Vec<Draft> = sections.iter().map(|section| draft(section, parts)).collect();
    let sections = sections.iter().enumerate();
    sections.map(|(place, section)| one(section, place, &drafts, parts)).collect()
}

fn draft(section: &Section<'_, '_>, parts: &Parts<'_>) -> Draft {
    let word = |key| section.plain(key).map(|field| field.value).unwrap_or_default();
    let (source, destination) = (word("source"), word("destination"));
    let name = Some(word("name")).filter(|name| !name.is_empty());
    Draft {
        name: name.unwrap_or_else(|| format!("{source} → {destination}")),
        destination: parts.destinations.iter().position(|known| known.name == destination),
        source,
        after: section.plain("after"),
        takes: Takes::of(section),
    }
}

fn one(section: &Section<'_, '_>, place: usize, drafts: &[Draft], parts: &Parts<'_>) -> Option<Follows> {
    let own = drafts.get(place)?;
    let field = own.after.as_ref()?;
    let fail = |reason: String| {
        section.desk.error(&field.spot, reason);
        None
    };
    let find = |name: &str| drafts.iter().position(|draft| draft.name == name);
    let Some(first) = find(&field.value) else {
        let names = drafts.iter().filter(|draft| draft.source == own.source && draft.name != own.name);
        let reason = format!("there is no route {:?} that this one could come after", field.value);
        section.desk.unknown(&field.spot, reason, &field.value, names.map(|draft| draft.name.as_str()));
        return None;
    };
    let mut chain = vec![place];
    let mut next = Some(first);
    while let Some(at) = next {
        let draft = drafts.get(at)?;
        if chain.contains(&at) {
            if at == place && chain.len() == 1 {
                return fail("a route cannot come after itself".to_owned());
            }
            let names =
                chain.iter().chain([&at]).filter_map(|at| drafts.get(*at)).map(|draft| format!("{:?}", draft.name));
            let names = names.collect::<Vec<_>>().join(" after ");
            return fail(format!("none of these would ever go out, for they wait for one another: {names}"));
        }
        chain.push(at);
        if chain.len() > CHAIN_MAX {
            return fail(format!("more than {CHAIN_MAX} routes come one after the other: join some of them into one"));
        }
        next = draft.after.as_ref().and_then(|after| find(&after.value));
    }
    let before = drafts.get(first)?;
    if before.source != own.source {
        return fail(format!(
            "route {:?} is of source {:?}, and this one of {:?}: a route comes after another of its own source, as both carry \
             the same notification",
            before.name, before.source, own.source
        ));
    }
    remark(section, field, own, before);
    let kept = chain.iter().skip(1).filter_map(|at| parts.destinations.get(drafts.get(*at)?.destination?));
    Some(Follows {
        planned: After { route: before.name.clone(), holds_lane: false },
        depth: chain.len() - 1,
        names: kept.flat_map(|destination| destination.keep.iter().map(|keep| keep.name.clone())).collect(),
    })
}

/// What makes dead letters that nobody may have thought of.
fn remark(section: &Section<'_, '_>, field: &Field<String>, own: &Draft, before: &Draft) {
    if let Some(what) = own.takes.beyond(&before.takes) {
        let reason = format!(
            "may take what route {:?} does not: {what}; such a notification becomes a dead letter here, for there is no answer \
             to take: say the same on both if that is not meant",
            before.name
        );
        section.desk.warning(&field.spot, reason);
    }
    if before.takes.coalesce && !own.takes.coalesce {
        let reason = format!(
            "route {:?} has coalesce = true: when an update of it gives way to a newer one, what comes after becomes a dead \
             letter; say coalesce = true here too",
            before.name
        );
        section.desk.warning(&field.spot, reason);
    }
}

/// What an expression asks of `after` and cannot have.
pub(super) fn misnamed<'n>(
    names: impl Iterator<Item = (&'n str, usize)>,
    follows: Option<&Follows>,
    source: &str,
) -> Vec<ExpressionError> {
    let wrong = |(path, at): (&str, usize)| {
        let mut parts = path.split('.');
        if parts.next() != Some("after") {
            return None;
        }
        let error = |reason, suggestion| {
            Some(ExpressionError { expression: source.to_owned(), offset: Some(at), reason, suggestion })
        };
        let Some(follows) = follows else {
            let reason = "this route comes after no other, so there is no answer to take; say after = \"ROUTE\"";
            return error(reason.to_owned(), None);
        };
        let name = parts.next()?;
        if follows.names.iter().any(|known| known == name) {
            return None;
        }
        let known = if follows.names.is_empty() { "nothing".to_owned() } else { follows.names.join(", ") };
        let reason = format!(
            "nothing named {name:?} is kept by what route {:?} leads to; there is {known}: say it in keep of that destination",
            follows.planned.route
        );
        error(reason, nearest(name, follows.names.iter().map(String::as_str)))
    };
    names.filter_map(wrong).collect()
}

/// Why an expression that is asked before anything is delivered cannot ask for answers.
pub(super) fn too_early(expression: &Expression) -> Option<ExpressionError> {
    let (_, at) = expression.names().find(|(path, _)| path.split('.').next() == Some("after"))?;
    Some(ExpressionError {
        expression: expression.source().to_owned(),
        offset: Some(at),
        reason: "it is asked when the notification comes, and there is no answer yet; only what makes the call can say after"
            .to_owned(),
        suggestion: None,
    })
}

/// By route: the systems that may have something to do when a delivery of it is settled.
pub(super) fn wakes(built: &[Built], destinations: &[Configured]) -> HashMap<String, Vec<String>> {
    let mut wakes: HashMap<String, Vec<String>> = HashMap::new();
    for route in built {
        let Some(system) = destinations.get(route.destination).map(|configured| &configured.system) else { continue };
        let mut before = route.after.as_ref();
        for _ in 0..CHAIN_MAX {
            let Some(after) = before else { break };
            let systems = wakes.entry(after.planned.route.clone()).or_default();
            if !systems.contains(system) {
                systems.push(system.clone());
            }
            before =
                built.iter().find(|other| other.name == after.planned.route).and_then(|other| other.after.as_ref());
        }
    }
    wakes
}
