//! A WSDL with all it imports: files in, schema and definitions elements out. Never the network.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use roxmltree::{Document, Node, NodeId};

use super::document::{self, Lines, Place};
use super::{Files, Finding, Severity, catalogue};

/// How large a file may be.
pub(crate) const FILE_BYTES_MAX: usize = 16 << 20;
const FILES_MAX: usize = 1_000;
/// How large all files together may be.
const BYTES_MAX: usize = 40 << 20;
const FINDINGS_MAX: usize = 500;
/// The rule of what goes over one of our own bounds.
const BOUNDS: &str = "bounds";
/// How often one file is mended: each time it is parsed again.
const REPAIRS_MAX: usize = 12;

/// The namespace of WSDL 1.1.
pub(crate) const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
/// The namespace of XSD 1.0.
pub(crate) const XSD: &str = "http://www.w3.org/2001/XMLSchema";

/// Whether a namespace is one of XSD's, drafts included.
pub(crate) fn is_xsd(namespace: &str) -> bool {
    matches!(namespace, XSD | "http://www.w3.org/2000/10/XMLSchema" | "http://www.w3.org/1999/XMLSchema")
}

/// Texts that stay where they are while documents borrow from them.
#[derive(Default)]
pub(crate) struct Shelf {
    text: String,
    next: OnceCell<Box<Self>>,
}

impl Shelf {
    fn put(&self, text: String) -> &Self {
        self.next.get_or_init(|| Box::new(Self { text, next: OnceCell::new() }))
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        // Unlinked one by one: a long shelf must not recurse.
        let mut next = self.next.take();
        while let Some(mut shelf) = next {
            next = shelf.next.take();
        }
    }
}

/// One file.
pub(crate) struct Source<'a> {
    /// Relative to the folder of the first file.
    pub name: String,
    pub document: Document<'a>,
    pub lines: Lines,
}

/// A schema element in its context.
#[derive(Clone, Debug)]
pub(crate) struct SchemaSource {
    pub file: usize,
    pub node: NodeId,
    /// The namespace its components have: its own, or that of the schema including it.
    pub target: Arc<str>,
    /// It has no namespace of its own and took its includer's.
    pub chameleon: bool,
    /// It is one of ours: read only as far as it is referred to.
    pub built_in: bool,
}

/// Everything that was read.
#[derive(Default)]
pub(crate) struct Bundle<'a> {
    pub sources: Vec<Source<'a>>,
    pub schemas: Vec<SchemaSource>,
    /// Files whose root is `wsdl:definitions`.
    pub definitions: Vec<usize>,
    pub findings: Findings,
}

/// Findings, at most so many of each severity.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub list: Vec<(Option<Place>, Finding)>,
    /// Nothing is added while this holds.
    pub muted: bool,
    errors: usize,
    warnings: usize,
    overflow: usize,
    /// The first that is not listed.
    overflow_at: Place,
    /// What went over a bound is said once, where it first did.
    bounds: HashSet<String>,
}

impl Findings {
    pub(crate) fn add(&mut self, severity: Severity, place: Place, rule: &str, message: String) {
        if self.muted {
            return;
        }
        if rule == BOUNDS && !self.bounds.insert(message.clone()) {
            return;
        }
        let count = if severity == Severity::Error { &mut self.errors } else { &mut self.warnings };
        *count += 1;
        if *count > FINDINGS_MAX {
            self.overflow += 1;
            if self.overflow == 1 {
                self.overflow_at = place;
            }
            return;
        }
        let finding = Finding {
            severity,
            file: String::new(),
            line: place.line,
            column: place.column,
            rule: rule.to_owned(),
            message,
        };
        self.list.push((Some(place), finding));
    }

    fn of_file(&mut self, severity: Severity, file: String, rule: &str, line: u32, column: u32, message: String) {
        let finding = Finding { severity, file, line, column, rule: rule.to_owned(), message };
        self.list.push((None, finding));
    }

    /// The findings with their files' names, errors first.
    pub(crate) fn finish(self, names: &[String]) -> Vec<Finding> {
        let name = |place: Place| names.get(place.file).cloned().unwrap_or_default();
        let mut findings: Vec<Finding> = self
            .list
            .into_iter()
            .map(|(place, finding)| match place {
                Some(place) => Finding { file: name(place), ..finding },
                None => finding,
            })
            .collect();
        if self.overflow > 0 {
            findings.push(Finding {
                severity: Severity::Warning,
                file: names.get(self.overflow_at.file).cloned().unwrap_or_default(),
                line: self.overflow_at.line,
                column: self.overflow_at.column,
                rule: BOUNDS.to_owned(),
                message: format!("{} more findings are not listed; the first of them is here", self.overflow),
            });
        }
        findings.sort_by_key(|finding| finding.severity == Severity::Warning);
        findings
    }
}

