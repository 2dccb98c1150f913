//! What must hold of any bytes that come from outside: each target of the fuzzer asserts one of these, and so does an
//! ordinary test, over the corpus and the fixtures.
//!
//! Nothing panics; what is taken means the same when it is read again; what is refused says where and why. How long it
//! may take is the fuzzer's to watch, and what an expression may cost its fuel's.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::missing_docs_in_private_items,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a property that does not hold panics; the one file is a module of the tests and a library of the fuzzer's"
)]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;

use omgate::certificate::Certificate;
use omgate::clock::Timestamp;
use omgate::config;
use omgate::envelope::{Content, Envelope, Notification, Record, RecordTypes};
use omgate::expression::{self, Document, Expression, Place, ResponseScope, Subject, Table, Tables, Template};
use omgate::outcome::Response;
use omgate::parse::{self, Limits};
use omgate::receive::ClientAuth;
use omgate::receive::client::{Clients, Rules};
use omgate::receive::front::Caller;
use omgate::receive::network::{self, Networks};
use omgate::receive::proxy::{self, Header, Protocol, Proxy};
use omgate::receive::unpack::{Packing, Stop, Unpacked};
use omgate::secret::Text;
use omgate::soap::{self, EncodeOptions, Extent, Reply};
use omgate::store::StoredConfig;
use omgate::wsdl::{self, Files, Finding, Model, Operation, OperationChoice, outbound};
use serde_json::{Value, json};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";
const ORDER_WON: &str = include_str!("../wsdl/order-won.wsdl");
const ERP: &str = include_str!("../wsdl/erp.wsdl");
const ERP_SCHEMA: &str = include_str!("../wsdl/erp.xsd");
const CREATE: &[u8] = include_bytes!("../fixtures/envelopes/create.xml");
const COUNTRIES: &str = include_str!("../fixtures/countries.csv");

/// A `SessionId` that nothing else holds.
const CANARY: &str = "c4nary-in-the-coal-mine";

static ORDER_TYPES: LazyLock<RecordTypes> =
    LazyLock::new(|| outbound::record_types("order-won.wsdl", ORDER_WON).unwrap());

fn read(body: &[u8], types: Option<&RecordTypes>) -> Result<Envelope, parse::ParseError> {
    parse::envelope(body, None, &Limits::default(), types)
}

/// A POST of Salesforce's, or what somebody sends in its place.
pub fn envelope(body: &[u8]) {
    let shown = parse::without_session_id(body);
    let decoded = parse::decode(body, None);
    if decoded.is_ok_and(|decoded| decoded.as_bytes() == body) {
        assert_eq!(parse::without_session_id(shown.as_bytes()), shown, "what has no SessionId stays as it is");
    }
    let plain = read(body, None);
    assert_eq!(plain, read(body, None), "twice the same");
    let typed = read(body, Some(&ORDER_TYPES));
    let (plain, typed) = match (plain, typed) {
        (Ok(plain), Ok(typed)) => (plain, typed),
        (plain, typed) => {
            let (plain, typed) = (plain.unwrap_err(), typed.unwrap_err());
            assert_eq!(plain, typed, "a WSDL decides nothing about what is taken");
            assert!(!plain.to_string().is_empty());
            return;
        }
    };
    assert!((1..=100).contains(&plain.notifications.len()));
    let hashes = |envelope: &Envelope| envelope.notifications.iter().map(|one| one.hash).collect::<Vec<_>>();
    assert_eq!(hashes(&plain), hashes(&typed), "what a notification says does not depend on a WSDL");
    for notification in &plain.notifications {
        reads_again(notification, None);
    }
    for notification in &typed.notifications {
        reads_again(notification, Some(&ORDER_TYPES));
    }
    let text = parse::decode(body, None).expect("an envelope was read from it");
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    assert_eq!(parse::well_formed(text, Limits::default().depth), Ok(()));
    let document = roxmltree::Document::parse(text).expect("another reader takes it too");
    if body == text.as_bytes() {
        keeps_no_session_id(&plain, text, &document);
    }
}

