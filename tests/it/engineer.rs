//! What an engineer has before the first message: check in depth, scaffold, show, diff, fetch, and a call by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that meets the unexpected fails"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn omgate(folder: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_omgate"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("OMGATE_CONFIG")
        .env("OMGATE_TEST_SECRET", "open sesame")
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Compares with a golden file.
fn golden(name: &str, actual: &str) {
    let path = project().join("fixtures/commands").join(name);
    if std::env::var_os("OMGATE_UPDATE").is_some() {
        return fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{name} differs (OMGATE_UPDATE=1 writes it anew); it gives now:\n{actual}");
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with the project's WSDLs in `wsdl`, and the example's configuration beside it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&folder.path().join("wsdl"));
    let config = fs::read_to_string(project().join("fixtures/omgate.toml")).unwrap().replace("../wsdl/", "wsdl/");
    fs::write(folder.path().join("omgate.toml"), config).unwrap();
    fs::copy(project().join("fixtures/countries.csv"), folder.path().join("countries.csv")).unwrap();
    folder
}

fn copy(to: &Path) {
    fs::create_dir(to).unwrap();
    for name in ["erp.wsdl", "erp.xsd", "order-won.wsdl"] {
        fs::copy(project().join("wsdl").join(name), to.join(name)).unwrap();
    }
}

fn change(file: &Path, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(file, text).unwrap();
}

