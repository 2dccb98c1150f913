//! SOAP destinations by their WSDLs: requests built, responses and faults read, wrong input named.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "tests say what failed, and what they skipped")]

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
    soap::encode(operation, argument, &EncodeOptions::default())
        .map_err(|error| format!("{} {}", error.path, error.reason))
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
    let addressing = Addressing {
        message_id: "urn:uuid:1".to_owned(),
        to: "http://erp.example/orders".to_owned(),
        must_understand: false,
    };
    let options = EncodeOptions { addressing: Some(addressing), ..EncodeOptions::default() };
    golden("create-order-addressing.xml", &soap::encode(&erp(None), &order(), &options).unwrap().body);
}

/// Compares with a file of `fixtures/soap`; `OMGATE_UPDATE=1` in the environment of the test run writes it.
#[expect(clippy::disallowed_methods, reason = "the switch of the test run, not of the gateway")]
fn golden(name: &str, text: &str) {
    let path = root().join("fixtures/soap").join(name);
    if std::env::var_os("OMGATE_UPDATE").is_some() {
        std::fs::write(&path, text).expect("can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name}");
}

/// The body's child without its declarations and prefixes: what is left is order, content and attributes.
fn plain(encoded: &Encoded) -> String {
    let document = roxmltree::Document::parse(&encoded.body).expect("well-formed");
    let mut out = String::new();
    let body = document.descendants().find(|node| node.tag_name().name() == "Body").expect("a body");
    for child in body.children() {
        write_plain(child, &mut out);
    }
    out
}

fn write_plain(node: roxmltree::Node<'_, '_>, out: &mut String) {
    if node.is_text() {
        out.push_str(node.text().unwrap_or_default());
        return;
    }
    let name = node.tag_name().name();
    out.push_str(&format!("<{name}"));
    for attribute in node.attributes() {
        out.push_str(&format!(" {}={}", attribute.name(), attribute.value()));
    }
    out.push('>');
    node.children().for_each(|child| write_plain(child, out));
    out.push_str(&format!("</{name}>"));
}

/// For each argument, what is written or what is said.
fn check(schema: &str, cases: &[(Value, &str)]) {
    let operation = operation(schema);
    for (argument, expected) in cases {
        let outcome = match encode(&operation, argument) {
            Ok(encoded) => plain(&encoded),
            Err(reason) => format!("! {reason}"),
        };
        assert_eq!(outcome, *expected, "for {argument}");
    }
}

#[test]
fn nothing_has_three_forms_absent_nil_and_empty() {
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="must" type="xs:string"/>
             <xs:element name="may" type="xs:string" minOccurs="0"/>
             <xs:element name="nil" type="xs:int" nillable="true"/>
             <xs:element name="both" type="xs:string" nillable="true" minOccurs="0"/>
             <xs:element name="box" minOccurs="0"><xs:complexType><xs:sequence>
               <xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:string" minOccurs="0"/>
             </xs:sequence></xs:complexType></xs:element>
           </xs:sequence></xs:complexType></xs:element>"#,
        &[
            (json!({"must": ""}), "<Do><must></must><nil nil=true></nil></Do>"),
            (json!({"must": "x", "may": "", "nil": 1, "both": null}), "<Do><must>x</must><may></may><nil>1</nil></Do>"),
            (
                json!({"must": "x", "nil": {"$nil": true}, "both": {"$nil": true}}),
                "<Do><must>x</must><nil nil=true></nil><both nil=true></both></Do>",
            ),
            (json!({"must": null}), "! Do.must is required and its value is none"),
            (json!({}), "! Do.must is required and nobody fills it"),
            (json!(null), "! Do.must is required and nobody fills it"),
            (json!({"must": {"$nil": true}}), "! Do.must is not nillable, so $nil is wrong"),
            (json!({"must": "x", "box": {"a": null, "b": null}}), "<Do><must>x</must><nil nil=true></nil></Do>"),
            (json!({"must": "x", "box": {"a": null, "b": "y"}}), "! Do.box.a is required and its value is none"),
            (json!({"must": "x", "box": {}}), "! Do.box.a is required and nobody fills it"),
            (json!({"must": "x", "nil": ""}), "! Do.nil = \"\" is no xs:int: it is empty"),
        ],
    );
}

#[test]
fn an_absent_parent_is_reported_by_what_is_missing_in_it() {
    assert_eq!(
        encode(&erp(None), &json!({"OrderNumber": "1", "Total": 1, "Currency": "EUR"})).unwrap_err(),
        "CreateOrder.Customer.Id is required and nobody fills it"
    );
}

#[test]
fn values_are_checked_before_they_are_sent_and_the_rule_is_named() {
    let operation = erp(None);
    for (path, value, expected) in [
        ("/Total", json!("12.345"), "CreateOrder.Total = \"12.345\" has 3 decimal places; fractionDigits is 2"),
        ("/Total", json!("12,5"), "CreateOrder.Total = \"12,5\" is no xs:decimal (no commas)"),
        (
            "/Total",
            json!("12345678901234567.89"),
            "CreateOrder.Total = \"12345678901234567.89\" has 19 digits; totalDigits is 18",
        ),
        ("/Total", json!(true), "CreateOrder.Total = \"true\" is no xs:decimal"),
        ("/Total", json!([1, 2]), "CreateOrder.Total comes 2 times; at most 1 fit"),
        ("/Total", json!({"a": 1}), "CreateOrder.Total holds text and has no a"),
        (
            "/Currency",
            json!("EURO"),
            "CreateOrder.Currency = \"EURO\" is not one of EUR, USD, GBP, CHF, JPY; did you mean \"EUR\"?",
        ),
        ("/Country", json!("Germany"), "CreateOrder.Country = \"Germany\" is 7 long; maxLength is 2"),
        ("/Customer", json!("text"), "CreateOrder.Customer holds elements, but is given a text"),
        ("/Customer/Id", json!(""), "CreateOrder.Customer.Id = \"\" is 0 long; minLength is 1"),
        ("/Customer/Nmae", json!("x"), "CreateOrder.Customer has no Nmae; did you mean Name?"),
        ("/Lines/1/Quantity", json!("0"), "CreateOrder.Lines[2].Quantity \"0\""),
        ("/@priority", json!("high"), "CreateOrder.@priority = \"high\" is not one of normal, urgent"),
        ("/@prioritty", json!("x"), "CreateOrder has no attribute prioritty; did you mean priority?"),
        ("/Ordernumber", json!("x"), "CreateOrder has no Ordernumber; did you mean OrderNumber?"),
        (
            "/OrderNumber",
            json!("a\u{1}b"),
            "CreateOrder.OrderNumber holds the character U+0001, which XML cannot carry",
        ),
        ("/OrderNumber", json!("漢".repeat(81)), "is 81 long; maxLength is 80"),
    ] {
        let mut order = order();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let object = order.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        object.insert(key.to_owned(), value);
        let reason = encode(&operation, &order).unwrap_err();
        let expected = expected.split(" \"0\"").next().unwrap();
        assert!(reason.contains(expected), "{path}: {reason}");
        assert!(reason.len() < 300, "the value is cut: {reason}");
    }
}

