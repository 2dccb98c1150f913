//! WSDLs of many files and of many faults: what they mean, what is assumed, what is refused.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use omgate::wsdl::{self, Files, Finding, Model, Reading, Severity};

struct Memory(HashMap<String, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let text = self.0.get(path.to_str().unwrap());
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

fn load_as(files: &[(&str, &str)], reading: Reading) -> Result<Model, Vec<Finding>> {
    let memory = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    wsdl::load_as(Path::new(files[0].0), &Memory(memory), reading)
}

fn load(files: &[(&str, &str)]) -> Result<Model, Vec<Finding>> {
    load_as(files, Reading::Lenient)
}

/// A WSDL whose operation `Do` takes `{urn:t}Do`.
fn wsdl_of(schemas: &str) -> String {
    format!(
        "<w:definitions xmlns:w='http://schemas.xmlsoap.org/wsdl/' xmlns:soap='http://schemas.xmlsoap.org/wsdl/soap/'\n\
         xmlns:xs='http://www.w3.org/2001/XMLSchema' xmlns:t='urn:t' targetNamespace='urn:t'>\n\
         <w:types>{schemas}</w:types>\n\
         <w:message name='In'><w:part name='p' element='t:Do'/></w:message>\n\
         <w:portType name='P'><w:operation name='Do'><w:input message='t:In'/></w:operation></w:portType>\n\
         <w:binding name='B' type='t:P'><soap:binding style='document'/>\n\
         <w:operation name='Do'><soap:operation soapAction='do'/><w:input><soap:body use='literal'/></w:input>\n\
         </w:operation></w:binding>\n\
         <w:service name='S'><w:port name='P' binding='t:B'><soap:address location='http://s/'/></w:port></w:service>\n\
         </w:definitions>"
    )
}

fn schema_of(content: &str) -> String {
    wsdl_of(&format!("<xs:schema targetNamespace='urn:t' elementFormDefault='qualified'>{content}</xs:schema>"))
}

#[test]
fn well_known_namespaces_need_no_file_and_no_network() {
    // namespace | a type of it; `@`: an attribute
    for (namespace, name) in [
        ("http://schemas.xmlsoap.org/soap/encoding/", "string"),
        ("http://schemas.xmlsoap.org/soap/encoding/", "Array"),
        ("http://www.w3.org/2003/05/soap-encoding", "@arraySize"),
        ("http://www.w3.org/2005/05/xmlmime", "base64Binary"),
        ("http://www.w3.org/2004/11/xmlmime", "@contentType"),
        ("http://www.w3.org/2005/08/addressing", "EndpointReferenceType"),
        ("http://schemas.xmlsoap.org/ws/2004/08/addressing", "AttributedURI"),
        ("http://ws-i.org/profiles/basic/1.1/xsd", "swaRef"),
        ("http://www.w3.org/2000/09/xmldsig#", "SignatureType"),
        ("http://www.w3.org/XML/1998/namespace", "@lang"),
        ("http://www.w3.org/1999/xlink", "@href"),
        ("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd", "UsernameTokenType"),
        ("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd", "TimestampType"),
        ("http://www.w3.org/2004/08/xop/include", "Include"),
        ("http://xml.apache.org/xml-soap", "DataHandler"),
        ("http://schemas.microsoft.com/2003/10/Serialization/", "guid"),
        ("http://microsoft.com/wsdl/types/", "guid"),
        ("http://schemas.xmlsoap.org/soap/envelope/", "Fault"),
    ] {
        let content = match name.strip_prefix('@') {
            Some(name) => format!("<xs:complexType><xs:attribute ref='k:{name}'/></xs:complexType>"),
            None => format!(
                "<xs:complexType><xs:sequence><xs:element name='k' type='k:{name}'/></xs:sequence></xs:complexType>"
            ),
        };
        let prefix = if namespace.ends_with("/namespace") { "xml" } else { "k" };
        let declared = format!("xmlns:{prefix}='{namespace}' targetNamespace=");
        let location = "schemaLocation='http://elsewhere.example/known.xsd'";
        let content =
            format!("<xs:import namespace='{namespace}' {location}/><xs:element name='Do'>{content}</xs:element>");
        let text = schema_of(&content.replace("k:", &format!("{prefix}:")));
        let text = text.replacen("xs:schema targetNamespace=", &format!("xs:schema {declared}"), 1);
        let model = load_as(&[("a.wsdl", &text)], Reading::Strict).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(model.findings(), [], "{namespace}");
    }
}

#[test]
fn what_is_assumed_has_a_name_and_is_refused_by_those_who_read_strictly() {
    let good = "<xs:element name='Do' type='xs:string'/>";
    // what is wrong | the rule
    for (text, rule) in [
        (schema_of(good).replace("<xs:schema ", "<xs:schema y:z='1' "), "undeclared-prefix"),
        (format!("<!-- first -->\n<?xml version='1.0'?>{}", schema_of(good)), "misplaced-declaration"),
        (
            schema_of(
                "<xs:element name='Do' type='Code'/><xs:simpleType name='Code'><xs:restriction base='xs:int'/></xs:simpleType>",
            ),
            "src-resolve",
        ),
        (schema_of("<xs:element name='Do' type='string'/>"), "src-resolve"),
        (schema_of("<xs:element name='Do' type='u:string'/>").replace("'u:", "'xsd:"), "src-resolve"),
        (schema_of("<xs:element name='Do' type='t:Code'/><xs:element name='Code' type='xs:int'/>"), "src-resolve"),
        (schema_of(&format!("<xs:import namespace='urn:t'/>{good}")), "src-import.1.1"),
        (schema_of(good).replace("'t:In'", "'In'"), "unprefixed-name"),
        (schema_of(good).replace("binding='t:B'", "binding='t:Other'"), "unprefixed-name"),
        (schema_of(good).replace("use='literal'", "use='literal' namespace='urn:t'"), "R2716"),
        (schema_of(good).replace("<w:port ", "<w:port kind='soap' "), "WSDL A.4.1"),
        (schema_of(good).replace("element='t:Do'/>", "element='t:Do'/><w:part name='q' element='t:Do'/>"), "R2210"),
        (
            schema_of(good).replace(
                "<w:operation name='Do'><soap",
                "<w:operation name='No'><soap:operation/></w:operation><w:operation name='Do'><soap",
            ),
            "R2718",
        ),
        (do_with("minOccurs='0' maxOccurs='99999999999999999999999999'"), "p-props-correct.1"),
        (do_with("maxOccurs='0'"), "p-props-correct.2.1"),
        (
            schema_of(&format!(
                "{good}<xs:element name='a' type='xs:int' substitutionGroup='t:b'/>\
                 <xs:element name='b' type='xs:int' substitutionGroup='t:a'/>"
            )),
            "e-props-correct.6",
        ),
        // What no request holds harms none.
        (
            schema_of(&format!(
                "{good}<xs:element name='a' substitutionGroup='t:b'/><xs:element name='b' substitutionGroup='t:a'/>"
            )),
            "e-props-correct.6",
        ),
    ] {
        let model = load(&[("a.wsdl", &text)]).unwrap_or_else(|error| panic!("{rule}: {error:?}"));
        let rules: Vec<&str> = model.findings().iter().map(|finding| finding.rule.as_str()).collect();
        assert_eq!(rules, [rule], "{:?}", model.findings());
        let finding = &model.findings()[0];
        assert!(finding.message.contains("assumed:") && finding.line > 0, "{finding:?}");
        let refused = load_as(&[("a.wsdl", &text)], Reading::Strict).unwrap_err();
        assert!(refused.iter().all(|finding| finding.severity == Severity::Error));
    }
}

/// A WSDL whose `Do` holds an element that comes as often as these attributes say.
fn do_with(occurrences: &str) -> String {
    schema_of(&format!(
        "<xs:element name='Do'><xs:complexType><xs:sequence>\n<xs:element name='a' type='xs:int' {occurrences}/>\
         </xs:sequence></xs:complexType></xs:element>"
    ))
}

#[test]
fn what_leaves_open_how_often_something_comes_or_what_it_is_is_refused_at_its_place() {
    let circle = "<xs:element name='a' substitutionGroup='t:b'/><xs:element name='b' substitutionGroup='t:a'/>";
    let circle = schema_of(&format!(
        "<xs:element name='Do'><xs:complexType><xs:sequence>\n<xs:element ref='t:a'/></xs:sequence></xs:complexType>\
         </xs:element>\n{circle}"
    ));
    let alone = schema_of("<xs:element name='Do' substitutionGroup='t:Do'/>");
    // what is wrong | the rule | what it says | its line and column
    for (text, rule, words, place) in [
        (do_with("minOccurs='2' maxOccurs='1'"), "p-props-correct.2.1", "2 is more than maxOccurs 1", (4, 1)),
        (do_with("minOccurs='2'"), "p-props-correct.2.1", "maxOccurs, which is not written and so 1", (4, 1)),
        (do_with("minOccurs='-1'"), "p-props-correct.1", "\"-1\" is no number from 0", (4, 1)),
        (do_with("minOccurs='many'"), "p-props-correct.1", "\"many\" is no number from 0", (4, 1)),
        (do_with("maxOccurs='-1'"), "p-props-correct.1", "neither a number from 0 nor unbounded", (4, 1)),
        (do_with("maxOccurs=''"), "p-props-correct.1", "neither a number from 0 nor unbounded", (4, 1)),
        (
            do_with("minOccurs='99999999999999999999999999' maxOccurs='unbounded'"),
            "p-props-correct.1",
            "more than any message can hold",
            (4, 1),
        ),
        (circle, "e-props-correct.6", "is in its own substitution group", (5, 1)),
        (alone, "e-props-correct.6", "is in its own substitution group", (3, 76)),
    ] {
        let findings = load(&[("a.wsdl", &text)]).err().unwrap_or_else(|| panic!("{rule} loads: {text}"));
        let finding = &findings[0];
        assert_eq!((finding.rule.as_str(), finding.severity), (rule, Severity::Error), "{findings:?}");
        assert!(finding.message.contains(words) && finding.message.contains("assumed:"), "{finding:?}");
        assert_eq!((finding.line, finding.column), place, "{finding:?}");
        assert_eq!(finding.file, "a.wsdl");
    }
    for fine in ["minOccurs='0' maxOccurs='0'", "minOccurs='+1' maxOccurs=' 0002 '", "minOccurs='-0'"] {
        assert_eq!(load(&[("a.wsdl", &do_with(fine))]).unwrap().findings(), [], "{fine}");
    }
}

#[test]
fn a_bound_that_is_passed_is_named_once_at_what_passed_it() {
    let element = "<xs:element name='Do' type='xs:string'/>";
    let includes: String = (0..1_010).map(|n| format!("\n<xs:include schemaLocation='{n}.xsd'/>")).collect();
    let text = schema_of(&format!("{includes}{element}"));
    let mut files = vec![("a.wsdl".to_owned(), text)];
    let schema = "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'/>";
    files.extend((0..1_010).map(|n| (format!("{n}.xsd"), schema.to_owned())));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let large = format!("{schema}{}", " ".repeat(17 << 20));
    let text = schema_of(&format!("\n<xs:include schemaLocation='b.xsd'/>{element}"));
    let group = "\n<xs:group name='G'><xs:sequence><xs:group ref='t:G'/></xs:sequence></xs:group>\
        <xs:element name='Do'><xs:complexType><xs:group ref='t:G'/></xs:complexType></xs:element>";
    for (files, rule, place) in [
        (files, "bounds", ("a.wsdl", 1_003, 1)),
        (vec![("a.wsdl", text.as_str()), ("b.xsd", large.as_str())], "bounds", ("a.wsdl", 4, 1)),
        (vec![("a.wsdl", schema_of(group).as_str())], "mg-props-correct.2", ("a.wsdl", 4, 33)),
    ] {
        let findings = load(&files).unwrap_err();
        let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        let Finding { file, line, column, .. } = errors[0];
        assert_eq!((errors[0].rule.as_str(), (file.as_str(), *line, *column)), (rule, place), "{:?}", errors[0]);
    }
}

#[test]
fn files_that_all_import_each_other_are_read_in_a_time_that_grows_as_they_do() {
    let imports: String = (0..400).map(|n| format!("<w:import namespace='urn:t' location='{n}.wsdl'/>")).collect();
    let other = format!("<w:definitions xmlns:w='http://schemas.xmlsoap.org/wsdl/'>{imports}</w:definitions>");
    let text =
        schema_of("<xs:element name='Do' type='xs:string'/>").replacen("<w:types>", &format!("{imports}<w:types>"), 1);
    let mut files = vec![("a.wsdl".to_owned(), text)];
    files.extend((0..400).map(|n| (format!("{n}.wsdl"), other.clone())));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let began = std::time::Instant::now();
    load(&files).unwrap();
    println!("400 WSDLs, 160,000 imports: {:?}", began.elapsed());
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_never_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let importing = schema_of("<xs:include schemaLocation='pipe'/><xs:element name='Do' type='xs:string'/>");
    std::fs::write(path("importing.wsdl"), importing).unwrap();
    let config = |key: &str, wsdl: &str| {
        let lookup =
            if key == "lookup" { "[[table]]\nname = 't'\nfile = 'pipe'\nkey = 'a'\nvalue = 'b'\n" } else { "" };
        format!(
            "[store]\nurl = 'sqlite:a.db'\n{lookup}[[source]]\nname = 's'\npath = '/s'\norganizations = ['00D000000000000']\n\
             wsdl = '{wsdl}'\n"
        )
    };
    for (key, wsdl) in [("source", "pipe"), ("lookup", "importing.wsdl")] {
        std::fs::write(path(&format!("{key}.toml")), config(key, wsdl)).unwrap();
    }
    for arguments in [
        &["wsdl", "check", "pipe"][..],
        &["wsdl", "check", "importing.wsdl"],
        &["wsdl", "show", "importing.wsdl"],
        &["wsdl", "sample", "pipe"],
        &["scaffold", "--source", "pipe", "--destination", "importing.wsdl", "--operation", "Do"],
        &["check", "--config", "pipe"],
        &["check", "--config", "source.toml"],
        &["check", "--config", "lookup.toml"],
        &["inspect", "importing.wsdl", "--wsdl", "pipe"],
        &["send", "pipe", "--to", "http://127.0.0.1:9/"],
    ] {
        let output = Command::new("timeout")
            .arg("30")
            .arg(env!("CARGO_BIN_EXE_omgate"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("only regular files are read"), "{arguments:?}: {said}");
    }
}

#[test]
fn one_broken_operation_spoils_no_other_and_the_last_one_spoils_the_document() {
    let good = schema_of("<xs:element name='Do' type='xs:string'/>");
    let broken = good
        .replace("<w:portType name='P'>", "<w:portType name='P'><w:operation name='Lost'><w:input message='t:Lost'/></w:operation>")
        .replace("<w:operation name='Do'><soap", "<w:operation name='Lost'><soap:operation/><w:input><soap:body use='literal'/></w:input></w:operation><w:operation name='Do'><soap");
    let model = load(&[("a.wsdl", &broken)]).unwrap();
    assert!(model.findings().iter().any(|finding| finding.rule == "WSDL 2.4"), "{:?}", model.findings());
    let choice = |operation| wsdl::OperationChoice { service: None, port: None, operation };
    assert!(model.operation(&choice("Do")).is_ok());
    let error = model.operation(&choice("Lost")).unwrap_err();
    assert!(error.reason.contains("leads nowhere"), "{error}");
    let all = good.replace("<w:input message='t:In'/>", "<w:input message='t:Lost'/>");
    assert_eq!(load(&[("a.wsdl", &all)]).unwrap_err()[0].rule, "WSDL 2.4");
}

#[test]
fn what_only_answers_refer_to_may_be_incomplete() {
    let text = schema_of(
        "<xs:element name='Do' type='xs:string'/>\
         <xs:element name='Done'><xs:complexType><xs:sequence><xs:element name='x' type='t:Lost'/></xs:sequence></xs:complexType></xs:element>",
    )
    .replace("<w:portType", "<w:message name='Out'><w:part name='p' element='t:Done'/></w:message><w:portType")
    .replace("<w:input message='t:In'/>", "<w:input message='t:In'/><w:output message='t:Out'/>");
    let model = load(&[("a.wsdl", &text)]).unwrap();
    assert_eq!(model.findings()[0].rule, "src-resolve");
    let text = text.replace("name='Do' type='xs:string'", "name='Do' type='t:Lost'");
    assert_eq!(load(&[("a.wsdl", &text)]).unwrap_err()[0].rule, "src-resolve");
}

#[test]
fn redefinitions_of_redefinitions_and_chameleons_reach_what_they_replace() {
    let head = "xmlns:xs='http://www.w3.org/2001/XMLSchema'";
    let extend = |field: &str| {
        format!(
            "<xs:complexType name='R'><xs:complexContent><xs:extension base='t:R'><xs:sequence>\
             <xs:element name='{field}' type='xs:int'/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>\
             <xs:group name='G'><xs:sequence><xs:group ref='t:G'/><xs:element name='{field}g' type='xs:int'/></xs:sequence></xs:group>"
        )
    };
    let outer = schema_of(&format!(
        "<xs:redefine schemaLocation='one.xsd'>{}</xs:redefine><xs:element name='Do' type='t:R'/>",
        extend("c")
    ));
    let one = format!(
        "<xs:schema {head} xmlns:t='urn:t' targetNamespace='urn:t'><xs:redefine schemaLocation='two.xsd'>{}</xs:redefine></xs:schema>",
        extend("b")
    );
    let two = format!("<xs:schema {head}><xs:include schemaLocation='three.xsd'/></xs:schema>");
    let three = format!(
        "<xs:schema {head}><xs:group name='G'><xs:sequence><xs:element name='ag' type='xs:int'/></xs:sequence></xs:group>\
         <xs:complexType name='R'><xs:sequence><xs:element name='a' type='xs:int'/><xs:group ref='G'/></xs:sequence></xs:complexType></xs:schema>"
    );
    let model = load(&[("a.wsdl", &outer), ("one.xsd", &one), ("two.xsd", &two), ("three.xsd", &three)]).unwrap();
    assert_eq!(model.findings(), []);
    let operation = model.operation(&wsdl::OperationChoice { service: None, port: None, operation: "Do" }).unwrap();
    for field in ["a", "b", "c", "ag", "bg", "cg"] {
        assert!(operation.resolve(&[field]).is_ok(), "{field}");
    }
}

#[test]
fn the_drafts_of_1999_and_2000_are_understood() {
    for namespace in ["http://www.w3.org/1999/XMLSchema", "http://www.w3.org/2000/10/XMLSchema"] {
        let text = schema_of(
            "<xs:simpleType name='Code' base='xs:string'><xs:maxLength value='3'/></xs:simpleType>\
             <xs:complexType name='Base'><xs:element name='at' type='xs:timeInstant'/></xs:complexType>\
             <xs:complexType name='More' base='t:Base' derivedBy='extension'>\
             <xs:element name='code' type='t:Code' maxOccurs='*'/></xs:complexType><xs:element name='Do' type='t:More'/>",
        );
        let text = text.replace("http://www.w3.org/2001/XMLSchema", namespace);
        let model = load_as(&[("a.wsdl", &text)], Reading::Strict).unwrap();
        let operation = model.operation(&wsdl::OperationChoice { service: None, port: None, operation: "Do" }).unwrap();
        assert_eq!(operation.resolve(&["at"]).unwrap().builtin, "dateTime");
        let code = operation.resolve(&["code"]).unwrap();
        assert_eq!((code.repeated, code.max_length), (true, Some(3)));
    }
}

#[test]
fn documents_that_mean_harm_are_bounded() {
    let element = "<xs:element name='Do' type='xs:string'/>";
    let unions: String = (0..31)
        .map(|n| {
            format!("<xs:simpleType name='U{n}'><xs:union memberTypes='t:U{0} t:U{0} t:U{0}'/></xs:simpleType>", n + 1)
        })
        .collect();
    let unions = format!("{unions}<xs:simpleType name='U31'><xs:restriction base='xs:int'/></xs:simpleType>");
    let model = load(&[("a.wsdl", &schema_of(&format!("<xs:element name='Do' type='t:U0'/>{unions}")))]).unwrap();
    let operation = model.operation(&wsdl::OperationChoice { service: None, port: None, operation: "Do" }).unwrap();
    assert!(operation.resolve(&[]).is_ok());
    let error = omgate::soap::encode(&operation, &serde_json::json!({ "Do": "x" }), &Default::default()).unwrap_err();
    assert!(error.reason.ends_with("xs:int; nor is it of another type of the union"), "{error}");
    // A group that is all there is in itself, in an array.
    let circular = schema_of(
        "<xs:group name='G'><xs:sequence><xs:group ref='t:G'/></xs:sequence></xs:group>\
         <xs:complexType name='A'><xs:complexContent><xs:restriction base='e:Array'><xs:group ref='t:G'/>\
         </xs:restriction></xs:complexContent></xs:complexType>\
         <xs:complexType name='B'><xs:complexContent><xs:restriction base='t:A'><xs:group ref='t:G'/>\
         </xs:restriction></xs:complexContent></xs:complexType><xs:element name='Do' type='t:B'/>",
    );
    let circular = circular.replacen("xmlns:t=", "xmlns:e='http://schemas.xmlsoap.org/soap/encoding/' xmlns:t=", 1);
    assert_eq!(load(&[("a.wsdl", &circular)]).unwrap_err()[0].rule, "mg-props-correct.2");
    // A chameleon in many namespaces.
    let many: String = (0..900)
        .map(|n| format!("<xs:schema targetNamespace='urn:{n}'><xs:include schemaLocation='c.xsd'/></xs:schema>"))
        .collect();
    let content: String = (0..2_000).map(|n| format!("<xs:element name='e{n}' type='xs:int'/>")).collect();
    let chameleon = format!("<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>{content}</xs:schema>");
    let text = wsdl_of(&format!("{many}<xs:schema targetNamespace='urn:t'>{element}</xs:schema>"));
    let findings = load(&[("a.wsdl", &text), ("c.xsd", &chameleon)]).unwrap_err();
    assert_eq!(findings[0].rule, "bounds");
    // Each element stands in for the one before.
    let chain: String = (1..2_000)
        .map(|n| format!("<xs:element name='s{n}' type='xs:int' substitutionGroup='t:s{}'/>", n - 1))
        .collect();
    let text = schema_of(&format!("{element}<xs:element name='s0' type='xs:int'/>{chain}"));
    assert_eq!(load(&[("a.wsdl", &text)]).unwrap_err()[0].rule, "bounds");
    for path in ["../secret.xsd", "/etc/passwd", "file:///etc/passwd", "x/../../secret.xsd", "%2e%2e/secret.xsd"] {
        let text = schema_of(&format!("<xs:include schemaLocation='{path}'/>{element}"));
        assert_eq!(load(&[("a.wsdl", &text)]).unwrap_err()[0].rule, "import-outside", "{path}");
    }
}

#[test]
fn the_command_line_checks_wsdls_in_words_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.wsdl");
    std::fs::write(&good, schema_of("<xs:element name='Do' type='string'/>")).unwrap();
    let run = |arguments: &[&str]| {
        let binary = env!("CARGO_BIN_EXE_omgate");
        let output = Command::new(binary).args(["wsdl", "check"]).arg(&good).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0));
    assert!(text.contains("good.wsdl:3:") && text.contains("assumed: src-resolve ×1"), "{text}");
    assert_eq!(run(&["--strict"]).0, Some(1));
    let (code, text) = run(&["--json", "nowhere.wsdl"]);
    assert_eq!(code, Some(1));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["ok"], true);
    assert_eq!(lines[0]["findings"][0]["severity"], "warning");
    assert_eq!(lines[1]["ok"], false);
    assert_eq!(lines[1]["findings"][0]["rule"], "file");
    let (_, text) = run(&["--json", "."]);
    let folder: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&folder["findings"][0]["file"], &folder["ok"]), (&".".into(), &false.into()));
    assert_eq!(folder["findings"][0]["message"], "cannot be read: it is a folder");
}

