//! What loading a large WSDL costs, and what a request.
//!
//! `cargo bench --bench soap [-- --load FILE]`: loads a generated WSDL of 3 MB, and FILE, the best of ten; then encodes a
//! request of 20 fields, the best of many thousands in a row.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use omgate::soap::{self, EncodeOptions};
use omgate::wsdl::{self, Files, OperationChoice};
use serde_json::{Value, json};

/// What a load of 3 MB may take.
const LOAD_MAX: Duration = Duration::from_millis(300);
/// What a request of 20 fields may take.
const ENCODE_MAX: Duration = Duration::from_micros(15);
const BYTES: usize = 3 << 20;
const ROUNDS: usize = 10;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut file = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--load" => file = Some(PathBuf::from(words.next().ok_or("--load needs a file")?)),
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let generated = Memory(large_wsdl().into_bytes());
    let took = load("a generated WSDL", Path::new("large.wsdl"), &generated)?;
    if let Some(file) = file {
        load(&file.display().to_string(), &file, &Disk)?;
    }
    if took > LOAD_MAX {
        return Err(format!("loading took {took:?}; {LOAD_MAX:?} is the most it may take").into());
    }
    encode()
}

/// Encodes a request of 20 fields, each of a type with facets.
fn encode() -> Outcome<()> {
    let mut fields = String::new();
    let mut argument = serde_json::Map::new();
    for n in 0..20 {
        let (kind, value) = match n % 4 {
            0 => ("t:Text", json!(format!("text & {n}"))),
            1 => ("t:Amount", json!("1234.50")),
            2 => ("xs:date", json!("2026-01-31")),
            _ => ("xs:int", json!(n)),
        };
        writeln!(fields, "<xs:element name=\"Field{n}\" type=\"{kind}\" minOccurs=\"0\"/>")?;
        argument.insert(format!("Field{n}"), value);
    }
    let wsdl = format!(
        r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
             xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
           <types><xs:schema targetNamespace="urn:t" elementFormDefault="qualified">
             <xs:simpleType name="Text"><xs:restriction base="xs:string"><xs:maxLength value="80"/></xs:restriction></xs:simpleType>
             <xs:simpleType name="Amount"><xs:restriction base="xs:decimal"><xs:totalDigits value="18"/>
               <xs:fractionDigits value="2"/></xs:restriction></xs:simpleType>
             <xs:element name="Do"><xs:complexType><xs:sequence>{fields}</xs:sequence></xs:complexType></xs:element>
           </xs:schema></types>
           <message name="In"><part name="parameters" element="t:Do"/></message>
           <portType name="T"><operation name="Do"><input message="t:In"/></operation></portType>
           <binding name="B" type="t:T"><soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
             <operation name="Do"><soap:operation soapAction=""/><input><soap:body use="literal"/></input></operation></binding>
           <service name="S"><port name="P" binding="t:B"><soap:address location="http://h/"/></port></service>
           </definitions>"#
    );
    let model =
        wsdl::load(Path::new("do.wsdl"), &Memory(wsdl.into_bytes())).map_err(|findings| format!("{findings:?}"))?;
    let operation = model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() })?;
    let (argument, options) = (Value::Object(argument), EncodeOptions::default());
    let mut best = Duration::MAX;
    let mut bytes = 0;
    for _ in 0..50 {
        let start = Instant::now();
        for _ in 0..1_000 {
            bytes = soap::encode(&operation, &argument, &options)?.body.len();
        }
        best = best.min(start.elapsed() / 1_000);
    }
    #[expect(clippy::print_stdout, reason = "a bench speaks")]
    {
        println!("encode 20 fields: {best:?} for {bytes} bytes");
    }
    if best > ENCODE_MAX {
        return Err(format!("encoding took {best:?}; {ENCODE_MAX:?} is the most it may take").into());
    }
    Ok(())
}

fn load(name: &str, path: &Path, files: &dyn Files) -> Outcome<Duration> {
    let bytes = files.read(path)?.len();
    let mut best = Duration::MAX;
    let mut operations = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let model = wsdl::load(path, files).map_err(|findings| format!("{name}: {:?}", findings.first()))?;
        best = best.min(start.elapsed());
        operations = model.services().iter().flat_map(|service| &service.ports).map(|port| port.operations.len()).sum();
    }
    #[expect(clippy::print_stdout, reason = "a bench speaks")]
    {
        println!("load {name}: {best:?} for {bytes} bytes, {operations} operations");
    }
    Ok(best)
}

