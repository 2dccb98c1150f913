//! The forms that messages take, by WSDLs written for the purpose: encoded, grouped, with headers, with faults.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use omgate::outcome::Response;
use omgate::soap::{EncodeOptions, Nulls, Reply};
use omgate::wsdl::{Files, Operation, OperationChoice, Style, Usage};
use omgate::{soap, wsdl};
use serde_json::{Value, json};

/// Files that are nowhere.
struct Memory(HashMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path.to_str().unwrap_or_default()).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// An operation `Do` of a WSDL with these schema, messages' parts, and binding.
pub(super) fn operation(soap: &str, style: &str, schema: &str, input: &str, output: &str, bound: &str) -> Operation {
    let text = format!(
        r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
             xmlns:soap="{soap}" xmlns:enc="http://schemas.xmlsoap.org/soap/encoding/"
             xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
           <types><xs:schema targetNamespace="urn:t">{schema}</xs:schema></types>
           <message name="In">{input}</message><message name="Out">{output}</message>
           <message name="Bad"><part name="bad" element="t:Bad"/></message>
           <portType name="T"><operation name="Do"><input message="t:In"/><output message="t:Out"/>
             <fault name="Bad" message="t:Bad"/></operation></portType>
           <binding name="B" type="t:T"><soap:binding style="{style}" transport="http://schemas.xmlsoap.org/soap/http"/>
             <operation name="Do"><soap:operation soapAction="urn:do"/><input>{bound}</input><output>{bound}</output>
             </operation></binding>
           <service name="S"><port name="P" binding="t:B"><soap:address location="http://h/"/></port></service>
           </definitions>"#
    );
    let files = Memory(HashMap::from([("a.wsdl".to_owned(), text.into_bytes())]));
    let model = wsdl::load(Path::new("a.wsdl"), &files).unwrap_or_else(|findings| panic!("{findings:#?}"));
    model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).expect("is there")
}

pub(super) const SOAP11: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const SOAP12: &str = "http://schemas.xmlsoap.org/wsdl/soap12/";
pub(super) const BAD: &str = r#"<xs:element name="Bad"><xs:complexType><xs:sequence><xs:element name="codes" type="xs:int" maxOccurs="9"/>
    </xs:sequence></xs:complexType></xs:element>"#;

pub(super) fn encoded(soap: &str) -> Operation {
    let schema = format!(
        r#"{BAD}<xs:complexType name="Ints"><xs:complexContent><xs:restriction base="enc:Array">
             <xs:attribute ref="enc:arrayType" wsdl:arrayType="xs:int[]"/></xs:restriction></xs:complexContent></xs:complexType>
           <xs:complexType name="Grid"><xs:complexContent><xs:restriction base="enc:Array">
             <xs:attribute ref="enc:arrayType" wsdl:arrayType="xs:int[,]"/></xs:restriction></xs:complexContent></xs:complexType>
           <xs:complexType name="Rows"><xs:complexContent><xs:restriction base="enc:Array">
             <xs:attribute ref="enc:arrayType" wsdl:arrayType="xs:int[][]"/></xs:restriction></xs:complexContent></xs:complexType>
           <xs:complexType name="Order"><xs:sequence><xs:element name="id" type="xs:string"/>
             <xs:element name="next" type="t:Order" nillable="true" minOccurs="0"/></xs:sequence></xs:complexType>"#
    );
    let parts = r#"<part name="order" type="t:Order"/><part name="ints" type="t:Ints"/><part name="grid" type="t:Grid"/>
        <part name="rows" type="t:Rows"/><part name="any" type="xs:anyType"/>"#;
    let body =
        r#"<soap:body use="encoded" namespace="urn:rpc" encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"/>"#;
    operation(soap, "rpc", &schema, parts, parts, body)
}

fn body(text: &str) -> &str {
    let (_, rest) = text.split_once("<soapenv:Body").expect("a body");
    let (_, rest) = rest.split_once('>').expect("its tag's end");
    rest.split_once("</soapenv:Body>").expect("its end").0
}