/// What is stored of a notification means the same when it is read from the store, and when it is sent again.
pub fn reads_again(notification: &Notification, types: Option<&RecordTypes>) {
    match &notification.content {
        Content::Record { record, xml, .. } => {
            assert_eq!(&parse::record(xml, types).expect("a stored record is read"), record, "{xml}");
            let again = read(around(xml).as_bytes(), types).expect("a stored record is sent again");
            assert_eq!(again.notifications[0].hash, notification.hash, "{xml}");
            assert_eq!(again.notifications[0].record(), Some(record), "{xml}");
        }
        Content::Unreadable { xml, reason } => {
            assert!(!reason.is_empty());
            assert_eq!(parse::well_formed(xml, Limits::default().depth), Ok(()), "{xml}");
        }
        Content::Empty { .. } => {}
    }
}

/// An envelope around one record that stands alone.
fn around(record: &str) -> String {
    format!(
        "<s:Envelope xmlns:s='{SOAP}'><s:Body><o:notifications xmlns:o='{OUTBOUND}'>\
         <o:OrganizationId>00D000000000001</o:OrganizationId><o:ActionId>04k000000000001</o:ActionId>\
         <o:Notification><o:Id>04l000000000001</o:Id>{record}</o:Notification></o:notifications></s:Body></s:Envelope>"
    )
}

/// What a `SessionId` holds is nowhere in what was read.
fn keeps_no_session_id(envelope: &Envelope, text: &str, document: &roxmltree::Document<'_>) {
    let ours = |node: &roxmltree::Node<'_, '_>| {
        let parent = node.parent_element().map(|parent| parent.tag_name());
        let is_message =
            parent.is_some_and(|name| name.name() == "notifications" && name.namespace() == Some(OUTBOUND));
        is_message && node.tag_name().name() == "SessionId"
    };
    let sessions = document.descendants().filter(|node| node.is_element() && ours(node));
    let mut contents: Vec<usize> =
        sessions.filter_map(|node| node.first_child().map(|child| child.range().start)).collect();
    contents.sort_unstable();
    let Some(_) = contents.first() else { return };
    let mut planted = text.to_owned();
    for at in contents.into_iter().rev() {
        planted.insert_str(at, CANARY);
    }
    let read = read(planted.as_bytes(), None).expect("it was read before");
    assert_eq!(&read, envelope, "a SessionId is read past");
    assert!(!parse::without_session_id(planted.as_bytes()).contains(CANARY), "{planted}");
}

/// Files that are nowhere.
struct Memory(HashMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path.to_str().unwrap_or_default()).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A WSDL, and after lines of the form `%%%% NAME` the files that it imports.
pub fn wsdl(data: &[u8]) {
    let mut files = HashMap::from([("w/erp.xsd".to_owned(), ERP_SCHEMA.as_bytes().to_vec())]);
    let mut name = "a.wsdl".to_owned();
    let mut content: Vec<u8> = Vec::new();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let next = line.strip_prefix(b"%%%% ").and_then(|next| std::str::from_utf8(next).ok());
        match next {
            Some(next) => {
                files.insert(format!("w/{name}"), std::mem::take(&mut content));
                name = next.trim().to_owned();
            }
            None => content.extend_from_slice(line),
        }
    }
    files.insert(format!("w/{name}"), content);
    let files = Memory(files);
    let path = Path::new("w/a.wsdl");
    let model = wsdl::load(path, &files);
    match (&model, wsdl::load(path, &files)) {
        (Ok(model), Ok(again)) => {
            assert_eq!(model.findings(), again.findings());
            assert_eq!(model.canonical(), again.canonical());
            speak(model.findings());
            operations(model).iter().for_each(writes);
        }
        (Err(findings), Err(again)) => {
            assert_eq!(findings, &again, "twice the same");
            assert!(!findings.is_empty());
            speak(findings);
        }
        (one, _) => panic!("once it loads, once it does not: {one:?}"),
    }
    if let Ok(text) = std::str::from_utf8(data) {
        match outbound::declared("a.wsdl", text) {
            Ok(records) => assert!(!records.is_empty()),
            Err(findings) => speak(&findings),
        }
    }
}