#[test]
fn numbers_and_booleans_keep_the_form_their_type_has() {
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="d" type="xs:decimal" minOccurs="0"/><xs:element name="s" type="xs:string" minOccurs="0"/>
             <xs:element name="b" type="xs:boolean" minOccurs="0"/><xs:element name="i" type="xs:int" minOccurs="0"/>
             <xs:element name="f" type="xs:double" minOccurs="0"/><xs:element name="x" minOccurs="0"/>
           </xs:sequence></xs:complexType></xs:element>"#,
        &[
            (
                serde_json::from_str(r#"{"d": 12345678901234567890.10, "s": 1.50, "b": true, "f": 1e5}"#).unwrap(),
                "<Do><d>12345678901234567890.10</d><s>1.50</s><b>true</b><f>1e+5</f></Do>",
            ),
            (serde_json::from_str(r#"{"d": 1.5e3}"#).unwrap(), "<Do><d>1500</d></Do>"),
            (serde_json::from_str(r#"{"d": 1e999999}"#).unwrap(), "! Do.d = \"1e+999999\" is no xs:decimal"),
            (json!({"i": " 7 "}), "<Do><i>7</i></Do>"),
            (json!({"i": 3.0}), "! Do.i = \"3.0\" is no xs:int (digits only, no point): int makes it one"),
            (json!({"b": "True"}), "! Do.b = \"True\" is no xs:boolean (true, false, 1 or 0, in lower case)"),
            (json!({"x": "any & all"}), "<Do><x>any & all</x></Do>"),
            (json!({"x": {"$xml": "<a xmlns='urn:x'><b/></a>"}}), "<Do><x><a><b></b></a></x></Do>"),
            (
                json!({"x": {"$xml": "<a>"}}),
                "! Do.x has an $xml that is not well-formed: ill-formed document: expected `</a>`, but `</x>` was found",
            ),
        ],
    );
}

#[test]
fn choices_take_the_branch_that_is_given_and_only_one() {
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:choice><xs:element name="a" type="xs:string"/>
               <xs:sequence><xs:element name="b" type="xs:string"/><xs:element name="c" type="xs:string" minOccurs="0"/>
               </xs:sequence>
               <xs:sequence><xs:element name="b" type="xs:string"/><xs:element name="d" type="xs:string"/></xs:sequence>
             </xs:choice>
             <xs:choice minOccurs="0" maxOccurs="unbounded">
               <xs:element name="x" type="xs:string"/><xs:element name="y" type="xs:string"/></xs:choice>
           </xs:sequence></xs:complexType></xs:element>"#,
        &[
            (json!({"a": 1}), "<Do><a>1</a></Do>"),
            (json!({"c": 2, "b": 1}), "<Do><b>1</b><c>2</c></Do>"),
            (json!({"d": 2, "b": 1}), "<Do><b>1</b><d>2</d></Do>"),
            (json!({"b": 1, "a": null, "c": null}), "<Do><b>1</b></Do>"),
            (json!({"a": 1, "b": 2}), "! Do is given a and b, but needs exactly one of a, (b c), (b d)"),
            (json!({}), "! Do needs exactly one of a, (b c), (b d)"),
            (json!({"c": 1}), "! Do.b is required and nobody fills it"),
            (json!({"a": 1, "y": ["1", "2"], "x": "3"}), "<Do><a>1</a><y>1</y><y>2</y><x>3</x></Do>"),
        ],
    );
}

#[test]
fn occurrences_hold_at_every_level() {
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:sequence minOccurs="0" maxOccurs="unbounded">
               <xs:element name="k" type="xs:string"/><xs:element name="v" type="xs:string" minOccurs="0"/></xs:sequence>
             <xs:element name="two" type="xs:string" minOccurs="0" maxOccurs="2"/>
             <xs:element name="least" type="xs:string" minOccurs="2" maxOccurs="3"/>
           </xs:sequence></xs:complexType></xs:element>"#,
        &[
            (
                json!({"k": ["a", "b"], "v": ["1", "2"], "least": [1, 2]}),
                "<Do><k>a</k><v>1</v><k>b</k><v>2</v><least>1</least><least>2</least></Do>",
            ),
            (json!({"two": [1, 2, 3], "least": [1, 2]}), "! Do.two comes 3 times; at most 2 fit"),
            (json!({"least": 1}), "! Do.least comes 1 times; at least 2 are required"),
            (json!({"v": "1", "least": [1, 2]}), "! Do.k is required and nobody fills it"),
            (json!({"two": [], "least": [1, 2]}), "<Do><least>1</least><least>2</least></Do>"),
        ],
    );
}

#[test]
fn groups_extension_restriction_and_derived_types_are_followed() {
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="shape" type="t:Shape"/><xs:group ref="t:Pair" minOccurs="0"/>
             <xs:element ref="t:head" minOccurs="0" maxOccurs="unbounded"/>
             <xs:element name="price" type="t:Price" minOccurs="0"/>
             </xs:sequence><xs:attributeGroup ref="t:Marks"/></xs:complexType></xs:element>
           <xs:complexType name="Shape" abstract="true"><xs:sequence><xs:element name="id" type="xs:string"/></xs:sequence>
           </xs:complexType>
           <xs:complexType name="Circle"><xs:complexContent><xs:extension base="t:Shape"><xs:sequence>
             <xs:element name="radius" type="xs:decimal"/></xs:sequence><xs:attribute name="unit" use="required"/>
             </xs:extension></xs:complexContent></xs:complexType>
           <xs:complexType name="Unrelated"><xs:sequence/></xs:complexType>
           <xs:group name="Pair"><xs:all><xs:element name="x" type="xs:int"/><xs:element name="y" type="xs:int"/></xs:all></xs:group>
           <xs:attributeGroup name="Marks"><xs:attribute name="m" type="xs:int" fixed="7"/>
             <xs:attribute name="l" type="t:Ints"/></xs:attributeGroup>
           <xs:simpleType name="Ints"><xs:list itemType="xs:int"/></xs:simpleType>
           <xs:element name="head" abstract="true" type="xs:string"/>
           <xs:element name="member" substitutionGroup="t:head"/>
           <xs:complexType name="Price"><xs:simpleContent><xs:restriction base="t:Money"><xs:maxInclusive value="100"/>
             </xs:restriction></xs:simpleContent></xs:complexType>
           <xs:complexType name="Money"><xs:simpleContent><xs:extension base="xs:decimal">
             <xs:attribute name="currency" use="required" type="xs:NCName"/></xs:extension></xs:simpleContent></xs:complexType>"#,
        &[
            (
                json!({"shape": {"$type": "Circle", "radius": 2, "id": "c", "@unit": "mm"}, "y": 1, "x": 2, "member": ["p", "q"]}),
                "<Do><shape type=ns1:Circle unit=mm><id>c</id><radius>2</radius></shape><x>2</x><y>1</y><member>p</member><member>q</member></Do>",
            ),
            (json!({"shape": {"id": "c"}}), "! Do.shape is of the abstract type Shape: say which in $type"),
            (
                json!({"shape": {"$type": "Circel", "id": "c"}}),
                "! Do.shape has the $type \"Circel\", which is no type derived from its own; did you mean Circle?",
            ),
            (
                json!({"shape": {"$type": "Unrelated"}}),
                "! Do.shape has the $type \"Unrelated\", which is no type derived from its own",
            ),
            (
                json!({"shape": {"$type": "Circle", "id": "c", "radius": 1}}),
                "! Do.shape.@unit is required and nobody fills it",
            ),
            (
                json!({"shape": {"$type": "{urn:t}Circle", "id": "c", "radius": 1, "@unit": "x"}, "@m": 7, "@l": [1, 2],
                       "price": {"$value": 99.5, "@currency": "EUR"}}),
                "<Do m=7 l=1 2><shape type=ns1:Circle unit=x><id>c</id><radius>1</radius></shape><price currency=EUR>99.5</price></Do>",
            ),
            (
                json!({"shape": {"$type": "Circle", "id": "c", "radius": 1, "@unit": "x"}, "@m": 8}),
                "! Do.@m is \"8\", but the schema fixes it to \"7\"",
            ),
            (
                json!({"shape": {"$type": "Circle", "id": "c", "radius": 1, "@unit": "x"}, "price": {"$value": 101, "@currency": "EUR"}}),
                "! Do.price = \"101\" is out of bounds; maxInclusive is 100",
            ),
        ],
    );
}

#[test]
fn each_name_has_the_namespace_its_own_schema_gives_it() {
    let wsdl = around(
        r#"<xs:import namespace="urn:u" schemaLocation="u.xsd"/><xs:include schemaLocation="sub/chameleon.xsd"/>
           <xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="q" type="xs:string"/><xs:element name="n" type="xs:string" form="unqualified"/>
             <xs:element ref="u:r" xmlns:u="urn:u"/><xs:element name="c" type="t:Chameleon"/>
             </xs:sequence><xs:attribute ref="u:a" xmlns:u="urn:u"/></xs:complexType></xs:element>"#,
    );
    let imported = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:u" targetNamespace="urn:u">
        <xs:import namespace="urn:t" schemaLocation="w.wsdl"/>
        <xs:attribute name="a" type="xs:string"/><xs:element name="r" type="R"/>
        <xs:complexType name="R"><xs:sequence><xs:element name="in" type="xs:string"/></xs:sequence></xs:complexType></xs:schema>"#;
    let chameleon = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">
        <xs:include schemaLocation="./chameleon.xsd"/>
        <xs:complexType name="Chameleon"><xs:sequence><xs:element name="leaf" type="Leaf"/></xs:sequence></xs:complexType>
        <xs:simpleType name="Leaf"><xs:restriction base="xs:string"/></xs:simpleType></xs:schema>"#;
    // The import back to the WSDL names no schema: its namespace is there already, so it does not matter.
    let imported = imported.replace(" schemaLocation=\"w.wsdl\"", "");
    let files = [("w/a.wsdl", wsdl.as_str()), ("w/u.xsd", imported.as_str()), ("w/sub/chameleon.xsd", chameleon)];
    let model = load(&files).unwrap();
    assert_eq!(model.findings(), []);
    let operation = model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).unwrap();
    let encoded = encode(&operation, &json!({"q": 1, "n": 2, "r": {"in": 3}, "c": {"leaf": 4}, "@a": 5})).unwrap();
    assert_eq!(
        body(&encoded),
        "<ns1:Do xmlns:ns1=\"urn:t\" xmlns:ns2=\"urn:u\" ns2:a=\"5\"><ns1:q>1</ns1:q><n>2</n>\
         <ns2:r><in>3</in></ns2:r><ns1:c><ns1:leaf>4</ns1:leaf></ns1:c></ns1:Do>"
    );
}