#[test]
fn check_tries_sample_records_and_says_what_a_record_must_have() {
    let folder = folder();
    let ran = omgate(folder.path(), &["check"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    golden("check.txt", &ran.out);
    let ran = omgate(folder.path(), &["check", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let route = &document["routes"][0];
    assert_eq!(route["dead_without"], serde_json::json!(["OrderNumber"]));
    let samples: Vec<_> = route["samples"].as_array().unwrap().iter().map(|it| (&it["sample"], &it["ok"])).collect();
    assert_eq!(
        format!("{samples:?}"),
        r#"[(String("full"), Bool(true)), (String("minimal"), Bool(false)), (String("null"), Bool(false))]"#
    );
}

#[test]
fn a_sample_finds_the_keys_of_tables_and_the_values_of_enumerations_and_without_a_wsdl_too() {
    let folder = folder();
    for changes in [&[][..], &[("wsdl = \"wsdl/order-won.wsdl\"\n", ""), ("actions = ", "# ")][..]] {
        let config = folder.path().join("omgate.toml");
        change(&config, changes);
        change(&config, &[("Currency = \"'EUR'\"", "Currency = \"record.Iso__c\"")]);
        change(
            &config,
            &[("Total = \"record.Amount | default(0) | decimal(2)\"", "Total = \"record.Amount | decimal(2)\"")],
        );
        change(
            &folder.path().join("wsdl/order-won.wsdl"),
            &[(
                "<element name=\"IsWon\"",
                "<element name=\"Iso__c\" nillable=\"true\" minOccurs=\"0\" type=\"xsd:string\"/><element name=\"IsWon\"",
            )],
        );
        let ran = omgate(folder.path(), &["check", "--json"]);
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(document["routes"][0]["samples"][0]["ok"], true, "{}", ran.out);
        fs::copy(project().join("wsdl/order-won.wsdl"), folder.path().join("wsdl/order-won.wsdl")).unwrap();
        let text = fs::read_to_string(project().join("fixtures/omgate.toml")).unwrap();
        fs::write(&config, text.replace("../wsdl/", "wsdl/")).unwrap();
    }
}

#[test]
fn json_problems_carry_place_rule_and_nearest_name() {
    let ran = omgate(&project(), &["check", "--json", "--config", "fixtures/config-errors/fields.toml"]);
    assert_eq!(ran.code, Some(1));
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let problem = &document["problems"][0];
    for (key, expected) in [("rule", "source-field"), ("suggestion", "AccountId"), ("key", "destination.crm.url")] {
        assert_eq!(problem[key], expected, "{problem}");
    }
    assert_eq!((&problem["line"], &problem["column"]), (&10.into(), &9.into()));
}

#[test]
fn a_type_that_stands_in_for_an_abstract_one_has_its_own_elements() {
    let folder = folder();
    change(
        &folder.path().join("wsdl/erp.xsd"),
        &[(
            "<xs:complexType name=\"Customer\">",
            "<xs:complexType name=\"Company\"><xs:complexContent><xs:extension base=\"erp:Customer\"><xs:sequence><xs:element name=\"Vat\" type=\"xs:int\"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType><xs:complexType name=\"Customer\" abstract=\"true\">",
        )],
    );
    let config = folder.path().join("omgate.toml");
    let ran = omgate(folder.path(), &["check"]);
    assert!(ran.out.contains("nothing fills \"Customer.$type\""), "{}", ran.out);
    let id = "Customer.Id = \"record.AccountId | default(record.Id)\"";
    for (lines, said) in [
        ("Customer.\"$type\" = \"'Company'\"", "nothing fills \"Customer.Vat\""),
        ("Customer.\"$type\" = \"'Compny'\"", "cannot be of the type \"Compny\"; $type may be Company"),
        ("Customer.\"$type\" = \"'Company'\"\nCustomer.Vat = \"'x'\"", "is no xs:int"),
        ("Customer.\"$type\" = \"'Company'\"\nCustomer.Vat = 7", "is in order"),
    ] {
        change(&config, &[(id, &format!("{id}\n{lines}"))]);
        let ran = omgate(folder.path(), &["check"]);
        assert!(ran.out.contains(said), "{lines}: {}", ran.out);
        change(&config, &[(&format!("{id}\n{lines}"), id)]);
    }
}

#[test]
fn a_wsdl_is_shown_as_services_and_an_operation_as_trees() {
    let ran = omgate(&project(), &["wsdl", "show", "wsdl/erp.wsdl"]);
    golden("show.txt", &ran.out);
    let ran = omgate(&project(), &["wsdl", "show", "wsdl/erp.wsdl", "CreateOrder"]);
    golden("show-operation.txt", &ran.out);
    let ran = omgate(&project(), &["wsdl", "show", "wsdl/erp.wsdl", "CreateOrder", "--port", "OrdersSoap12", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&document["soap_version"], &document["style"]), (&"1.2".into(), &"document-wrapped".into()));
    assert_eq!(document["request"][0]["children"][1]["facets"][1], serde_json::json!(["maxLength", "80"]));
    let ran = omgate(&project(), &["wsdl", "show", "wsdl/erp.wsdl", "CreatOrder"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("did you mean \"CreateOrder\"?"), "{}", ran.err);
}

#[test]
fn a_type_that_holds_itself_ends_the_tree() {
    let folder = folder();
    change(
        &folder.path().join("wsdl/erp.xsd"),
        &[(
            "<xs:element name=\"Price\"",
            "<xs:element name=\"Part\" type=\"erp:Line\" minOccurs=\"0\" maxOccurs=\"unbounded\"/><xs:element name=\"Price\"",
        )],
    );
    let ran = omgate(folder.path(), &["wsdl", "show", "wsdl/erp.wsdl", "CreateOrder"]);
    assert!(ran.out.contains("Part       0..n  Line, as above"), "{}", ran.out);
    let arguments = ["scaffold", "--source", "wsdl/order-won.wsdl", "--destination", "wsdl/erp.wsdl", "--operation"];
    let ran = omgate(folder.path(), &[&arguments[..], &["CreateOrder"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn what_a_length_counts_and_how_a_text_stands_in_the_body_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
             xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
           <types><xs:schema targetNamespace="urn:t">
             <xs:simpleType name="Ints"><xs:list itemType="xs:int"/></xs:simpleType>
             <xs:element name="Do"><xs:simpleType><xs:restriction base="t:Ints"><xs:length value="3"/></xs:restriction></xs:simpleType></xs:element>
             <xs:element name="Far"><xs:complexType><xs:sequence>
               <xs:element name="a"><xs:simpleType><xs:restriction base="xs:hexBinary"><xs:maxLength value="2"/></xs:restriction></xs:simpleType></xs:element>
               <xs:element name="b"><xs:simpleType><xs:restriction base="xs:string"><xs:minLength value="2000000000"/></xs:restriction></xs:simpleType></xs:element>
             </xs:sequence></xs:complexType></xs:element></xs:schema></types>
           <message name="D"><part name="p" element="t:Do"/></message><message name="F"><part name="p" element="t:Far"/></message>
           <portType name="T"><operation name="Do"><input message="t:D"/></operation><operation name="Far"><input message="t:F"/></operation></portType>
           <binding name="B" type="t:T"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
             <operation name="Do"><input><soap:body use="literal"/></input></operation>
             <operation name="Far"><input><soap:body use="literal"/></input></operation></binding>
           <service name="S"><port name="P" binding="t:B"><soap:address location="http://h/"/></port></service>
           </definitions>"#;
    fs::write(folder.path().join("t.wsdl"), text).unwrap();
    let shown = |operation| omgate(folder.path(), &["wsdl", "show", "t.wsdl", operation]).out;
    let (plain, far) = (shown("Do"), shown("Far"));
    assert!(plain.contains("3 items") && plain.contains("document/literal bare"), "{plain}");
    assert!(far.contains("up to 2 bytes") && far.contains("at least 2000000000 characters"), "{far}");
    assert!(far.contains("document/literal wrapped"), "{far}");
    let ran = omgate(folder.path(), &["wsdl", "sample", "t.wsdl", "--operation", "Far"]);
    assert!(ran.err.contains("must be larger than a sample may be"), "{}", ran.err);
}

/// Fills every gap of a scaffold with a value of its type.
fn filled(text: &str, values: &dyn Fn(&str) -> String) -> String {
    let mut comment = String::new();
    let mut filled = String::new();
    let text = text.replace("CHANGE-ME", "7f3c9a51d2");
    for line in text.lines() {
        if line.starts_with("# ") && line.contains(" · ") {
            comment = line.to_owned();
        }
        let line = match line.split_once(" = \"\"  # GAP") {
            Some((key, _)) if !line.starts_with('#') => format!("{key} = \"'{}'\"", values(&comment)),
            _ => line.to_owned(),
        };
        writeln!(filled, "{line}").unwrap();
    }
    filled
}

fn of_type(comment: &str) -> String {
    let words = comment.split(" · ").nth(2).unwrap_or_default();
    if let Some((_, values)) = words.split_once("one of ") {
        return values.split([' ', ',']).next().unwrap().to_owned();
    }
    let builtin = words.split(", ").next().unwrap().rsplit(": ").next().unwrap();
    match builtin {
        "string" | "token" | "normalizedString" | "anyURI" | "NCName" | "ID" => "a",
        "boolean" => "true",
        "date" => "2026-01-31",
        "dateTime" => "2026-01-31T12:30:00Z",
        "time" => "12:30:00",
        "duration" => "P1D",
        "base64Binary" => "AAEC",
        "anything" => "x",
        _ => "1",
    }
    .to_owned()
}

#[test]
fn what_scaffold_prints_passes_check_when_its_gaps_are_filled() {
    let folder = folder();
    let arguments = ["scaffold", "--source", "wsdl/order-won.wsdl", "--destination", "wsdl/erp.wsdl", "--operation"];
    let ran = omgate(folder.path(), &[&arguments[..], &["CreateOrder"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("6 gaps are left"), "{}", ran.err);
    golden("scaffold.txt", &ran.out);
    let path = folder.path().join("new.toml");
    fs::write(&path, &ran.out).unwrap();
    let unfilled = omgate(folder.path(), &["check", "--config", "new.toml"]);
    assert_eq!(unfilled.code, Some(1));
    assert!(unfilled.out.contains("is empty"), "{}", unfilled.out);
    assert!(!unfilled.out.contains("nothing fills"), "a gap is told once: {}", unfilled.out);
    let gap =
        "new.toml:13:18: error: source.order-won.organizations: \"00D000000000000\" is what `omgate scaffold` leaves";
    assert!(unfilled.out.contains(gap), "{}", unfilled.out);
    let gap =
        "new.toml:12:8: error: source.order-won.path: \"/om/order-won-CHANGE-ME\" is what `omgate scaffold` leaves";
    assert!(unfilled.out.contains(gap), "{}", unfilled.out);
    let but_one = filled(&ran.out, &of_type);
    fs::write(&path, &but_one).unwrap();
    assert_eq!(omgate(folder.path(), &["check", "--config", "new.toml"]).code, Some(1));
    let address = but_one.replace("# endpoint = \"http://erp.example/orders\"", "endpoint = \"http://host/path\"");
    fs::write(&path, address).unwrap();
    let ran = omgate(folder.path(), &["check", "--config", "new.toml"]);
    assert!(ran.out.contains("endpoint: \"http://host/path\" is what `omgate scaffold` leaves"), "{}", ran.out);
    fs::write(&path, but_one.replace("00D000000000000\"", "00D24000000abcd\"")).unwrap();
    let ran = omgate(folder.path(), &["check", "--config", "new.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.contains("is in order: 1 route\n"), "{}", ran.out);
    let note = "note: source order-won names no fields in `search`, so its messages are found by ids alone: name some, such as \
                search = [\"Name\"]";
    assert!(ran.out.contains(note), "{}", ran.out);
    let named = fs::read_to_string(&path).unwrap().replace("# search = [", "search = [");
    fs::write(&path, named).unwrap();
    let ran = omgate(folder.path(), &["check", "--config", "new.toml"]);
    assert!(ran.code == Some(0) && !ran.out.contains("note: "), "{}", ran.out);
}

#[test]
fn what_may_be_nil_is_no_gap_of_a_scaffold() {
    let folder = folder();
    let text = r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
             xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
           <types><xs:schema targetNamespace="urn:t" elementFormDefault="qualified">
             <xs:complexType name="Place"><xs:sequence><xs:element name="Town" type="xs:string"/>
               <xs:element name="Floor" type="xs:int" nillable="true"/></xs:sequence></xs:complexType>
             <xs:complexType name="Stage"><xs:sequence><xs:element name="StageName" type="xs:string"/></xs:sequence></xs:complexType>
             <xs:complexType name="Shape" abstract="true"/>
             <xs:complexType name="Circle"><xs:complexContent><xs:extension base="t:Shape"/></xs:complexContent></xs:complexType>
             <xs:element name="Do"><xs:complexType><xs:sequence>
               <xs:element name="Remark" type="xs:string" nillable="true"/>
               <xs:element name="Count" type="xs:int"/>
               <xs:element name="From" type="t:Place" nillable="true"/>
               <xs:element name="At" type="t:Stage" nillable="true"/>
               <xs:element name="Form" type="t:Shape" nillable="true"/>
             </xs:sequence></xs:complexType></xs:element></xs:schema></types>
           <message name="D"><part name="p" element="t:Do"/></message>
           <portType name="T"><operation name="Do"><input message="t:D"/></operation></portType>
           <binding name="B" type="t:T"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
             <operation name="Do"><input><soap:body use="literal"/></input></operation></binding>
           <service name="S"><port name="P" binding="t:B"><soap:address location="http://h.example/"/></port></service>
           </definitions>"#;
    fs::write(folder.path().join("wsdl/nil.wsdl"), text).unwrap();
    let arguments =
        ["scaffold", "--source", "wsdl/order-won.wsdl", "--destination", "wsdl/nil.wsdl", "--operation", "Do"];
    let ran = omgate(folder.path(), &arguments);
    assert!(ran.err.contains("3 gaps are left"), "{}\n{}", ran.err, ran.out);
    for line in [
        "Remark = \"none\"  # makes it nil: give it a value in its place",
        "Count = \"\"  # GAP: required",
        "# From.Town = \"\"  # required",
        "From = \"none\"  # makes it nil: fill in some of the above in its place",
        "At.StageName = \"record.StageName\"",
        "Form = \"none\"  # makes it nil: fill in some of the above in its place",
    ] {
        assert!(ran.out.lines().any(|found| found == line), "{line}: {}", ran.out);
    }
    let text = filled(&ran.out, &of_type).replace("00D000000000000\"", "00D24000000abcd\"");
    fs::write(folder.path().join("new.toml"), &text).unwrap();
    let ran = omgate(folder.path(), &["check", "--config", "new.toml"]);
    assert_eq!(ran.code, Some(0), "{}\n{text}", ran.out);
}

/// An rpc/encoded WSDL with arrays, a choice of groups, abstract rows and a bound header.
const PARTS: &str = r#"<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:e="http://schemas.xmlsoap.org/soap/encoding/" xmlns:t="urn:t" targetNamespace="urn:t">
<w:types><xs:schema targetNamespace="urn:t">
<xs:complexType name="Item"><xs:sequence><xs:element name="Code" type="xs:string"/><xs:element name="Count" type="xs:int" minOccurs="0"/></xs:sequence></xs:complexType>
<xs:complexType name="Items"><xs:complexContent><xs:restriction base="e:Array"><xs:attribute ref="e:arrayType" w:arrayType="t:Item[]"/></xs:restriction></xs:complexContent></xs:complexType>
<xs:complexType name="Codes"><xs:complexContent><xs:restriction base="e:Array"><xs:attribute ref="e:arrayType" w:arrayType="xs:string[]"/></xs:restriction></xs:complexContent></xs:complexType>
<xs:complexType name="Grid"><xs:complexContent><xs:restriction base="e:Array"><xs:attribute ref="e:arrayType" w:arrayType="xs:int[,]"/></xs:restriction></xs:complexContent></xs:complexType>
<xs:complexType name="Shape" abstract="true"/>
<xs:complexType name="Circle"><xs:complexContent><xs:extension base="t:Shape"><xs:sequence><xs:element name="Radius" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
<xs:complexType name="Payment"><xs:sequence><xs:choice>
<xs:sequence><xs:element name="Iban" type="xs:string"/><xs:element name="Bic" type="xs:string"/></xs:sequence>
<xs:element name="Card" type="xs:string"/></xs:choice>
<xs:element name="Shape" type="t:Shape" maxOccurs="unbounded"/></xs:sequence></xs:complexType>
<xs:element name="Ticket"><xs:complexType><xs:sequence><xs:element name="Token" type="xs:string"/></xs:sequence></xs:complexType></xs:element>
</xs:schema></w:types>
<w:message name="In"><w:part name="Items" type="t:Items"/><w:part name="Codes" type="t:Codes"/><w:part name="Grid" type="t:Grid"/><w:part name="Payment" type="t:Payment"/></w:message>
<w:message name="Head"><w:part name="Ticket" element="t:Ticket"/></w:message>
<w:portType name="P"><w:operation name="Send"><w:input message="t:In"/></w:operation></w:portType>
<w:binding name="B" type="t:P"><soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>
<w:operation name="Send"><soap:operation soapAction="send"/><w:input>
<soap:header message="t:Head" part="Ticket" use="literal"/>
<soap:body use="encoded" namespace="urn:t" encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"/></w:input></w:operation></w:binding>
<w:service name="S"><w:port name="P" binding="t:B"><soap:address location="http://s.example/"/></w:port></w:service>
</w:definitions>"#;

#[test]
fn arrays_choices_abstract_rows_and_header_blocks_are_shown_and_written_as_what_they_are() {
    let folder = folder();
    fs::write(folder.path().join("wsdl/parts.wsdl"), PARTS).unwrap();
    let ran = omgate(folder.path(), &["wsdl", "show", "wsdl/parts.wsdl", "Send"]);
    golden("show-parts.txt", &ran.out);
    let ran = omgate(folder.path(), &["wsdl", "show", "wsdl/parts.wsdl", "Send", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["request"][0]["array"], serde_json::json!([1]));
    assert_eq!(document["request_headers"][0]["name"], "Ticket");
    let arguments =
        ["scaffold", "--source", "wsdl/order-won.wsdl", "--destination", "wsdl/parts.wsdl", "--operation", "Send"];
    let ran = omgate(folder.path(), &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    golden("scaffold-parts.txt", &ran.out);
    // Filled, it passes; the type of an abstract row, a list of lists and a row's element are filled by hand.
    let text = filled(&ran.out, &of_type)
        .replace("00D000000000000\"", "00D24000000abcd\"")
        .replace("\"$type\" = \"'1'\"", "\"$type\" = \"'Circle'\"\nRadius = 2")
        .replace("Grid = \"'1'\"", "Grid = \"[[1, 2], [3, 4]]\"");
    let config = folder.path().join("new.toml");
    fs::write(&config, &text).unwrap();
    let ran = omgate(folder.path(), &["check", "--config", "new.toml"]);
    assert_eq!(ran.code, Some(0), "{}\n{text}", ran.out);
    // what is written | what is said
    for (from, to, said) in [
        (
            "[[route.map.Items]]",
            "[route.map.Items]",
            "\"Items\" is an array of SOAP's encoding, and is given an object",
        ),
        ("[[route.map.Items]]", "[[route.map.Items]]\nKode = \"'1'\"", "Items has no Kode; did you mean Code?"),
        (
            "Grid = \"[[1, 2], [3, 4]]\"",
            "Grid.\"@arrayType\" = \"'int'\"",
            "is an array of 2 dimensions: give it lists",
        ),
    ] {
        assert!(text.contains(from), "{from}\n{text}");
        fs::write(&config, text.replacen(from, to, 1)).unwrap();
        let ran = omgate(folder.path(), &["check", "--config", "new.toml"]);
        assert_eq!(ran.code, Some(1), "{to}: {}", ran.out);
        assert!(ran.out.contains(said), "{to}: {}", ran.out);
    }
}

#[test]
fn what_changes_in_arrays_and_header_blocks_is_said() {
    let folder = folder();
    let (old, new) = (folder.path().join("wsdl/parts.wsdl"), folder.path().join("wsdl/new.wsdl"));
    fs::write(&old, PARTS).unwrap();
    let changed = PARTS
        .replace("name=\"Code\" type=\"xs:string\"", "name=\"Code\" type=\"xs:int\"")
        .replace("\"xs:string[]\"", "\"xs:int[]\"")
        .replace("\"xs:int[,]\"", "\"xs:int[]\"")
        .replace("name=\"Token\"", "name=\"Key\"");
    fs::write(&new, changed).unwrap();
    let ran = omgate(folder.path(), &["wsdl", "diff", "wsdl/parts.wsdl", "wsdl/new.wsdl"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    golden("diff-parts.txt", &ran.out);
}

#[test]
fn a_route_that_can_never_send_is_an_error_and_a_made_up_value_is_said_to_be_one() {
    let folder = folder();
    let config = folder.path().join("omgate.toml");
    let total = "Total = \"record.Amount | default(0) | decimal(2)\"";
    // what a value is | the severity | what is said
    for (value, severity, said) in [
        ("Total = \"none if record.Id else 1\"", "error", "no record ever makes a call, whatever it holds"),
        (
            "Total = \"record.Name | int\"",
            "warning",
            "values are made up by this check, in whose sample record.Name is \"text\"",
        ),
    ] {
        change(&config, &[(total, value)]);
        let ran = omgate(folder.path(), &["check", "--json"]);
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        let problems = document["problems"].as_array().unwrap();
        let problem =
            problems.iter().find(|problem| problem["rule"] == "sample").unwrap_or_else(|| panic!("{}", ran.out));
        assert_eq!(problem["severity"], severity, "{problem}");
        assert!(problem["reason"].as_str().unwrap().contains(said), "{problem}");
        assert_eq!((ran.code, &document["ok"]), (Some(i32::from(severity == "error")), &(severity != "error").into()));
        change(&config, &[(value, total)]);
    }
}

#[test]
fn every_golden_file_of_a_command_is_read_by_a_test() {
    let sources: String = fs::read_dir(project().join("tests/it"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let orphans = [orphans("commands", &sources), orphans("soap", &sources)].concat();
    assert!(orphans.is_empty(), "no test reads {orphans:?}: name them in one, or take them out");
    assert!(!self::orphans("commands", "golden(\"check.txt\", &ran.out)").is_empty(), "no orphan is ever found");
}

/// The files of a folder of fixtures whose names no source says.
fn orphans(folder: &str, sources: &str) -> Vec<String> {
    let mut orphans = Vec::new();
    for entry in fs::read_dir(project().join("fixtures").join(folder)).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !sources.contains(&format!("\"{name}\"")) {
            orphans.push(format!("fixtures/{folder}/{name}"));
        }
    }
    orphans
}

#[test]
fn obvious_pairs_are_filled_in_by_name_and_made_to_fit() {
    let folder = folder();
    change(
        &folder.path().join("wsdl/erp.xsd"),
        &[
            ("name=\"Comment\" type=\"xs:string\" nillable=\"true\"", "name=\"description\" type=\"xs:string\""),
            ("name=\"Total\"", "name=\"AMOUNT\""),
            ("name=\"Country\" type=\"erp:Country\"", "name=\"billing_country\" type=\"erp:Country\""),
            (
                "name=\"OrderNumber\" type=\"erp:OrderNumber\"/>\n        <",
                "name=\"CloseDate\" type=\"xs:dateTime\"/><xs:element name=\"StageName\" type=\"xs:int\"/><xs:element name=\"Quantity\" type=\"xs:short\"/>\n        <",
            ),
            ("<xs:element name=\"Id\" type=\"erp:CustomerId\"/>", "<xs:element name=\"Id\" type=\"xs:int\"/>"),
        ],
    );
    let arguments = ["scaffold", "--source", "wsdl/order-won.wsdl", "--destination", "wsdl/erp.wsdl", "--operation"];
    let ran = omgate(folder.path(), &[&arguments[..], &["CreateOrder"]].concat());
    for line in [
        "description = \"record.Description\"",
        "AMOUNT = \"record.Amount | decimal(2)\"",
        "billing_country = \"record.BillingCountry__c | truncate(2)\"",
        "CloseDate = \"record.CloseDate | date('%Y-%m-%dT00:00:00')\"",
        "Quantity = \"record.Quantity__c\"",
        // A text that has the name fits no number, and a record's Id is no customer's.
        "StageName = \"\"  # GAP: required",
        "Customer.Id = \"\"  # GAP: required",
    ] {
        assert!(ran.out.lines().any(|known| known == line), "{line}:\n{}", ran.out);
    }
}

#[test]
fn what_a_new_target_wsdl_changes_is_said_with_the_routes_that_break() {
    let folder = folder();
    copy(&folder.path().join("new"));
    change(
        &folder.path().join("new/erp.xsd"),
        &[
            ("<xs:enumeration value=\"EUR\"/>", ""),
            ("<xs:enumeration value=\"JPY\"/>", "<xs:enumeration value=\"SEK\"/>"),
            ("name=\"Country\" type=\"erp:Country\" minOccurs=\"0\"", "name=\"Country\" type=\"erp:Country\""),
            ("<xs:maxLength value=\"80\"/>", "<xs:maxLength value=\"40\"/>"),
            ("<xs:maxLength value=\"255\"/>", "<xs:maxLength value=\"300\"/>"),
            ("name=\"Comment\" type=\"xs:string\" nillable=\"true\"", "name=\"Note\" type=\"xs:string\""),
            ("<xs:element name=\"Price\" type=\"erp:Amount\"", "<xs:element name=\"Price\" type=\"xs:int\""),
            ("<xs:element name=\"OrderId\" type=\"xs:string\"/>", "<xs:element name=\"OrderId\" type=\"xs:int\"/>"),
        ],
    );
    let ran = omgate(folder.path(), &["wsdl", "diff", "wsdl/erp.wsdl", "new/erp.wsdl"]);
    assert_eq!(ran.code, Some(1));
    golden("diff-target.txt", &ran.out);
    let with_config = ["wsdl", "diff", "wsdl/erp.wsdl", "new/erp.wsdl", "--config", "omgate.toml"];
    let ran = omgate(folder.path(), &with_config);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    golden("diff-target-config.txt", &ran.out);
    let ran = omgate(folder.path(), &[&with_config[..], &["--json"]].concat());
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["breaks"], true);
    assert_eq!(document["routes"][0]["route"], "won-orders");
    let ran = omgate(folder.path(), &["wsdl", "diff", "wsdl/erp.wsdl", "wsdl/erp.wsdl"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "wsdl/erp.wsdl and wsdl/erp.wsdl say the same\n"));
}

#[test]
fn what_a_new_outbound_wsdl_changes_is_said_with_the_routes_that_break() {
    let folder = folder();
    copy(&folder.path().join("new"));
    let country = "<element name=\"BillingCountry__c\" nillable=\"true\" minOccurs=\"0\" type=\"xsd:string\"/>";
    let is_won = "<element name=\"IsWon\" nillable=\"true\" minOccurs=\"0\" type=\"xsd:boolean\"/>";
    let new = folder.path().join("new/order-won.wsdl");
    change(
        &new,
        &[
            (country, ""),
            (
                "name=\"Amount\" nillable=\"true\" minOccurs=\"0\" type=\"xsd:double\"",
                "name=\"Amount\" nillable=\"true\" minOccurs=\"0\" type=\"xsd:boolean\"",
            ),
        ],
    );
    let arguments = ["wsdl", "diff", "wsdl/order-won.wsdl", "new/order-won.wsdl", "--config", "omgate.toml"];
    let ran = omgate(folder.path(), &arguments);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    golden("diff-source.txt", &ran.out);
    // What nobody uses may go.
    fs::copy(project().join("wsdl/order-won.wsdl"), &new).unwrap();
    change(&new, &[(is_won, "")]);
    let ran = omgate(folder.path(), &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.contains("breaks  IsWon is gone"), "{}", ran.out);
    assert!(ran.out.ends_with("the configuration holds with it\n"), "{}", ran.out);
}

/// A server that answers by path, as long as the test runs; what it was asked, with its headers in lower case.
fn serve(answer: impl Fn(&str, &str) -> (u16, String) + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let request = request(&mut stream);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = answer(&path, &request);
            kept.lock().unwrap().push(request);
            let (head, body) = match status {
                302 => (format!("Location: {body}\r\n"), String::new()),
                _ => ("Content-Type: text/xml; charset=utf-8\r\n".to_owned(), body),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    (address, asked)
}

fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

fn documents() -> BTreeMap<&'static str, String> {
    let read = |name: &str| fs::read_to_string(project().join("wsdl").join(name)).unwrap();
    let wsdl = read("erp.wsdl").replace("schemaLocation=\"erp.xsd\"", "schemaLocation=\"/types/orders?xsd=1&amp;v=2\"");
    let schema = read("erp.xsd").replacen(
        "<xs:element name",
        "<xs:include schemaLocation=\"more.xsd\"/>\n  <xs:element name",
        1,
    );
    let more = "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\"><xs:include schemaLocation=\"../types/more.xsd\"/>\
                <xs:simpleType name=\"Extra\"><xs:restriction base=\"xs:string\"/></xs:simpleType></xs:schema>";
    BTreeMap::from([("/orders?wsdl", wsdl), ("/types/orders?xsd=1&v=2", schema), ("/types/more.xsd", more.to_owned())])
}

#[test]
fn a_wsdl_is_fetched_with_all_it_imports_and_stands_for_itself() {
    let (address, asked) = serve(|path, _| match documents().get(path) {
        Some(document) => (200, document.clone()),
        None if path == "/old" => (302, "/orders?wsdl".to_owned()),
        None => (404, String::new()),
    });
    let folder = tempfile::tempdir().unwrap();
    let ran = omgate(folder.path(), &["wsdl", "fetch", &format!("http://{address}/orders?wsdl"), "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(!folder.path().join("wsdl").exists());
    let ran = omgate(folder.path(), &["wsdl", "fetch", &format!("http://{address}/orders?wsdl")]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    golden("fetch.txt", &ran.out.replace(&address, "erp.internal:8000"));
    let ran = omgate(folder.path(), &["wsdl", "check", "wsdl/orders.wsdl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    // No document is asked for twice, though `more.xsd` names itself.
    assert_eq!(asked.lock().unwrap().len(), 6);
    let ran = omgate(folder.path(), &["wsdl", "fetch", &format!("http://{address}/old"), "--out", "other", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&document["wsdl"], &document["ok"]), (&"other/old.wsdl".into(), &true.into()));
    // What is there and differs is not lost by accident.
    fs::write(folder.path().join("wsdl/more.xsd"), "mine").unwrap();
    let url = format!("http://{address}/orders?wsdl");
    let ran = omgate(folder.path(), &["wsdl", "fetch", &url]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("is there and differs"), "{}", ran.err);
    assert_eq!(fs::read_to_string(folder.path().join("wsdl/more.xsd")).unwrap(), "mine");
    assert_eq!(omgate(folder.path(), &["wsdl", "fetch", &url, "--replace"]).code, Some(0));
}

#[test]
fn credentials_of_a_fetch_come_from_outside_and_go_to_the_first_host_alone() {
    let (other, asked_other) = serve(|_, _| {
        (200, documents()["/types/orders?xsd=1&v=2"].replace("<xs:include schemaLocation=\"more.xsd\"/>", ""))
    });
    let elsewhere = format!("http://{other}/erp.xsd");
    let wsdl = documents()["/orders?wsdl"].replace("/types/orders?xsd=1&amp;v=2", &elsewhere);
    let (home, asked) = serve(move |_, request| {
        let authorized = request.to_lowercase().contains("authorization: basic ");
        if authorized { (200, wsdl.clone()) } else { (401, String::new()) }
    });
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{home}/orders?wsdl");
    let ran = omgate(folder.path(), &["wsdl", "fetch", &url]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("401") && ran.err.contains("--user"), "{}", ran.err);
    let ran = omgate(folder.path(), &["wsdl", "fetch", &url, "--user", "me:clear"]);
    assert!(ran.err.contains("would stand in clear"), "{}", ran.err);
    let user = ["wsdl", "fetch", &url, "--user", "me:${OMGATE_TEST_SECRET}"];
    let ran = omgate(folder.path(), &user);
    assert!(
        ran.out.contains(&format!("it is on another host; --host {other} fetches it too")),
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(asked_other.lock().unwrap().is_empty());
    let header = ["--header", "X-Key: ${OMGATE_TEST_SECRET}", "--host", &other, "--replace"];
    let ran = omgate(folder.path(), &[&user[..], &header[..]].concat());
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(asked.lock().unwrap().iter().any(|request| request.to_lowercase().contains("x-key: open sesame")));
    let others = asked_other.lock().unwrap();
    assert!(!others.is_empty() && others.iter().all(|request| !request.to_lowercase().contains("authorization")));
    assert!(!others.iter().any(|request| request.contains("sesame")));
}

#[test]
fn what_is_no_wsdl_and_what_leads_away_is_not_brought() {
    let (address, _) = serve(|path, _| match path {
        "/page" => (200, "<html><body>Log in</body></html>".to_owned()),
        "/away" => (302, "http://elsewhere.invalid/x".to_owned()),
        "/round" => (302, "/round".to_owned()),
        _ => (200, "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>".to_owned()),
    });
    let folder = tempfile::tempdir().unwrap();
    for (url, said) in [
        (format!("http://{address}/page"), "HTML page"),
        (format!("http://{address}/away"), "is not followed"),
        (format!("http://{address}/round"), "redirected more than 5 times"),
        (format!("http://{address}/dtd"), "DOCTYPE"),
        (format!("http://me:secret@{address}/"), "carries credentials"),
        ("file:///etc/passwd".to_owned(), "no http:// or https:// URL"),
    ] {
        let ran = omgate(folder.path(), &["wsdl", "fetch", &url]);
        assert_eq!(ran.code, Some(1), "{url}: {}", ran.out);
        assert!(ran.err.contains(said), "{url}: {}", ran.err);
        assert!(!folder.path().join("wsdl").exists());
    }
}

const ANSWER: &str = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body>\
    <CreateOrderResponse xmlns=\"urn:example:erp:orders\"><OrderId>open sesame</OrderId></CreateOrderResponse></e:Body></e:Envelope>";
const FAULT: &str = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><e:Fault>\
    <faultcode>e:Client</faultcode><faultstring>no such customer</faultstring></e:Fault></e:Body></e:Envelope>";

/// A folder whose destination is a server of the test, called with a secret.
fn callable(address: &str) -> tempfile::TempDir {
    let folder = folder();
    change(
        &folder.path().join("omgate.toml"),
        &[
            ("endpoint = \"http://erp.internal:8000/orders\"", &format!("endpoint = \"http://{address}/orders\"")),
            ("addressing = true", "headers = { X-Key = \"${OMGATE_TEST_SECRET}\" }"),
        ],
    );
    folder
}

const SET: [&str; 14] = [
    "--set",
    "OrderNumber=A-1",
    "--set",
    "Total:=12.50",
    "--set",
    "Currency=EUR",
    "--set",
    "Customer.Id=7",
    "--set",
    "Lines[1].Article=chair",
    "--set",
    "Lines[1].Quantity=2",
    "--set",
    "@priority=urgent",
];

#[test]
fn a_call_by_hand_is_made_checked_and_shown_without_secrets() {
    let (address, asked) = serve(|_, _| (200, ANSWER.to_owned()));
    let folder = callable(&address);
    let call = [&["call", "erp-create"][..], &SET[..]].concat();
    let ran = omgate(folder.path(), &[&call[..], &["--dry-run"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    golden("call-dry-run.txt", &ran.out.replace(&address, "erp.internal:8000"));
    assert!(asked.lock().unwrap().is_empty());
    let ran = omgate(folder.path(), &call);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    golden("call.txt", &ran.out.replace(&address, "erp.internal:8000"));
    let sent = asked.lock().unwrap()[0].clone();
    assert!(sent.contains("open sesame") && sent.contains("<ns1:Total>12.50</ns1:Total>"), "{sent}");
    let ran = omgate(folder.path(), &[&call[..], &["--json"]].concat());
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&document["outcome"], &document["response"]["status"]), (&"delivered".into(), &200.into()));
    assert!(!ran.out.contains("sesame"), "{}", ran.out);
}

#[test]
fn a_call_that_is_not_taken_or_cannot_be_made_fails() {
    let (address, _) = serve(|_, _| (500, FAULT.to_owned()));
    let folder = callable(&address);
    let ran = omgate(folder.path(), &[&["call", "erp-create"][..], &SET[..]].concat());
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.starts_with("sending to destination erp-create, in earnest: POST http"), "{}", ran.err);
    assert!(ran.out.contains("\nrefused: ") && ran.out.contains("no such customer"), "{}", ran.out);
    for (set, said) in [
        (&["--set", "Total=abc"][..], "is no xs:decimal"),
        (&["--set", "OrderNumbr=1"][..], "did you mean OrderNumber?"),
        (&["--set", "OrderNumber"][..], "PATH=VALUE"),
    ] {
        let valid = ["--set", "OrderNumber=1", "--set", "Total=1", "--set", "Currency=EUR", "--set", "Customer.Id=1"];
        let valid: Vec<&str> = valid
            .chunks(2)
            .filter(|pair| !set[1].starts_with(pair[1].split('=').next().unwrap()))
            .flatten()
            .copied()
            .collect();
        let ran = omgate(folder.path(), &[&["call", "erp-create"][..], &valid[..], set].concat());
        assert_eq!(ran.code, Some(1), "{}", ran.out);
        assert!(ran.err.contains(said), "{set:?}: {}", ran.err);
    }
    let ran = omgate(folder.path(), &["call", "erp"]);
    assert!(ran.err.contains("there is crm, erp-create"), "{}", ran.err);
}
