//! node-soap's samples: requests that follow no element, requests that are invalid there, and responses.

use omgate::outcome::Response;
use omgate::soap::{EncodeOptions, Reply};
use omgate::wsdl::{Operation, OperationChoice};
use omgate::{soap, wsdl};
use serde_json::{Map, Value, json};

use super::php::body_of;
use super::{Disk, corpus};

/// An rpc sample that breaks its own WSDL: its reason, and what has to be put in place of what in its argument and in
/// its request before the request is the one that the WSDL describes. Ours must then be the same.
struct Broken {
    sample: &'static str,
    reason: &'static str,
    argument: &'static [(&'static str, &'static str)],
    request: &'static [(&'static str, &'static str)],
}

const STRING: &str = "xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xsi:type=\"xsd:string\"";
const RESOURCE: &[(&str, &str)] = &[("bstrResourceId", "bstrResourceID")];
const RESOURCE_TYPED: &[(&str, &str)] =
    &[("bstrResourceId", "bstrResourceID"), ("<bstrResourceID>", "<bstrResourceID STRING>")];
const ATTACHMENTS: &[(&str, &str)] =
    &[("http://www.examples.com/wsdl/MTOMService.wsdl", "urn:examples:MTOMService"), ("<param>", "<param STRING>")];
const RESOURCE_REASON: &str =
    "the part is bstrResourceID, and encoded: node-soap writes bstrResourceId, and no xsi:type";
const ATTACHMENTS_REASON: &str = "soap:body says its namespace, and encoded: node-soap reads neither";

const BROKEN: &[Broken] = &[
    Broken {
        sample: "Message__Messages_suffixed_with_In_Out",
        reason: RESOURCE_REASON,
        argument: RESOURCE,
        request: RESOURCE_TYPED,
    },
    Broken {
        sample: "Message__Messages_suffixed_with_Input_Output",
        reason: RESOURCE_REASON,
        argument: RESOURCE,
        request: RESOURCE_TYPED,
    },
    Broken {
        sample: "Message__Messages_suffixed_with_Request_Response",
        reason: RESOURCE_REASON,
        argument: RESOURCE,
        request: RESOURCE_TYPED,
    },
    Broken {
        sample: "Message__overriding_namespace_prefix",
        reason: "parts have no namespace, and encoded: node-soap takes a prefix of the caller's, and no xsi:type",
        argument: RESOURCE,
        request: &[("<s1:bstrResourceId>", "<bstrResourceID STRING>"), ("</s1:bstrResourceId>", "</bstrResourceID>")],
    },
    Broken {
        sample: "getAttachments__should_handle_MTOM_response",
        reason: ATTACHMENTS_REASON,
        argument: &[],
        request: ATTACHMENTS,
    },
    Broken {
        sample: "getAttachments__should_handle_not_MTOM_response",
        reason: ATTACHMENTS_REASON,
        argument: &[],
        request: ATTACHMENTS,
    },
    Broken {
        sample: "fooOp__should_return_back_good_response_object",
        reason: "the id has a group more than its pattern, and the elements are qualified by two schemas: node-soap writes \
                 them without a namespace",
        argument: &[("-a637-", "-")],
        request: &[
            ("-a637-", "-"),
            ("<Request1>", "<Request1 xmlns=\"http://example.com/bar/xsd\">"),
            ("<requestId>", "<requestId xmlns=\"http://example.com/bar1/xsd\">"),
        ],
    },
    Broken {
        sample: "getAvailability__should_not_fail_without_children",
        reason: "of its values the WSDL declares one, and the namespace is that of another operation",
        argument: &[
            ("\"userCredentials\": {\n    \"username\": \"beeblebrox\",\n    \"sessionid\": \"42\"\n  },", ""),
            ("\"HAM\",\n    \"destination\": \"FRA\",\n    \"flightDate\": \"2016-01-01\",", "\"HAM\"}} REST"),
        ],
        request: &[
            ("xmlns:foo=\"http://foo.bar/doIt/\"", "xmlns:foo=\"http://foo.bar/partner/\""),
            ("<userCredentials><username>beeblebrox</username><sessionid>42</sessionid></userCredentials>", ""),
            (
                "<destination>FRA</destination><flightDate>2016-01-01</flightDate><returnDate>2016-02-01</returnDate>",
                "",
            ),
            ("<paxCount count=\"1\" paxType=\"ADT\"></paxCount>", ""),
        ],
    },
];