#[test]
fn rpc_literal_and_bare_messages_take_their_parts_by_name() {
    let rpc = around(
        r#"<xs:element name="Do" type="xs:string"/><xs:complexType name="P"><xs:sequence>
        <xs:element name="x" type="xs:int"/></xs:sequence></xs:complexType>"#,
    )
    .replace("style=\"document\"", "style=\"rpc\"")
    .replace("<soap:body use=\"literal\"/>", "<soap:body use=\"literal\" namespace=\"urn:rpc\"/>")
    .replacen("element=\"t:Do\"", "type=\"t:P\"", 1);
    let rpc = rpc.replacen("element=\"t:Do\"", "type=\"t:P\"", 1);
    let model = load(&[("a.wsdl", &rpc)]).unwrap();
    let operation = model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).unwrap();
    assert_eq!(operation.style(), Style::RpcLiteral);
    let encoded = encode(&operation, &json!({"parameters": {"x": 1}})).unwrap();
    assert_eq!(
        body(&encoded),
        "<ns1:Do xmlns:ns1=\"urn:rpc\" xmlns:ns2=\"urn:t\"><parameters><ns2:x>1</ns2:x></parameters></ns1:Do>"
    );
    assert_eq!(encode(&operation, &json!({})).unwrap_err(), "Do.parameters is required and nobody fills it");
    let answer = "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body><r:DoResponse xmlns:r='urn:rpc'>\
                  <parameters><x>07</x></parameters></r:DoResponse></e:Body></e:Envelope>";
    let reply = soap::decode(&operation, &response(200, "text/xml", answer));
    assert_eq!(reply, Reply::Body(json!({"parameters": {"x": 7}})));

    let bare = around(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence><xs:element name="x" type="xs:int"/>
        </xs:sequence></xs:complexType></xs:element>"#,
    )
    .replace("operation name=\"Do\"", "operation name=\"Other\"");
    let model = load(&[("a.wsdl", &bare)]).unwrap();
    let operation = model.operation(&OperationChoice { operation: "Other", ..OperationChoice::default() }).unwrap();
    assert_eq!(operation.style(), Style::DocumentBare);
    for argument in [json!({"x": 1}), json!({"parameters": {"x": 1}}), json!({"Do": {"x": 1}})] {
        assert_eq!(
            body(&encode(&operation, &argument).unwrap()),
            "<ns1:Do xmlns:ns1=\"urn:t\"><ns1:x>1</ns1:x></ns1:Do>"
        );
    }
}