/// An envelope of SOAP 1.1 around a body.
pub(super) fn envelope(body: &str) -> String {
    format!(
        "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' \
         xmlns:xsd='http://www.w3.org/2001/XMLSchema' xmlns:enc='http://schemas.xmlsoap.org/soap/encoding/'><e:Body>{body}</e:Body></e:Envelope>"
    )
}

/// The answer of a server that is content.
pub(super) fn response(body: &str) -> Response {
    Response { status: 200, headers: Vec::new(), body: envelope(body).into_bytes().into(), cut: false }
}

fn answer(operation: &Operation, body: &str) -> Value {
    match soap::decode(operation, &response(body)) {
        Reply::Body(value) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn encoded_values_say_their_types_and_arrays_their_sizes() {
    let argument = json!({
        "order": {"id": "007", "next": {"id": "8", "next": {"$nil": true}}}, "ints": [1, 2], "grid": [[1, 2], [3, 4]],
        "rows": [[1], [2, 3]], "any": "text",
    });
    let operation = encoded(SOAP11);
    assert_eq!((operation.style(), operation.usage()), (Style::RpcEncoded, Usage::Encoded));
    let text = soap::encode(&operation, &argument, &EncodeOptions::default()).unwrap().body;
    assert!(text.contains("<soapenv:Body soapenv:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\">"));
    assert_eq!(
        body(&text),
        "<ns1:Do xmlns:ns1=\"urn:rpc\" xmlns:ns2=\"urn:t\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <order xsi:type=\"ns2:Order\"><id xsi:type=\"xsd:string\">007</id><next xsi:type=\"ns2:Order\">\
         <id xsi:type=\"xsd:string\">8</id><next xsi:nil=\"true\"/></next></order>\
         <ints xsi:type=\"ns2:Ints\" soapenc:arrayType=\"xsd:int[2]\"><item xsi:type=\"xsd:int\">1</item>\
         <item xsi:type=\"xsd:int\">2</item></ints>\
         <grid xsi:type=\"ns2:Grid\" soapenc:arrayType=\"xsd:int[2,2]\"><item xsi:type=\"xsd:int\">1</item>\
         <item xsi:type=\"xsd:int\">2</item><item xsi:type=\"xsd:int\">3</item><item xsi:type=\"xsd:int\">4</item></grid>\
         <rows xsi:type=\"ns2:Rows\" soapenc:arrayType=\"xsd:int[][2]\">\
         <item xsi:type=\"soapenc:Array\" soapenc:arrayType=\"xsd:int[1]\"><item xsi:type=\"xsd:int\">1</item></item>\
         <item xsi:type=\"soapenc:Array\" soapenc:arrayType=\"xsd:int[2]\"><item xsi:type=\"xsd:int\">2</item>\
         <item xsi:type=\"xsd:int\">3</item></item></rows><any xsi:type=\"xsd:string\">text</any></ns1:Do>"
    );
    let mut read = argument.clone();
    read["order"]["next"]["next"] = Value::Null;
    assert_eq!(soap::argument(&operation, &text), Some(read));
    let newer = soap::encode(&encoded(SOAP12), &argument, &EncodeOptions::default()).unwrap().body;
    for part in [
        "soapenv:encodingStyle=\"http://www.w3.org/2003/05/soap-encoding\"",
        "enc:arraySize=\"2 2\"",
        "enc:itemType=\"xsd:int\"",
    ] {
        assert!(newer.contains(part), "{part} is not in {newer}");
    }
    for (path, value, reason) in [
        ("grid", json!([[1], [2, 3]]), "Do.grid is an array of 2 dimensions whose rows are not equally long"),
        ("ints", json!(["x"]), "Do.ints[1] = \"x\" is no xs:int"),
        ("order", Value::Null, "Do.order is required and nobody fills it"),
    ] {
        let mut wrong = argument.clone();
        wrong[path] = value;
        let error = soap::encode(&operation, &wrong, &EncodeOptions::default()).unwrap_err();
        assert_eq!(format!("{} {}", error.path, error.reason), reason);
    }
}

#[test]
fn encoded_answers_are_read_through_their_references() {
    let operation = encoded(SOAP11);
    for (text, expected) in [
        (
            "<r:DoResponse xmlns:r='urn:rpc'><order href='#a'/></r:DoResponse><multiRef id='a' enc:root='0' xsi:type='o:Order' \
             xmlns:o='urn:t'><id xsi:type='xsd:string'>1</id><next href='#b'/></multiRef>\
             <multiRef id='b' enc:root='0'><id>2</id></multiRef>",
            json!({"order": {"id": "1", "next": {"id": "2"}}}),
        ),
        (
            "<r:DoResponse xmlns:r='urn:rpc'><ints enc:arrayType='xsd:int[3]' enc:offset='[1]'><i>1</i><i>2</i></ints></r:DoResponse>",
            json!({"ints": [null, 1, 2]}),
        ),
        (
            "<r:DoResponse xmlns:r='urn:rpc'><grid enc:arrayType='xsd:int[2,1]'><i>1</i><i>2</i></grid><any xsi:type='enc:int'>5</any>\
             </r:DoResponse>",
            json!({"grid": [[1], [2]], "any": 5}),
        ),
    ] {
        assert_eq!(answer(&operation, text), expected, "{text}");
    }
}

#[test]
fn items_of_partly_sent_and_sparse_arrays_keep_their_places_or_are_refused() {
    let operation = encoded(SOAP11);
    let many = format!("int[{}1]", "1,".repeat(100_000));
    for (size, offset, items, expected) in [
        ("int[2,2]", "", "<i enc:position='[1,1]'>9</i>", Ok(json!([[null, null], [null, 9]]))),
        (
            "int[2,2]",
            "",
            "<i enc:position='[0,1]'>8</i><i enc:position='[1,0]'>9</i>",
            Ok(json!([[null, 8], [9, null]])),
        ),
        ("int[2,3]", "[1,1]", "<i>1</i><i>2</i>", Ok(json!([[null, null, null], [null, 1, 2]]))),
        ("int[2,3]", "[0,1]", "<i>1</i><i>2</i>", Ok(json!([[null, 1, 2], [null, null, null]]))),
        ("int[2,2]", "", "<i>1</i><i>2</i><i>3</i>", Ok(json!([[1, 2], [3, null]]))),
        ("int[2,1,2]", "", "<i enc:position='[1,0,1]'>9</i>", Ok(json!([[[null, null]], [[null, 9]]]))),
        ("int[2,2]", "", "<i>1</i><i>2</i><i>3</i><i>4</i><i>5</i>", Ok(json!([1, 2, 3, 4, 5]))),
        ("int[2,2]", "", "", Ok(json!([]))),
        ("int[5]", "[2]", "<i>1</i>", Ok(json!([null, null, 1]))),
        ("int[5]", "", "<i enc:position='[3]'>1</i><i enc:position='[1]'>2</i>", Ok(json!([null, 2, null, 1]))),
        ("int[]", "", "<i enc:position='[1]'>1</i>", Ok(json!([null, 1]))),
        (
            "int[2,2]",
            "",
            "<i enc:position='[2,0]'>9</i>",
            Err("has the position \"[2,0]\", which is no place in an array of [2,2]"),
        ),
        ("int[2,2]", "", "<i enc:position='[3]'>9</i>", Err("has the position \"[3]\", which is no place")),
        ("int[,]", "", "<i enc:position='[1,1]'>9</i>", Err("has the position \"[1,1]\", which is no place")),
        ("int[5]", "", "<i enc:position='one'>9</i>", Err("has the position \"one\", which is no place")),
        ("int[5]", "[18446744073709551616]", "<i>1</i>", Err("has the offset \"[18446744073709551616]\"")),
        ("int[9999999]", "[9999998]", "<i>1</i>", Err("has 9999999 places, of which 1 are sent")),
        ("int[]", "", "<i enc:position='[18446744073709551615]'>1</i>", Err("places, of which 1 are sent")),
        ("int[99999,99999]", "", "<i enc:position='[1,1]'>1</i>", Err("has 9999800001 places, of which 1 are sent")),
        ("int[4294967296,4294967296]", "", "<i>1</i>", Err("places, of which 1 are sent")),
        (many.as_str(), "", "<i>1</i>", Err("has 100001 dimensions")),
    ] {
        let offset = if offset.is_empty() { String::new() } else { format!(" enc:offset='{offset}'") };
        let text = format!(
            "<r:DoResponse xmlns:r='urn:rpc'><any enc:arrayType='xsd:{size}'{offset}>{items}</any></r:DoResponse>"
        );
        match (soap::decode(&operation, &response(&text)), expected) {
            (Reply::Body(body), Ok(expected)) => assert_eq!(body["any"], expected, "{text}"),
            (Reply::Broken(reason), Err(expected)) => {
                assert!(reason.contains("the array <any> ") && reason.contains(expected), "{reason}");
            }
            (reply, expected) => panic!("{reply:?} and not {expected:?}"),
        }
    }
}

#[test]
fn passes_through_a_repeated_group_are_objects_and_keep_together() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence><xs:element name="head" type="xs:string" minOccurs="0"/>
             <xs:sequence maxOccurs="unbounded" minOccurs="0"><xs:element name="k" type="xs:string"/>
               <xs:element name="v" type="xs:int" minOccurs="0"/></xs:sequence></xs:sequence></xs:complexType></xs:element>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    let argument = json!({"head": "h", "$group": [{"k": "a"}, {"v": 1, "k": "b"}, {"k": "c"}]});
    let text = soap::encode(&operation, &argument, &EncodeOptions::default()).unwrap().body;
    assert_eq!(body(&text), "<ns1:Do xmlns:ns1=\"urn:t\"><head>h</head><k>a</k><k>b</k><v>1</v><k>c</k></ns1:Do>");
    let read = soap::argument(&operation, &text).unwrap();
    assert_eq!(read, json!({"head": "h", "$group": [{"k": "a"}, {"k": "b", "v": 1}, {"k": "c"}]}));
    for (argument, reason) in [
        (json!({"$group": [{"v": 1}]}), "Do.$group[1].k is required and nobody fills it"),
        (
            json!({"$group": [{"k": "a", "x": 1}]}),
            "Do.$group[1] has no place: no repeated group takes all that it holds",
        ),
    ] {
        let error = soap::encode(&operation, &argument, &EncodeOptions::default()).unwrap_err();
        assert_eq!(format!("{} {}", error.path, error.reason), reason);
    }
}

#[test]
fn header_blocks_are_given_by_name_and_required_ones_are_missed() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do" type="xs:string"/><xs:element name="Session"><xs:complexType><xs:sequence>
             <xs:element name="id" type="xs:int"/></xs:sequence></xs:complexType></xs:element>"#
    );
    let parts = r#"<part name="p" element="t:Do"/><part name="session" element="t:Session"/>"#;
    let bound = r#"<soap:header message="t:In" part="session" use="literal" wsdl:required="true"/><soap:body use="literal" parts="p"/>"#;
    let operation = operation(SOAP11, "document", &schema, parts, parts, bound);
    let encode = |argument: &Value| {
        let error = |error: soap::EncodeError| format!("{} {}", error.path, error.reason);
        soap::encode(&operation, argument, &EncodeOptions::default()).map(|encoded| encoded.body).map_err(error)
    };
    for key in ["session", "Session"] {
        let text = encode(&json!({"$value": "x", "$header": {key: {"id": 7}}})).unwrap();
        assert!(
            text.contains("<soapenv:Header><ns1:Session xmlns:ns1=\"urn:t\"><id>7</id></ns1:Session></soapenv:Header>"),
            "{text}"
        );
        assert_eq!(body(&text), "<ns1:Do xmlns:ns1=\"urn:t\">x</ns1:Do>");
    }
    for (argument, reason) in [
        (json!("x"), "Do.$header.session is required and nobody fills it"),
        (json!({"$value": "x", "$header": {"session": {"id": "y"}}}), "Do.$header.session.id = \"y\" is no xs:int"),
        (json!({"$value": "x", "$header": {"sesion": {}}}), "Do.$header has no block sesion; did you mean Session?"),
    ] {
        assert_eq!(encode(&argument).unwrap_err(), reason);
    }
}

