//! node-soap's samples: requests that follow no element, requests that are invalid there, and responses.

use omgate::outcome::Response;
use omgate::soap::{EncodeOptions, Reply};
use omgate::wsdl::{Operation, OperationChoice};
use omgate::{soap, wsdl};
use serde_json::{Map, Value, json};

use super::php::body_of;
use super::{Disk, corpus};

/// Requests that node-soap writes against its own WSDL, each with the reason.
const RPC_OTHERWISE: &[(&str, &str)] = &[
    ("Message__Messages_suffixed_with_In_Out", "the part is bstrResourceID, and node-soap writes bstrResourceId"),
    ("Message__Messages_suffixed_with_Input_Output", "the part is bstrResourceID, and node-soap writes bstrResourceId"),
    (
        "Message__Messages_suffixed_with_Request_Response",
        "the part is bstrResourceID, and node-soap writes bstrResourceId",
    ),
    ("Message__overriding_namespace_prefix", "the part is bstrResourceID, and node-soap writes bstrResourceId"),
    ("fooOp__should_return_back_good_response_object", "the id breaks its pattern"),
    ("getAttachments__should_handle_MTOM_response", "node-soap knows neither the body's namespace nor xsi:type"),
    ("getAttachments__should_handle_not_MTOM_response", "node-soap knows neither the body's namespace nor xsi:type"),
];

/// node-soap's way to write values, in ours.
fn ours(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut out = Map::new();
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("attributes", Value::Object(attributes)) => {
                        for (name, value) in attributes {
                            match (name.as_str(), value) {
                                ("xsi_type", Value::Object(named)) => {
                                    out.insert("$type".to_owned(), named["type"].clone());
                                }
                                ("xsi:type", value) => {
                                    out.insert("$type".to_owned(), value.clone());
                                }
                                ("xsi:nil" | "nil", _) => {
                                    out.insert("$nil".to_owned(), json!(true));
                                }
                                _ => {
                                    let local = name.rsplit(':').next().unwrap_or(name);
                                    out.insert(format!("@{local}"), value.clone());
                                }
                            }
                        }
                    }
                    _ => {
                        out.insert(key.rsplit(':').next().unwrap_or(key).to_owned(), ours(value));
                    }
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(ours).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn operation(sample: &std::path::Path, case: &Value) -> Result<Operation, String> {
    let model = wsdl::load(&sample.join("soap.wsdl"), &Disk).map_err(|findings| format!("{:?}", findings.first()))?;
    let choice =
        OperationChoice { operation: case["operation"].as_str().unwrap_or_default(), ..OperationChoice::default() };
    model.operation(&choice).map_err(|error| error.to_string())
}

/// What a value says, apart from how it is held.
fn said(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, _)| !matches!(key.as_str(), "$type" | "$nil"));
            let out: Map<String, Value> =
                kept.map(|(key, value)| (key.clone(), said(value))).filter(|(_, value)| !value.is_null()).collect();
            match (out.len(), out.get("$value")) {
                (0, _) => Value::Null,
                (1, Some(value)) => value.clone(),
                _ => Value::Object(out),
            }
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) if items.len() == 1 => said(&items[0]),
        Value::Array(items) => items.iter().map(said).collect(),
        Value::Number(number) => json!(number.to_string()),
        Value::Bool(truth) => json!(truth.to_string()),
        Value::String(text) if text.trim().is_empty() => Value::Null,
        Value::String(text) => {
            json!(text.trim().trim_end_matches(".000Z").trim_end_matches('Z').trim_end_matches("T00:00:00"))
        }
        Value::Null => Value::Null,
    }
}

#[test]
fn node_soaps_other_samples_come_out_the_same_or_valid_and_responses_are_read() {
    let Some(folder) = corpus() else { return };
    let folder = folder.join("vpulim+node-soap");
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.json")).unwrap();
    let manifest: Vec<Value> = serde_json::from_str(&manifest).unwrap();
    let mut counts = std::collections::BTreeMap::<&str, (usize, usize)>::new();
    for case in &manifest {
        let name = case["case"].as_str().unwrap_or_default();
        let class = case["class"].as_str().unwrap_or_default();
        let sample = folder.join("test/request-response-samples").join(name);
        let read = |file: &str| std::fs::read_to_string(sample.join(file));
        let rpc = class.starts_with("rpc");
        if rpc || class == "upstream-schema-invalid" {
            let kind = if rpc {
                "rpc requests that come out the same"
            } else {
                "invalid requests that come out valid, or are refused"
            };
            let argument =
                read("request.json").ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null);
            let outcome = operation(&sample, case).and_then(|operation| {
                let encoded = soap::encode(&operation, &ours(&argument), &EncodeOptions::default());
                let encoded = match encoded {
                    Err(error) if !rpc => {
                        println!("{name}: refused: {error}");
                        return Ok(());
                    }
                    other => other.map_err(|error| error.to_string())?,
                };
                soap::validate(&operation, &encoded.body).map_err(|error| error.to_string())?;
                let (ours, want) = (body_of(&encoded.body), body_of(&read("request.xml").unwrap()));
                if !rpc || ours == want { Ok(()) } else { Err(format!("\n  ours {ours}\n  want {want}")) }
            });
            let count = counts.entry(kind).or_default();
            count.1 += 1;
            match (outcome, RPC_OTHERWISE.iter().find(|(known, _)| *known == name)) {
                (Ok(()), None) => count.0 += 1,
                (Err(_), Some((_, reason))) => println!("{name}: differs: {reason}"),
                (Ok(()), Some(_)) => panic!("{name} comes out the same now"),
                (Err(reason), None) => println!("{name}: {reason}"),
            }
        }
        let expected = read("response.json").ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if let (Some("VALID"), Some(expected), Ok(body), Ok(operation)) =
            (case["response_check"].as_str(), expected, read("response.xml"), operation(&sample, case))
        {
            let response = Response { status: 200, headers: Vec::new(), body: body.into(), cut: false };
            let count = counts.entry("valid responses that are read the same").or_default();
            count.1 += 1;
            match soap::decode(&operation, &response) {
                Reply::Body(value) if said(&value) == said(&ours(&expected)) => count.0 += 1,
                other => println!("{name}: reads {other:?}\n  wanted {expected}"),
            }
        }
    }
    println!("{counts:?}");
    for (kind, (good, all)) in counts {
        let least = match kind.split(' ').next() {
            Some("valid") => all - 2,
            Some("rpc") => all - RPC_OTHERWISE.len() - 1,
            _ => all,
        };
        assert!(good >= least, "{kind}: {good} of {all}");
    }
}
