//! Arguments that make no valid request: every error names the path, the value, the rule, and the WSDL's place.

use omgate::soap::{self, EncodeOptions};
use serde_json::json;

use super::forms::{BAD, SOAP11, encoded, operation};

#[test]
fn every_error_names_path_value_rule_and_place() {
    let schema = format!(
        r#"{BAD}
<xs:element name="Do"><xs:complexType><xs:sequence>
  <xs:element name="must"><xs:complexType><xs:sequence>
    <xs:element name="deep" type="xs:int"/></xs:sequence></xs:complexType></xs:element>
  <xs:element name="two" type="xs:int" minOccurs="2" maxOccurs="2"/>
  <xs:element name="shape" type="t:Shape"/>
  <xs:element name="q" type="xs:QName" minOccurs="0"/>
  <xs:element name="qs" type="t:Qs" minOccurs="0"/>
  <xs:element name="l" type="t:Ints" minOccurs="0"/>
  <xs:element name="n" type="t:Round" nillable="true" minOccurs="0"/>
</xs:sequence></xs:complexType></xs:element>
<xs:complexType name="Shape" abstract="true"/>
<xs:complexType name="Round"><xs:complexContent><xs:extension base="t:Shape"><xs:sequence>
  <xs:element name="r" type="xs:int" minOccurs="0"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
<xs:simpleType name="Ints"><xs:list itemType="xs:int"/></xs:simpleType>
<xs:simpleType name="Qs"><xs:list itemType="xs:QName"/></xs:simpleType>"#
    );
    let part = r#"<part name="p" element="t:Do"/>"#;
    let operation = operation(SOAP11, "document", &schema, part, part, r#"<soap:body use="literal"/>"#);
    let good = json!({"must": {"deep": 1}, "two": [1, 2], "shape": {"$type": "Round"}});
    assert!(soap::encode(&operation, &good, &EncodeOptions::default()).is_ok());
    // a line of the schema begins with the text before | the path | the reason
    for (path, value, line, expected) in [
        ("/must", json!(null), "  <xs:element name=\"must\"", "Do.must is required and its value is none"),
        ("/must", json!({}), "    <xs:element name=\"deep\"", "Do.must.deep is required and nobody fills it"),
        ("/must/dep", json!(1), "  <xs:element name=\"must\"", "Do.must has no dep; did you mean deep?"),
        (
            "/must",
            json!("word"),
            "  <xs:element name=\"must\"",
            "Do.must holds elements, but is given a text: \"word\"",
        ),
        ("/must", json!([1]), "  <xs:element name=\"must\"", "Do.must[1] holds elements, but is given a text: 1"),
        (
            "/must",
            json!({"deep": [1, 2]}),
            "    <xs:element name=\"deep\"",
            "Do.must.deep comes 2 times; at most 1 fit",
        ),
        ("/two", json!([1]), "  <xs:element name=\"two\"", "Do.two comes 1 times; at least 2 are required"),
        ("/two", json!([1, 2, 3]), "  <xs:element name=\"two\"", "Do.two comes 3 times; at most 2 fit"),
        ("/two", json!([1, {"a": 2}]), "  <xs:element name=\"two\"", "Do.two[2] holds text and has no a"),
        (
            "/shape",
            json!({}),
            "  <xs:element name=\"shape\"",
            "Do.shape is of the abstract type Shape: say which in $type",
        ),
        (
            "/shape",
            json!({"$type": "Ruond"}),
            "  <xs:element name=\"shape\"",
            "Do.shape has the $type \"Ruond\", which is no type derived from its own; did you mean Round?",
        ),
        (
            "/shape",
            json!({"$typ": "Round"}),
            "  <xs:element name=\"shape\"",
            "Do.shape has the key $typ, which means nothing; did you mean $type?",
        ),
        ("/shape", json!({"$type": 1}), "  <xs:element name=\"shape\"", "Do.shape has a $type that is no text: 1"),
        ("/$header", json!({"x": 1}), "<xs:element name=\"Do\"", "Do.$header has no block x"),
        (
            "/$xlm",
            json!("<a/>"),
            "<xs:element name=\"Do\"",
            "Do has the key $xlm, which means nothing; did you mean $xml?",
        ),
        (
            "/n",
            json!({"$nil": "yes"}),
            "  <xs:element name=\"n\"",
            "Do.n has a $nil that is neither true nor false: \"yes\"",
        ),
        ("/n", json!({"$nil": true, "r": 1}), "  <xs:element name=\"n\"", "Do.n is nil, so it has no r"),
        (
            "/q",
            json!("x:name"),
            "  <xs:element name=\"q\"",
            "Do.q = \"x:name\" has a prefix that is not declared: write {namespace}name",
        ),
        (
            "/qs",
            json!(["{urn:q}a", "x:b"]),
            "  <xs:element name=\"qs\"",
            "Do.qs = \"x:b\" has a prefix that is not declared: write {namespace}b",
        ),
        ("/l", json!([1, [2]]), "  <xs:element name=\"l\"", "Do.l is a list of texts, but its item 2 is none: [2]"),
    ] {
        let mut argument = good.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        argument.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
        let error = soap::encode(&operation, &argument, &EncodeOptions::default()).unwrap_err();
        let said = format!("{} {}", error.path, error.reason);
        assert!(said.starts_with(expected), "{path}: {said}");
        // The schema begins in the WSDL's fifth line.
        let declared = schema.lines().position(|known| known.starts_with(line)).unwrap() + 4;
        assert_eq!(error.place, Some(("a.wsdl".to_owned(), u32::try_from(declared).unwrap())), "{path}: {error}");
    }
    let text = soap::encode(
        &operation,
        &json!({"must": {"deep": 1}, "two": [1, 2], "shape": {"$type": "Round"}, "q": "{urn:q}a", "qs": ["{urn:q}a", "b"]}),
        &EncodeOptions::default(),
    );
    let text = text.unwrap().body;
    assert!(text.contains("<q>ns2:a</q><qs>ns2:a b</qs>"), "{text}");
}

#[test]
fn errors_of_parts_and_of_items_name_the_place_of_the_part() {
    let operation = encoded(SOAP11);
    let good = json!({"order": {"id": "1"}, "ints": [1], "grid": [[1]], "rows": [[1], [2, 3]], "any": "text"});
    for (path, value, expected) in [
        ("ints", json!([1, "x"]), "Do.ints[2] = \"x\" is no xs:int (a.wsdl, line "),
        ("rows", json!([[1], [2, "y"]]), "Do.rows[2][2] = \"y\" is no xs:int (a.wsdl, line "),
        ("grid", json!([1, 2]), "Do.grid is an array of 2 dimensions: lists within lists, and not 1 (a.wsdl, line "),
        (
            "ints",
            json!({"a": [1], "b": [2]}),
            "Do.ints is an array: give it a list, and not {\"a\":[1],\"b\":[2]} (a.wsdl, line ",
        ),
        ("ints", json!({"@id": "x", "i": [2]}), "Do.ints is an array, and has no place for @id (a.wsdl, line "),
        (
            "order",
            json!({"id": "1", "next": {"id": {"x": 1}}}),
            "Do.order.next.id holds text and has no x (a.wsdl, line ",
        ),
        ("order", json!(null), "Do.order is required and nobody fills it (a.wsdl, line "),
        ("odrer", json!(1), "Do has no part odrer; did you mean order? (a.wsdl, line "),
    ] {
        let mut wrong = good.clone();
        wrong[path] = value;
        let error = soap::encode(&operation, &wrong, &EncodeOptions::default()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