fn speak(findings: &[Finding]) {
    for finding in findings {
        assert!(!finding.message.is_empty() && !finding.rule.is_empty() && !finding.file.is_empty(), "{finding:?}");
    }
}

/// The operations that can be called, of all SOAP ports.
fn operations(model: &Model) -> Vec<Operation> {
    let mut operations = Vec::new();
    for service in model.services() {
        for port in &service.ports {
            for name in &port.operations {
                let choice = OperationChoice { service: Some(&service.name), port: Some(&port.name), operation: name };
                match model.operation(&choice) {
                    Ok(operation) => operations.push(operation),
                    Err(error) => assert!(!error.reason.is_empty()),
                }
            }
        }
    }
    operations
}

/// What is written by a model is taken by it.
fn writes(operation: &Operation) {
    for extent in [Extent::Full, Extent::Minimal] {
        let Some(argument) = soap::sample(operation, extent) else { continue };
        let Ok(encoded) = soap::encode(operation, &argument, &EncodeOptions::default()) else { continue };
        assert_eq!(parse::well_formed(&encoded.body, 300), Ok(()), "{}", encoded.body);
        if let Err(error) = soap::validate(operation, &encoded.body) {
            panic!("{error}: {argument} is written as {}", encoded.body);
        }
        drop(soap::argument(operation, &encoded.body));
    }
}

/// A WSDL whose operation `Do` has the same parts in both directions.
fn echo(style: &str, schema: &str, part: &str, body: &str) -> Operation {
    let text = format!(
        r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
             xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:enc="http://schemas.xmlsoap.org/soap/encoding/"
             xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
           <types><xs:schema targetNamespace="urn:t" elementFormDefault="qualified">{schema}</xs:schema></types>
           <message name="In">{part}</message><message name="Out">{part}</message>
           <portType name="T"><operation name="Do"><input message="t:In"/><output message="t:Out"/></operation></portType>
           <binding name="B" type="t:T"><soap:binding style="{style}" transport="http://schemas.xmlsoap.org/soap/http"/>
             <operation name="Do"><soap:operation soapAction=""/><input>{body}</input><output>{body}</output></operation>
           </binding>
           <service name="S"><port name="P" binding="t:B"><soap:address location="http://h/"/></port></service>
           </definitions>"#
    );
    let files = Memory(HashMap::from([("a.wsdl".to_owned(), text.into_bytes())]));
    let model = wsdl::load(Path::new("a.wsdl"), &files).unwrap_or_else(|findings| panic!("{findings:#?}"));
    model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).unwrap()
}

