//! PHP's own encoding tests, as php-soap keeps them: the same requests, and the same values read back.

use std::collections::BTreeSet;

use omgate::soap::{EncodeOptions, Nulls};
use omgate::wsdl::OperationChoice;
use omgate::{soap, wsdl};
use roxmltree::{Document, Node};
use serde_json::{Map, Value, json};

use super::{Disk, corpus};

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Values that PHP reads otherwise, each with the reason.
const READ_OTHERWISE: &[(&str, &str)] = &[
    ("Schema060", "a literal array of two dimensions does not say how long its rows are"),
    ("Schema061", "a literal array of two dimensions does not say how long its rows are"),
    ("Schema065", "PHP fills in the schema's default of an attribute that was not sent"),
    ("Schema066", "PHP fills in what the schema fixes an absent attribute to"),
    ("Schema070", "PHP fills in the schema's default of an attribute that was not sent"),
];

/// Requests that PHP writes otherwise, each with the reason.
const WRITTEN_OTHERWISE: &[(&str, &str)] = &[(
    "ImpliedSchema016",
    "PHP says the types of literal values too, and 25.0 as 25; the names and values are the same",
)];

/// A body's infoset: names and qualified values without prefixes, attributes in order.
pub(super) fn infoset(node: Node<'_, '_>, out: &mut String) {
    let qualified = |text: &str| {
        let (prefix, local) =
            text.trim().split_once(':').map_or((None, text.trim()), |(prefix, local)| (Some(prefix), local));
        format!("{{{}}}{}", node.lookup_namespace_uri(prefix).unwrap_or_default(), local.replace(", ", ","))
    };
    out.push_str(&format!("<{{{}}}{}", node.tag_name().namespace().unwrap_or_default(), node.tag_name().name()));
    let attributes: BTreeSet<String> = node
        .attributes()
        .filter(|given| given.name() != "encodingStyle")
        .map(|given| {
            let value =
                if matches!(given.name(), "type" if given.namespace() == Some(XSI)) || given.name() == "arrayType" {
                    qualified(given.value())
                } else {
                    given.value().to_owned()
                };
            format!(" {{{}}}{}={value}", given.namespace().unwrap_or_default(), given.name())
        })
        .collect();
    attributes.iter().for_each(|attribute| out.push_str(attribute));
    out.push('>');
    if node.first_element_child().is_some() {
        node.children().filter(Node::is_element).for_each(|child| infoset(child, out));
    } else {
        out.push_str(node.text().unwrap_or_default().trim());
    }
    out.push_str("</>");
}

pub(super) fn body_of(text: &str) -> String {
    let document = Document::parse(text).expect("well-formed");
    let body = document.descendants().find(|node| node.tag_name().name() == "Body").expect("a body");
    let mut out = String::new();
    body.children().filter(Node::is_element).for_each(|child| infoset(child, &mut out));
    out
}