#[test]
fn text_in_a_document_body_and_a_binding_without_soap_spoil_their_own_operations_alone() {
    let good = schema_of(
        "<xs:element name='Do' type='xs:string'/><xs:simpleType name='Code'><xs:restriction base='xs:int'/></xs:simpleType>",
    );
    let message = "<w:message name='Text'><w:part name='p' type='t:Code'/></w:message>";
    let text = good.replacen("<w:portType", &format!("{message}<w:portType"), 1);
    let spoilt = text.replace("<w:input message='t:In'/>", "<w:input message='t:Text'/>");
    let findings = load(&[("a.wsdl", &spoilt)]).unwrap_err();
    assert_eq!((findings[0].rule.as_str(), findings[0].line), ("R2204", 7), "{findings:?}");
    assert!(findings[0].message.contains("declare an element for it"), "{findings:?}");
    // Another operation beside it; another port beside a binding that is none.
    let other = "<w:operation name='Say'><w:input message='t:Text'/></w:operation></w:portType>";
    let bound = "<w:operation name='Say'><soap:operation/><w:input><soap:body use='literal'/></w:input></w:operation></w:binding>";
    let beside = text.replace("</w:portType>", other).replace("</w:binding>", bound);
    let none =
        "</w:binding><w:binding name='C' type='t:P'><w:operation name='Do'><soap:operation/></w:operation></w:binding>";
    let port = "<w:port name='Q' binding='t:C'/></w:service>";
    let unbound = good.replace("</w:binding>", none).replace("</w:service>", port);
    for (text, rule) in [(beside, "R2204"), (unbound, "R2701")] {
        let model = load(&[("a.wsdl", &text)]).unwrap_or_else(|findings| panic!("{findings:?}"));
        let found = model.findings().iter().find(|finding| finding.rule == rule).unwrap();
        assert!(found.message.ends_with("assumed: what depends on it is not called"), "{found:?}");
        let take = |operation| model.operation(&wsdl::OperationChoice { service: None, port: None, operation });
        assert!(take("Do").is_ok());
        assert!(rule != "R2204" || take("Say").unwrap_err().reason.contains("text that no element holds"));
        assert!(load_as(&[("a.wsdl", &text)], Reading::Strict).is_err());
    }
}