/// Every kind of content that a literal message may have.
fn literal() -> Operation {
    let schema = r###"<xs:element name="Do"><xs:complexType><xs:sequence>
         <xs:element name="s" type="xs:string" minOccurs="0"/><xs:element name="n" type="xs:decimal" minOccurs="0"/>
         <xs:element name="b" type="xs:boolean" minOccurs="0"/><xs:element name="l" type="xs:int" minOccurs="0" maxOccurs="9"/>
         <xs:element name="z" type="xs:int" nillable="true" minOccurs="0"/><xs:element name="q" type="xs:QName" minOccurs="0"/>
         <xs:element name="p" minOccurs="0"><xs:complexType><xs:simpleContent><xs:extension base="xs:decimal">
           <xs:attribute name="c" type="xs:string"/></xs:extension></xs:simpleContent></xs:complexType></xs:element>
         <xs:element name="w" type="t:Words" minOccurs="0"/><xs:element name="m" type="t:Mixed" minOccurs="0"/>
         <xs:element name="t" type="t:Tree" minOccurs="0"/><xs:element name="a" type="xs:anyType" minOccurs="0"/>
         <xs:sequence minOccurs="0" maxOccurs="9"><xs:element name="k" type="xs:token"/><xs:element name="v" type="t:Either"/>
         </xs:sequence><xs:any namespace="##other" processContents="lax" minOccurs="0" maxOccurs="9"/>
       </xs:sequence><xs:attribute name="x" type="xs:date"/></xs:complexType></xs:element>
       <xs:simpleType name="Words"><xs:list itemType="xs:NMTOKEN"/></xs:simpleType>
       <xs:simpleType name="Either"><xs:union memberTypes="xs:int xs:dateTime xs:string"/></xs:simpleType>
       <xs:complexType name="Mixed" mixed="true"><xs:sequence><xs:element name="i" type="xs:string" minOccurs="0" maxOccurs="9"/>
       </xs:sequence></xs:complexType>
       <xs:complexType name="Tree"><xs:choice maxOccurs="9"><xs:element name="leaf" type="xs:byte"/>
         <xs:element name="node" type="t:Tree"/></xs:choice></xs:complexType>"###;
    echo("document", schema, r#"<part name="parameters" element="t:Do"/>"#, r#"<soap:body use="literal"/>"#)
}

/// The same for an encoded one, with arrays and references.
fn encoded() -> Operation {
    let array = |name: &str, item: &str| {
        format!(
            r#"<xs:complexType name="{name}"><xs:complexContent><xs:restriction base="enc:Array">
               <xs:attribute ref="enc:arrayType" wsdl:arrayType="{item}"/></xs:restriction></xs:complexContent></xs:complexType>"#
        )
    };
    let schema = format!(
        r#"{}{}{}<xs:complexType name="Order"><xs:sequence><xs:element name="id" type="xs:string"/>
           <xs:element name="next" type="t:Order" nillable="true" minOccurs="0"/></xs:sequence></xs:complexType>"#,
        array("Ints", "xs:int[]"),
        array("Grid", "xs:int[,]"),
        array("Rows", "xs:int[][]"),
    );
    let parts = r#"<part name="order" type="t:Order"/><part name="ints" type="t:Ints"/><part name="grid" type="t:Grid"/>
        <part name="rows" type="t:Rows"/><part name="any" type="xs:anyType"/>"#;
    let body =
        r#"<soap:body use="encoded" namespace="urn:rpc" encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"/>"#;
    echo("rpc", &schema, parts, body)
}

static LITERAL: LazyLock<Operation> = LazyLock::new(literal);
static ENCODED: LazyLock<Operation> = LazyLock::new(encoded);

/// What a destination answers: a body, or after a line of the form `HTTP STATUS CONTENT-TYPE`.
pub fn response(data: &[u8]) {
    let mut status = 200;
    let mut content_type = "text/xml";
    let mut body = data;
    if let Some(rest) = data.strip_prefix(b"HTTP ")
        && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        && let Ok(line) = std::str::from_utf8(&rest[..end])
        && let Some((number, kind)) = line.split_once(' ')
        && let Ok(number) = number.parse()
    {
        (status, content_type, body) = (number, kind, &rest[end + 1..]);
    }
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    let response = Response { status, headers, body: body.to_vec().into(), cut: false };
    let reply = soap::read(&response);
    assert_eq!(reply, soap::read(&response), "twice the same");
    speaks(&reply);
    for operation in [&*LITERAL, &*ENCODED] {
        let reply = soap::decode(operation, &response);
        assert_eq!(reply, soap::decode(operation, &response), "twice the same");
        speaks(&reply);
        let _ = soap::misfits(operation, &response);
        if let Reply::Body(value) = reply {
            comes_back(operation, &value);
        }
    }
}

fn speaks(reply: &Reply) {
    match reply {
        Reply::Fault(fault) => {
            let _ = soap::fault::kind(fault);
        }
        Reply::Broken(reason) | Reply::Unreadable(reason) => assert!(!reason.is_empty()),
        Reply::Body(value) => drop(value.to_string()),
    }
}

/// What was read and can be written is read as the same again.
fn comes_back(operation: &Operation, value: &Value) {
    let Some(object) = value.as_object() else { return };
    // What no type says anything of is read by what it says of itself, and written by what it is.
    if object.contains_key("a") || object.contains_key("any") || value.to_string().contains("\"$") {
        return;
    }
    let Ok(encoded) = soap::encode(operation, value, &EncodeOptions::default()) else { return };
    if let Err(error) = soap::validate(operation, &encoded.body) {
        panic!("{error}: {value} is written as {}", encoded.body);
    }
    let body = encoded.body.clone().into_bytes().into();
    let response = Response { status: 200, headers: Vec::new(), body, cut: false };
    match soap::decode(operation, &response) {
        Reply::Body(again) => assert_eq!(&again, value, "{}", encoded.body),
        other => panic!("{value} is written as {} and read as {other:?}", encoded.body),
    }
}

/// The name of a stored configuration in what is said of it.
const STORED: &str = "stored configuration";

/// A configuration file, beside the files of the fixtures. No program runs and no secret is read: a reference stands for it.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let beside = [
        ("../wsdl/order-won.wsdl", ORDER_WON),
        ("../wsdl/erp.wsdl", ERP),
        ("../wsdl/erp.xsd", ERP_SCHEMA),
        ("../../wsdl/order-won.wsdl", ORDER_WON),
        ("../../wsdl/erp.wsdl", ERP),
        ("../../wsdl/erp.xsd", ERP_SCHEMA),
        ("countries.csv", COUNTRIES),
        ("files/good.csv", include_str!("../fixtures/config-errors/files/good.csv")),
        ("files/ragged.csv", include_str!("../fixtures/config-errors/files/ragged.csv")),
        ("files/wrong.xml.j2", include_str!("../fixtures/config-errors/files/wrong.xml.j2")),
    ];
    let mut files: BTreeMap<String, String> =
        beside.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    files.insert(".".to_owned(), "/nowhere".to_owned());
    files.insert(String::new(), text.to_owned());
    let stored = StoredConfig { files };
    match (config::load_stored_without_secrets(&stored), config::load_stored_without_secrets(&stored)) {
        (Ok(loaded), Ok(again)) => {
            assert_eq!(loaded.stored.files, again.stored.files);
            assert_eq!(loaded.warnings, again.warnings);
            loaded.warnings.iter().for_each(|warning| has_a_place(warning, text));
            let stored = config::load_stored_without_secrets(&loaded.stored).expect("what it needs is stored with it");
            assert_eq!(stored.stored.files, loaded.stored.files, "stored again it is the same");
            drop(format!("{loaded:?}"));
        }
        (Err(problems), Err(again)) => {
            assert_eq!(problems.0, again.0, "twice the same");
            assert!(problems.0.iter().any(|problem| problem.severity == config::Severity::Error));
            problems.0.iter().for_each(|problem| has_a_place(problem, text));
        }
        (one, _) => panic!("once it loads, once it does not: {one:?}"),
    }
}

