//! `[[route]]`: source + condition → destination + mapping.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use toml::de::DeValue;

use super::after::{self, Follows};
use super::destination::{self, Configured, Kind, Rest, Soap};
use super::problem::Severity;
use super::read::{Desk, Field, Section, Spot, type_name};
use super::source::Declarations;
use super::{file, fit, source};
use crate::delivery::{After, OnRevision};
use crate::dispatch::lookup::Lookup;
use crate::envelope::RecordTypes;
use crate::expression::{CALL_NAMES, Document, Expression, Shape, Tables};
use crate::map::soap::Message;
use crate::map::{Body, Calls, Leaf, Mapping, Node, RestCalls, SoapCalls, Tree};
use crate::receive;
use crate::route::{Lane, OnEmpty};
use crate::settle::{OnDead, OnUnknown};
use crate::wsdl::outbound::DeclaredRecord;
use crate::wsdl::{Chosen, Operation, Target};

/// The deepest target path.
const DEPTH_MAX: usize = 32;

/// What may become of a record that is not there, or was deleted.
const POLICIES: [(&str, OnEmpty); 3] =
    [("skip", OnEmpty::Skip), ("deliver", OnEmpty::Deliver), ("dead", OnEmpty::Dead)];

/// A route as configured.
pub(super) struct Built {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) destination: usize,
    pub(super) when: Option<Expression>,
    pub(super) lane: Lane,
    pub(super) on_empty: OnEmpty,
    pub(super) deleted_when: Option<Expression>,
    pub(super) on_deleted: OnEmpty,
    pub(super) on_revision: OnRevision,
    pub(super) on_dead: OnDead,
    pub(super) after: Option<Follows>,
    pub(super) stale_by: Option<String>,
    pub(super) coalesce: bool,
    pub(super) mapping: Option<Mapping>,
    pub(super) mapped: usize,
    pub(super) template: Option<String>,
    /// Target paths that must be there and whose values may be none.
    pub(super) dead_without: Vec<String>,
    pub(super) lookup: Option<Lookup>,
}

/// What routes are built from.
pub(super) struct Parts<'p> {
    pub(super) sources: &'p [receive::Source],
    pub(super) declarations: &'p Declarations,
    pub(super) destinations: &'p [Configured],
    pub(super) tables: &'p Tables,
}

pub(super) fn routes(root: &Section<'_, '_>, parts: &Parts<'_>) -> Vec<Built> {
    let mut routes: Vec<Built> = Vec::new();
    let sections = root.sections("route");
    let follows = after::follows(&sections, parts);
    for (section, follows) in sections.into_iter().zip(follows) {
        let built = route(&section, parts, follows);
        if let Some(built) = built {
            if routes.iter().any(|known| known.name == built.name) {
                let spot = if section.has("name") { section.spot_of("name") } else { section.spot.clone() };
                section.desk.error(&spot, format!("there are two routes named {:?}; give each a name", built.name));
            }
            routes.push(built);
        }
        section.finish();
    }
    routes
}

fn route(section: &Section<'_, '_>, parts: &Parts<'_>, follows: Option<Follows>) -> Option<Built> {
    let name = section.plain("name");
    section.refuse("keep", "belongs to the [[destination]], whose answer it reads");
    let source = section.required("source").and_then(|field| known_source(section, &field, parts));
    let destination = section.required("destination").and_then(|field| known_destination(section, &field, parts));
    let types = source.and_then(|source| source.record_types.as_deref());
    let declared = source.and_then(|source| parts.declarations.get(&source.name)).map(AsRef::as_ref);
    let check = Check {
        section,
        types,
        declared,
        tables: parts.tables,
        follows: follows.as_ref(),
        dead_without: RefCell::default(),
        broken: RefCell::default(),
    };
    let when = section.text("when").and_then(|field| check.condition(&field.spot, &field.value));
    let lane = lane(section, &check);
    let stale_by = stale_by(section, types, &lane);
    let coalesce = coalesce(section, &lane);
    let on_empty = section.choice("on_empty", &POLICIES);
    let (deleted_when, on_deleted) = deleted(section, &check);
    let on_revision =
        section.choice("on_revision", &[("deliver", OnRevision::Deliver), ("ignore", OnRevision::Ignore)]);
    let on_dead = section.choice("on_dead", &[("continue", OnDead::Continue), ("hold", OnDead::Hold)]);
    let (map, template) = body(section, &check);
    let (source, position) = (source?, destination?);
    let configured = parts.destinations.get(position)?;
    check.destination(configured);
    let lookup = lookup(section, parts, &check, configured);
    let mapped = map.as_ref().map_or(0, |(tree, _)| tree.leaves().len());
    let on_dead = on_dead.map(|field| field.value).unwrap_or_default();
    let holds_lane = on_dead == OnDead::Hold;
    let after = follows.clone().map(|follows| Follows { planned: After { holds_lane, ..follows.planned }, ..follows });
    let template_name = template.as_ref().map(|document| document.file().to_owned());
    let name = name.map(|field| field.value).filter(|name| !name.is_empty());
    Some(Built {
        name: name.unwrap_or_else(|| format!("{} → {}", source.name, configured.name)),
        source: source.name.clone(),
        destination: position,
        when,
        lane,
        on_empty: on_empty.map(|field| field.value).unwrap_or_default(),
        deleted_when,
        on_deleted,
        on_revision: on_revision.map(|field| field.value).unwrap_or_default(),
        on_dead,
        after,
        stale_by,
        coalesce,
        mapping: check.mapping(configured, map, template),
        mapped,
        template: template_name,
        dead_without: check.dead_without.take(),
        lookup,
    })
}

