//! A WSDL's schemas as files that libxml2 can read, and requests checked against them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use roxmltree::{Document, Node, NodeId};

const XSD: &str = "http://www.w3.org/2001/XMLSchema";
const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
/// The namespace of the elements that are made up for rpc messages.
const RPC: &str = "urn:omgate:rpc";

/// The simple types that SOAP's encoding has under the names of XSD's.
const SIMPLE: &str = "duration dateTime NOTATION time date gYearMonth gYear gMonthDay gDay gMonth boolean base64Binary \
    hexBinary float double anyURI QName string normalizedString token language Name NMTOKEN NCName ID IDREF ENTITY \
    NMTOKENS IDREFS ENTITIES decimal integer nonPositiveInteger negativeInteger long int short byte \
    nonNegativeInteger unsignedLong unsignedInt unsignedShort unsignedByte positiveInteger";

/// The types of SOAP's encoding that the model knows without a schema.
fn encoding_types() -> String {
    let mut types = String::new();
    for name in ["Array", "Struct"] {
        let any = "<s:any minOccurs=\"0\" maxOccurs=\"unbounded\" processContents=\"lax\"/>";
        let attributes = "<s:anyAttribute processContents=\"lax\"/>";
        let content = format!("<s:sequence>{any}</s:sequence>{attributes}");
        write!(types, "<s:complexType xmlns:s=\"{XSD}\" name=\"{name}\">{content}</s:complexType>").unwrap();
    }
    for name in SIMPLE.split_whitespace() {
        let restriction = format!("<s:restriction base=\"s:{name}\"/>");
        write!(types, "<s:simpleType xmlns:s=\"{XSD}\" name=\"{name}\">{restriction}</s:simpleType>").unwrap();
    }
    types
}

/// A request to check.
pub(super) struct Instance {
    pub(super) what: String,
    pub(super) operation: String,
    pub(super) port: String,
    pub(super) style: &'static str,
    pub(super) rpc: bool,
    pub(super) encoded: bool,
    pub(super) envelope: String,
}

/// `xmllint`, when it is there.
pub(super) fn xmllint() -> Option<PathBuf> {
    let found = ["/usr/bin/xmllint", "/usr/local/bin/xmllint", "/opt/homebrew/bin/xmllint"];
    let found = found.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no xmllint (package libxml2-utils), so nobody says what is valid");
    }
    found
}

/// The kind of a complaint: values and names left out.
pub(super) fn kind(reason: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    for c in reason.chars() {
        if c == '\'' {
            quoted = !quoted;
            kind.push_str(if quoted { "'…'" } else { "" });
        } else if !quoted {
            kind.push(c);
        }
    }
    kind.chars().take(120).collect()
}

type Outcomes = Vec<(String, Result<(), String>)>;

/// Checks requests against the schemas of a WSDL; an error says why there is nothing to check against.
pub(super) fn check(linter: &Path, wsdl: &Path, instances: &[Instance]) -> Result<Outcomes, String> {
    let literal: Vec<&Instance> = instances.iter().filter(|instance| !instance.encoded).collect();
    if literal.is_empty() {
        return if instances.is_empty() { Ok(Vec::new()) } else { Err("encoded".to_owned()) };
    }
    let folder = tempfile::tempdir().unwrap();
    let mut set = Set::default();
    set.read_wsdl(wsdl);
    set.add_built_in();
    let texts: Vec<String> = set.files.iter().map(|(_, text)| text.clone()).collect();
    let documents: Vec<Document<'_>> = texts.iter().map(|text| parse(text).unwrap()).collect();
    set.write(folder.path(), &documents, &literal);
    let driver = folder.path().join("driver.xsd");
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for (number, instance) in literal.iter().enumerate() {
        let document = Document::parse(&instance.envelope).unwrap();
        let body = document.descendants().find(|node| node.tag_name().name() == "Body").unwrap();
        for (index, child) in body.children().filter(Node::is_element).enumerate() {
            let path = folder.path().join(format!("i{number}-{index}.xml"));
            let text = &instance.envelope[child.range()];
            fs::write(&path, if instance.rpc { renamed(text, number) } else { text.to_owned() }).unwrap();
            files.push((instance.what.clone(), path));
        }
    }
    run(linter, &driver, &files)
}