/// A problem names the file, the line and the reason.
pub fn has_a_place(problem: &config::Problem, text: &str) {
    assert!(!problem.reason.is_empty() && !problem.file.is_empty(), "{problem:?}");
    if problem.file == STORED {
        let line = text.split('\n').nth(problem.line.wrapping_sub(1));
        let line = line.unwrap_or_else(|| panic!("a place outside of the file: {problem:?}"));
        assert!((1..=line.chars().count() + 2).contains(&problem.column), "a place outside of the line: {problem:?}");
    }
}

fn tables() -> Tables {
    let rows = HashMap::from([("Germany".to_owned(), "DE".to_owned()), ("Åland".to_owned(), "AX".to_owned())]);
    let strict = Table { rows: rows.clone(), ..Table::default() };
    let lenient = Table { rows, on_missing: expression::OnMissing::None };
    Tables(Arc::new(HashMap::from([("countries".to_owned(), strict), ("regions".to_owned(), lenient)])))
}

static TABLES: LazyLock<Tables> = LazyLock::new(tables);
static RECORD: LazyLock<Record> = LazyLock::new(|| {
    let envelope = read(CREATE, Some(&ORDER_TYPES)).unwrap();
    envelope.notifications[0].record().unwrap().clone()
});

fn subject(record: Option<&Record>) -> Subject<'_> {
    Subject {
        record,
        notification_id: "04l2400000Crea1AAG",
        received_at: Timestamp(1_764_000_000_000),
        organization_id: "00D24000000abcdEAA",
        action_id: "04k24000000HfHaAAK",
        enterprise_url: "https://acme.my.salesforce.com/services/Soap/c/61.0/00D24000000abcd",
        partner_url: "https://acme.my.salesforce.com/services/Soap/u/61.0/00D24000000abcd",
        source: "orders",
        after: None,
    }
}