#[test]
fn null_is_left_out_or_nil_as_the_caller_means_it_and_empty_is_neither() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="a" type="xs:string" nillable="true" minOccurs="0"/><xs:element name="b" type="xs:string" minOccurs="0"/>
           </xs:sequence></xs:complexType></xs:element>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    for (argument, nulls, expected) in [
        (json!({"a": null, "b": null}), Nulls::Absent, ""),
        (json!({"a": null, "b": null}), Nulls::Nil, "<a xsi:nil=\"true\"/>"),
        (json!({"a": "", "b": ""}), Nulls::Nil, "<a></a><b></b>"),
        (json!({}), Nulls::Nil, ""),
    ] {
        let text =
            soap::encode(&operation, &argument, &EncodeOptions { nulls, ..EncodeOptions::default() }).unwrap().body;
        let inner = body(&text).split_once('>').unwrap().1.trim_end_matches("</ns1:Do>");
        assert_eq!(inner, expected, "{argument}");
    }
}

#[test]
fn what_holds_nothing_but_nulls_is_written_with_its_nils_where_nulls_are_nils() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="tree" type="t:Tree" minOccurs="0"/>
             <xs:element name="n" type="xs:int" nillable="true" minOccurs="0" maxOccurs="unbounded"/>
             <xs:element name="m" type="xs:int" minOccurs="0" maxOccurs="unbounded"/>
             <xs:choice minOccurs="0"><xs:element name="a" type="xs:int" nillable="true"/><xs:element name="b" type="xs:int"/></xs:choice>
             <xs:sequence minOccurs="0" maxOccurs="2"><xs:element name="g" type="xs:int" nillable="true"/><xs:element name="h" type="xs:int" nillable="true" minOccurs="0"/></xs:sequence>
           </xs:sequence></xs:complexType></xs:element>
           <xs:complexType name="Tree"><xs:sequence><xs:element name="v" type="xs:string" nillable="true"/>
             <xs:element name="k" type="t:Tree" minOccurs="0" maxOccurs="unbounded"/></xs:sequence></xs:complexType>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    let encode = |argument: &Value, nulls| {
        soap::encode(&operation, argument, &EncodeOptions { nulls, ..EncodeOptions::default() })
    };
    for argument in [
        json!({"tree": {"v": null}}),
        json!({"tree": {"v": "a", "k": [{"v": null}, {"v": "x"}]}}),
        json!({"tree": {"v": null, "k": [{"v": null}, {"v": null, "k": [{"v": null}]}]}}),
        json!({"n": [null, 1, null]}),
        json!({"n": [null]}),
        json!({"a": null}),
        json!({"$group": [{"g": null}, {"g": null, "h": null}]}),
        json!({"$group": [{"g": 1, "h": null}]}),
    ] {
        let body = encode(&argument, Nulls::Nil).unwrap().body;
        let back =
            soap::decode(&operation, &Response { status: 200, headers: vec![], body: body.clone().into(), cut: false });
        assert_eq!(back, Reply::Body(argument.clone()), "{argument}: {body}");
    }
    let inner = |argument: Value, nulls| match encode(&argument, nulls) {
        Ok(encoded) => body(&encoded.body).to_owned(),
        Err(error) => format!("{} {}", error.path, error.reason),
    };
    let reason = "Do.m[2] is null in a list, but not nillable: leave the item out";
    assert_eq!(inner(json!({"m": [1, null]}), Nulls::Nil), reason);
    for (argument, nulls) in [
        (json!({"m": null}), Nulls::Nil),
        (json!({"tree": {"v": null}}), Nulls::Absent),
        (json!({"n": [null], "m": [null], "a": null}), Nulls::Absent),
    ] {
        assert!(inner(argument, nulls).ends_with("/>"), "an absent value leaves an optional element out");
    }
}