/// What an import or include asks for.
struct Wanted {
    path: PathBuf,
    reason: Reason,
    place: Place,
}

#[derive(Clone)]
enum Reason {
    /// The first file, or `wsdl:import`.
    Wsdl,
    /// `xsd:import` of a namespace.
    Import(String),
    /// `xsd:include` or `xsd:redefine` into a namespace.
    Include(Arc<str>),
}

/// An import that could not be followed; it matters only when nothing else fills its namespace.
struct Missing {
    namespace: String,
    place: Place,
    rule: &'static str,
    message: String,
}

struct Walk<'a, 'f> {
    files: &'f dyn Files,
    folder: PathBuf,
    shelf: &'a Shelf,
    bundle: Bundle<'a>,
    known: HashMap<PathBuf, Option<usize>>,
    /// The files whose definitions were taken.
    taken: HashSet<usize>,
    read: HashSet<(usize, NodeId, Arc<str>)>,
    wanted: VecDeque<Wanted>,
    missing: Vec<Missing>,
    /// How much was read.
    bytes: usize,
}

/// Reads a WSDL and all it imports.
pub(crate) fn read<'a>(path: &Path, files: &dyn Files, shelf: &'a Shelf) -> Bundle<'a> {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    // A path that comes to nothing, such as `.`, is still named and read as the folder that it is.
    let first = Some(lexical(path)).filter(|clean| clean.components().next().is_some());
    let first = first.unwrap_or_else(|| PathBuf::from("."));
    let mut walk = Walk {
        files,
        folder: lexical(&folder),
        shelf,
        bundle: Bundle::default(),
        known: HashMap::new(),
        taken: HashSet::new(),
        read: HashSet::new(),
        wanted: VecDeque::new(),
        missing: Vec::new(),
        bytes: 0,
    };
    walk.wanted.push_back(Wanted { path: first, reason: Reason::Wsdl, place: Place::default() });
    while let Some(wanted) = walk.wanted.pop_front() {
        walk.follow(wanted);
    }
    walk.add_built_in();
    walk.settle_missing();
    walk.bundle
}