/// `map` or `template`: what makes the body.
fn body(section: &Section<'_, '_>, check: &Check<'_, '_, '_>) -> (Option<(Tree, Spot)>, Option<Document>) {
    let map = section.section("map").map(|map| (check.tree(&map), map.spot));
    let template = section.plain("template").and_then(|field| check.document(&field));
    if section.has("map") && section.has("template") {
        section.desk.error(&section.spot_of("template"), "there is a map too; one of them makes the body");
    }
    (map, template)
}

/// `coalesce`: whether of several waiting updates only the newest goes out.
fn coalesce(section: &Section<'_, '_>, lane: &Lane) -> bool {
    let coalesce = section.boolean("coalesce").unwrap_or(false);
    if coalesce && matches!(lane, Lane::None) {
        let reason = "needs an order: with lane = \"none\" no update stands before another";
        section.desk.error(&section.spot_of("coalesce"), reason);
    }
    coalesce
}

/// `deleted_when` and `on_deleted`: which records were deleted, and what becomes of them.
fn deleted(section: &Section<'_, '_>, check: &Check<'_, '_, '_>) -> (Option<Expression>, OnEmpty) {
    let deleted_when = section.text("deleted_when").and_then(|field| check.condition(&field.spot, &field.value));
    let on_deleted = section.choice("on_deleted", &POLICIES);
    if section.has("on_deleted") && !section.has("deleted_when") {
        section.desk.error(&section.spot_of("on_deleted"), "has no effect without deleted_when");
    }
    (deleted_when, on_deleted.map_or(OnEmpty::Deliver, |field| field.value))
}

/// `[route.probe]`: the question whether a message arrived.
fn lookup(section: &Section<'_, '_>, parts: &Parts<'_>, outer: &Check<'_, '_, '_>, to: &Configured) -> Option<Lookup> {
    let is_wanted = to.unknown == OnUnknown::Probe;
    let Some(probe) = section.section("probe") else {
        if is_wanted && !section.has("probe") {
            let reason = format!(
                "destination {:?} has unknown = \"probe\": say in [route.probe] how to find out whether a message arrived",
                to.name
            );
            section.desk.error(&section.spot, reason);
        }
        return None;
    };
    if !is_wanted {
        let reason = format!("has no effect: destination {:?} does not have unknown = \"probe\"", to.name);
        section.desk.error(&probe.spot, reason);
    }
    let check = Check {
        section: &probe,
        types: outer.types,
        declared: outer.declared,
        tables: outer.tables,
        follows: outer.follows,
        dead_without: RefCell::default(),
        broken: RefCell::default(),
    };
    let asked = probe.required("destination").and_then(|field| known_destination(&probe, &field, parts));
    probe.required("found_when");
    let found_when = destination::response_rule(&probe, "found_when", parts.tables);
    let absent_when = destination::response_rule(&probe, "absent_when", parts.tables);
    let map = probe.section("map").map(|map| (check.tree(&map), map.spot));
    let asked = asked.and_then(|position| parts.destinations.get(position));
    if asked.is_some_and(|asked| asked.name == to.name) {
        let reason = "is the destination that the route sends to: to look up would send the message again; name one that only asks";
        probe.desk.error(&probe.spot_of("destination"), reason);
    }
    if let Some(asked) = asked.filter(|asked| asked.system != to.system) {
        let reason = format!(
            "belongs to system {:?}, and what is looked up to {:?}: say system = {:?} there, so that its pause, open \
             hours, limits and credentials count for look-ups too",
            asked.system, to.system, to.system
        );
        probe.desk.error(&probe.spot_of("destination"), reason);
    }
    let mapping = asked.and_then(|asked| {
        check.destination(asked);
        check.mapping(asked, map, None)
    });
    let absence_is_wrong = probe.has("absent_when") && absent_when.is_none();
    probe.finish();
    if absence_is_wrong {
        return None;
    }
    Some(Lookup { destination: asked?.name.clone(), mapping: mapping?, found_when: found_when?, absent_when })
}

