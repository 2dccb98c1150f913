//! What an outbound message's WSDL says of its records.
//!
//! Salesforce generates these documents, all of one shape: a base `sObject`, the record's type that extends it, and an
//! element `notifications` whose `Notification` holds it. Only that is read, by namespace and name, whatever the prefixes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use roxmltree::{Document, Node, ParsingOptions};

use crate::envelope::{FieldType, IntegerType, RecordType, RecordTypes};
use crate::parse;
use crate::wsdl::{Finding, Severity, document};

const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";
const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
const XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// Salesforce's are 5 to 100 KB.
const BYTES_MAX: usize = 16 << 20;
const NODES_MAX: u32 = 2_000_000;
const DEPTH_MAX: usize = 100;
/// How many types may extend one another; Salesforce has two.
const CHAIN_MAX: usize = 16;
const ADVICE: &str = "take the WSDL from Salesforce: Setup, Outbound Messages, the message, \"Click for WSDL\"";

/// What the WSDL declares of one type of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRecord {
    /// Its API name.
    pub name: String,
    /// Its fields in the WSDL's order, `Id` included.
    pub fields: Vec<DeclaredField>,
}

/// What the WSDL declares of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredField {
    /// Its API name.
    pub name: String,
    /// As what its values are read.
    pub field_type: FieldType,
    /// The least length of its text, where the WSDL says one.
    pub length_min: Option<u64>,
    /// The greatest length of its text, where the WSDL says one.
    pub length_max: Option<u64>,
    /// The values that it may have; empty: any.
    pub enumeration: Vec<String>,
    /// It may be `xsi:nil`.
    pub nillable: bool,
    /// It must be there.
    pub required: bool,
}

impl DeclaredField {
    fn new(name: &str, field_type: FieldType) -> Self {
        let (name, enumeration) = (name.to_owned(), Vec::new());
        Self { name, field_type, length_min: None, length_max: None, enumeration, nillable: false, required: false }
    }
}

/// Reads the record types out of an outbound message's WSDL: see [`declared`].
///
/// # Errors
/// What makes it no outbound WSDL.
pub fn record_types(file: &str, text: &str) -> Result<RecordTypes, Vec<Finding>> {
    declared(file, text).map(|records| types(&records))
}

/// The record types of what was declared.
#[must_use]
pub fn types(records: &[DeclaredRecord]) -> RecordTypes {
    let fields = |record: &DeclaredRecord| {
        let fields = record.fields.iter().map(|field| (field.name.clone(), field.field_type)).collect();
        Arc::new(RecordType::new(fields))
    };
    RecordTypes(records.iter().map(|record| (record.name.clone(), fields(record))).collect())
}

/// Reads what an outbound message's WSDL declares of its records. `file` is its name for findings.
///
/// Every type that extends `sObject` in the namespace of the message's record is read, so that a WSDL put together from
/// several messages works too. `Id` is always declared; `fieldsToNull` and `AggregateResult` are no part of a message.
///
/// # Errors
/// What makes it no outbound WSDL.
pub fn declared(file: &str, text: &str) -> Result<Vec<DeclaredRecord>, Vec<Finding>> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.len() > BYTES_MAX {
        return Err(vec![finding(file, (0, 0), "too-large", format!("larger than {BYTES_MAX} bytes; {ADVICE}"))]);
    }
    // The gate first: it takes linear time whatever the file holds, and says better what is wrong.
    parse::well_formed(text, DEPTH_MAX).map_err(|error| {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let place = error.place().map_or((0, 0), |place| (number(place.line), number(place.column)));
        vec![finding(file, place, "not-xml", format!("the file cannot be read as XML: {error}; {ADVICE}"))]
    })?;
    document::gate(text, DEPTH_MAX).map_err(|defect| {
        let reason = format!("the file cannot be read as XML: {defect}; {ADVICE}");
        vec![finding(file, (defect.line, defect.column), "not-xml", reason)]
    })?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let place = (error.pos().row, error.pos().col);
        vec![finding(file, place, "not-xml", format!("the file cannot be read as XML: {error}; {ADVICE}"))]
    })?;
    read(&document).map_err(|problem| {
        let place = problem.node.map_or((0, 0), |node| {
            let place = document.text_pos_at(node.range().start);
            (place.row, place.col)
        });
        vec![finding(file, place, problem.rule, problem.message)]
    })
}

fn finding(file: &str, (line, column): (u32, u32), rule: &str, message: String) -> Finding {
    Finding { severity: Severity::Error, file: file.to_owned(), line, column, rule: rule.to_owned(), message }
}

/// Why the document is no outbound WSDL.
struct Problem<'d> {
    node: Option<Node<'d, 'd>>,
    rule: &'static str,
    message: String,
}

type Name<'d> = (&'d str, &'d str);

/// The named types of all schemas in the document.
struct Schemas<'d> {
    complex: HashMap<Name<'d>, Node<'d, 'd>>,
    simple: HashMap<Name<'d>, Node<'d, 'd>>,
    /// In document order.
    names: Vec<Name<'d>>,
}