fn run(linter: &Path, driver: &Path, files: &[(String, PathBuf)]) -> Result<Outcomes, String> {
    let mut outcomes = Vec::new();
    for chunk in files.chunks(500) {
        let mut command = Command::new(linter);
        command.args(["--nonet", "--noout", "--schema"]).arg(driver);
        let output = command.args(chunk.iter().map(|(_, path)| path)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("failed to compile") || said.contains("Schemas parser error") && !said.contains("validates") {
            let first = said.lines().find(|line| line.contains("error")).unwrap_or_default();
            let first = first.split_once("element ").map_or(first, |(_, first)| first);
            return Err(format!("the schemas are not taken: {}", first.chars().take(300).collect::<String>()));
        }
        let mut complaints: HashMap<&str, &str> = HashMap::new();
        for line in said.lines() {
            if let Some((file, rest)) = line.split_once(".xml:") {
                complaints.entry(file).or_insert(rest);
            }
        }
        for (what, path) in chunk {
            let key = path.with_extension("").display().to_string();
            let complaint = complaints.get(key.as_str()).map(|text| (*text).to_owned());
            outcomes.push((what.clone(), complaint.map_or(Ok(()), Err)));
        }
    }
    Ok(outcomes)
}

/// An rpc message's element under a name of its own, for which a schema is made up.
fn renamed(text: &str, number: usize) -> String {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap();
    let name = &text[1..end];
    let own = format!("rpc:w{number}");
    let inner = text[end..].strip_suffix(&format!("</{name}>")).map(str::to_owned);
    let rest = inner.map_or_else(|| text[end..].to_owned(), |inner| format!("{inner}</{own}>"));
    format!("<{own} xmlns:rpc=\"{RPC}\"{rest}")
}

/// Schemas by file and node, each written to a file of its own.
#[derive(Default)]
struct Set {
    files: Vec<(PathBuf, String)>,
    schemas: Vec<(usize, NodeId, String)>,
    /// Those that something imports, or that stand in a WSDL: not those that are only included.
    roots: HashSet<usize>,
    by_file: HashMap<PathBuf, usize>,
    wsdls: Vec<usize>,
}

fn parse(text: &str) -> Option<Document<'_>> {
    Document::parse(text).ok()
}

impl Set {
    fn file(&mut self, path: &Path) -> Option<usize> {
        let bytes = fs::read(path).ok()?;
        let text = match encoding_rs::Encoding::for_bom(&bytes) {
            Some((encoding, _)) => encoding.decode(&bytes).0.into_owned(),
            None => String::from_utf8(bytes.clone())
                .unwrap_or_else(|_| encoding_rs::WINDOWS_1252.decode(&bytes).0.into_owned()),
        };
        parse(&text)?;
        self.files.push((path.to_path_buf(), text));
        Some(self.files.len() - 1)
    }