/// Puts right what a sample has wrong; each text must be there to be replaced.
fn put_right(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in {text}");
        text = text.replace(from, &to.replace("STRING", STRING));
    }
    text.split(" REST").next().unwrap_or_default().to_owned()
}

/// Samples whose request is invalid there, and whose values no valid request can hold: what we say, and why that is
/// right. The others come out valid.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "Dummy__should_add_prefix_for_unqualified_global_elements",
        "Dummy.DummyField1 holds text and has no @language",
        "xs:string has no attributes",
    ),
    (
        "Dummy__should_handle_attributes_in_request",
        "Dummy.DummyField1 holds text and has no @language",
        "xs:string has no attributes",
    ),
    ("Dummy__should_ignore_custom_defined_namespaces", "Dummy has no DummyAccount", "the element's name is Account"),
    ("Dummy__should_ignore_defined_namespaces", "Dummy has no DummyAccount", "the element's name is Account"),
    ("Dummy__should_use_defined_value_key", "Dummy has no DummyAccount", "the element's name is Account"),
    (
        "GetItemInformation__should_ignore_default_namespace_from_schema",
        "GetItemInformation.Items.Item[1].SupplierId is required",
        "it is not given",
    ),
    (
        "IndienenBericht__should_work_with_deeply_nested_XML_messages",
        "IndienenBericht.Request.BerichtInfo needs an element of any name",
        "neither that element nor the Bericht beside it is given",
    ),
    (
        "UpdateProfile__correct_namespaces_in_sequence_with_imports",
        "UpdateProfile.Profile.Phones.NamePhone[1].PhoneData.PhoneNumber is required",
        "it is not given",
    ),
    (
        "UpdateProfile__correct_namespaces_other_prefixes",
        "UpdateProfile.Profile.Phones.NamePhone[1].PhoneData.PhoneNumber is required",
        "it is not given",
    ),
    (
        "administrate__Complex_json_object_namespace_issue",
        "administrate.AdminOperation.CreateUser.IgnoreDup = \"\" is no xs:boolean",
        "empty is no truth value, and nobody said to leave it out",
    ),
    (
        "getMessage__does_not_use_schema_xmlns",
        "getMessage.sessionId is required",
        "it is given three elements too deep",
    ),
    ("getMessage__force_use_schema_xmlns", "getMessage.sessionId is required", "it is given three elements too deep"),
];