#[test]
fn unknown_names_are_answered_with_the_nearest_one() {
    let model = wsdl::load(&root().join("wsdl/erp.wsdl"), &Disk).unwrap();
    for (service, port, operation, expected) in [
        (None, None, "CreatOrder", "the WSDL has no operation \"CreatOrder\"; did you mean \"CreateOrder\"?"),
        (None, None, "xyz", "the WSDL has no operation \"xyz\"; it has CreateOrder"),
        (
            None,
            Some("OrderSoap"),
            "CreateOrder",
            "the WSDL has no SOAP port \"OrderSoap\"; did you mean \"OrdersSoap\"?",
        ),
        (Some("Order"), None, "CreateOrder", "the WSDL has no service \"Order\"; did you mean \"Orders\"?"),
    ] {
        let error = model.operation(&OperationChoice { service, port, operation }).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn target_paths_resolve_or_name_the_nearest() {
    let operation = erp(None);
    let target = operation.resolve(&["Total"]).unwrap();
    assert_eq!((target.required, target.repeated, target.simple), (true, false, true));
    assert_eq!((target.builtin.as_str(), target.fraction_digits), ("decimal", Some(2)));
    assert!(operation.resolve(&["Lines"]).unwrap().repeated);
    assert!(operation.resolve(&["Comment"]).unwrap().nillable);
    assert_eq!(operation.resolve(&["Country"]).unwrap().max_length, Some(2));
    assert_eq!(operation.resolve(&["@priority"]).unwrap().enumeration, ["normal", "urgent"]);
    assert!(!operation.resolve(&["Customer"]).unwrap().simple);
    for (path, reason) in [
        (vec!["Customer", "id"], "CreateOrder.Customer has no id; did you mean Id?"),
        (vec!["Customer", "Id", "x"], "CreateOrder.Customer.Id has no x; it holds text, no elements"),
        (
            vec!["zzz"],
            "CreateOrder has no zzz; it has OrderNumber, Total, Currency, Country, Customer, Lines, Comment, @priority",
        ),
    ] {
        assert_eq!(operation.resolve(&path).unwrap_err().to_string(), reason);
    }
    assert_eq!(operation.required_leaves(), ["OrderNumber", "Total", "Currency", "Customer.Id"]);
}

#[test]
fn a_list_or_union_that_is_made_of_itself_is_refused() {
    for types in [
        r#"<xs:simpleType name="A"><xs:restriction base="t:B"/></xs:simpleType>
           <xs:simpleType name="B"><xs:union memberTypes="t:A xs:int"/></xs:simpleType>"#,
        r#"<xs:simpleType name="A"><xs:union memberTypes="xs:int t:A"/></xs:simpleType>"#,
        r#"<xs:simpleType name="A"><xs:list itemType="t:B"/></xs:simpleType>
           <xs:simpleType name="B"><xs:union memberTypes="xs:int t:A"/></xs:simpleType>"#,
    ] {
        let findings =
            load(&[("w/a.wsdl", &around(&format!(r#"{types}<xs:element name="Do" type="t:A"/>"#)))]).unwrap_err();
        assert!(findings.iter().any(|finding| finding.rule == "src-simple-type.4"), "{findings:?}");
    }
}

#[test]
fn header_blocks_are_found_checked_and_written_by_their_names() {
    let schema = r#"<xs:element name="Do"><xs:complexType><xs:sequence><xs:element name="A" type="xs:int"/></xs:sequence>
        </xs:complexType></xs:element><xs:element name="Session"><xs:complexType><xs:sequence>
        <xs:element name="Key" type="xs:int"/></xs:sequence></xs:complexType></xs:element>"#;
    let wsdl = around(schema)
        .replace("<portType", "<message name='H'><part name='session' element='t:Session'/></message><portType")
        .replacen("<soap:body use=\"literal\"/>", "<soap:header message='t:H' part='session' use='literal'/>$0", 1)
        .replacen("$0", "<soap:body use=\"literal\"/>", 1);
    let model = load(&[("w/a.wsdl", &wsdl)]).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let operation = model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).unwrap();
    for name in ["Session", "session"] {
        assert_eq!(operation.resolve(&["$header", name, "Key"]).unwrap().builtin, "int");
    }
    for (path, reason) in [
        (["$header", "Sesion"], "Do.$header has no Sesion; did you mean Session?"),
        (["$heade", "Session"], "Do has no $heade; it has A"),
    ] {
        assert_eq!(operation.resolve(&path).unwrap_err().to_string(), reason);
    }
    let encoded = encode(&operation, &json!({"A": 1, "$header": {"Session": {"Key": 7}}})).unwrap();
    let header = encoded.body.split("<soapenv:Body>").next().unwrap();
    assert!(header.contains(":Key>7</"), "{header}");
    let refused = encode(&operation, &json!({"A": 1, "$header": {"Session": {"Key": "x"}}})).unwrap_err();
    assert!(refused.starts_with("Do.$header.session.Key = \"x\""), "{refused}");
    let bare = self::operation(r#"<xs:element name="Do" type="xs:string"/>"#);
    let error = bare.resolve(&["$header", "X"]).unwrap_err().to_string();
    assert_eq!(error, "Do.$header has no X; the WSDL binds no header");
}

fn envelope(version: Version, body: &str) -> String {
    let namespace = match version {
        Version::Soap11 => "http://schemas.xmlsoap.org/soap/envelope/",
        Version::Soap12 => "http://www.w3.org/2003/05/soap-envelope",
    };
    format!(
        "<S:Envelope xmlns:S='{namespace}' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><S:Header/><S:Body>{body}</S:Body></S:Envelope>"
    )
}

#[test]
fn responses_are_typed_by_the_model() {
    let operation = operation(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="s" type="xs:string" minOccurs="0"/><xs:element name="n" type="xs:decimal" minOccurs="0"/>
             <xs:element name="b" type="xs:boolean" minOccurs="0"/><xs:element name="l" type="xs:int" minOccurs="0" maxOccurs="9"/>
             <xs:element name="z" type="xs:int" nillable="true" minOccurs="0"/>
             <xs:element name="p" minOccurs="0"><xs:complexType><xs:simpleContent><xs:extension base="xs:decimal">
               <xs:attribute name="c" type="xs:string"/></xs:extension></xs:simpleContent></xs:complexType></xs:element>
           </xs:sequence></xs:complexType></xs:element>"#,
    );
    for (content, expected) in [
        ("<s> 007 </s>", json!({"s": " 007 "})),
        ("<s/>", json!({"s": ""})),
        ("<s>a&amp;<![CDATA[<b>]]>&#xe9;</s>", json!({"s": "a&<b>é"})),
        ("<z xsi:nil='true'/><l>1</l>", json!({"z": null, "l": [1]})),
        ("<l>1</l><l>2</l>", json!({"l": [1, 2]})),
        ("<b> 1 </b>", json!({"b": true})),
        ("<b>maybe</b>", json!({"b": "maybe"})),
        ("<p c='EUR'>1.0</p>", serde_json::from_str(r#"{"p": {"@c": "EUR", "$value": 1.0}}"#).unwrap()),
        ("<other><a/><a>x</a></other>", json!({"other": {"a": ["", "x"]}})),
        ("", json!({})),
    ] {
        for namespace in ["urn:t", "", "urn:wrong"] {
            let body = envelope(Version::Soap12, &format!("<Do xmlns='{namespace}'>{content}</Do>"));
            let reply = soap::decode(&operation, &response(200, "application/soap+xml", &body));
            assert_eq!(reply, Reply::Body(expected.clone()), "{content} in {namespace:?}");
        }
    }
    for (text, digits) in [
        ("12345678901234567890.1200", "12345678901234567890.1200"),
        ("+007", "7"),
        (".5", "0.5"),
        ("-0.0", "-0.0"),
        ("5.", "5"),
    ] {
        let body = envelope(Version::Soap11, &format!("<Do xmlns='urn:t'><n>{text}</n></Do>"));
        let Reply::Body(value) = soap::decode(&operation, &response(200, "text/xml", &body)) else { panic!("{text}") };
        assert_eq!(value["n"].to_string(), digits);
    }
}

#[test]
fn what_is_encoded_is_decoded_the_same() {
    let operation = operation(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="s" type="xs:string" minOccurs="0" maxOccurs="unbounded"/>
             <xs:element name="n" type="xs:decimal" minOccurs="0"/><xs:element name="b" type="xs:boolean" minOccurs="0"/>
           </xs:sequence><xs:attribute name="a" type="xs:string"/></xs:complexType></xs:element>"#,
    );
    proptest::proptest!(|(
        texts in proptest::collection::vec("[ -~\\t\\n\\réÀ漢\u{10000}]{0,12}", 1..4),
        attribute in "[ -~\\t\\n\\ré]{0,8}",
        whole in proptest::num::i64::ANY,
        truth in proptest::bool::ANY,
    )| {
        let argument = json!({"@a": attribute, "s": texts, "n": whole, "b": truth});
        let encoded = encode(&operation, &argument).unwrap();
        let reply = soap::decode(&operation, &response(200, "text/xml", &encoded.body));
        proptest::prop_assert_eq!(reply, Reply::Body(argument));
    });
}

#[test]
fn faults_are_read_in_every_form_servers_send() {
    let older = "http://schemas.xmlsoap.org/soap/envelope/";
    let fault = |code: &str, namespace: &str, string: &str| Fault {
        code: code.to_owned(),
        code_namespace: namespace.to_owned(),
        string: string.to_owned(),
        ..Fault::default()
    };
    let cases = [
        (Version::Soap11, "<S:Fault><faultcode>S:Client</faultcode><faultstring> no </faultstring></S:Fault>".to_owned(), fault("Client", older, "no")),
        (Version::Soap11, "<S:Fault><faultcode>Client</faultcode><faultstring/><detail/></S:Fault>".to_owned(), fault("Client", "", "")),
        (Version::Soap11, "<S:Fault><faultcode>gone:Server</faultcode></S:Fault>".to_owned(), fault("Server", "", "")),
        (
            Version::Soap11,
            format!("<Fault xmlns='{older}'><faultcode>S:Server.Busy</faultcode><faultstring>a &amp; b</faultstring><faultactor>me</faultactor><detail> <d xmlns='urn:d' x='1'/><e xmlns=''>t</e></detail></Fault>"),
            Fault {
                subcodes: vec!["Busy".to_owned()],
                subcode_namespaces: vec![String::new()],
                actor: Some("me".to_owned()),
                detail: Some("<d xmlns='urn:d' x='1'/><e xmlns=''>t</e>".to_owned()),
                ..fault("Server.Busy", older, "a & b")
            },
        ),
        (
            Version::Soap12,
            "<S:Fault><S:Code><S:Value>S:Sender</S:Value><S:Subcode><S:Value xmlns:w='urn:w'>w:Bad</S:Value><S:Subcode><S:Value>Worse</S:Value></S:Subcode></S:Subcode></S:Code>\
             <S:Reason><S:Text xml:lang='de'>nein</S:Text><S:Text xml:lang='en-US'>no</S:Text></S:Reason><S:Role>r</S:Role><S:Detail>just text</S:Detail></S:Fault>".to_owned(),
            Fault {
                subcodes: vec!["Bad".to_owned(), "Worse".to_owned()],
                subcode_namespaces: vec!["urn:w".to_owned(), String::new()],
                actor: Some("r".to_owned()),
                detail: Some("just text".to_owned()),
                ..fault("Sender", "http://www.w3.org/2003/05/soap-envelope", "no")
            },
        ),
        (Version::Soap12, "<S:Fault/>".to_owned(), Fault::default()),
    ];
    for (version, body, expected) in cases {
        for status in [200, 400, 500] {
            let answer = response(status, "text/html", &envelope(version, &body));
            let Reply::Fault(fault) = soap::decode(&erp(None), &answer) else { panic!("{body}") };
            assert_eq!(Fault { content: Value::Null, ..fault }, expected, "{body}");
            assert_eq!(soap::read(&answer), Reply::Fault(expected.clone()));
        }
    }
}

#[test]
fn a_faults_kind_says_whose_it_is() {
    for (code, subcode, expected) in [
        ("Client", None, FaultKind::Client),
        ("client.Bad", None, FaultKind::Client),
        ("Sender", None, FaultKind::Client),
        ("Server.userException", None, FaultKind::Server),
        ("Receiver", None, FaultKind::Server),
        ("VersionMismatch", None, FaultKind::VersionMismatch),
        ("MustUnderstand", None, FaultKind::MustUnderstand),
        ("FailedAuthentication", None, FaultKind::Security),
        ("Sender", Some("InvalidSecurity"), FaultKind::Security),
        ("Client.Authentication", None, FaultKind::Security),
        ("MessageExpired", None, FaultKind::Security),
        ("INVALID_LOGIN", None, FaultKind::Other),
        ("", None, FaultKind::Other),
    ] {
        let fault = Fault {
            code: code.to_owned(),
            subcodes: subcode.map(str::to_owned).into_iter().collect(),
            ..Fault::default()
        };
        assert_eq!(kind(&fault), expected, "{code} {subcode:?}");
    }
}

#[test]
fn what_is_no_soap_is_said_in_words() {
    let operation = erp(None);
    for (content_type, body, expected) in [
        (
            "text/html",
            "<!DOCTYPE html><html><head><TITLE>\n Service Unavailable</TITLE><body><br></html>",
            "an HTML page titled \"Service Unavailable\"",
        ),
        ("text/html", "<html><title></title></html>", "an HTML page"),
        ("application/json", "{\"error\": true}", r#"JSON and no SOAP: "{\"error\": true}""#),
        ("text/plain", "upstream connect error", "text and no SOAP: \"upstream connect error\""),
        ("text/xml", "", "an empty answer"),
        ("text/xml", "<a/>", "XML that is no SOAP envelope, but begins with \"a\""),
        ("text/xml", "<Envelope/>", "a SOAP envelope without a body"),
        ("text/xml", "<a>", "XML that cannot be read: line 1, column 4: \"ends before its root element does\""),
        (
            "text/xml",
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
            "XML that cannot be read: line 1, column 1: has a DOCTYPE, which is never read",
        ),
        ("text/xml; charset=klingon", "<a/>", "an answer that is in the unknown encoding \"klingon\""),
    ] {
        assert_eq!(
            soap::decode(&operation, &response(200, content_type, body)),
            Reply::Unreadable(expected.to_owned()),
            "{body}"
        );
    }
    let deep = envelope(Version::Soap11, &format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000)));
    let Reply::Unreadable(reason) = soap::decode(&operation, &response(200, "text/xml", &deep)) else { panic!() };
    assert!(reason.contains("deeper than 256"), "{reason}");
}

#[test]
fn charsets_of_answers_are_honoured() {
    let text = envelope(
        Version::Soap11,
        "<CreateOrderResponse xmlns='urn:example:erp:orders'><OrderId>é</OrderId></CreateOrderResponse>",
    );
    let expected = Reply::Body(json!({"OrderId": "é"}));
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let mut wide: Vec<u8> = vec![0xfe, 0xff];
    wide.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    for (content_type, body) in [
        ("text/xml; charset=\"iso-8859-1\"", latin.clone()),
        ("text/xml;action=x; CHARSET=utf-8", text.as_bytes().to_vec()),
        ("text/xml", [b"<?xml version='1.0' encoding='latin1'?>".as_slice(), &latin].concat()),
        ("text/xml; charset=utf-8", wide),
    ] {
        let answer = Response { body: body.into(), ..response(200, content_type, "") };
        assert_eq!(soap::decode(&erp(None), &answer), expected, "{content_type}");
    }
}

#[test]
fn an_empty_answer_is_right_for_one_way_operations_and_for_202() {
    let wsdl = around("<xs:element name=\"Do\" type=\"xs:string\"/>").replace("<output message=\"t:Out\"/>", "");
    let model = load(&[("a.wsdl", &wsdl)]).unwrap();
    let one_way = model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).unwrap();
    assert!(one_way.is_one_way());
    assert_eq!(soap::decode(&one_way, &response(200, "", " \r\n")), Reply::Body(Value::Null));
    assert_eq!(soap::decode(&erp(None), &response(202, "", "")), Reply::Body(Value::Null));
    assert_eq!(soap::decode(&one_way, &response(500, "", "")), Reply::Unreadable("an empty answer".to_owned()));
}

#[test]
fn garbage_never_panics() {
    let operation = erp(None);
    let seed = envelope(
        Version::Soap11,
        "<S:Fault><faultcode>S:Client</faultcode><detail><a b='c'>&amp;</a></detail></S:Fault>",
    );
    proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), at in 0usize..300, cut in 0usize..300)| {
        let mut body = seed.clone().into_bytes();
        let at = at.min(body.len());
        body.splice(at..at, bytes.iter().copied());
        body.truncate(body.len().saturating_sub(cut));
        for body in [body, bytes] {
            let answer = Response { body: body.clone().into(), ..response(200, "text/xml", "") };
            let _ = soap::decode(&operation, &answer);
            let _ = soap::read_ack(&body);
            let _ = wsdl::load(Path::new("a.wsdl"), &Memory(HashMap::from([("a.wsdl".to_owned(), body)])));
        }
    });
}

#[test]
fn mutations_of_a_wsdl_and_any_value_never_panic() {
    let wsdl = std::fs::read_to_string(root().join("wsdl/erp.wsdl")).unwrap();
    let schema = std::fs::read_to_string(root().join("wsdl/erp.xsd")).unwrap();
    let words = [
        "",
        "\"",
        "<",
        "/>",
        "erp:",
        "xs:",
        "xs:string",
        "erp:Customer",
        "erp:CreateOrder",
        "unbounded",
        "0",
        "-1",
        "99999999999",
        "sequence",
        "choice",
        "all",
        "extension",
        "restriction",
        "complexType",
        "simpleType",
        "element",
        "ref",
        "base",
        "type",
        "substitutionGroup",
        "erp:Line",
        "union",
        "list",
        "import",
        "include",
        "redefine",
        "rpc",
        "encoded",
        "abstract=\"true\"",
    ];
    let value = proptest::sample::select(vec![
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"$nil": true}),
        json!({"$type": "Line"}),
        json!({"$xml": "<a/>"}),
        json!({"$value": 1}),
        json!([{"Id": "1"}]),
        json!({"Id": null}),
        json!(true),
        json!([[1]]),
    ]);
    let keys = [
        "OrderNumber",
        "Total",
        "Currency",
        "Country",
        "Customer",
        "Lines",
        "Comment",
        "@priority",
        "$xml",
        "$type",
        "zzz",
    ];
    proptest::proptest!(|(
        edits in proptest::collection::vec((0usize..1_000, proptest::sample::select(words.to_vec())), 1..4),
        of_schema in proptest::bool::ANY,
        given in proptest::collection::vec((proptest::sample::select(keys.to_vec()), value), 0..8),
    )| {
        let mut texts = [wsdl.clone(), schema.clone()];
        let text = &mut texts[usize::from(of_schema)];
        for (at, word) in edits {
            let tokens: Vec<usize> = text.match_indices(['"', '<', ' ', ':']).map(|(index, _)| index + 1).collect();
            let start = tokens[at % tokens.len()];
            let end = text[start..].find(['"', ' ', '>', ':']).map_or(text.len(), |end| start + end);
            text.replace_range(start..end, word);
        }
        let argument: serde_json::Map<String, Value> = given.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if let Ok(model) = load(&[("erp.wsdl", &texts[0]), ("erp.xsd", &texts[1])]) {
            let choice = OperationChoice { operation: "CreateOrder", ..OperationChoice::default() };
            if let Ok(operation) = model.operation(&choice) {
                let _ = operation.required_leaves();
                if let Ok(encoded) = encode(&operation, &Value::Object(argument)) {
                    proptest::prop_assert!(roxmltree::Document::parse(&encoded.body).is_ok(), "{}", encoded.body);
                    let _ = soap::decode(&operation, &response(200, "text/xml", &encoded.body));
                }
            }
        }
    });
}

#[test]
fn a_group_that_must_come_ever_so_often_is_no_endless_loop() {
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence minOccurs="4000000000" maxOccurs="unbounded">
             <xs:element name="a" type="xs:string" minOccurs="0"/><xs:element name="n" type="xs:string" nillable="true" minOccurs="0"/>
           </xs:sequence></xs:complexType></xs:element>"#,
        &[
            (json!({}), "<Do></Do>"),
            (json!({"a": ["1", "2"]}), "<Do><a>1</a><a>2</a></Do>"),
            (json!({"a": null, "b": 1}), "! Do has no b"),
        ],
    );
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence minOccurs="4000000000" maxOccurs="unbounded">
             <xs:element name="n" type="xs:string" nillable="true"/></xs:sequence></xs:complexType></xs:element>"#,
        &[(json!({}), "! Do needs a group of elements at least 4000000000 times")],
    );
}