/// An expression, a URL and a header with it in a hole, and a document.
pub fn expression(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let (whole, none) = (subject(Some(&RECORD)), subject(None));
    let body = json!({"OrderId": "47", "Lines": [{"Price": 1.50}, {"Price": null}]});
    let headers = [("retry-after".to_owned(), "120".to_owned())];
    let response = ResponseScope { status: 503, headers: &headers, fault: None, body: Some(&body) };
    match Expression::compile(source, &TABLES) {
        Ok(compiled) => {
            for (name, at) in compiled.names() {
                assert!(!name.is_empty() && source.is_char_boundary(at), "{name} at {at}");
            }
            let _ = (compiled.check_names(&expression::CALL_NAMES), compiled.keys());
            let _ = compiled.shapes(&|_| Vec::new());
            for subject in [&whole, &none] {
                let value = compiled.evaluate(subject);
                assert_eq!(value, compiled.evaluate(subject), "twice the same");
                assert_eq!(compiled.holds(subject), compiled.holds(subject));
            }
            assert_eq!(compiled.of_response(&response), compiled.of_response(&response));
        }
        Err(error) => says_where(&error, source),
    }
    fills(&format!("https://host.example/a/{{{{ {source} }}}}"), Place::Url, &whole);
    fills(source, Place::Header, &whole);
    match Document::compile("document.xml.j2", source, &TABLES) {
        Ok(document) => {
            let written = document.render(&whole);
            assert_eq!(written, document.render(&whole), "twice the same");
        }
        Err(error) => says_where(&error, source),
    }
}

fn says_where(error: &expression::ExpressionError, source: &str) {
    assert!(!error.reason.is_empty());
    assert!(error.offset.is_none_or(|at| source.is_char_boundary(at)), "{error:?} in {source:?}");
}

/// What stands in a hole changes neither the scheme nor the host.
fn fills(text: &str, place: Place, subject: &Subject<'_>) {
    match Template::compile(&Text::plain(text), place, &TABLES) {
        Ok(template) => {
            let filled = template.fill(subject).map(|filled| filled.reveal());
            assert_eq!(filled, template.fill(subject).map(|filled| filled.reveal()), "twice the same");
            if let (Ok(filled), Place::Url) = (&filled, place) {
                assert!(filled.starts_with("https://host.example/a/"), "{filled}");
            }
        }
        Err(error) => says_where(&error, text),
    }
}