#[test]
fn lists_side_by_side_fill_a_repeated_group_row_by_row_or_not_at_all() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:sequence minOccurs="0" maxOccurs="3"><xs:element name="g" type="xs:int"/><xs:element name="h" type="xs:int" minOccurs="0"/></xs:sequence>
             <xs:element name="rep" minOccurs="0"><xs:complexType><xs:sequence maxOccurs="3"><xs:element name="a" type="xs:int"/>
               <xs:choice minOccurs="0" maxOccurs="2"><xs:element name="b" type="xs:int"/><xs:element name="c" type="xs:string"/></xs:choice>
             </xs:sequence></xs:complexType></xs:element>
             <xs:choice minOccurs="0" maxOccurs="unbounded"><xs:sequence><xs:element name="p" type="xs:int"/>
               <xs:element name="q" type="xs:int" minOccurs="0"/></xs:sequence><xs:element name="r" type="xs:int"/></xs:choice>
             <xs:sequence minOccurs="0" maxOccurs="unbounded"><xs:element name="x" type="xs:int" minOccurs="0"/><xs:element name="y" type="xs:int" minOccurs="0"/></xs:sequence>
             <xs:sequence minOccurs="0" maxOccurs="unbounded"><xs:element name="u" type="xs:int"/><xs:element name="w" type="xs:int" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>
           </xs:sequence></xs:complexType></xs:element>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    for nulls in [Nulls::Absent, Nulls::Nil] {
        for (argument, expected) in [
            (json!({"g": [1, 2], "h": [null, 3]}), "g1 g2 h3"),
            (json!({"g": [1, 2], "h": [3, null]}), "g1 h3 g2"),
            (json!({"g": [1, 2, 3], "h": [null, 4, null]}), "g1 g2 h4 g3"),
            (json!({"g": [1, 2], "h": [3, 4]}), "g1 h3 g2 h4"),
            (json!({"g": [1, 2]}), "g1 g2"),
            (json!({"g": [1, 2], "h": null}), "g1 g2"),
            (json!({"g": 1, "h": 2}), "g1 h2"),
            (json!({"x": [1, 2], "y": [null, 3]}), "x1 x2 y3"),
            (json!({"x": [1, null], "y": [null, 3]}), "x1 y3"),
            (json!({"p": [1, 2], "q": [null, 3], "r": 4}), "p1 p2 q3 r4"),
            (json!({"r": [1, 2], "p": 4}), "r1 r2 p4"),
            (json!({"u": 1, "w": [2, 3]}), "u1 w2 w3"),
            (json!({"u": [1, 2]}), "u1 u2"),
            (json!({"rep": {"a": 1, "b": [2, 3]}}), "rep: a1 b2 b3"),
            (json!({"g": [1, 2], "h": [3]}), "! Do.h holds 1 beside 2 of g"),
            (json!({"g": [1, 2], "h": 3}), "! Do.h holds 1 beside 2 of g"),
            (json!({"rep": {"a": [1, 2], "b": 5}}), "! Do.rep.b holds 1 beside 2 of a"),
            (json!({"x": [1, 2], "y": 5}), "! Do.y holds 1 beside 2 of x"),
            (json!({"x": 5, "y": [1, 2]}), "! Do.x holds 1 beside 2 of y"),
            (json!({"p": [1, 2], "q": 3}), "! Do.q holds 1 beside 2 of p"),
            (json!({"u": [1, 2], "w": [2, 3, 4]}), "! Do.w holds 3 beside 2 of u"),
        ] {
            let outcome = soap::encode(&operation, &argument, &EncodeOptions { nulls, ..EncodeOptions::default() });
            let written = match outcome {
                Ok(encoded) => leaves(&encoded.body),
                Err(error) => {
                    assert!(error.reason.contains("\"$group\""), "{error}");
                    format!("! {} {}", error.path, error.reason.split(" in a group").next().unwrap())
                }
            };
            assert_eq!(written, expected, "{argument}");
        }
    }
}