fn read<'d>(document: &'d Document<'d>) -> Result<Vec<DeclaredRecord>, Problem<'d>> {
    let root = document.root_element();
    if !root.has_tag_name((WSDL, "definitions")) {
        let found: String = root.tag_name().name().chars().take(80).collect();
        let message = format!("the root element is {found}, not definitions of a WSDL 1.1; {ADVICE}");
        return Err(Problem { node: Some(root), rule: "not-wsdl", message });
    }
    let schemas = Schemas::of(root);
    let record = record_name(root, &schemas)?;
    let mut records = Vec::new();
    for &name in &schemas.names {
        let (namespace, local) = name;
        if namespace != record.0 || matches!(local, "sObject" | "AggregateResult") {
            continue;
        }
        let chain = schemas.chain(name)?;
        let extends_sobject = chain.last().is_some_and(|last| last.attribute("name") == Some("sObject"));
        if extends_sobject || name == record {
            records.push(DeclaredRecord { name: local.to_owned(), fields: schemas.fields(&chain) });
        }
    }
    if records.is_empty() {
        let message = format!("no type in the namespace {} extends sObject; {ADVICE}", record.0);
        return Err(Problem { node: Some(root), rule: "no-record-type", message });
    }
    Ok(records)
}

/// The type of the records: notifications → Notification → its type → sObject → its type.
fn record_name<'d>(root: Node<'d, 'd>, schemas: &Schemas<'d>) -> Result<Name<'d>, Problem<'d>> {
    let notifications = schema_nodes(root)
        .filter(|schema| schema.attribute("targetNamespace") == Some(OUTBOUND))
        .flat_map(|schema| schema.children())
        .find(|node| node.has_tag_name((XSD, "element")) && node.attribute("name") == Some("notifications"));
    let Some(notifications) = notifications else {
        let message =
            format!("no element notifications in the namespace {OUTBOUND}: this is no outbound message; {ADVICE}");
        return Err(Problem { node: Some(root), rule: "not-outbound", message });
    };
    let notification = element_type(notifications, "Notification", schemas)?;
    let sobject = schemas.complex.get(&notification).copied().unwrap_or(notifications);
    element_type(sobject, "sObject", schemas)
}

/// The type of the element of that name inside `node`.
fn element_type<'d>(node: Node<'d, 'd>, name: &str, schemas: &Schemas<'d>) -> Result<Name<'d>, Problem<'d>> {
    let element = node
        .descendants()
        .find(|inner| inner.has_tag_name((XSD, "element")) && *inner != node && inner.attribute("name") == Some(name));
    let Some(element) = element else {
        let message = format!("the message has no element {name}; {ADVICE}");
        return Err(Problem { node: Some(node), rule: "not-outbound", message });
    };
    let found = element.attribute("type").and_then(|type_name| resolve(element, type_name));
    match found {
        Some(found) if schemas.complex.contains_key(&found) => Ok(found),
        _ => {
            let named = element.attribute("type").unwrap_or_default();
            let message = format!("the type {named:?} of the element {name} is not declared in this file; {ADVICE}");
            Err(Problem { node: Some(element), rule: "type-missing", message })
        }
    }
}

fn schema_nodes<'d>(root: Node<'d, 'd>) -> impl Iterator<Item = Node<'d, 'd>> {
    root.children()
        .filter(|node| node.has_tag_name((WSDL, "types")))
        .flat_map(|types| types.children())
        .filter(|node| node.has_tag_name((XSD, "schema")))
}

/// A qualified name in a value: namespace and local name.
fn resolve<'d>(node: Node<'d, 'd>, name: &'d str) -> Option<Name<'d>> {
    let name = name.trim();
    match name.split_once(':') {
        Some((prefix, local)) => node.lookup_namespace_uri(Some(prefix)).map(|namespace| (namespace, local)),
        None => Some((node.lookup_namespace_uri(None).unwrap_or_default(), name)),
    }
}

impl<'d> Schemas<'d> {
    fn of(root: Node<'d, 'd>) -> Self {
        let mut schemas = Self { complex: HashMap::new(), simple: HashMap::new(), names: Vec::new() };
        for schema in schema_nodes(root) {
            let namespace = schema.attribute("targetNamespace").unwrap_or_default();
            for node in schema.children() {
                let Some(local) = node.attribute("name") else { continue };
                if node.has_tag_name((XSD, "complexType")) {
                    schemas.complex.entry((namespace, local)).or_insert_with(|| {
                        schemas.names.push((namespace, local));
                        node
                    });
                } else if node.has_tag_name((XSD, "simpleType")) {
                    schemas.simple.entry((namespace, local)).or_insert(node);
                }
            }
        }
        schemas
    }