/// One document under every name.
struct Memory(Vec<u8>);

impl Files for Memory {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }
}

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// A WSDL as large systems print them: some hundred operations, thousands of types that extend and hold each other.
fn large_wsdl() -> String {
    let (mut types, mut messages, mut port_type, mut binding) =
        (String::new(), String::new(), String::new(), String::new());
    let mut count = 0;
    while types.len() + messages.len() + port_type.len() + binding.len() < BYTES {
        let n = count;
        count += 1;
        write_types(&mut types, n);
        if n % 8 == 0 {
            write_operation(&mut types, &mut messages, &mut port_type, &mut binding, n);
        }
    }
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:large" targetNamespace="urn:large">
<wsdl:types><xs:schema targetNamespace="urn:large" elementFormDefault="qualified">
{types}</xs:schema></wsdl:types>
{messages}<wsdl:portType name="Large">{port_type}</wsdl:portType>
<wsdl:binding name="Large" type="t:Large"><soap:binding style="document"
  transport="http://schemas.xmlsoap.org/soap/http"/>{binding}</wsdl:binding>
<wsdl:service name="Large"><wsdl:port name="Large" binding="t:Large"><soap:address location="http://large.example/"/>
</wsdl:port></wsdl:service></wsdl:definitions>"#
    )
}

fn write_types(types: &mut String, n: usize) {
    let base = n / 2;
    let _ = writeln!(
        types,
        r#"<xs:simpleType name="Code{n}"><xs:restriction base="xs:string"><xs:maxLength value="{}"/>
<xs:pattern value="[A-Z]{{2}}[0-9]{{1,{}}}"/></xs:restriction></xs:simpleType>
<xs:complexType name="Record{n}"><xs:annotation><xs:documentation>The record of number {n}.</xs:documentation></xs:annotation>
<xs:complexContent><xs:extension base="t:{}"><xs:sequence>"#,
        10 + n % 30,
        1 + n % 5,
        if n % 4 == 3 { format!("Record{base}") } else { "Root".to_owned() },
    );
    for field in 0..12 {
        let kind = match field % 4 {
            0 => "xs:string",
            1 => "xs:decimal",
            2 => "xs:dateTime",
            _ => "xs:boolean",
        };
        let _ =
            writeln!(types, r#"<xs:element name="field{field}of{n}" type="{kind}" minOccurs="0" nillable="true"/>"#);
    }
    let _ = writeln!(
        types,
        r#"<xs:element name="code" type="t:Code{n}"/><xs:element name="part" type="t:Record{base}" minOccurs="0"
 maxOccurs="unbounded"/></xs:sequence><xs:attribute name="id{n}" type="xs:string"/></xs:extension></xs:complexContent></xs:complexType>"#
    );
    if n == 0 {
        types.push_str("<xs:complexType name=\"Root\"><xs:sequence/><xs:attribute name=\"id\" type=\"xs:string\"/></xs:complexType>\n");
    }
}

fn write_operation(types: &mut String, messages: &mut String, port_type: &mut String, binding: &mut String, n: usize) {
    let _ = writeln!(
        types,
        r#"<xs:element name="Save{n}"><xs:complexType><xs:sequence><xs:element name="record" type="t:Record{n}"
 maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:element><xs:element name="Save{n}Response" type="t:Record{n}"/>"#
    );
    let _ = writeln!(
        messages,
        r#"<wsdl:message name="Save{n}"><wsdl:part name="parameters" element="t:Save{n}"/></wsdl:message>
<wsdl:message name="Save{n}Response"><wsdl:part name="parameters" element="t:Save{n}Response"/></wsdl:message>"#
    );
    let _ = writeln!(
        port_type,
        r#"<wsdl:operation name="Save{n}"><wsdl:input message="t:Save{n}"/><wsdl:output message="t:Save{n}Response"/></wsdl:operation>"#
    );
    let _ = writeln!(
        binding,
        r#"<wsdl:operation name="Save{n}"><soap:operation soapAction="urn:Save{n}"/><wsdl:input><soap:body use="literal"/>
</wsdl:input><wsdl:output><soap:body use="literal"/></wsdl:output></wsdl:operation>"#
    );
}