/// What is said about a WSDL: severity, file, line, rule, and a piece of the message.
#[test]
fn defects_of_a_wsdl_are_named_with_file_line_and_rule() {
    let empty = "<xs:element name=\"Do\" type=\"xs:string\"/>";
    let cases: Vec<(&str, String, &str, &str)> = vec![
        (
            "unknown type",
            around("<xs:element name=\"Do\" type=\"t:Dooo\"/><xs:complexType name=\"Doo\"/>"),
            "src-resolve",
            "there is no type t:Dooo; did you mean Doo?",
        ),
        (
            "unknown element",
            around("<xs:element name=\"Dont\" type=\"xs:string\"/>"),
            "WSDL 2.3.1",
            "part parameters of message In refers to {urn:t}Do",
        ),
        (
            "remote import",
            around(&format!(
                "<xs:import namespace=\"urn:r\" schemaLocation=\"http://h/x.xsd\"/>{}",
                empty.replace("xs:string", "r:X\" xmlns:r=\"urn:r")
            )),
            "import-remote",
            "http://h/x.xsd is on the network",
        ),
        (
            "outside",
            around(&format!("<xs:include schemaLocation=\"../../etc/x.xsd\"/>{empty}")),
            "import-outside",
            "\"../../etc/x.xsd\" is not within the folder",
        ),
        (
            "absolute",
            around(&format!("<xs:include schemaLocation=\"/etc/passwd\"/>{empty}")),
            "import-outside",
            "\"/etc/passwd\" is not within the folder",
        ),
        (
            "encoded dots",
            around(&format!("<xs:include schemaLocation=\"%2e%2e/x.xsd\"/>{empty}")),
            "import-outside",
            "is not within the folder",
        ),
        (
            "missing file",
            around(&format!("<xs:include schemaLocation=\"x.xsd\"/>{empty}")),
            "import-missing",
            "x.xsd cannot be read: there is no such file",
        ),
        ("not XML", "plain".to_owned(), "XML", "ends before"),
        ("DTD", format!("<!DOCTYPE x>{}", around(empty)), "DTD", "DOCTYPE"),
        ("HTML", "<html/>".to_owned(), "WSDL", "is <html>"),
        (
            "no message",
            around(empty).replace("message=\"t:In\"", "message=\"t:Inn\""),
            "WSDL 2.4",
            "there is no message t:Inn",
        ),
        (
            "no binding",
            around(empty)
                .replace("binding=\"t:B\"", "binding=\"t:BB\"")
                .replace("<service", "<binding name=\"C\" type=\"t:T\"/><service"),
            "WSDL 2.6",
            "port P names the binding {urn:t}BB",
        ),
        (
            "circular type",
            around(
                "<xs:element name=\"Do\" type=\"t:A\"/><xs:complexType name=\"A\"><xs:complexContent><xs:extension base=\"t:B\"/></xs:complexContent></xs:complexType><xs:complexType name=\"B\"><xs:complexContent><xs:extension base=\"t:A\"/></xs:complexContent></xs:complexType>",
            ),
            "ct-props-correct.3",
            "is derived from itself",
        ),
        (
            "circular group",
            around(
                "<xs:element name=\"Do\"><xs:complexType><xs:group ref=\"t:G\"/></xs:complexType></xs:element><xs:group name=\"G\"><xs:sequence><xs:group ref=\"t:G\"/></xs:sequence></xs:group>",
            ),
            "mg-props-correct.2",
            "a group contains itself",
        ),
    ];
    for (name, wsdl, rule, message) in cases {
        let findings = load(&[("w/d/a.wsdl", &wsdl)]).expect_err(name);
        let found = findings.iter().find(|finding| finding.rule == rule);
        let found = found.unwrap_or_else(|| panic!("{name}: {findings:#?}"));
        assert!(found.message.contains(message), "{name}: {found:?}");
        assert_eq!(found.file, "a.wsdl", "{name}");
        assert!(found.line > 0 || rule == "mg-props-correct.2", "{name}: {found:?}");
    }
    let missing = load(&[("nowhere.wsdl", "x")]).err();
    assert!(missing.is_some());
    let nothing = wsdl::load(Path::new("nowhere.wsdl"), &Memory(HashMap::new())).unwrap_err();
    assert_eq!(nothing[0].message, "cannot be read: there is no such file");
}