fn known_source<'p>(
    section: &Section<'_, '_>,
    field: &Field<String>,
    parts: &Parts<'p>,
) -> Option<&'p receive::Source> {
    let found = parts.sources.iter().find(|source| source.name == field.value);
    if found.is_none() {
        let names = parts.sources.iter().map(|source| source.name.as_str());
        section.desk.unknown(&field.spot, format!("there is no source {:?}", field.value), &field.value, names);
    }
    found
}

fn known_destination(section: &Section<'_, '_>, field: &Field<String>, parts: &Parts<'_>) -> Option<usize> {
    let found = parts.destinations.iter().position(|destination| destination.name == field.value);
    if found.is_none() {
        let names = parts.destinations.iter().map(|destination| destination.name.as_str());
        section.desk.unknown(&field.spot, format!("there is no destination {:?}", field.value), &field.value, names);
    }
    found
}

fn lane(section: &Section<'_, '_>, check: &Check<'_, '_, '_>) -> Lane {
    let Some(field) = section.text("lane") else { return Lane::Record };
    match field.value.masked().trim() {
        "none" => Lane::None,
        whole @ ("record" | "notification" | "envelope") => {
            let reason =
                format!("{whole} is no single value, and a lane is named by one: say which, such as record.Id");
            section.desk.error(&field.spot, reason);
            Lane::Record
        }
        _ => check.condition(&field.spot, &field.value).map_or(Lane::Record, Lane::Expression),
    }
}

fn stale_by(section: &Section<'_, '_>, types: Option<&RecordTypes>, lane: &Lane) -> Option<String> {
    let field = section.plain("stale_by")?;
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name(&field.value) {
        let reason = "must be the name of a field alone, such as \"LastModifiedDate\", and no expression";
        section.desk.error(&field.spot, reason);
    } else if let Some(error) = source::check_name(&format!("record.{}", field.value), 0, types, &field.value) {
        section.desk.suggest(&field.spot, error.reason, error.suggestion);
    }
    if matches!(lane, Lane::None) {
        let reason = "with lane = \"none\" two states of one record may be on their way at once, and the older may arrive \
                      last: leave out lane, and they go one after the other";
        section.desk.warning(&field.spot, reason);
    }
    Some(field.value)
}

/// Checks what a route says against its source.
struct Check<'c, 's, 'd> {
    section: &'c Section<'s, 'd>,
    types: Option<&'c RecordTypes>,
    declared: Option<&'c [DeclaredRecord]>,
    tables: &'c Tables,
    follows: Option<&'c Follows>,
    dead_without: RefCell<Vec<String>>,
    /// Target paths whose expressions are told to be wrong: that nothing fills them need not be told besides.
    broken: RefCell<BTreeSet<String>>,
}