/// The elements of a body's element, each with its text.
fn leaves(envelope: &str) -> String {
    let document = roxmltree::Document::parse(envelope).unwrap();
    let body = document.descendants().find(|node| node.has_tag_name("Do") || node.tag_name().name() == "Do").unwrap();
    let mut found = Vec::new();
    for node in body.descendants().skip(1).filter(roxmltree::Node::is_element) {
        let inner = node.children().any(|child| child.is_element());
        let name = node.tag_name().name();
        found.push(if inner { format!("{name}:") } else { format!("{name}{}", node.text().unwrap_or_default()) });
    }
    found.join(" ")
}

#[test]
fn a_whole_request_is_held_against_the_model() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence><xs:element name="n" type="xs:int"/>
             <xs:choice><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:string" nillable="true"/></xs:choice>
           </xs:sequence><xs:attribute name="id" type="xs:int" use="required"/></xs:complexType></xs:element>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    let envelope = |body: &str| {
        format!(
            "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/' xmlns:t='urn:t' \
             xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><e:Body>{body}</e:Body></e:Envelope>"
        )
    };
    for (text, expected) in [
        (envelope("<t:Do id='1'><n>1</n><a/></t:Do>"), Ok(())),
        (envelope("<t:Do id='1'><n> 1 </n><b xsi:nil='true'/></t:Do>"), Ok(())),
        (envelope("<Do id='1'><n>1</n><a/></Do>"), Err("Do wants {urn:t}Do in its body, and has Do")),
        (envelope("<t:Do id='1'><a/></t:Do>"), Err("Do has a where n may stand")),
        (envelope("<t:Do id='1'><n>1</n></t:Do>"), Err("Do ends where a or b must stand")),
        (envelope("<t:Do id='1'><n>1</n><a/><b/></t:Do>"), Err("Do has b where")),
        (envelope("<t:Do id='1'><n>x</n><a/></t:Do>"), Err("Do.n = \"x\" is no xs:int (a.wsdl, line ")),
        (envelope("<t:Do><n>1</n><a/></t:Do>"), Err("Do.@id is required and is not there")),
        (envelope("<t:Do id='1' x='2'><n>1</n><a/></t:Do>"), Err("Do has no attribute x")),
        (envelope("<t:Do id='1'>text<n>1</n><a/></t:Do>"), Err("Do holds elements only, and has the text \"text\"")),
        (envelope("<t:Do id='1'><n>1</n><a xsi:nil='true'/></t:Do>"), Err("Do.a is not nillable, so xsi:nil is wrong")),
        (envelope(""), Err("Do has no element for the part p")),
        ("<t:Do xmlns:t='urn:t'/>".to_owned(), Err("Do is {urn:t}Do, and no Envelope of SOAP 1.1")),
        ("<a>".to_owned(), Err("Do is no XML")),
    ] {
        let outcome = soap::validate(&operation, &text).map_err(|error| error.to_string());
        match (outcome, expected) {
            (Ok(()), Ok(())) => {}
            (Err(reason), Err(expected)) => assert!(reason.starts_with(expected), "{reason}"),
            (outcome, expected) => panic!("{text}: {outcome:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn a_faults_detail_is_typed_by_what_the_wsdl_declares() {
    let operation = encoded(SOAP11);
    for (detail, expected) in [
        ("<t:Bad xmlns:t='urn:t'><codes>7</codes></t:Bad>", json!({"Bad": {"codes": [7]}})),
        ("<x><y>1</y></x>", json!({"x": {"y": "1"}})),
        ("just text", json!("just text")),
        ("", Value::Null),
    ] {
        let text = format!(
            "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body><e:Fault><faultcode>e:Client</faultcode>\
             <faultstring>no</faultstring><detail>{detail}</detail></e:Fault></e:Body></e:Envelope>"
        );
        let response = Response { status: 500, headers: Vec::new(), body: text.into_bytes().into(), cut: false };
        let Reply::Fault(fault) = soap::decode(&operation, &response) else { panic!("{detail}") };
        assert_eq!(fault.content, expected);
    }
}

#[test]
fn the_commands_print_samples_requests_and_what_responses_say() {
    let run = |words: &[&str], input: &str| {
        use std::io::Write;
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_omgate"));
        command.arg("wsdl").args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let wsdl = "wsdl/erp.wsdl";
    let (code, lines, _) = run(&["sample", wsdl], "");
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["soap_version"], "1.1");
    assert_eq!((&lines[0]["style"], &lines[0]["use"]), (&json!("document"), &json!("literal")));
    assert!(lines[1]["envelope"].as_str().unwrap().contains("CreateOrder"));
    let (code, lines, _) = run(&["sample", wsdl, "--operation", "CreateOrder", "--minimal"], "");
    assert_eq!((code, lines.lines().count()), (Some(0), 2));
    let argument = r#"{"OrderNumber": "1", "Total": 1, "Currency": "EUR", "Customer": {"Id": "1"}}"#;
    let (code, envelope, _) = run(&["encode", wsdl, "--operation", "CreateOrder"], argument);
    assert!(code == Some(0) && envelope.contains("<ns1:OrderNumber>1</ns1:OrderNumber>"), "{envelope}");
    let (code, _, error) = run(&["encode", wsdl, "--operation", "CreateOrder"], r#"{"OrderNumber": "1"}"#);
    assert!(code == Some(1) && error.contains("CreateOrder.Total is required"), "{error}");
    let (code, _, error) = run(&["encode", wsdl, "--operation", "CreatOrder"], "{}");
    assert!(code == Some(1) && error.contains("did you mean \"CreateOrder\"?"), "{error}");
    let fault = "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body><e:Fault><faultcode>e:Server.Busy</faultcode>\
                 <faultstring>later</faultstring></e:Fault></e:Body></e:Envelope>";
    let (code, said, _) = run(&["decode", wsdl, "--operation", "CreateOrder"], fault);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, said),
        (
            Some(0),
            json!({"fault": {"code": "Server.Busy", "subcodes": ["Busy"], "string": "later", "actor": null, "detail": null}})
        )
    );
    let envelope = |body: &str| {
        format!("<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body>{body}</e:Body></e:Envelope>")
    };
    let (code, said, error) = run(&["decode", wsdl, "--operation", "CreateOrder"], &envelope("<Other>1</Other>"));
    assert!(
        code == Some(1) && said.is_empty() && error.contains("CreateOrderResponse in the body, and has Other"),
        "{error}"
    );
    let twice = r#"{"OrderNumber": "1", "OrderNumber": "2"}"#;
    let (code, _, error) = run(&["encode", wsdl, "--operation", "CreateOrder"], twice);
    assert!(code == Some(1) && error.contains("the key OrderNumber stands there twice at line 1 column 34"), "{error}");
    let odd = envelope("<CreateOrderResponse xmlns='urn:example:erp:orders'><Odd>1</Odd></CreateOrderResponse>");
    let (code, said, error) = run(&["decode", wsdl, "--operation", "CreateOrder"], &odd);
    assert!(
        code == Some(0) && said.contains("\"Odd\"") && error.starts_with("warning: CreateOrderResponse has "),
        "{error}"
    );
    let (code, _, error) = run(&["decode", wsdl, "--operation", "CreateOrder"], "<html><title>Oops</title></html>");
    assert!(code == Some(1) && error.contains("an HTML page titled \"Oops\""), "{error}");
}