#[test]
fn leniencies_are_warnings_that_say_what_was_assumed() {
    let other = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:other"><xs:complexType name="X"/></xs:schema>"#;
    let empty = "<xs:element name=\"Do\" type=\"xs:string\"/>";
    for (wsdl, rule, message) in [
        (
            around(&format!("<xs:import namespace=\"urn:said\" schemaLocation=\"o.xsd\"/>{empty}")),
            "src-import.3.1",
            "the file is right",
        ),
        (
            around(&format!(
                "<xs:complexType name=\"Unused\"><xs:sequence><xs:element name=\"x\" type=\"t:Nope\"/></xs:sequence></xs:complexType>{empty}"
            )),
            "src-resolve",
            "there is no type t:Nope",
        ),
        (
            around(&format!(
                "<xs:simpleType name=\"P\"><xs:restriction base=\"xs:string\"><xs:pattern value=\"(\"/></xs:restriction></xs:simpleType>{empty}"
            )),
            "pattern",
            "not checked",
        ),
        (
            around(&format!("{empty}<xs:element name=\"Do\" type=\"xs:int\"/>")),
            "sch-props-correct.2",
            "the first one counts",
        ),
        (around(empty).replace("binding=\"t:B\"", "binding=\"B\""), "unprefixed-name", "assumed: {urn:t}B"),
    ] {
        let model =
            load(&[("a.wsdl", &wsdl), ("o.xsd", other)]).unwrap_or_else(|findings| panic!("{rule}: {findings:?}"));
        let found = model.findings().iter().find(|finding| finding.rule == rule).unwrap_or_else(|| panic!("{rule}"));
        assert!(found.message.contains(message), "{found:?}");
        assert_eq!(found.severity, Severity::Warning);
    }
}