impl Check<'_, '_, '_> {
    /// An expression that is asked when the notification comes.
    fn condition(&self, spot: &Spot, text: &crate::secret::Text) -> Option<Expression> {
        let expression = self.expression(spot, text)?;
        match after::too_early(&expression) {
            None => Some(expression),
            Some(error) => {
                self.section.desk.expression(spot, &error);
                None
            }
        }
    }

    fn expression(&self, spot: &Spot, text: &crate::secret::Text) -> Option<Expression> {
        let expression = destination::compiled(self.section, spot, text, self.tables)?;
        if let Err(error) = expression.check_names(&CALL_NAMES) {
            self.section.desk.expression(spot, &error);
            return None;
        }
        self.names(spot, &expression);
        Some(expression)
    }

    fn names(&self, spot: &Spot, expression: &Expression) {
        let misnamed = after::misnamed(expression.names(), self.follows, expression.source());
        for error in &misnamed {
            self.section.desk.expression(spot, error);
        }
        let errors = source::check_names(expression.names(), self.types, expression);
        for error in &errors {
            self.section.desk.ruled_expression("source-field", spot, error);
        }
        if !errors.is_empty() || !self.section.desk.files.is_disk() {
            return;
        }
        for reason in expression.shapes(&|path| fit::names(self.declared, path)).failures {
            let reason = format!("expression `{expression}`: {reason}");
            self.section.desk.ruled(Severity::Error, "expression", spot, reason, None);
        }
    }

    /// The expressions of a destination read the fields of every source that is routed to it.
    fn destination(&self, configured: &Configured) {
        for (spot, expression) in &configured.expressions {
            self.names(spot, expression);
        }
    }

    fn document(&self, field: &Field<String>) -> Option<Document> {
        let text = match self.section.desk.files.text(&field.value) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("cannot read {:?}: {}", field.value, file::reason(&error));
                self.section.desk.error(&field.spot, reason);
                return None;
            }
        };
        let report = |error: &crate::expression::ExpressionError| {
            let offset = error.offset.unwrap_or(0);
            self.section.desk.elsewhere(&field.spot, &field.value, &text, offset, error);
        };
        let document = Document::compile(&field.value, &text, self.tables).map_err(|error| report(&error)).ok()?;
        after::misnamed(document.names(), self.follows, &field.value).iter().for_each(report);
        for (path, offset) in document.names() {
            if let Some(error) = source::check_name(path, offset, self.types, &field.value) {
                report(&error);
            }
        }
        Some(document)
    }

    fn tree(&self, section: &Section<'_, '_>) -> Tree {
        let mut tree = Tree::default();
        self.fill(&mut tree, section, &mut Vec::new());
        tree
    }

    fn fill(&self, tree: &mut Tree, section: &Section<'_, '_>, above: &mut Vec<String>) {
        for (name, name_spot, value, spot) in section.ordered_entries() {
            // `"Customer.Id"` in quotes means the same as Customer.Id without.
            let parts: Vec<String> = split_path(&name);
            if parts.iter().any(String::is_empty) || above.len() + parts.len() > DEPTH_MAX {
                self.section.desk.error(&name_spot, format!("{name:?} is no target path, or too deep a one"));
                continue;
            }
            let depth = above.len();
            self.section.desk.remember(&name_spot, &spot);
            above.extend(parts.iter().cloned());
            let path = above.join(".");
            let node = self.node(&path, value, &spot, section, &name_spot, above);
            above.truncate(depth);
            if let Some(node) = node
                && let Err(conflict) = insert(tree, &parts, node)
            {
                let reason = if parts.last() == Some(&conflict) {
                    format!("{path:?} is given twice, or has something below it already")
                } else {
                    format!("{conflict:?} has a value of its own, so nothing can stand below it")
                };
                self.section.desk.error(&name_spot, reason);
            }
        }
    }

    fn node(
        &self,
        path: &str,
        value: &DeValue<'_>,
        spot: &Spot,
        section: &Section<'_, '_>,
        name_spot: &Spot,
        above: &mut Vec<String>,
    ) -> Option<Node> {
        match value {
            DeValue::String(raw) => {
                let text = section.free_text(raw, spot);
                let Some(expression) = self.expression(spot, &text) else {
                    self.broken.borrow_mut().insert(path.to_owned());
                    return None;
                };
                Some(Node::Leaf(path.to_owned(), Leaf::Expression(expression)))
            }
            DeValue::Table(table) => {
                let inner = Section::new(section.desk, table, name_spot.clone());
                let mut tree = Tree::default();
                self.fill(&mut tree, &inner, above);
                Some(Node::Object(tree))
            }
            DeValue::Array(items) => {
                let mut trees = Vec::new();
                for item in items.iter() {
                    let DeValue::Table(table) = item.get_ref() else {
                        let reason = format!(
                            "a list holds tables (write [[route.map.{path}]]), not {}; one expression may give a list",
                            type_name(item.get_ref())
                        );
                        self.section.desk.error(spot, reason);
                        return None;
                    };
                    let place = Spot { key: spot.key.clone(), span: item.span() };
                    let item_spot = Spot { key: format!("{}[]", spot.key), span: item.span() };
                    section.desk.remember(&item_spot, &item_spot);
                    let mut tree = Tree::default();
                    self.fill(&mut tree, &Section::new(section.desk, table, place), above);
                    trees.push(tree);
                }
                Some(Node::List(trees))
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                match destination::constant(value) {
                    Some(value) => Some(Node::Leaf(path.to_owned(), Leaf::Constant(value))),
                    None => {
                        let reason = format!("must be an expression, a number or a boolean, not {}", type_name(value));
                        self.section.desk.error(spot, reason);
                        None
                    }
                }
            }
        }
    }

    fn mapping(&self, to: &Configured, map: Option<(Tree, Spot)>, document: Option<Document>) -> Option<Mapping> {
        let calls = match &to.kind {
            Kind::Broken => return None,
            Kind::Rest(rest) => Calls::Rest(self.rest(rest, map, document)?),
            Kind::Soap(soap) => Calls::Soap(Box::new(self.soap(to, soap, map, document)?)),
        };
        Some(Mapping {
            calls,
            headers: to.headers.clone(),
            idempotency_header: to.idempotency_header.clone(),
            timeout: to.timeout,
        })
    }

    fn rest(&self, rest: &Rest, map: Option<(Tree, Spot)>, document: Option<Document>) -> Option<RestCalls> {
        let body = match (map, document) {
            (_, Some(document)) => {
                let content_type =
                    rest.content_type.clone().unwrap_or_else(|| "application/xml; charset=utf-8".to_owned());
                Body::Document { document, content_type }
            }
            (Some((tree, spot)), None) if rest.form => {
                self.check_flat(&tree, &spot);
                Body::Form(tree)
            }
            (Some((tree, _)), None) => Body::Json(tree),
            (None, None) if matches!(rest.method.as_str(), "GET" | "DELETE") => Body::None,
            (None, None) if rest.form => {
                let reason = "the destination has body = \"form\", and there is no [route.map] to fill it";
                self.section.desk.error(&self.section.spot, reason);
                return None;
            }
            (None, None) => Body::Whole,
        };
        Some(RestCalls { method: rest.method.clone(), url: rest.url.clone(), query: rest.query.clone(), body })
    }

    fn check_flat(&self, tree: &Tree, spot: &Spot) {
        for (name, node) in &tree.0 {
            if !matches!(node, Node::Leaf(..)) {
                let reason = format!("{name:?} is not flat, and the destination has body = \"form\"");
                self.section.desk.error(spot, reason);
            }
        }
    }

    fn soap(
        &self,
        to: &Configured,
        soap: &Soap,
        map: Option<(Tree, Spot)>,
        document: Option<Document>,
    ) -> Option<SoapCalls> {
        let message = match (map, document) {
            (_, Some(document)) => Message::Document(document),
            (Some((tree, spot)), None) => {
                // What is stored was judged when it was stored: a stricter judge must not keep it from being sent again.
                if self.section.desk.files.is_disk() {
                    self.check_targets(to, soap, &tree, &spot);
                }
                Message::Arguments(tree)
            }
            (None, None) => {
                let reason = format!(
                    "has no [route.map]: operation {} of destination {:?} needs to know what fills its elements",
                    soap.operation.name(),
                    to.name
                );
                // An unreadable template was reported where it stands.
                if !self.section.has("template") {
                    self.section.desk.error(&self.section.spot, reason);
                }
                return None;
            }
        };
        Some(soap_calls(soap, message))
    }

    /// Every target path must exist and take what it is given, and everything that must be there must be filled.
    fn check_targets(&self, to: &Configured, soap: &Soap, tree: &Tree, spot: &Spot) {
        let mut places = Places { desk: self.section.desk, map: spot, seen: HashMap::new() };
        let types = types_of_tree(tree);
        for (path, leaf) in tree.leaves() {
            let (name, value) = places.next(path);
            self.check_leaf(soap, &types, path, leaf, (&name, &value));
        }
        let (tree, prefix) = match tree.0.as_slice() {
            [(name, Node::Object(inner))] if soap.operation.is_only_part(name) => (inner, name.as_str()),
            _ => (tree, ""),
        };
        let required = soap.operation.required_leaves();
        let broken = self.broken.borrow();
        let mut gaps = Gaps { to, soap, types, places, broken: &broken, found: Vec::new() };
        gaps.of_level(tree, prefix, &required, spot);
        for (spot, rule, reason) in gaps.found {
            self.section.desk.ruled(Severity::Error, rule, &spot, reason, None);
        }
    }

    fn check_leaf(&self, soap: &Soap, types: &Types, path: &str, leaf: &Leaf, (name, value): (&Spot, &Spot)) {
        let parts = split_path(path);
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        let target = match soap.operation.resolve_as(&names, &|path| chosen(types, path)) {
            Ok(target) => target,
            Err(error) => {
                return self.section.desk.ruled(Severity::Error, "target-path", name, error.reason, None);
            }
        };
        let shapes = fit::shapes(leaf, self.declared);
        for misfit in fit::misfits(&soap.operation, &target, &shapes.alternatives) {
            let reason = format!("{path:?} {}", misfit.reason);
            self.section.desk.ruled(misfit.severity, misfit.rule, value, reason, None);
        }
        let may_be_none = shapes.alternatives.contains(&Shape::None);
        if may_be_none && is_always_required(&soap.operation, &names) {
            self.dead_without.borrow_mut().push(path.to_owned());
        }
    }
}

