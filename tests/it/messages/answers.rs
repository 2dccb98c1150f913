//! Answers that are not as the WSDL has them: what is read all the same, what is not, and what is said of both.

use std::time::{Duration, Instant};

use omgate::soap::{self, Reply};

use super::forms::{SOAP11, encoded, response};

#[test]
fn references_that_lead_nowhere_or_round_in_a_circle_are_named() {
    let operation = encoded(SOAP11);
    for (text, expected) in [
        (
            "<r:DoResponse xmlns:r='urn:rpc'><order href='#a'/></r:DoResponse>\
             <m id='a' enc:root='0'><id>1</id><next href='#a'/></m>",
            "<next> refers to a value that it is a part of (line 1, column ",
        ),
        (
            "<r:DoResponse xmlns:r='urn:rpc'><order id='a'><id>1</id><next href='#a'/></order></r:DoResponse>",
            "<next> refers to a value that it is a part of (line 1, column ",
        ),
        (
            "<r:DoResponse xmlns:r='urn:rpc'><order href='#nobody'/></r:DoResponse>",
            "<order> refers to #nobody, and nothing in the answer has that id (line 1, column ",
        ),
        (
            "<r:DoResponse xmlns:r='urn:rpc'><ints href='#a'/></r:DoResponse><m id='a' href='#b'/><m id='b' href='#a'/>",
            "<ints> refers to what refers on and on",
        ),
    ] {
        let Reply::Broken(reason) = soap::decode(&operation, &response(text)) else { panic!("{text} is read") };
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn a_small_answer_is_no_large_one_by_its_references() {
    let operation = encoded(SOAP11);
    let start = Instant::now();
    let level = |n: usize| {
        let items = format!("<i href='#l{}'/>", n + 1).repeat(10);
        format!("<m id='l{n}' enc:root='0' enc:arrayType='xsd:anyType[10]'>{items}</m>")
    };
    let levels: String = (0..8).map(level).collect();
    let tower = format!(
        "<r:DoResponse xmlns:r='urn:rpc'><any href='#l0'/></r:DoResponse>{levels}<m id='l8' enc:root='0'>text</m>"
    );
    let long = format!(
        "<r:DoResponse xmlns:r='urn:rpc'><any enc:arrayType='xsd:anyType[]'>{}</any></r:DoResponse><m id='l' enc:root='0'>{}</m>",
        "<i href='#l'/>".repeat(2_000),
        "text ".repeat(20_000),
    );
    let places = "<i enc:arrayType='xsd:int[]' enc:offset='[99999]'/>".repeat(2_000);
    let places =
        format!("<r:DoResponse xmlns:r='urn:rpc'><any enc:arrayType='xsd:anyType[]'>{places}</any></r:DoResponse>");
    for text in [tower, long, places] {
        let Reply::Broken(reason) = soap::decode(&operation, &response(&text)) else { panic!("{text} is read") };
        assert!(reason.contains("more of it than an answer of its size may hold"), "{reason}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());

    // What many refer to is no bomb.
    let shared = format!(
        "<r:DoResponse xmlns:r='urn:rpc'><any enc:arrayType='xsd:anyType[]'>{}</any></r:DoResponse>\
         <m id='l' enc:root='0'><a>1</a><b>2</b><c>3</c><d>4</d></m>",
        "<i href='#l'/>".repeat(20_000),
    );
    let Reply::Body(value) = soap::decode(&operation, &response(&shared)) else { panic!("is not read") };
    assert_eq!(value["any"].as_array().map(Vec::len), Some(20_000));
}