    fn read_wsdl(&mut self, path: &Path) {
        let mut open = vec![path.to_path_buf()];
        let mut seen = HashSet::new();
        while let Some(path) = open.pop() {
            if !seen.insert(clean(&path)) {
                continue;
            }
            let Some(file) = self.file(&path) else { continue };
            let text = self.files[file].1.clone();
            let document = parse(&text).unwrap();
            let root = document.root_element();
            if root.tag_name().name() == "schema" {
                let target = root.attribute("targetNamespace").unwrap_or_default().to_owned();
                let node = root.id();
                let number = self.add(file, node, target);
                self.roots.insert(number);
                self.by_file.insert(clean(&path), number);
                self.follow(root, &path);
                continue;
            }
            self.wsdls.push(file);
            for child in root.children().filter(Node::is_element) {
                match child.tag_name().name() {
                    "import" => open.extend(child.attribute("location").map(|location| beside(&path, location))),
                    "types" => {
                        for schema in child.children().filter(|node| node.tag_name().name() == "schema") {
                            let target = schema.attribute("targetNamespace").unwrap_or_default().to_owned();
                            let number = self.add(file, schema.id(), target);
                            self.roots.insert(number);
                            self.follow(schema, &path);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The project's own schemas of well-known namespaces that are mentioned and that nothing brings.
    fn add_built_in(&mut self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wsdl/catalogue");
        let mut open: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        open.sort();
        loop {
            let before = open.len();
            open.retain(|path| {
                let text = fs::read_to_string(path).unwrap();
                let target = parse(&text).unwrap().root_element().attribute("targetNamespace").unwrap().to_owned();
                if self.schemas.iter().any(|(_, _, known)| *known == target) {
                    return false;
                }
                let sign = if target.ends_with("/XML/1998/namespace") { "\"xml:" } else { target.as_str() };
                let mentioned = self.files.iter().any(|(_, text)| text.contains(sign));
                if mentioned {
                    let file = self.file(path).unwrap();
                    if path.ends_with("soap11-encoding.xsd") || path.ends_with("soap12-encoding.xsd") {
                        let text = &mut self.files[file].1;
                        let end = text.rfind("</").unwrap();
                        text.insert_str(end, &encoding_types());
                    }
                    let node = parse(&self.files[file].1).unwrap().root_element().id();
                    let number = self.add(file, node, target);
                    self.roots.insert(number);
                }
                !mentioned
            });
            if open.len() == before {
                return;
            }
        }
    }

    /// Components that a schema declares once more under the same name, as WSDLs do that repeat what they import:
    /// libxml2 refuses them, and we take the first.
    fn repeated(&self, documents: &[Document<'_>]) -> HashSet<(usize, NodeId)> {
        let mut seen = HashSet::new();
        let mut repeated = HashSet::new();
        for (number, (file, node, target)) in self.schemas.iter().enumerate() {
            let schema = documents[*file].get_node(*node).unwrap();
            if !self.roots.contains(&number) || schema.children().any(|node| node.tag_name().name() == "redefine") {
                continue;
            }
            for child in schema.children().filter(|child| child.has_attribute("name")) {
                let kind = child.tag_name().name();
                let kind = if kind == "simpleType" { "complexType" } else { kind };
                if !seen.insert((kind, target.as_str(), child.attribute("name"))) {
                    repeated.insert((number, child.id()));
                }
            }
        }
        repeated
    }

    fn add(&mut self, file: usize, node: NodeId, target: String) -> usize {
        self.schemas.push((file, node, target));
        self.schemas.len() - 1
    }

    fn follow(&mut self, schema: Node<'_, '_>, path: &Path) {
        for child in schema.children().filter(Node::is_element) {
            let name = child.tag_name().name();
            let Some(location) =
                child.attribute("schemaLocation").filter(|_| matches!(name, "import" | "include" | "redefine"))
            else {
                continue;
            };
            let path = beside(path, location);
            let known = self.by_file.get(&clean(&path)).copied();
            let number = known.or_else(|| {
                let file = self.file(&path)?;
                let text = self.files[file].1.clone();
                let document = parse(&text)?;
                let root = document.root_element();
                let target = root.attribute("targetNamespace").unwrap_or_default().to_owned();
                let number = self.add(file, root.id(), target);
                self.by_file.insert(clean(&path), number);
                self.follow(root, &path);
                Some(number)
            });
            if let (Some(number), "import") = (number, name) {
                self.roots.insert(number);
            }
        }
    }

    fn write(&self, folder: &Path, documents: &[Document<'_>], instances: &[&Instance]) {
        let mut by_target: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for number in 0..self.schemas.len() {
            if self.roots.contains(&number) {
                by_target.entry(&self.schemas[number].2).or_default().push(format!("s{number}.xsd"));
            }
        }
        let wrappers = self.wrappers(documents, instances);
        for (number, (target, _)) in wrappers.iter().enumerate() {
            by_target.entry(target).or_default().push(format!("w{number}.xsd"));
        }
        let targets: Vec<&str> = by_target.keys().copied().collect();
        for (number, (_, text)) in wrappers.iter().enumerate() {
            let imports: String = targets
                .iter()
                .enumerate()
                .filter(|(_, target)| **target != wrappers[number].0)
                .map(|(index, target)| import(index, target))
                .collect();
            fs::write(folder.join(format!("w{number}.xsd")), text.replace("<!--imports-->", &imports)).unwrap();
        }
        let repeated = self.repeated(documents);
        for number in 0..self.schemas.len() {
            let text = self.schema(number, documents, &targets, &repeated);
            fs::write(folder.join(format!("s{number}.xsd")), text).unwrap();
        }
        let mut driver = format!("<xs:schema xmlns:xs=\"{XSD}\" targetNamespace=\"urn:driver\">");
        for (index, target) in targets.iter().enumerate() {
            let own =
                if target.is_empty() { String::new() } else { format!(" targetNamespace=\"{}\"", escape(target)) };
            let mut text = format!("<xs:schema xmlns:xs=\"{XSD}\"{own}>");
            by_target[target].iter().for_each(|file| write!(text, "<xs:include schemaLocation=\"{file}\"/>").unwrap());
            fs::write(folder.join(format!("n{index}.xsd")), text + "</xs:schema>").unwrap();
            driver.push_str(&import(index, target));
        }
        fs::write(folder.join("driver.xsd"), driver + "</xs:schema>").unwrap();
    }

    /// A schema that stands alone, its imports and includes led to the files written here.
    fn schema(
        &self,
        number: usize,
        documents: &[Document<'_>],
        targets: &[&str],
        repeated: &HashSet<(usize, NodeId)>,
    ) -> String {
        let (file, node, target) = &self.schemas[number];
        let text = &self.files[*file].1;
        let schema = documents[*file].get_node(*node).unwrap();
        let range = schema.range();
        let mut edits: Vec<(std::ops::Range<usize>, String)> = Vec::new();
        for child in schema.children().filter(Node::is_element) {
            let location =
                child.attribute("schemaLocation").map(|location| clean(&beside(&self.files[*file].0, location)));
            let known = location.and_then(|path| self.by_file.get(&path));
            match child.tag_name().name() {
                "import" => {
                    let believed = known.map(|number| self.schemas[*number].2.as_str());
                    let namespace = believed.or(child.attribute("namespace")).unwrap_or_default();
                    let index = targets.iter().position(|known| *known == namespace);
                    let line = index.filter(|_| namespace != target).map(|index| import(index, namespace));
                    edits.push((child.range(), line.unwrap_or_default()));
                }
                "include" => {
                    let line = known
                        .map(|number| format!("<xs:include xmlns:xs=\"{XSD}\" schemaLocation=\"s{number}.xsd\"/>"));
                    edits.push((child.range(), line.unwrap_or_default()));
                }
                "redefine" => {
                    let old = &text[child.range()];
                    let location = child.attribute("schemaLocation").unwrap_or_default();
                    let new =
                        known.map_or(String::new(), |number| old.replacen(location, &format!("s{number}.xsd"), 1));
                    edits.push((child.range(), new));
                }
                _ if repeated.contains(&(number, child.id())) => edits.push((child.range(), String::new())),
                _ => {}
            }
        }
        // Many schemas use a namespace without importing it: that is no matter of the messages.
        let imported: HashSet<&str> = schema.children().filter_map(|child| child.attribute("namespace")).collect();
        let missing = targets
            .iter()
            .enumerate()
            .filter(|(_, other)| **other != target && !imported.contains(**other) && **other != RPC);
        let missing: String = missing.map(|(index, other)| import(index, other)).collect();
        if let Some(first) = schema.children().find(Node::is_element) {
            let at = first.range().start;
            edits.insert(0, (at..at, missing));
        }
        let mut out = String::new();
        let mut at = range.start;
        for (edit, new) in edits {
            out.push_str(&text[at..edit.start]);
            out.push_str(&new);
            at = edit.end;
        }
        out.push_str(&text[at..range.end]);
        let tag_end = out.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap();
        let head: String = out[..out.find('>').unwrap()].to_owned();
        let mut declarations = String::new();
        for namespace in schema.namespaces().filter(|namespace| namespace.name() != Some("xml")) {
            let name = namespace.name().map_or("xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
            let declared = head.split_whitespace().any(|word| word.split('=').next() == Some(name.as_str()));
            if !declared {
                write!(declarations, " {name}=\"{}\"", escape(namespace.uri())).unwrap();
            }
        }
        out.insert_str(tag_end, &declarations);
        out.replace("http://www.w3.org/2000/10/XMLSchema\"", "http://www.w3.org/2001/XMLSchema\"")
            .replace("http://www.w3.org/1999/XMLSchema\"", "http://www.w3.org/2001/XMLSchema\"")
    }

    /// For rpc messages: a schema for each namespace with an element for each wrapper, made of the parts' types.
    fn wrappers(&self, documents: &[Document<'_>], instances: &[&Instance]) -> Vec<(String, String)> {
        let mut text = format!("<xs:schema xmlns:xs=\"{XSD}\" targetNamespace=\"{RPC}\"><!--imports-->");
        for (number, instance) in instances.iter().enumerate().filter(|(_, instance)| instance.rpc) {
            let content = self.parts(documents, instance);
            write!(text, "<xs:element name=\"w{number}\"><xs:complexType><xs:all>{content}</xs:all></xs:complexType></xs:element>").unwrap();
        }
        vec![(RPC.to_owned(), text + "</xs:schema>")]
    }

    /// The local elements of an operation's parts, as the WSDL declares them.
    fn parts(&self, documents: &[Document<'_>], instance: &Instance) -> String {
        let definitions = || self.wsdls.iter().map(|file| documents[*file].root_element());
        let named = |kind: &str, name: &str| {
            let name = local(name).to_owned();
            let kind = kind.to_owned();
            definitions().flat_map(|root| root.children().collect::<Vec<_>>()).find(move |node| {
                node.has_tag_name((WSDL, kind.as_str())) && node.attribute("name").map(str::trim) == Some(name.as_str())
            })
        };
        let port = definitions()
            .flat_map(|root| root.descendants().collect::<Vec<_>>())
            .find(|node| node.has_tag_name((WSDL, "port")) && node.attribute("name") == Some(&instance.port));
        let binding = port.and_then(|port| named("binding", port.attribute("binding")?));
        let port_type = binding.and_then(|binding| named("portType", binding.attribute("type")?));
        let operation = port_type.and_then(|port_type| {
            port_type.children().find(|node| node.attribute("name") == Some(&instance.operation))
        });
        let input =
            operation.and_then(|operation| operation.children().find(|node| node.has_tag_name((WSDL, "input"))));
        let message = input.and_then(|input| named("message", input.attribute("message")?));
        let mut content = String::new();
        for part in message.into_iter().flat_map(|message| message.children().collect::<Vec<_>>()) {
            let (Some(name), true) = (part.attribute("name"), part.has_tag_name((WSDL, "part"))) else { continue };
            let body = instance.envelope.split_once(":Body").map_or("", |(_, body)| body);
            let written = part.attribute("element").map_or(name, local);
            if ![" ", ">", "/"]
                .iter()
                .any(|end| body.contains(&format!("<{written}{end}")) || body.contains(&format!(":{written}{end}")))
            {
                continue;
            }
            let resolve = |text: &str| {
                let (prefix, local) =
                    text.trim().split_once(':').map_or((None, text.trim()), |(prefix, local)| (Some(prefix), local));
                (part.lookup_namespace_uri(prefix).unwrap_or_default().to_owned(), local.to_owned())
            };
            if let Some((namespace, local)) = part.attribute("element").map(resolve) {
                write!(content, "<xs:element xmlns:p=\"{}\" ref=\"p:{local}\"/>", escape(&namespace)).unwrap();
            } else if let Some((namespace, local)) = part.attribute("type").map(resolve) {
                write!(content, "<xs:element name=\"{name}\" xmlns:p=\"{}\" type=\"p:{local}\"/>", escape(&namespace))
                    .unwrap();
            }
        }
        content
    }
}

fn import(index: usize, target: &str) -> String {
    let namespace = if target.is_empty() { String::new() } else { format!(" namespace=\"{}\"", escape(target)) };
    format!("<xs:import xmlns:xs=\"{XSD}\"{namespace} schemaLocation=\"n{index}.xsd\"/>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn local(name: &str) -> &str {
    name.trim().rsplit(':').next().unwrap_or(name)
}

fn beside(path: &Path, location: &str) -> PathBuf {
    path.parent().unwrap().join(location.trim().replace('\\', "/"))
}

fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            _ => clean.push(part),
        }
    }
    clean
}