/// Why a file cannot be read: line, column, rule, reason.
type Unread = (u32, u32, &'static str, String);

/// Something in a file that was mended before it was read.
struct Repair {
    line: u32,
    column: u32,
    rule: &'static str,
    message: String,
}

impl<'a> Walk<'a, '_> {
    fn follow(&mut self, wanted: Wanted) {
        let known = self.known.get(&wanted.path).copied();
        let file = match known {
            Some(file) => file,
            None => {
                let file = self.open(&wanted);
                self.known.insert(wanted.path.clone(), file);
                file
            }
        };
        let Some(file) = file else { return };
        let Some(source) = self.bundle.sources.get(file) else { return };
        let root = source.document.root_element();
        let (name, namespace) = (root.tag_name().name(), root.tag_name().namespace().unwrap_or_default());
        if is_xsd(namespace) && name == "schema" {
            if file == 0 {
                let message = "is a schema and no WSDL; assumed: a WSDL without operations".to_owned();
                self.bundle.findings.add(Severity::Warning, Place { file, line: 1, column: 1 }, "WSDL", message);
            }
            let node = root.id();
            self.take_schema(file, node, &wanted.reason, wanted.place);
        } else if namespace == WSDL && name == "definitions" && matches!(wanted.reason, Reason::Wsdl) {
            self.take_definitions(file);
        } else {
            let hint = match namespace {
                "http://www.w3.org/ns/wsdl" => "WSDL 2.0 is not read",
                _ => "check what was saved",
            };
            let wanted =
                if file == 0 { "no WSDL 1.1 definitions" } else { "no WSDL 1.1 definitions and no XSD schema" };
            let message = format!("is <{name}> of {namespace:?}, {wanted}; {hint}");
            let place = Place { file, line: 1, column: 1 };
            self.bundle.findings.add(Severity::Error, place, "WSDL", message);
        }
    }

    /// Reads and parses a file; none when that failed, which is noted.
    fn open(&mut self, wanted: &Wanted) -> Option<usize> {
        let name = self.name_of(&wanted.path);
        if self.bundle.sources.len() >= FILES_MAX {
            let message = format!("this is not read: a WSDL may be made of {FILES_MAX} files at most");
            self.bundle.findings.add(Severity::Error, wanted.place, BOUNDS, message);
            return None;
        }
        let first = self.bundle.sources.is_empty() && wanted.place == Place::default();
        let bytes = match self.files.read(&wanted.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.not_read(wanted, &name, first, &error);
                return None;
            }
        };
        let defect = |message: String| (0, 0, "XML", message);
        self.bytes += bytes.len();
        if let Some(message) = self.over_bounds(&name, bytes.len()) {
            if first {
                self.bundle.findings.of_file(Severity::Error, name, BOUNDS, 0, 0, message);
            } else {
                self.bundle.findings.add(Severity::Error, wanted.place, BOUNDS, message);
            }
            return None;
        }
        let outcome = document::decode(&bytes, None).map(std::borrow::Cow::into_owned).map_err(defect);
        let outcome = outcome.and_then(|text| self.parse(text));
        match outcome {
            Ok((document, repairs)) => {
                let lines = Lines::of(&self.shelf.text);
                self.bundle.sources.push(Source { name, document, lines });
                let file = self.bundle.sources.len() - 1;
                for Repair { line, column, rule, message } in repairs {
                    self.bundle.findings.add(Severity::Warning, Place { file, line, column }, rule, message);
                }
                Some(file)
            }
            Err((line, column, rule, message)) => {
                self.bundle.findings.of_file(Severity::Error, name, rule, line, column, message);
                None
            }
        }
    }

    /// Why a file is not looked into, if it is too large, or all are together.
    fn over_bounds(&self, name: &str, bytes: usize) -> Option<String> {
        if bytes > FILE_BYTES_MAX {
            return Some(format!("{name} is larger than {} MiB", FILE_BYTES_MAX >> 20));
        }
        let over = self.bytes > BYTES_MAX;
        over.then(|| format!("with this the files are larger than {} MiB together", BYTES_MAX >> 20))
    }

    /// Parses a text; what hand-edited files often get wrong is mended first, and said.
    fn parse(&mut self, text: String) -> Result<(Document<'a>, Vec<Repair>), Unread> {
        let mut repairs = Vec::new();
        let mut text = text;
        loop {
            self.shelf = self.shelf.put(text);
            let kept = &self.shelf.text;
            let defect = match document::parse(kept) {
                Ok(document) => return Ok((document, repairs)),
                Err(defect) => defect,
            };
            match document::mend(kept, &defect).filter(|_| repairs.len() < REPAIRS_MAX) {
                Some((mended, message)) => {
                    repairs.push(Repair { line: defect.line, column: defect.column, rule: defect.rule, message });
                    text = mended;
                }
                None => return Err((defect.line, defect.column, defect.rule, defect.reason)),
            }
        }
    }

    fn not_read(&mut self, wanted: &Wanted, name: &str, first: bool, error: &io::Error) {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let reason = if missing { "there is no such file".to_owned() } else { error.to_string() };
        if first {
            self.bundle.findings.of_file(
                Severity::Error,
                name.to_owned(),
                "file",
                0,
                0,
                format!("cannot be read: {reason}"),
            );
            return;
        }
        let message = format!("{name} cannot be read: {reason}; save it beside the WSDL");
        match &wanted.reason {
            Reason::Import(namespace) => {
                let namespace = namespace.clone();
                self.missing.push(Missing { namespace, place: wanted.place, rule: "import-missing", message });
            }
            Reason::Wsdl | Reason::Include(..) => {
                self.bundle.findings.add(Severity::Error, wanted.place, "import-missing", message);
            }
        }
    }

    fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }

    fn take_definitions(&mut self, file: usize) {
        if !self.taken.insert(file) {
            return;
        }
        self.bundle.definitions.push(file);
        let Some(source) = self.bundle.sources.get(file) else { return };
        let mut imports = Vec::new();
        let mut schemas = Vec::new();
        for child in document::elements(source.document.root_element()) {
            match (child.tag_name().namespace(), child.tag_name().name()) {
                (Some(WSDL), "import") => imports.push((child.attribute("location"), place(file, source, child))),
                (Some(WSDL), "types") => schemas.extend(schema_nodes(child)),
                _ => {}
            }
        }
        let imports: Vec<_> = imports.into_iter().map(|(location, at)| (location.map(str::to_owned), at)).collect();
        for node in schemas {
            self.take_schema(file, node, &Reason::Wsdl, Place::default());
        }
        for (location, at) in imports {
            match location {
                Some(location) => self.want(file, &location, Reason::Wsdl, at),
                None => {
                    let message = "wsdl:import has no location: nothing is imported".to_owned();
                    self.bundle.findings.add(Severity::Warning, at, "WSDL 2.1.1", message);
                }
            }
        }
    }

    fn take_schema(&mut self, file: usize, node: NodeId, reason: &Reason, at: Place) {
        let Some(source) = self.bundle.sources.get(file) else { return };
        let Some(schema) = source.document.get_node(node) else { return };
        let own = schema.attribute("targetNamespace").unwrap_or_default();
        let (mut target, mut chameleon) = (Arc::<str>::from(own), false);
        match reason {
            Reason::Include(includer) => {
                if own.is_empty() {
                    (target, chameleon) = (Arc::clone(includer), true);
                } else if own != &**includer {
                    let message = format!(
                        "includes a schema of {own:?} into one of {includer:?}; assumed: its components keep their own namespace"
                    );
                    self.bundle.findings.add(Severity::Warning, at, "src-include.2.1", message);
                }
            }
            Reason::Import(expected) if expected != own => {
                let message =
                    format!("imports {expected:?}, but the file's namespace is {own:?}; assumed: the file is right");
                self.bundle.findings.add(Severity::Warning, at, "src-import.3.1", message);
            }
            Reason::Import(_) | Reason::Wsdl => {}
        }
        if !self.read.insert((file, node, Arc::clone(&target))) {
            return;
        }
        let Some(source) = self.bundle.sources.get(file) else { return };
        let Some(schema) = source.document.get_node(node) else { return };
        let wants = wants(file, source, schema, &target);
        for (_, reason, at) in &wants {
            if let Reason::Import(namespace) = reason
                && *namespace == *target
            {
                let message = format!("imports {namespace:?}, which is its own namespace; assumed: it includes that");
                self.bundle.findings.add(Severity::Warning, *at, "src-import.1.1", message);
            }
        }
        self.bundle.schemas.push(SchemaSource { file, node, target, chameleon, built_in: false });
        for (location, reason, at) in wants {
            match (location, reason) {
                (Some(location), reason) => self.want(file, &location, reason, at),
                (None, Reason::Import(namespace)) => {
                    let message = format!("no schema of {namespace:?} is loaded, and its import names no file");
                    self.missing.push(Missing { namespace, place: at, rule: "import-missing", message });
                }
                (None, Reason::Include(..) | Reason::Wsdl) => {
                    let message = "names no schemaLocation: nothing is included".to_owned();
                    self.bundle.findings.add(Severity::Error, at, "src-include", message);
                }
            }
        }
    }

    fn want(&mut self, file: usize, location: &str, reason: Reason, at: Place) {
        let location = location.trim();
        let lower = location.to_ascii_lowercase();
        if lower.contains("://") && !lower.starts_with("file:") {
            let message = format!(
                "{} is on the network, and nothing is fetched at start; save it beside the WSDL and name the file",
                document::clip(location, 200)
            );
            return self.unfollowed(reason, at, "import-remote", message);
        }
        let base = self.bundle.sources.get(file).map(|source| self.folder.join(&source.name)).unwrap_or_default();
        let location = location.replace('\\', "/");
        let location = percent_encoding::percent_decode_str(&location).decode_utf8_lossy().into_owned();
        let path = lexical(&base.parent().map(Path::to_path_buf).unwrap_or_default().join(&location));
        // Everything begins with the empty path, absolute ones too.
        let inside = path.strip_prefix(&self.folder).is_ok_and(|rest| rest.is_relative() && !rest.starts_with(".."));
        if !inside || lower.starts_with("file:") || location.is_empty() {
            let message = format!(
                "{:?} is not within the folder of the WSDL; only files there are read: put it beside the WSDL",
                document::clip(&location, 200)
            );
            return self.unfollowed(reason, at, "import-outside", message);
        }
        self.wanted.push_back(Wanted { path, reason, place: at });
    }

    fn unfollowed(&mut self, reason: Reason, place: Place, rule: &'static str, message: String) {
        match reason {
            Reason::Import(namespace) => self.missing.push(Missing { namespace, place, rule, message }),
            Reason::Wsdl | Reason::Include(..) => self.bundle.findings.add(Severity::Error, place, rule, message),
        }
    }

    /// Well-known schemas that some document mentions and none brings.
    fn add_built_in(&mut self) {
        let mut mentioned: HashSet<String> = HashSet::new();
        let note = |source: &Source<'_>, mentioned: &mut HashSet<String>| {
            let text = source.document.input_text();
            mentioned.extend(document::declared_namespaces(text).into_iter().map(str::to_owned));
            if text.contains("xml:") {
                mentioned.insert(document::XML_NAMESPACE.to_owned());
            }
        };
        self.bundle.sources.iter().for_each(|source| note(source, &mut mentioned));
        for entry in catalogue::ENTRIES {
            let brought = self.bundle.schemas.iter().any(|schema| *schema.target == *entry.namespace);
            if brought || !mentioned.contains(entry.namespace) {
                continue;
            }
            self.shelf = self.shelf.put(entry.text.to_owned());
            let text = &self.shelf.text;
            let Ok(document) = document::parse(text) else { continue };
            let node = document.root_element().id();
            let file = self.bundle.sources.len();
            let source = Source { name: entry.name.to_owned(), document, lines: Lines::of(text) };
            note(&source, &mut mentioned);
            self.bundle.sources.push(source);
            self.bundle.schemas.push(SchemaSource {
                file,
                node,
                target: Arc::from(entry.namespace),
                chameleon: false,
                built_in: true,
            });
        }
    }

    /// An import that was not followed is no finding when its namespace is there all the same.
    fn settle_missing(&mut self) {
        let mut seen = HashSet::new();
        let brought: HashSet<Arc<str>> = self.bundle.schemas.iter().map(|schema| Arc::clone(&schema.target)).collect();
        for missing in std::mem::take(&mut self.missing) {
            if brought.contains(missing.namespace.as_str())
                || is_built_in(&missing.namespace)
                || !seen.insert((missing.namespace, missing.message.clone()))
            {
                continue;
            }
            self.bundle.findings.add(Severity::Warning, missing.place, missing.rule, missing.message);
        }
    }
}

