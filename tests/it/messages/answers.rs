//! Answers that are not as the WSDL has them: what is read all the same, what is not, and what is said of both.

use std::time::{Duration, Instant};

use omgate::soap::{self, EncodeOptions, Reply};
use serde_json::json;

use super::forms::{BAD, SOAP11, encoded, envelope, operation, response};

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
            "<order> refers to \"nobody\", and nothing in the answer has that id (line 1, column ",
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

#[test]
fn what_an_answer_does_not_keep_to_is_said_and_its_values_are_read_all_the_same() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence><xs:element name="n" type="xs:int"/>
             <xs:element name="when" type="xs:date" minOccurs="0"/><xs:element name="code" type="t:Code" minOccurs="0"/>
             <xs:element name="in" minOccurs="0"><xs:complexType><xs:sequence><xs:element name="b" type="xs:boolean"/>
             </xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>
           <xs:simpleType name="Code"><xs:restriction base="xs:string"><xs:maxLength value="3"/></xs:restriction></xs:simpleType>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    for (text, expected) in [
        ("<t:Do xmlns:t='urn:t'><n>1</n></t:Do>", vec![]),
        (
            "<t:Do xmlns:t='urn:t'><n>x</n><when>soon</when><code>long</code><in><b>maybe</b></in></t:Do>",
            vec![
                "Do.n = \"x\" is no xs:int (a.wsdl, line ",
                "Do.when = \"soon\" is no xs:date (a.wsdl, line ",
                "Do.code = \"long\" is 4 long; maxLength is 3 (a.wsdl, line ",
                "Do.in.b = \"maybe\" is no xs:boolean",
            ],
        ),
        ("<t:Do xmlns:t='urn:t'><code>a</code></t:Do>", vec!["Do has code where n may stand (a.wsdl, line "]),
        ("<t:Do xmlns:t='urn:t'/>", vec!["Do ends where n must stand (a.wsdl, line "]),
        ("<t:Do xmlns:t='urn:t'><n>1</n><in/></t:Do>", vec!["Do.in ends where b must stand"]),
        ("<t:Do xmlns:t='urn:t'><n>1</n><other/></t:Do>", vec!["Do has other where "]),
        ("<Do><n>x</n></Do>", vec!["Do wants {urn:t}Do in its body, and has Do", "Do.n = \"x\" is no xs:int"]),
        ("", vec!["Do has no element for the part p"]),
    ] {
        let answer = response(text);
        assert!(matches!(soap::decode(&operation, &answer), Reply::Body(_)), "{text}");
        let misfits: Vec<String> =
            soap::misfits(&operation, &answer).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(misfits.len(), expected.len(), "{text}: {misfits:?}");
        for (misfit, expected) in misfits.iter().zip(expected) {
            assert!(misfit.starts_with(expected), "{misfit}");
        }
    }
    let other = soap::misfits(&operation, &response("<Other/>")).unwrap_err().to_string();
    assert!(other.starts_with("Do wants {urn:t}Do in the body, and has Other (a.wsdl, line "), "{other}");
}