#[test]
fn hostile_schemas_are_bounded() {
    let start = Instant::now();
    // Each group holds the one before ten times.
    let groups: String = (1..12)
        .map(|n| {
            let inner = format!("<xs:group ref=\"t:G{}\"/>", n - 1).repeat(10);
            format!("<xs:group name=\"G{n}\"><xs:sequence>{inner}</xs:sequence></xs:group>")
        })
        .collect();
    let bomb = format!(
        "<xs:element name=\"Do\"><xs:complexType><xs:group ref=\"t:G11\"/></xs:complexType></xs:element>\
         <xs:group name=\"G0\"><xs:sequence><xs:element name=\"x\" type=\"xs:string\" minOccurs=\"0\"/></xs:sequence></xs:group>{groups}"
    );
    let findings = load(&[("a.wsdl", &around(&bomb))]).unwrap_err();
    assert!(findings.iter().any(|finding| finding.rule == "bounds"), "{findings:?}");

    // A long chain of derivation, read from its far end.
    let chain: String = (1..3_000)
        .map(|n| format!("<xs:complexType name=\"T{n}\"><xs:complexContent><xs:extension base=\"t:T{}\"/></xs:complexContent></xs:complexType>", n - 1))
        .collect();
    let chain = format!("<xs:element name=\"Do\" type=\"t:T2999\"/><xs:complexType name=\"T0\"/>{chain}");
    let model = load(&[("a.wsdl", &around(&chain))]).unwrap();
    let operation = model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).unwrap();
    assert_eq!(plain(&encode(&operation, &json!({})).unwrap()), "<Do></Do>");

    // A long chain of elements, each of a type of its own.
    let chain: String = (0..20_000)
        .map(|n| format!("<xs:complexType name=\"T{n}\"><xs:sequence><xs:element name=\"e\" type=\"t:T{}\" minOccurs=\"0\"/></xs:sequence></xs:complexType>", n + 1))
        .collect();
    let chain = format!("<xs:element name=\"Do\" type=\"t:T0\"/><xs:complexType name=\"T20000\"/>{chain}");
    assert!(load(&[("a.wsdl", &around(&chain))]).is_ok());

    // Many files that import each other all.
    let ring: Vec<(String, String)> = (0..1_200)
        .map(|n| {
            let next = (n + 1) % 1_200;
            let text = format!("<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" targetNamespace=\"urn:{n}\"><xs:import namespace=\"urn:{next}\" schemaLocation=\"{next}.xsd\"/></xs:schema>");
            (format!("{n}.xsd"), text)
        })
        .collect();
    let first =
        around("<xs:import namespace=\"urn:0\" schemaLocation=\"0.xsd\"/><xs:element name=\"Do\" type=\"xs:string\"/>");
    let mut files: Vec<(&str, &str)> = vec![("a.wsdl", &first)];
    files.extend(ring.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    assert!(load(&files).unwrap_err().iter().any(|finding| finding.rule == "bounds"));
    assert!(start.elapsed() < Duration::from_secs(30), "took {:?}", start.elapsed());
}