/// Namespaces whose components are known without a file.
pub(crate) fn is_built_in(namespace: &str) -> bool {
    is_xsd(namespace)
        || matches!(namespace, document::XML_NAMESPACE | document::XSI | WSDL)
        || is_soap_encoding(namespace)
}

/// Whether a namespace is SOAP 1.1's or 1.2's encoding.
pub(crate) fn is_soap_encoding(namespace: &str) -> bool {
    matches!(namespace, "http://schemas.xmlsoap.org/soap/encoding/" | "http://www.w3.org/2003/05/soap-encoding")
}

/// Where a node stands.
pub(crate) fn place(file: usize, source: &Source<'_>, node: Node<'_, '_>) -> Place {
    let (line, column) = source.lines.place(node.range().start);
    Place { file, line, column }
}

fn schema_nodes(types: Node<'_, '_>) -> Vec<NodeId> {
    document::elements(types)
        .filter(|node| node.tag_name().name() == "schema" && node.tag_name().namespace().is_some_and(is_xsd))
        .map(|node| node.id())
        .collect()
}

type Want = (Option<String>, Reason, Place);

fn wants(file: usize, source: &Source<'_>, schema: Node<'_, '_>, target: &Arc<str>) -> Vec<Want> {
    let mut wants = Vec::new();
    for child in document::elements(schema).filter(|child| child.tag_name().namespace().is_some_and(is_xsd)) {
        let reason = match child.tag_name().name() {
            "import" => Reason::Import(child.attribute("namespace").unwrap_or_default().to_owned()),
            "include" | "redefine" => Reason::Include(Arc::clone(target)),
            _ => continue,
        };
        let location = child.attribute("schemaLocation").or_else(|| child.attribute("location"));
        wants.push((location.map(str::to_owned), reason, place(file, source, child)));
    }
    wants
}

/// A path without `.` and, as far as possible, without `..`.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(clean.components().next_back(), Some(Component::Normal(_))) => {
                clean.pop();
            }
            Component::ParentDir | Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                clean.push(component);
            }
        }
    }
    clean
}