/// What must be there and is filled by nobody: what a level leaves out is named at the level.
struct Gaps<'g, 'd> {
    to: &'g Configured,
    soap: &'g Soap,
    types: Types,
    places: Places<'g, 'd>,
    broken: &'g BTreeSet<String>,
    found: Vec<(Spot, &'static str, String)>,
}

impl Gaps<'_, '_> {
    fn of_level(&mut self, tree: &Tree, prefix: &str, required: &[String], spot: &Spot) {
        for path in required {
            let first = split_path(path).into_iter().next().unwrap_or_default();
            let fills = |name: &str| local(name) == first || matches!(name, "$xml" | "$nil" | "$group");
            let is_broken = self.broken.contains(&joined(prefix, &first));
            if !is_broken && !tree.0.iter().any(|(name, _)| fills(name)) {
                let (to, operation) = (&self.to.name, self.soap.operation.name());
                let reason = format!(
                    "nothing fills {:?}, which operation {operation} of destination {to:?} requires ({})",
                    joined(prefix, path),
                    self.soap.wsdl
                );
                self.found.push((spot.clone(), "required", reason));
            }
        }
        for (name, node) in &tree.0 {
            let path = joined(prefix, name);
            let items = match node {
                Node::Leaf(..) => continue,
                Node::Object(inner) => std::slice::from_ref(inner),
                Node::List(items) => items.as_slice(),
            };
            let parts = split_path(&path);
            let names: Vec<&str> = parts.iter().map(String::as_str).collect();
            let resolved = self.soap.operation.resolve_as(&names, &|path| chosen(&self.types, path));
            let Ok(target) = resolved else { continue };
            if let Some(reason) = not_as_an_array(&target, node) {
                let (place, _) = self.places.next(&path);
                self.found.push((place, "type", format!("{path:?} {reason}")));
                continue;
            }
            let required = self.soap.operation.required_below(&target);
            let key = if matches!(node, Node::List(_)) { format!("{path}[]") } else { path.clone() };
            for inner in items {
                let (place, _) = self.places.next(&key);
                self.of_level(inner, &path, &required, &place);
            }
        }
    }
}

/// Why a node fills no array of SOAP's encoding: it takes a list, or an object of the one list.
fn not_as_an_array(target: &Target, node: &Node) -> Option<String> {
    let lists = match node {
        _ if target.array == 0 => return None,
        Node::Leaf(..) => return None,
        Node::List(_) => true,
        Node::Object(inner) => {
            let special = |name: &str| matches!(name, "$xml" | "$nil" | "$value");
            if inner.0.iter().any(|(name, _)| special(name)) {
                return None;
            }
            let mut members = inner.0.iter().filter(|(name, _)| !name.starts_with(['@', '$']));
            let list = |(name, node): &(String, Node)| matches!(node, Node::List(_)) || name == "item";
            inner.0.len() == 1 && members.next().is_some_and(list)
        }
    };
    match (lists, target.array) {
        (true, 1) => None,
        (_, 1) => Some(
            "is an array of SOAP's encoding, and is given an object: write a table for each item, [[route.map.…]], or \
             a list"
                .to_owned(),
        ),
        (_, dimensions) => {
            Some(format!("is an array of {dimensions} dimensions: give it lists within lists, by one expression"))
        }
    }
}

/// What `$type` says, by the path that it stands at.
type Types = HashMap<String, Chosen>;

fn types_of_tree(tree: &Tree) -> Types {
    let types = tree.leaves().into_iter().filter_map(|(path, leaf)| {
        let at = if path == "$type" { "" } else { path.strip_suffix(".$type")? };
        let said = match fit::shapes(leaf, None).alternatives.as_slice() {
            [Shape::Constant(serde_json::Value::String(name))] => Chosen::Named(name.clone()),
            _ => Chosen::Unknown,
        };
        Some((at.to_owned(), said))
    });
    // In a list each item may be of another type.
    types.fold(Types::new(), |mut types, (at, said)| {
        types
            .entry(at)
            .and_modify(|known| {
                if *known != said {
                    *known = Chosen::Unknown
                }
            })
            .or_insert(said);
        types
    })
}

fn chosen(types: &Types, path: &[&str]) -> Chosen {
    types.get(&path.join(".")).cloned().unwrap_or(Chosen::Declared)
}

/// Where the keys of a mapping stand: found again by their names, for a tree carries no places.
struct Places<'p, 'd> {
    desk: &'p Desk<'d>,
    map: &'p Spot,
    seen: HashMap<String, usize>,
}

impl Places<'_, '_> {
    /// The next place of a path: its name and its value.
    fn next(&mut self, path: &str) -> (Spot, Spot) {
        let key = format!("{}.{path}", self.map.key);
        let times = self.seen.entry(key.clone()).or_default();
        let place = self.desk.place_of(&key, *times);
        *times += 1;
        place.unwrap_or_else(|| {
            let spot = Spot { key, span: self.map.span.clone() };
            (spot.clone(), spot)
        })
    }
}

/// Whether every element on a path must be there and have a value.
fn is_always_required(operation: &Operation, names: &[&str]) -> bool {
    (1..=names.len()).all(|length| {
        let target = names.get(..length).and_then(|names| operation.resolve(names).ok());
        target.is_some_and(|target| target.required && !target.nillable)
    })
}

/// Calls of a SOAP destination.
pub(super) fn soap_calls(soap: &Soap, message: Message) -> SoapCalls {
    SoapCalls {
        operation: soap.operation.clone(),
        endpoint: soap.endpoint.clone(),
        message,
        addressing: soap.addressing,
    }
}

fn joined(prefix: &str, path: &str) -> String {
    if prefix.is_empty() { path.to_owned() } else { format!("{prefix}.{path}") }
}

/// The name in `{namespace}name`.
fn local(name: &str) -> &str {
    name.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or(name, |(_, local)| local)
}

/// Splits a target path at its dots; `{namespace}name` keeps the dots of its namespace.
#[must_use]
pub fn split_path(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut inside = false;
    for c in path.chars() {
        match c {
            '{' => inside = true,
            '}' => inside = false,
            '.' if !inside => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// Puts a node at a path; the name at which it cannot be when something else is there.
fn insert(tree: &mut Tree, path: &[String], node: Node) -> Result<(), String> {
    let Some((name, rest)) = path.split_first() else { return Ok(()) };
    let position = tree.0.iter().position(|(known, _)| known == name);
    if rest.is_empty() {
        return match (position.and_then(|at| tree.0.get_mut(at)), node) {
            (None, node) => {
                tree.0.push((name.clone(), node));
                Ok(())
            }
            (Some((_, Node::Object(known))), Node::Object(more)) => {
                for (inner, node) in more.0 {
                    insert(known, &[inner], node)?;
                }
                Ok(())
            }
            (Some(_), _) => Err(name.clone()),
        };
    }
    match position.and_then(|at| tree.0.get_mut(at)) {
        None => {
            let mut inner = Tree::default();
            insert(&mut inner, rest, node)?;
            tree.0.push((name.clone(), Node::Object(inner)));
            Ok(())
        }
        Some((_, Node::Object(inner))) => insert(inner, rest, node),
        Some((_, Node::Leaf(..) | Node::List(_))) => Err(name.clone()),
    }
}

/// The record types of a source, by its name.
pub(super) fn types_of(sources: &[receive::Source], name: &str) -> Option<Arc<RecordTypes>> {
    sources.iter().find(|source| source.name == name).and_then(|source| source.record_types.clone())
}