/// Valid responses that node-soap reads otherwise, each with the reason.
const READ_OTHERWISE: &[(&str, &str)] = &[
    ("Dummy__should_handle_cdata_xml_in_response", "a text that looks like markup is read as elements there"),
    ("Dummy__should_ignore_defined_namespaces", "the key of a text is an option there: theValue"),
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
        if class.starts_with("rpc") {
            let count = counts.entry("rpc requests that come out the same, as they are or put right").or_default();
            count.1 += 1;
            let broken = BROKEN.iter().find(|broken| broken.sample == name);
            let (changed, corrected) = broken.map_or((&[][..], &[][..]), |broken| (broken.argument, broken.request));
            let argument = put_right(&read("request.json").unwrap_or_else(|_| "null".to_owned()), changed);
            let argument: Value = serde_json::from_str(&argument).expect("JSON");
            let want = read("request.xml").unwrap();
            let ours = operation(&sample, case).and_then(|operation| {
                let encoded = soap::encode(&operation, &ours(&argument), &EncodeOptions::default());
                let encoded = encoded.map_err(|error| error.to_string())?;
                soap::validate(&operation, &encoded.body).map_err(|error| error.to_string())?;
                Ok(body_of(&encoded.body))
            });
            assert!(broken.is_none() || ours.as_ref() != Ok(&body_of(&want)), "{name} comes out the same as it is");
            match ours {
                Ok(ours) if ours == body_of(&put_right(&want, corrected)) => count.0 += 1,
                other => println!("{name}: {other:?}\n  want {}", body_of(&put_right(&want, corrected))),
            }
            if let Some(broken) = broken {
                println!("{name}: put right: {}", broken.reason);
            }
        }
        if class == "upstream-schema-invalid" {
            let count = counts.entry("invalid requests that come out valid, or that cannot be").or_default();
            count.1 += 1;
            let argument = read("request.json").ok().and_then(|text| serde_json::from_str(&text).ok());
            let outcome = operation(&sample, case).and_then(|operation| {
                let encoded = soap::encode(&operation, &ours(&argument.unwrap_or_default()), &EncodeOptions::default());
                let encoded = encoded.map_err(|error| error.to_string())?;
                soap::validate(&operation, &encoded.body).map_err(|error| error.to_string())
            });
            match (outcome, REFUSED.iter().find(|(known, ..)| *known == name)) {
                (Ok(()), None) => count.0 += 1,
                (Err(reason), Some((_, said, why))) if reason.starts_with(said) => {
                    println!("{name}: refused, for {why}");
                    count.0 += 1;
                }
                (outcome, known) => println!("{name}: {outcome:?}, known as {known:?}"),
            }
        }
        let expected = read("response.json").ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if let (Some("VALID"), Some(expected), Ok(body), Ok(operation)) =
            (case["response_check"].as_str(), expected, read("response.xml"), operation(&sample, case))
        {
            let response = Response { status: 200, headers: Vec::new(), body: body.into(), cut: false };
            let count = counts.entry("valid responses that are read the same, or otherwise with a reason").or_default();
            count.1 += 1;
            let known = READ_OTHERWISE.iter().find(|(known, _)| *known == name);
            match (soap::decode(&operation, &response), known) {
                (Reply::Body(value), None) if said(&value) == said(&ours(&expected)) => count.0 += 1,
                (Reply::Body(value), Some((_, reason))) if said(&value) != said(&ours(&expected)) => {
                    println!("{name}: read otherwise: {reason}");
                    count.0 += 1;
                }
                (other, _) => println!("{name}: reads {other:?}\n  wanted {expected}"),
            }
        }
    }
    println!("{counts:?}");
    for (kind, (good, all)) in counts {
        assert_eq!(good, all, "{kind}");
    }
}

#[test]
fn node_soaps_valid_samples_come_out_the_same() {
    let Some(folder) = corpus() else { return };
    let folder = folder.join("vpulim+node-soap");
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.json")).unwrap();
    let manifest: Vec<Value> = serde_json::from_str(&manifest).unwrap();
    let (mut same, mut all) = (0, 0);
    for case in manifest.iter().filter(|case| case["class"] == "oracle") {
        let name = case["case"].as_str().unwrap_or_default();
        let sample = folder.join("test/request-response-samples").join(name);
        let Ok(argument) = std::fs::read_to_string(sample.join("request.json")) else { continue };
        let argument = ours(&serde_json::from_str(&argument).unwrap());
        all += 1;
        let outcome = operation(&sample, case).and_then(|operation| {
            let encoded = soap::encode(&operation, &argument, &EncodeOptions::default());
            encoded.map(|encoded| body_of(&encoded.body)).map_err(|error| error.to_string())
        });
        let want = body_of(&std::fs::read_to_string(sample.join("request.xml")).unwrap());
        match outcome {
            Ok(ours) if ours == want => same += 1,
            other => println!("{name}: {other:?}\n  want {want}"),
        }
    }
    println!("{same} of {all} samples come out the same");
    assert!(same >= 36, "only {same} of {all}");
}