    /// A type, the one it extends, the one that extends, and so on.
    fn chain(&self, name: Name<'d>) -> Result<Vec<Node<'d, 'd>>, Problem<'d>> {
        let mut chain = Vec::new();
        let mut next = Some(name);
        while let Some(node) = next.and_then(|name| self.complex.get(&name).copied()) {
            if chain.len() == CHAIN_MAX {
                let message = format!("the type {} extends more than {CHAIN_MAX} others, or itself; {ADVICE}", name.1);
                return Err(Problem { node: Some(node), rule: "type-chain", message });
            }
            chain.push(node);
            next = base(node);
        }
        Ok(chain)
    }

    /// The fields of a record type, those of the types it extends first. A name declared twice keeps its first place.
    fn fields(&self, chain: &[Node<'d, 'd>]) -> Vec<DeclaredField> {
        let mut fields: Vec<DeclaredField> = Vec::new();
        for &node in chain.iter().rev() {
            fields.extend(elements(node).filter_map(|element| self.field(element)));
        }
        if !fields.iter().any(|field| field.name == "Id") {
            fields.insert(0, DeclaredField::new("Id", FieldType::Id));
        }
        let mut seen = HashSet::new();
        fields.retain(|field| seen.insert(field.name.clone()));
        fields
    }

    fn field(&self, element: Node<'d, 'd>) -> Option<DeclaredField> {
        let name = element.attribute("name").or_else(|| element.attribute("ref").map(local))?;
        if name == "fieldsToNull" {
            return None;
        }
        let mut field = DeclaredField::new(name, FieldType::String);
        field.nillable = matches!(element.attribute("nillable"), Some("true" | "1"));
        field.required = element.attribute("minOccurs").is_none_or(|least| least.trim() != "0");
        self.describe(element, &mut field);
        Some(field)
    }

    /// The type of an element; a simple type of the schema counts as what it restricts, less what it excludes.
    fn describe(&self, element: Node<'d, 'd>, field: &mut DeclaredField) {
        let mut node = element;
        for _ in 0..CHAIN_MAX {
            let restriction = || node.descendants().find(|inner| inner.has_tag_name((XSD, "restriction")));
            let restricted = || {
                let restriction = restriction()?;
                restriction.attribute("base").and_then(|base| resolve(restriction, base))
            };
            restriction().iter().for_each(|restriction| narrow(*restriction, field));
            let name = node.attribute("type").and_then(|name| resolve(node, name)).or_else(restricted);
            match name {
                Some((XSD, local)) => {
                    // What restricts a string to record ids is one, whatever it is called.
                    if field.field_type != FieldType::Id {
                        field.field_type = built_in(local);
                    }
                    return;
                }
                Some((_, "ID")) if field.field_type != FieldType::Id => {
                    field.field_type = FieldType::Id;
                    match name.and_then(|name| self.simple.get(&name)) {
                        Some(&simple) => node = simple,
                        None => return,
                    }
                }
                Some(name) => match self.simple.get(&name) {
                    Some(&simple) => node = simple,
                    None => return,
                },
                None => return,
            }
        }
    }
}

/// Takes the facets of a restriction that no nearer one has said.
fn narrow(restriction: Node<'_, '_>, field: &mut DeclaredField) {
    let mut enumeration = Vec::new();
    for facet in restriction.children().filter(|facet| facet.tag_name().namespace() == Some(XSD)) {
        let Some(value) = facet.attribute("value") else { continue };
        let number = value.trim().parse().ok();
        match facet.tag_name().name() {
            "length" => {
                field.length_min = field.length_min.or(number);
                field.length_max = field.length_max.or(number);
            }
            "minLength" => field.length_min = field.length_min.or(number),
            "maxLength" => field.length_max = field.length_max.or(number),
            "enumeration" => enumeration.push(value.to_owned()),
            _ => {}
        }
    }
    if field.enumeration.is_empty() {
        field.enumeration = enumeration;
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// The type that a complex type extends or restricts.
fn base<'d>(node: Node<'d, 'd>) -> Option<Name<'d>> {
    let content = node.children().find(|child| child.has_tag_name((XSD, "complexContent")))?;
    let derivation = content.children().find(|child| matches!(child.tag_name().name(), "extension" | "restriction"))?;
    resolve(derivation, derivation.attribute("base")?)
}

/// The elements that a complex type declares itself, in document order. Types inside elements are not looked into.
fn elements<'d>(complex: Node<'d, 'd>) -> impl Iterator<Item = Node<'d, 'd>> {
    let mut pending: Vec<Node<'d, 'd>> = complex.children().collect();
    pending.reverse();
    std::iter::from_fn(move || {
        while let Some(node) = pending.pop() {
            if node.tag_name().namespace() != Some(XSD) {
                continue;
            }
            match node.tag_name().name() {
                "element" => return Some(node),
                "complexContent" | "extension" | "restriction" | "sequence" | "choice" | "all" => {
                    pending.extend(node.children().rev());
                }
                _ => {}
            }
        }
        None
    })
}

/// The built-in types of XSD 1.0 part 2, as far as they make a difference.
fn built_in(local: &str) -> FieldType {
    if let Some(integer) = IntegerType::ALL.into_iter().find(|integer| integer.as_str() == local) {
        return FieldType::Integer(integer);
    }
    match local {
        "boolean" => FieldType::Boolean,
        "double" | "decimal" | "float" => FieldType::Double,
        "date" => FieldType::Date,
        "dateTime" => FieldType::DateTime,
        "time" => FieldType::Time,
        "base64Binary" => FieldType::Base64,
        "ID" => FieldType::Id,
        _ => FieldType::String,
    }
}
