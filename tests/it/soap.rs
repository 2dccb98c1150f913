//! SOAP destinations by their WSDLs: requests built, responses and faults read, wrong input named.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use omgate::outcome::{Fault, Response};
use omgate::soap::fault::{FaultKind, kind};
use omgate::soap::{Addressing, EncodeOptions, Encoded, Reply};
use omgate::wsdl::{Files, Model, Operation, OperationChoice, Severity, Style, Version};
use omgate::{soap, wsdl};
use serde_json::{Value, json};

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// Files that are nowhere.
struct Memory(HashMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path.to_str().unwrap_or_default()).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn erp(port: Option<&str>) -> Operation {
    let model = wsdl::load(&root().join("wsdl/erp.wsdl"), &Disk).expect("the project's own WSDL loads");
    assert_eq!(model.findings(), []);
    model
        .operation(&OperationChoice { port, operation: "CreateOrder", ..OperationChoice::default() })
        .expect("is there")
}

/// A WSDL around a schema's content: one operation `Do`, whose input and output are the elements `Do` and `DoResponse`.
fn around(schema: &str) -> String {
    format!(
        r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
             xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
           <types><xs:schema targetNamespace="urn:t" elementFormDefault="qualified">{schema}</xs:schema></types>
           <message name="In"><part name="parameters" element="t:Do"/></message>
           <message name="Out"><part name="parameters" element="t:Do"/></message>
           <portType name="T"><operation name="Do"><input message="t:In"/><output message="t:Out"/></operation></portType>
           <binding name="B" type="t:T"><soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
             <operation name="Do"><soap:operation soapAction=""/><input><soap:body use="literal"/></input>
             <output><soap:body use="literal"/></output></operation></binding>
           <service name="S"><port name="P" binding="t:B"><soap:address location="http://h/"/></port></service>
           </definitions>"#
    )
}

fn load(files: &[(&str, &str)]) -> Result<Model, Vec<wsdl::Finding>> {
    let first = files.first().expect("a file").0;
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    wsdl::load(Path::new(first), &Memory(files))
}

fn operation(schema: &str) -> Operation {
    let model = load(&[("w/a.wsdl", &around(schema))]).unwrap_or_else(|findings| panic!("{findings:#?}"));
    model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).expect("is there")
}

fn encode(operation: &Operation, argument: &Value) -> Result<Encoded, String> {
    soap::encode(operation, argument, &EncodeOptions::default()).map_err(|error| error.to_string())
}

/// What stands in the body, prefixes as written.
fn body(encoded: &Encoded) -> &str {
    let (_, rest) = encoded.body.split_once("<soapenv:Body>").expect("a body");
    rest.split_once("</soapenv:Body>").expect("its end").0
}

fn response(status: u16, content_type: &str, body: &str) -> Response {
    Response {
        status,
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.to_owned().into_bytes().into(),
        cut: false,
    }
}

fn order() -> Value {
    json!({
        "Customer": { "Name": "A & B <漢>", "Id": "0012" },
        "OrderNumber": "  4711\r",
        "Total": 12.5,
        "Currency": "EUR",
        "Lines": [{ "Article": "x", "Quantity": 2 }, { "Quantity": 1, "Article": "y", "Price": "0.10" }],
        "Comment": null,
        "@priority": "urgent",
    })
}

#[test]
fn the_request_has_the_schemas_order_and_namespaces_whatever_the_values_order() {
    let encoded = encode(&erp(None), &order()).unwrap();
    assert_eq!(encoded.content_type, "text/xml; charset=utf-8");
    assert_eq!(encoded.soap_action.as_deref(), Some("\"urn:example:erp:orders/CreateOrder\""));
    golden("create-order.xml", &encoded.body);
}

#[test]
fn soap_12_has_its_action_in_the_content_type() {
    let operation = erp(Some("OrdersSoap12"));
    assert_eq!((operation.version(), operation.endpoint()), (Version::Soap12, "http://erp.example/orders12"));
    let encoded = encode(&operation, &order()).unwrap();
    assert_eq!(
        encoded.content_type,
        "application/soap+xml; charset=utf-8; action=\"urn:example:erp:orders/CreateOrder\""
    );
    assert_eq!(encoded.soap_action, None);
    golden("create-order-12.xml", &encoded.body);
}

#[test]
fn addressing_headers_are_written_when_wanted() {
    let addressing = Addressing { message_id: "urn:uuid:1".to_owned(), to: "http://erp.example/orders".to_owned() };
    let options = EncodeOptions { addressing: Some(addressing) };
    golden("create-order-addressing.xml", &soap::encode(&erp(None), &order(), &options).unwrap().body);
}

/// Compares with a file of `fixtures/soap`; `OMGATE_UPDATE_GOLDEN=1` in the environment of the test run writes it.
#[expect(clippy::disallowed_methods, reason = "the switch of the test run, not of the gateway")]
fn golden(name: &str, text: &str) {
    let path = root().join("fixtures/soap").join(name);
    if std::env::var_os("OMGATE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name}");
}