/// A certificate that somebody shows.
pub fn certificate(data: &[u8]) {
    let read = Certificate::read(data);
    match read {
        Ok(certificate) => {
            let now = Timestamp(1_764_000_000_000);
            let _ = (certificate.expiry(now), certificate.term(now));
            drop(format!("{certificate:?}"));
            let _ = omgate::certificate::faults(&[certificate]);
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// The most that a PROXY header takes of a connection: version 2, with all that proxies may add (`receive::proxy`).
const PROXY_HEADER_MAX: usize = 16 + (4 << 10);
/// A proxy that is listed.
const LISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// A machine that is none.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// A time at which the certificate of the seeds holds.
const THEN: Timestamp = Timestamp(1_900_000_000_000);
const CLIENT: &[u8] = include_bytes!("corpus/certificate/client.der");

pub static PROXY: LazyLock<Proxy> = LazyLock::new(|| {
    let pins = vec![Certificate::read(CLIENT).unwrap().sha256];
    let rules = Rules { auth: ClientAuth::Required, pins, ..Rules::default() };
    let clients = Clients::new(&rules, &|_| Err(io::ErrorKind::NotFound.into())).unwrap();
    Proxy {
        addresses: Networks::new(vec![network::parse("10.0.0.0/8").unwrap(), network::parse("fd00::/8").unwrap()]),
        address_header: Some(Header::parse("X-Forwarded-For").unwrap()),
        certificate_header: Some(Header::parse("Client-Cert").unwrap()),
        protocol: Some(Protocol::Any),
        clients: clients.map(Arc::new),
    }
});

/// What was understood of a PROXY header, and how many bytes it took.
type Preamble = Result<(Option<SocketAddr>, usize), String>;

fn preamble(data: &[u8], protocol: Protocol) -> Preamble {
    let mut rest = data;
    let said = proxy::preamble(&mut rest, protocol).now_or_never().expect("bytes that are there need no waiting")?;
    Ok((said, data.len() - rest.len()))
}

/// What a connection begins with: the header of the PROXY protocol, and the headers of a request in which proxies speak.
pub fn front(data: &[u8]) {
    let any = preamble(data, Protocol::Any);
    let each = [Protocol::V1, Protocol::V2].map(|protocol| preamble(data, protocol));
    match &any {
        Ok((said, bytes)) => {
            assert!(each.contains(&any), "either version is one of the two: {each:?}");
            assert!(each.iter().any(Result::is_err), "and not both: {each:?}");
            assert!(*bytes <= PROXY_HEADER_MAX, "{bytes} bytes were taken");
            assert_eq!(preamble(&data[..*bytes], Protocol::Any), any, "what follows says nothing of it");
            assert!(preamble(&data[..bytes - 1], Protocol::Any).is_err(), "it has an end");
            said.iter().for_each(said_again);
        }
        Err(reason) => {
            assert!(each.iter().all(Result::is_err), "{reason}: {each:?}");
            assert!(!reason.is_empty() && reason.len() < 1_000, "{reason}");
            assert!(!reason.contains(char::is_control), "it would break a line of the log: {reason:?}");
        }
    }
    let rest = any.map_or(data, |(_, bytes)| &data[bytes..]);
    let headers = headers(rest);
    believes_listed_proxies_alone(&PROXY, &headers);
    lets_in_the_certificate_alone(&PROXY, &headers);
}

/// An address that a proxy said is understood as the same when it is written as the PROXY protocol has it.
fn said_again(address: &SocketAddr) {
    let (family, to) = if address.is_ipv4() { ("TCP4", "10.0.0.1") } else { ("TCP6", "::1") };
    let line = format!("PROXY {family} {} {to} {} 443\r\n", address.ip(), address.port());
    assert_eq!(preamble(line.as_bytes(), Protocol::V1), Ok((Some(*address), line.len())), "{line}");
}

/// The lines of a head that are headers.
pub fn headers(head: &[u8]) -> HeaderMap {
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let pairs = lines.filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    });
    let mut headers = HeaderMap::new();
    pairs.for_each(|(name, value)| headers.append(name, value));
    headers
}

fn caller(peer: IpAddr) -> Caller {
    Caller { peer, address: peer, certificate: None }
}

/// Who sent is who connected, or who a listed proxy says; whatever others wrote to the left of that changes nothing.
pub fn believes_listed_proxies_alone(known: &Proxy, headers: &HeaderMap) {
    assert_eq!(
        proxy::sender(Some(known), &caller(STRANGER), headers),
        STRANGER,
        "no proxy is believed that is not listed"
    );
    assert_eq!(proxy::sender(None, &caller(LISTED), headers), LISTED, "none is when none is listed");
    let sender = proxy::sender(Some(known), &caller(LISTED), headers);
    if known.addresses.contain(sender) {
        return;
    }
    let name = HeaderName::from_static("x-forwarded-for");
    let mut forged = HeaderMap::new();
    forged.append(name.clone(), HeaderValue::from_static("198.51.100.66, not an address"));
    headers.get_all(&name).for_each(|value| forged.append(name.clone(), value.clone()));
    assert_eq!(proxy::sender(Some(known), &caller(LISTED), &forged), sender, "what a sender wrote himself is believed");
}

/// Who shows no certificate is let in by no header but one that holds the certificate that is pinned, from a listed proxy.
pub fn lets_in_the_certificate_alone(known: &Proxy, headers: &HeaderMap) {
    assert!(proxy::identify(known, &caller(STRANGER), headers, THEN).is_err(), "a stranger is believed");
    let judged = proxy::identify(known, &caller(LISTED), headers, THEN);
    assert_eq!(judged.is_ok(), proxy::identify(known, &caller(LISTED), headers, THEN).is_ok(), "twice the same");
    match judged {
        Ok(()) => {
            let value = headers.get("client-cert").and_then(|value| value.to_str().ok()).expect("somebody was let in");
            let decoded = percent_decode_str(value).decode_utf8().expect("what is let in is text");
            let bare: String = decoded.chars().filter(|c| !c.is_whitespace()).collect();
            assert!(bare.contains(&STANDARD.encode(CLIENT)), "let in by {value}");
        }
        Err(refused) => assert!(!refused.reason.is_empty()),
    }
}

/// The bound of an unpacked body here: small, so that inputs reach it.
const BODY_MAX: usize = 64 << 10;

/// A body unpacked from pieces of one size, or why it was not.
fn unpack(packing: Packing, data: &[u8], piece: usize) -> Result<Vec<u8>, Stop> {
    let mut held = 0;
    let mut body = Unpacked::new(packing, BODY_MAX, 0, |more| {
        held += more;
        true
    });
    let whole = data.chunks(piece).try_for_each(|chunk| body.push(chunk)).and_then(|()| body.finish());
    let bytes = body.take();
    drop(body);
    assert!(held <= BODY_MAX, "{held} bytes were held");
    assert_eq!(bytes.len(), held, "what is held was asked for");
    whole.map(|()| bytes.to_vec())
}

/// The same by the library's own reader, which wants it whole.
fn unpacked_by_another(packing: Packing, data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = BODY_MAX as u64 + 1;
    match packing {
        Packing::Plain => return Some(data.to_vec()),
        Packing::Gzip => MultiGzDecoder::new(data).take(most).read_to_end(&mut bytes),
        Packing::Deflate => ZlibDecoder::new(data).take(most).read_to_end(&mut bytes),
    }
    .ok()
    .map(|_: usize| bytes)
}

fn pack(packing: Packing, data: &[u8]) -> Vec<u8> {
    let level = Compression::fast();
    let packed = match packing {
        Packing::Plain => Ok(data.to_vec()),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(data).and_then(|()| encoder.finish())
        }
        Packing::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(data).and_then(|()| encoder.finish())
        }
    };
    packed.expect("memory takes it")
}