#[test]
fn recursive_types_are_fine_and_deep_values_are_refused_in_words() {
    let operation = operation(
        r#"<xs:element name="Do" type="t:Node"/><xs:complexType name="Node"><xs:sequence>
             <xs:element name="n" type="t:Node" minOccurs="0"/></xs:sequence></xs:complexType>"#,
    );
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"n": inner}));
    assert_eq!(plain(&encode(&operation, &nested(2)).unwrap()), "<Do><n><n></n></n></Do>");
    assert!(encode(&operation, &nested(150)).unwrap_err().ends_with("is nested deeper than 100 elements"));
    assert!(encode(&operation, &nested(99)).is_ok());

    // The same through 150 groups at each level.
    let open = "<xs:sequence>".repeat(150);
    let close = "</xs:sequence>".repeat(150);
    let schema = format!(
        "<xs:element name=\"Do\" type=\"t:Node\"/><xs:complexType name=\"Node\">{open}\
         <xs:element name=\"n\" type=\"t:Node\" minOccurs=\"0\"/>{close}</xs:complexType>"
    );
    let reason = encode(&self::operation(&schema), &nested(90)).unwrap_err();
    assert!(reason.ends_with("too deep to be written"), "{reason}");
}

#[test]
fn redefined_types_replace_the_ones_they_extend() {
    let wsdl = around(
        r#"<xs:redefine schemaLocation="base.xsd"><xs:complexType name="B"><xs:complexContent><xs:extension base="t:B">
             <xs:sequence><xs:element name="more" type="xs:string"/></xs:sequence></xs:extension></xs:complexContent>
           </xs:complexType></xs:redefine><xs:element name="Do" type="t:B"/>"#,
    );
    let base = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t" elementFormDefault="qualified">
        <xs:complexType name="B"><xs:sequence><xs:element name="first" type="xs:string"/></xs:sequence></xs:complexType></xs:schema>"#;
    let model = load(&[("a.wsdl", &wsdl), ("base.xsd", base)]).unwrap();
    let operation = model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).unwrap();
    assert_eq!(
        plain(&encode(&operation, &json!({"more": 2, "first": 1})).unwrap()),
        "<Do><first>1</first><more>2</more></Do>"
    );
}

#[test]
fn acknowledgements_that_were_in_use_are_read() {
    let folder = root().join("../shared/corpus/salesforce/acks");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let bytes = std::fs::read(entry.path()).unwrap();
        assert_eq!(soap::read_ack(&bytes), Ok(!name.contains("false")), "{name}");
    }
}

#[test]
fn wildcards_defaults_unions_and_qualified_names_are_written() {
    check(
        r#"<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="d" type="xs:string" default="std"/><xs:element name="f" type="xs:int" fixed="7" minOccurs="0"/>
             <xs:element name="u" type="t:U" minOccurs="0"/><xs:element name="q" type="xs:QName" minOccurs="0"/>
             <xs:any minOccurs="0" maxOccurs="unbounded" processContents="lax"/>
           </xs:sequence><xs:anyAttribute processContents="lax"/></xs:complexType></xs:element>
           <xs:simpleType name="U"><xs:union memberTypes="xs:int"><xs:simpleType><xs:restriction base="xs:token">
             <xs:enumeration value="all"/></xs:restriction></xs:simpleType></xs:union></xs:simpleType>"#,
        &[
            (json!({}), "<Do><d>std</d></Do>"),
            (json!({"d": null}), "! Do.d is required and its value is none"),
            (json!({"d": "x", "f": "7", "u": 5, "q": "{urn:q}n"}), "<Do><d>x</d><f>7</f><u>5</u><q>ns2:n</q></Do>"),
            (json!({"f": 8}), "! Do.f is \"8\", but the schema fixes it to \"7\""),
            (json!({"u": " all "}), "<Do><d>std</d><u> all </u></Do>"),
            (json!({"u": "some"}), "! Do.u = \"some\" is no xs:int; nor is it of another type of the union"),
            (
                json!({"$xml": ["<a/>", "<b xmlns='urn:b'>x</b>"], "@free": "y"}),
                "<Do free=y><d>std</d><a></a><b>x</b></Do>",
            ),
            (json!({"@not a name": "y"}), "! Do has the attribute \"not a name\", which XML cannot carry"),
        ],
    );
}

/// A wildcard that takes declared elements only, in an element that is the first of those.
#[test]
fn a_sample_of_a_wildcard_ends_at_once_where_an_element_may_be_nil() {
    let holder = |name: &str, nillable: &str| {
        format!(
            "<xs:element name='{name}'{nillable}><xs:complexType mixed='true'><xs:sequence><xs:any/></xs:sequence></xs:complexType></xs:element>"
        )
    };
    let operation = operation(&(holder("Do", "") + &holder("Result", " nillable='true'")));
    let sample = soap::sample(&operation, soap::Extent::Full).unwrap();
    let encoded = encode(&operation, &sample).unwrap();
    assert!(body(&encoded).contains("<ns1:Result xsi:nil=\"true\"/>"), "{}", body(&encoded));
    assert!(body(&encoded).len() < 300, "{}", body(&encoded));
}