#[test]
fn encoded_messages_are_checked_in_every_value() {
    let operation = encoded(SOAP11);
    let good = "<order href='#o'/><ints enc:arrayType='xsd:int[2]'><i>1</i><i>2</i></ints>\
        <grid enc:arrayType='xsd:int[1,1]'><i>1</i></grid><rows enc:arrayType='xsd:int[][1]'>\
        <r enc:arrayType='xsd:int[1]'><i>1</i></r></rows><any xsi:type='xsd:int'>5</any>";
    for (from, to, expected) in [
        ("", "", None),
        ("<i>1</i><i>2</i>", "<i>1</i><i xsi:nil='true'/>", None),
        ("<i>1</i><i>2</i>", "<i>1</i><i>x</i>", Some("Do.ints[2] = \"x\" is no xs:int (a.wsdl, line ")),
        ("xsd:int[2]", "xsd:int[1]", Some("Do.ints is an array that says it has 1 items, and has 2")),
        ("<r enc:arrayType='xsd:int[1]'><i>1</i></r>", "<r><i>y</i></r>", Some("Do.rows[1][1] = \"y\" is no xs:int")),
        ("<any xsi:type='xsd:int'>5", "<any xsi:type='xsd:int'>five", Some("Do.any = \"five\" is no xs:int")),
        ("<any xsi:type='xsd:int'>", "<any xsi:type='enc:int'>", None),
        ("#o", "#p", Some("Do.order = <order> refers to \"p\", and nothing in the answer has that id")),
        ("<id>7</id>", "<id>7</id><id>8</id>", Some("Do.order.id stands there twice")),
        ("<id>7</id>", "", Some("Do.order.id is required and is not there (a.wsdl, line ")),
        ("<id>7</id>", "<ID>7</ID>", Some("Do.order has no ID; did you mean id?")),
        ("<id>7</id>", "<id>7</id><next href='#o'/>", None),
        ("<id>7</id>", "<next xsi:nil='true'/><id xsi:type='xsd:string'>7</id>", None),
        ("<id>7</id>", "<id xsi:type='xsd:int'>7</id>", Some("Do.order.id has the xsi:type ")),
        ("<any xsi:type='xsd:int'>5</any>", "", Some("Do.any is required and is not there")),
    ] {
        let body = format!("<r:Do xmlns:r='urn:rpc'>{good}</r:Do><m id='o' enc:root='0'><id>7</id></m>");
        let body = body.replacen(from, to, usize::from(!from.is_empty()));
        match (soap::validate(&operation, &envelope(&body)).map_err(|error| error.to_string()), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.starts_with(expected), "{error}"),
            (outcome, expected) => panic!("{to}: {outcome:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn header_blocks_of_a_whole_request_are_checked_too() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do" type="xs:string"/><xs:element name="Session"><xs:complexType><xs:sequence>
             <xs:element name="id" type="xs:int"/></xs:sequence></xs:complexType></xs:element>"#
    );
    let parts = r#"<part name="p" element="t:Do"/><part name="session" element="t:Session"/>"#;
    let bound = r#"<soap:header message="t:In" part="session" use="literal" wsdl:required="true"/><soap:body use="literal" parts="p"/>"#;
    let operation = operation(SOAP11, "document", &schema, parts, parts, bound);
    for (header, expected) in [
        ("<t:Session e:mustUnderstand='1'><id>7</id></t:Session><x:Other xmlns:x='urn:x'/>", None),
        ("<t:Session><id>x</id></t:Session>", Some("Do.$header.session.id = \"x\" is no xs:int (a.wsdl, line ")),
        ("<t:Session/>", Some("Do.$header.session ends where id must stand")),
        ("<Session><id>7</id></Session>", Some("Do.$header.session is {urn:t}Session, and the header has Session")),
        ("", Some("Do.$header.session is required and is not there (a.wsdl, line ")),
    ] {
        let text = envelope("<t:Do xmlns:t='urn:t'>x</t:Do>");
        let text = text.replace("<e:Body>", &format!("<e:Header xmlns:t='urn:t'>{header}</e:Header><e:Body>"));
        match (soap::validate(&operation, &text).map_err(|error| error.to_string()), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.starts_with(expected), "{error}"),
            (outcome, expected) => panic!("{header}: {outcome:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn models_that_leave_open_what_stands_where_take_what_fits_in_any_way() {
    let element = |name: &str, occurs: &str| format!(r#"<xs:element name="{name}" type="xs:string" {occurs}/>"#);
    let (a, b, c) = (element("a", ""), element("b", ""), element("c", ""));
    let maybe = r#"minOccurs="0""#;
    let many = r#"minOccurs="0" maxOccurs="unbounded""#;
    let any = format!(r#"<xs:any processContents="lax" {many}/>"#);
    let sequence = |inner: &str, occurs: &str| format!("<xs:sequence {occurs}>{inner}</xs:sequence>");
    let choice = |inner: &str, occurs: &str| format!("<xs:choice {occurs}>{inner}</xs:choice>");
    // model | what fits | what does not
    for (model, fitting, misfits) in [
        (sequence(&format!("{}{a}", element("a", maybe)), ""), vec!["a", "aa"], vec!["", "aaa", "b"]),
        (sequence(&format!("{}{a}{b}", element("a", many)), ""), vec!["ab", "aaaab"], vec!["b", "a", "aba"]),
        (
            choice(&format!("{}{}", sequence(&format!("{a}{b}"), ""), sequence(&format!("{a}{c}"), "")), ""),
            vec!["ab", "ac"],
            vec!["a", "abc", "aab"],
        ),
        (
            sequence(&format!("{}{b}", choice(&format!("{a}{}", sequence(&format!("{a}{b}"), "")), "")), ""),
            vec!["ab", "abb"],
            vec!["a", "b", "abbb"],
        ),
        (
            sequence(&format!("{}{c}", sequence(&format!("{a}{}", element("c", maybe)), many)), ""),
            vec!["c", "ac", "acc", "aacac"],
            vec!["a", "ca"],
        ),
        (sequence(&format!("{any}{b}"), ""), vec!["b", "ab", "abcb"], vec!["", "ba"]),
        (
            sequence(
                &format!("{}{a}", sequence(&format!("{a}{}", element("b", maybe)), r#"minOccurs="2" maxOccurs="3""#)),
                "",
            ),
            vec!["aaa", "abaa", "abaaba"],
            vec!["aa", "abab", "aaaaa"],
        ),
    ] {
        let schema = format!(
            r#"{BAD}<xs:element name="Do"><xs:complexType>{}</xs:complexType></xs:element>"#,
            sequence(&model, "")
        );
        let part = r#"<part name="p" element="t:Do"/>"#;
        let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
        for (words, fits) in fitting.iter().map(|word| (word, true)).chain(misfits.iter().map(|word| (word, false))) {
            let children: String = words.chars().map(|name| format!("<{name}/>")).collect();
            let text = envelope(&format!("<t:Do xmlns:t='urn:t'>{children}</t:Do>"));
            let outcome = soap::validate(&operation, &text);
            assert_eq!(outcome.is_ok(), fits, "{words:?} in {model}: {outcome:?}");
        }
    }

    // What fits nowhere is found out soon.
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence>{}{b}</xs:sequence></xs:complexType></xs:element>"#,
        choice(&format!("{a}{}", sequence(&format!("{a}{a}"), "")), many)
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    let start = Instant::now();
    let text = envelope(&format!("<t:Do xmlns:t='urn:t'>{}</t:Do>", "<a/>".repeat(20_000)));
    assert!(soap::validate(&operation, &text).is_err());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn text_between_elements_keeps_its_place_in_a_fragment() {
    let schema = format!(
        r#"{BAD}<xs:element name="Do"><xs:complexType><xs:sequence>
             <xs:element name="mixed" type="t:Mixed" minOccurs="0"/><xs:element name="open" type="t:Open" minOccurs="0"/>
             <xs:element name="any" minOccurs="0"/><xs:element name="plain" type="t:Plain" minOccurs="0"/>
           </xs:sequence></xs:complexType></xs:element>
           <xs:complexType name="Mixed" mixed="true"><xs:sequence><xs:element name="b" type="xs:string" minOccurs="0" maxOccurs="9"/>
             </xs:sequence><xs:attribute name="lang"/></xs:complexType>
           <xs:complexType name="Open" mixed="true"><xs:sequence><xs:any minOccurs="0" maxOccurs="unbounded" processContents="lax"/>
             </xs:sequence></xs:complexType>
           <xs:complexType name="Plain"><xs:sequence><xs:any minOccurs="0" processContents="lax"/></xs:sequence></xs:complexType>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    for (content, expected) in [
        (
            "<mixed lang='en'>one <b>two</b> &amp; <b>three</b>.</mixed>",
            json!({"mixed": {"@lang": "en", "$xml": "one <b>two</b> &amp; <b>three</b>."}}),
        ),
        ("<mixed>alone</mixed>", json!({"mixed": {"$value": "alone"}})),
        ("<mixed> <b>two</b> </mixed>", json!({"mixed": {"b": ["two"]}})),
        (
            "<open>a<p:x xmlns:p='urn:p' p:y='1'/>b</open>",
            json!({"open": {"$xml": "a<p:x xmlns:p='urn:p' p:y='1'/>b"}}),
        ),
        ("<any k='v'>a<x/>b</any>", json!({"any": {"@k": "v", "$xml": "a<x/>b"}})),
        ("<any k='v'>a</any>", json!({"any": {"@k": "v", "$value": "a"}})),
    ] {
        let Reply::Body(read) = soap::decode(&operation, &response(&format!("<t:Do xmlns:t='urn:t'>{content}</t:Do>")))
        else {
            panic!("{content} is not read")
        };
        assert_eq!(read, expected, "{content}");
        let written = soap::encode(&operation, &read, &EncodeOptions::default()).unwrap().body;
        soap::validate(&operation, &written).unwrap();
        assert_eq!(soap::argument(&operation, &written), Some(read), "{written}");
    }
    for (argument, expected) in [
        (json!({"$xml": "<x/>"}), "Do has x where mixed"),
        (json!({"mixed": {"$xml": "a<c/>"}}), "Do.mixed has c where b may stand (a.wsdl, line "),
        (json!({"plain": {"$xml": "<t:Do xmlns:t='urn:t'><x/></t:Do>"}}), "Do.plain.Do has x where "),
        (json!({"plain": {"$xml": "text<a/>"}}), "Do.plain has an $xml with text in it, but holds elements only"),
        (
            json!({"any": {"$xml": "<a/>", "b": 1}}),
            "Do.any is of any type: give it a text, a $type, or its content as $xml",
        ),
        (json!({"any": {"@k": [1]}}), "Do.any has the attribute k, whose value is no text: [1]"),
    ] {
        let error = soap::encode(&operation, &argument, &EncodeOptions::default()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_nested_too_deep_is_said_and_not_cut_in_silence() {
    let operation = encoded(SOAP11);
    let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
    let answer = response(&format!("<r:DoResponse xmlns:r='urn:rpc'><any>{deep}</any></r:DoResponse>"));
    let Reply::Broken(reason) = soap::decode(&operation, &answer) else { panic!("is read") };
    assert!(reason.starts_with("<a> is nested deeper than 128 elements (line 1, column "), "{reason}");
    let chain: String =
        (0..5_000).map(|n| format!("<m id='o{n}' enc:root='0'><id>1</id><next href='#o{}'/></m>", n + 1)).collect();
    let text = envelope(&format!(
        "<r:Do xmlns:r='urn:rpc'><order href='#o0'/></r:Do>{chain}<m id='o5000' enc:root='0'><id>1</id></m>"
    ));
    let error = soap::validate(&operation, &text).unwrap_err();
    assert!(error.reason.starts_with("is nested deeper than 256 elements"), "{}", error.reason);
}