/// PHP's value as ours; what the expected element shows says which members are attributes.
fn ours(value: &Value, expected: Option<Node<'_, '_>>) -> Value {
    let child = |name: &str, nth: usize| {
        expected.and_then(|node| {
            node.children().filter(|child| child.is_element() && child.tag_name().name() == name).nth(nth)
        })
    };
    let is_nil = expected.is_some_and(|node| node.attribute((XSI, "nil")).is_some());
    match value {
        Value::Object(object) if object.contains_key("$datetime") => json!(expected.and_then(|node| node.text())),
        Value::Object(object) => {
            let mut out = Map::new();
            for (key, value) in object.iter().filter(|(key, _)| *key != "$class") {
                let is_attribute = expected.is_some_and(|node| node.attributes().any(|given| given.name() == key));
                match (key.as_str(), value) {
                    ("any", Value::Null) => {}
                    ("any", value) => {
                        out.insert("$xml".to_owned(), value.clone());
                    }
                    ("_", _)
                        if child("int", 0).is_some()
                            && expected.is_some_and(|node| node.text().unwrap_or_default().trim().is_empty()) => {}
                    ("_", value) => {
                        out.insert("$value".to_owned(), value.clone());
                    }
                    (_, value) if is_attribute && child(key, 0).is_none() => {
                        out.insert(format!("@{key}"), value.clone());
                    }
                    (_, Value::Null) if child(key, 0).is_some() => {
                        out.insert(key.clone(), json!({"$nil": true}));
                    }
                    (_, Value::Null) => {}
                    (_, Value::Array(items)) => {
                        let items = items.iter().enumerate().map(|(nth, item)| ours(item, child(key, nth))).collect();
                        out.insert(key.clone(), items);
                    }
                    (_, value) => {
                        out.insert(key.clone(), ours(value, child(key, 0)));
                    }
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => {
            let nth = |nth: usize| expected.and_then(|node| node.children().filter(Node::is_element).nth(nth));
            items.iter().enumerate().map(|(index, item)| ours(item, nth(index))).collect()
        }
        Value::Null if is_nil => json!({"$nil": true}),
        Value::Number(_) => match expected.and_then(|node| node.text()) {
            // PHP writes moments from seconds.
            Some(text) if text.contains(['-', ':', 'Z']) => json!(text.trim()),
            Some(_) | None => value.clone(),
        },
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// The argument that an expected array stands for, where PHP's test could not be run.
fn listed(expected: Node<'_, '_>) -> Value {
    let items: Vec<Node<'_, '_>> = expected.children().filter(Node::is_element).collect();
    let name = items.first().map_or("item", |item| item.tag_name().name());
    let numbers: Vec<Value> =
        items.iter().map(|item| serde_json::from_str(item.text().unwrap_or_default()).unwrap()).collect();
    json!({ "$type": "{http://schemas.xmlsoap.org/soap/encoding/}Array", name: numbers })
}

/// What a value says, apart from how it is held: numbers as text, attributes and elements alike, nothing as absent.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut out = Map::new();
            for (key, value) in object.iter().filter(|(key, _)| !matches!(key.as_str(), "$class" | "$type" | "$nil")) {
                let key = match key.as_str() {
                    "_" => "$value",
                    "$xml" => "any",
                    key => key.trim_start_matches('@'),
                };
                let value = said(value);
                if !value.is_null() {
                    out.insert(key.to_owned(), value);
                }
            }
            if out.is_empty() { Value::Null } else { Value::Object(out) }
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let words: Vec<String> = items.iter().filter_map(|item| said(item).as_str().map(str::to_owned)).collect();
            if words.is_empty() { Value::Null } else { json!(words.join(" ")) }
        }
        Value::Array(items) if items.len() == 1 => said(&items[0]),
        Value::Array(items) => items.iter().map(said).collect(),
        Value::Number(number) => json!(number.to_string().trim_end_matches(".0")),
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

#[test]
fn php_soaps_cases_come_out_the_same_and_are_read_back() {
    let Some(folder) = corpus() else { return };
    let folder = folder.join("php-soap+encoding/cases");
    let (mut same, mut otherwise, mut read, mut read_otherwise, mut all) = (0, 0, 0, 0, 0);
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        all += 1;
        let case: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join(&name).join("case.json")).unwrap()).unwrap();
        let request = std::fs::read_to_string(folder.join(&name).join("request.xml")).unwrap();
        let request = match request.find("<SOAP-ENV:Envelope").zip(request.find("</SOAP-ENV:Envelope>")) {
            Some((start, end)) => request[start..end].to_owned() + "</SOAP-ENV:Envelope>",
            None => request,
        };
        let operation = wsdl::load(&folder.join(&name).join("service.wsdl"), &Disk)
            .map_err(|findings| format!("{:?}", findings.first()))
            .and_then(|model| {
                let choice = OperationChoice { operation: "test", ..OperationChoice::default() };
                model.operation(&choice).map_err(|error| error.to_string())
            });
        let operation = match operation {
            Ok(operation) => operation,
            Err(reason) => {
                println!("{name}: {reason}");
                continue;
            }
        };
        let document = Document::parse(&request).expect("well-formed");
        let refused = document.root_element().tag_name().name() == "error";
        let body = document.descendants().find(|node| node.tag_name().name() == "Body");
        let rpc = case["style"] == "rpc";
        let part = body.and_then(|body| body.first_element_child());
        let part = part.and_then(|part| if rpc { part.first_element_child() } else { Some(part) });
        let argument = match (&case["param_error"], part) {
            (Value::String(_), Some(part)) => listed(part),
            _ => ours(&case["param"], part),
        };
        let argument = json!({ "testParam": argument });
        let options = EncodeOptions { nulls: Nulls::Nil, ..EncodeOptions::default() };
        match soap::encode(&operation, &argument, &options) {
            Ok(_) if refused => println!("{name}: was not refused"),
            Ok(encoded) if body_of(&encoded.body) == body_of(&request) => same += 1,
            Ok(_) if WRITTEN_OTHERWISE.iter().any(|(known, _)| *known == name) => otherwise += 1,
            Ok(encoded) => {
                println!("{name}: {argument}\n  ours {}\n  want {}", body_of(&encoded.body), body_of(&request))
            }
            Err(_) if refused => same += 1,
            Err(error) => println!("{name}: {argument}: {error}"),
        }
        let decoded = soap::argument(&operation, &request).unwrap_or_default();
        let decoded = if rpc { decoded["testParam"].clone() } else { decoded };
        let wanted = match (&case["param_error"], part) {
            (Value::String(_), Some(part)) => {
                listed(part).as_object().and_then(|object| object.values().next_back().cloned()).unwrap_or_default()
            }
            _ => ours(&case["expect_decoded"], part),
        };
        if !refused && said(&decoded) == said(&wanted) {
            read += 1;
        } else if refused || READ_OTHERWISE.iter().any(|(known, _)| *known == name) {
            read_otherwise += 1;
        } else {
            println!("{name}: reads {decoded}, wanted {wanted}");
        }
    }
    println!("{same} of {all} requests come out the same, {otherwise} are known to differ");
    println!("{read} are read back the same, {read_otherwise} are known to be read otherwise, or are no messages");
    assert_eq!((all, same + otherwise, read + read_otherwise), (103, 103, 103));
    assert!(same >= 102 && read >= 97, "{same}, {read}");
}