/// A body that came packed: within its bounds, the same in whatever pieces it comes, and what was packed is what comes out.
pub fn packed(data: &[u8]) {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Deflate] {
        let whole = unpack(packing, data, usize::MAX);
        for piece in [1, 7, 1_000] {
            let again = unpack(packing, data, piece);
            assert_eq!(again.as_ref().ok(), whole.as_ref().ok(), "{packing:?} in pieces of {piece}");
        }
        match &whole {
            Ok(bytes) => {
                let other = unpacked_by_another(packing, data);
                assert_eq!(other.as_ref(), Some(bytes), "{packing:?}, by another reader");
                comes_out(packing, bytes);
            }
            Err(Stop::TooLarge) => {
                let other = unpacked_by_another(packing, data);
                assert!(other.is_none_or(|bytes| bytes.len() > BODY_MAX), "{packing:?} was not too large");
            }
            Err(Stop::Broken(error)) => assert!(!error.to_string().is_empty()),
            Err(Stop::NoRoom) => panic!("there was room"),
        }
        comes_out(packing, data);
    }
}

/// What is packed comes out as it was, or is too large.
fn comes_out(packing: Packing, data: &[u8]) {
    match unpack(packing, &pack(packing, data), 1_000) {
        Ok(bytes) => assert_eq!(bytes, data, "{packing:?}"),
        Err(stop) => assert!(data.len() > BODY_MAX && matches!(stop, Stop::TooLarge), "{packing:?}: {stop:?}"),
    }
}
