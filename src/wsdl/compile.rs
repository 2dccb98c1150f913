//! Schema documents → the component model.
//!
//! A component gets its number when it is first referred to and is read later from a queue, so that neither
//! recursion nor long chains of references cost stack. Inheritance is resolved at the end, base types first.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use roxmltree::Node;

use super::bundle::{Findings, SchemaSource, Source, XSD, is_soap_encoding, is_xsd, place};
use super::document::{self, Place, XML_NAMESPACE, elements, split_qname};
use super::encoding;
use super::model::{
    Arena, AttributeUse, Complex, Content, Definition, Element, ElementId, Name, Namespaces, Particle, ParticleId,
    Schemas, Simple, Term, Type, TypeId, Variety, Wildcard,
};
use super::simple::{Bound, Builtin, Facets, Pattern, WhiteSpace, is_name};
use super::{Severity, nearest, pattern};

/// How many particles a content model may have, groups and base types written out.
const PARTICLES_MAX: usize = 50_000;
/// How deep groups and extensions may go.
const NESTING_MAX: usize = 200;
/// How many elements and particles all content models may have together.
const COMPONENTS_MAX: usize = 1_000_000;
/// How many members all substitution groups may have together.
const SUBSTITUTES_MAX: usize = 200_000;
/// How many different patterns are compiled; how many a type may inherit.
const PATTERNS_MAX: usize = 1_000;
const PATTERNS_INHERITED_MAX: usize = 50;
/// How many attribute uses all types together may have.
const ATTRIBUTES_MAX: usize = 1_000_000;
/// Begins the namespace of a name whose prefix is declared nowhere.
const UNDECLARED: &str = "undeclared prefix ";
/// Marks a component that a `redefine` replaced.
const REPLACED: &str = "\u{1}replaced";

/// A node of a schema and the schema it stands in.
#[derive(Clone, Copy)]
struct At<'d, 'i> {
    node: Node<'d, 'i>,
    schema: usize,
}

enum Job<'d, 'i> {
    Type(TypeId, At<'d, 'i>),
    Element(ElementId, At<'d, 'i>),
    Group(ParticleId, At<'d, 'i>),
}

/// What a type says itself, before it inherits.
enum Draft {
    Done,
    Simple { base: Option<TypeId>, variety: Option<Variety>, step: Box<Facets> },
    Complex(Box<DraftComplex>),
}

struct DraftComplex {
    is_abstract: bool,
    mixed: bool,
    base: Option<TypeId>,
    how: How,
    content: Option<ParticleId>,
    attributes: Vec<AttributeUse>,
    any_attribute: bool,
}

enum How {
    Plain,
    Extension,
    Restriction,
    SimpleExtension,
    SimpleRestriction { step: Facets, inner: Option<TypeId> },
}

/// The reader of components.
pub(crate) struct Compiler<'b, 'd, 'i> {
    sources: &'d [Source<'i>],
    schemas: &'b [SchemaSource],
    globals: HashMap<(&'static str, Name), At<'d, 'i>>,
    names: HashMap<&'static str, Vec<Name>>,
    model: Schemas,
    drafts: HashMap<TypeId, Draft>,
    groups: HashMap<Name, ParticleId>,
    builtins: HashMap<Builtin, TypeId>,
    queue: Vec<Job<'d, 'i>>,
    pub(crate) findings: &'b mut Findings,
    severity: Severity,
    attribute_uses: usize,
    misses: HashSet<(&'static str, Name)>,
    /// Patterns by their text.
    patterns: HashMap<String, Result<regex::Regex, String>>,
    /// Some component replaces another of its name.
    redefines: bool,
    /// Of the schemas that were read.
    namespaces: HashSet<Arc<str>>,
    /// The one component of a kind and a local name; none where there are more.
    alone: HashMap<(&'static str, Arc<str>), Option<Name>>,
    /// Where groups stand, model groups and named ones.
    places: HashMap<ParticleId, Place>,
    /// Elements of which it was said that their substitution groups go in a circle.
    circular: HashSet<ElementId>,
}

impl<'b, 'd, 'i: 'd> Compiler<'b, 'd, 'i> {
    /// Indexes the global components of all schemas.
    pub(crate) fn new(sources: &'d [Source<'i>], schemas: &'b [SchemaSource], findings: &'b mut Findings) -> Self {
        let mut types = Arena::default();
        let name = Some(Name::new(XSD, "anyType"));
        let any_type = types.add(Type {
            name,
            place: Place::default(),
            base: None,
            definition: Definition::Any,
            documentation: None,
        });
        let model = Schemas {
            types,
            elements: Arena::default(),
            particles: Arena::default(),
            global_types: HashMap::new(),
            global_elements: HashMap::new(),
            substitutes: HashMap::new(),
            any_type,
            encoding: encoding::Encoding::default(),
            wildcards: HashMap::new(),
        };
        let mut compiler = Self {
            sources,
            schemas,
            globals: HashMap::new(),
            names: HashMap::new(),
            model,
            drafts: HashMap::new(),
            groups: HashMap::new(),
            builtins: HashMap::new(),
            queue: Vec::new(),
            findings,
            severity: Severity::Error,
            attribute_uses: 0,
            misses: HashSet::new(),
            patterns: HashMap::new(),
            redefines: false,
            namespaces: schemas.iter().map(|schema| Arc::clone(&schema.target)).collect(),
            alone: HashMap::new(),
            places: HashMap::new(),
            circular: HashSet::new(),
        };
        for schema in 0..schemas.len() {
            compiler.index(schema);
        }
        compiler
    }

    fn root(&self, schema: usize) -> Option<Node<'d, 'i>> {
        let source = self.schemas.get(schema)?;
        self.sources.get(source.file)?.document.get_node(source.node)
    }

    /// What has a name must have one of XML, or it could not be written (XML Schema part 1, 3.3.2 and others: an `NCName`).
    fn check_names(&mut self, schema: usize, root: Node<'d, 'i>) {
        let named = root.descendants().filter(|node| node.tag_name().namespace().is_some_and(is_xsd));
        for node in named {
            let name = node.attribute("name").map(str::trim);
            let Some(name) = name.filter(|name| !is_name(name, false)) else { continue };
            // What is said for people declares nothing.
            if node.ancestors().any(|outer| outer.tag_name().name() == "annotation") {
                continue;
            }
            let message = format!("{} has the name {name:?}, which is none in XML", node.tag_name().name());
            self.finding_as(Severity::Error, At { node, schema }, "s4s-att-invalid-value", message);
        }
    }

    fn index(&mut self, schema: usize) {
        let Some(root) = self.root(schema) else { return };
        self.check_names(schema, root);
        for child in elements(root).filter(|child| child.tag_name().namespace().is_some_and(is_xsd)) {
            if child.tag_name().name() == "redefine" {
                for component in elements(child) {
                    self.redefines |= global_kind(component).is_some();
                    self.declare(schema, component);
                }
                continue;
            }
            if global_kind(child).is_none()
                && !matches!(child.tag_name().name(), "import" | "include" | "annotation" | "notation")
            {
                let message = format!("a schema holds no {} at its top", child.tag_name().name());
                self.finding(At { node: child, schema }, "s4s-elt-schema", message);
                continue;
            }
            self.redefines |= is_redefinition(child);
            self.declare(schema, child);
        }
    }

    /// Notes a global component. What a `redefine` replaces is kept under a name of its own, level by level.
    fn declare(&mut self, schema: usize, node: Node<'d, 'i>) {
        let (Some(kind), Some(local)) = (global_kind(node), node.attribute("name")) else { return };
        let Some(source) = self.schemas.get(schema) else { return };
        let name = Name { namespace: Arc::clone(&source.target), local: Arc::from(local.trim()) };
        let mut at = At { node, schema };
        let Some(first) = self.globals.get(&(kind, name.clone())).copied() else {
            self.globals.insert((kind, name.clone()), at);
            if !source.built_in {
                let alone = self.alone.entry((kind, Arc::clone(&name.local)));
                alone.and_modify(|alone| *alone = None).or_insert_with(|| Some(name.clone()));
                self.names.entry(kind).or_default().push(name);
            }
            return;
        };
        // The same file read twice, or the same words in two files, is no conflict worth a line.
        if self.text(first) == self.text(at) {
            return;
        }
        if !is_redefinition(first.node) && !is_redefinition(node) {
            let message = format!("{kind} {name} is declared again; assumed: the first one counts");
            return self.finding_as(Severity::Warning, at, "sch-props-correct.2", message);
        }
        if !is_redefinition(first.node) {
            if node.parent_element().is_none_or(|parent| parent.tag_name().name() != "redefine") {
                let message = format!("{kind} {name} is derived from one of its own name; assumed: it redefines that");
                self.finding_as(Severity::Warning, at, "ct-props-correct.3", message);
            }
            self.globals.insert((kind, name.clone()), at);
            at = first;
        }
        let mut below = replaced(&name);
        for _ in 0..NESTING_MAX {
            let Some(there) = self.globals.get(&(kind, below.clone())) else {
                self.globals.insert((kind, below), at);
                return;
            };
            if self.text(*there) == self.text(at) {
                return;
            }
            below = replaced(&below);
        }
    }

    fn text(&self, at: At<'d, 'i>) -> &'d str {
        at.node.document().input_text().get(at.node.range()).unwrap_or_default()
    }

    fn place(&self, at: At<'d, 'i>) -> Place {
        let file = self.schemas.get(at.schema).map_or(0, |schema| schema.file);
        self.sources.get(file).map_or(Place::default(), |source| place(file, source, at.node))
    }

    fn finding(&mut self, at: At<'d, 'i>, rule: &str, message: String) {
        self.finding_as(self.severity, at, rule, message);
    }

    fn finding_as(&mut self, severity: Severity, at: At<'d, 'i>, rule: &str, message: String) {
        let place = self.place(at);
        self.findings.add(severity, place, rule, message);
    }

    /// The element of a name, if any schema declares it.
    pub(crate) fn element(&mut self, name: &Name) -> Option<ElementId> {
        if let Some(id) = self.model.global_elements.get(name) {
            return Some(*id);
        }
        let at = *self.globals.get(&("element", name.clone()))?;
        let id = self.new_element(name.clone(), at);
        self.model.global_elements.insert(name.clone(), id);
        self.queue.push(Job::Element(id, at));
        Some(id)
    }

    /// The local name of an element.
    pub(crate) fn element_name(&self, id: ElementId) -> &str {
        &self.model.elements[id].name.local
    }

    /// The type of a name, if it is built in or any schema declares it.
    pub(crate) fn type_of(&mut self, name: &Name) -> Option<TypeId> {
        if let Some(id) = self.model.global_types.get(name) {
            return Some(*id);
        }
        if let Some(at) = self.globals.get(&("type", name.clone())).copied() {
            let id = self.new_type(Some(name.clone()), at);
            self.model.global_types.insert(name.clone(), id);
            return Some(id);
        }
        let local = &*name.local;
        if is_xsd(&name.namespace) && matches!(local, "anyType" | "ur-type") {
            return Some(self.model.any_type);
        }
        if encoding::is_known(name) {
            return Some(self.known_type(name));
        }
        if is_xsd(&name.namespace) || is_soap_encoding(&name.namespace) {
            let local = match local {
                "timeInstant" => "dateTime",
                "timeDuration" => "duration",
                "uriReference" => "anyURI",
                "binary" | "base64" => "base64Binary",
                other => other,
            };
            let (builtin, _) = Builtin::ALL.into_iter().find(|(_, known)| *known == local)?;
            return Some(self.builtin(builtin));
        }
        None
    }

    /// Whether what a type takes is text: a simple type, or a complex one of simple content.
    pub(crate) fn is_text(&self, name: &Name) -> bool {
        if let Some(at) = self.globals.get(&("type", name.clone())) {
            let simple_content = || elements(at.node).any(|child| child.tag_name().name() == "simpleContent");
            return at.node.tag_name().name() == "simpleType" || simple_content();
        }
        let built_in = is_xsd(&name.namespace) || is_soap_encoding(&name.namespace);
        built_in && Builtin::ALL.into_iter().any(|(_, known)| known == &*name.local)
    }

    /// A type of SOAP's encoding, or of Apache's, that holds anything.
    fn known_type(&mut self, name: &Name) -> TypeId {
        let (place, base) = (Place::default(), Some(self.model.any_type));
        let known = Type { name: Some(name.clone()), place, base, definition: Definition::Any, documentation: None };
        let id = self.model.types.add(known);
        self.drafts.insert(id, Draft::Done);
        self.model.global_types.insert(name.clone(), id);
        if encoding::is_array_root(name) {
            self.model.encoding.array_roots.push(id);
        } else if &*name.local == "Map" {
            self.model.encoding.map = Some(id);
        }
        id
    }

    /// `xs:anyType`.
    pub(crate) fn any_type(&self) -> TypeId {
        self.model.any_type
    }

    /// The type of an element, read now.
    pub(crate) fn type_of_element(&mut self, id: ElementId) -> TypeId {
        self.drain();
        self.model.elements[id].type_id
    }

    /// Notes what an array type says of its items.
    fn note_array(&mut self, id: TypeId, at: At<'d, 'i>, content: Option<ParticleId>) {
        let mut array =
            encoding::ArrayType { element: content.and_then(|id| self.only_element(id, 0)), ..Default::default() };
        for attribute in elements(at.node).filter(|child| child.tag_name().name() == "attribute") {
            let of_wsdl = |name: &str| attribute.attribute((super::bundle::WSDL, name));
            let at = At { node: attribute, ..at };
            if let Some((name, ranks)) = of_wsdl("arrayType").and_then(encoding::array_type) {
                (array.item, array.ranks) = (Some(self.type_ref(at, name)), ranks);
            }
            if let Some(name) = of_wsdl("itemType") {
                array.item = Some(self.type_ref(at, name.trim()));
            }
            if let Some(size) = of_wsdl("arraySize") {
                array.ranks = vec![encoding::array_size(size)];
            }
        }
        self.model.encoding.arrays.insert(id, array);
    }

    fn only_element(&self, id: ParticleId, depth: usize) -> Option<ElementId> {
        match &self.model.particles[id].term {
            Term::Element(element) => Some(*element),
            Term::Sequence(parts) | Term::All(parts) | Term::Choice(parts) => match parts.as_slice() {
                [only] if depth < NESTING_MAX => self.only_element(*only, depth + 1),
                _ => None,
            },
            Term::Any => None,
        }
    }

    fn builtin(&mut self, builtin: Builtin) -> TypeId {
        if let Some(id) = self.builtins.get(&builtin) {
            return *id;
        }
        let definition = Definition::Simple(Simple { variety: Variety::Atomic(builtin), facets: Facets::default() });
        let base = Some(encoding::parent(builtin).map_or(self.model.any_type, |parent| self.builtin(parent)));
        let name = Name::new(XSD, builtin.as_str());
        let id = self.model.types.add(Type {
            name: Some(name.clone()),
            place: Place::default(),
            base,
            definition,
            documentation: None,
        });
        self.builtins.insert(builtin, id);
        self.drafts.insert(id, Draft::Done);
        self.model.global_types.insert(name, id);
        id
    }

    fn new_type(&mut self, name: Option<Name>, at: At<'d, 'i>) -> TypeId {
        let place = self.place(at);
        let documentation = document::documentation(at.node);
        let id = self.model.types.add(Type { name, place, base: None, definition: Definition::Any, documentation });
        self.queue.push(Job::Type(id, at));
        id
    }

    fn new_element(&mut self, name: Name, at: At<'d, 'i>) -> ElementId {
        let type_id = self.model.any_type;
        let (default, fixed) = (value_of(at.node, "default"), value_of(at.node, "fixed"));
        let (nillable, is_abstract) = (is_true(at.node, "nillable"), is_true(at.node, "abstract"));
        let documentation = document::documentation(at.node);
        let place = self.place(at);
        let is_global = at.node.parent_element().is_some_and(|parent| parent.tag_name().name() == "schema");
        self.model.elements.add(Element {
            name,
            place,
            is_global,
            type_id,
            nillable,
            is_abstract,
            default,
            fixed,
            documentation,
        })
    }

    fn new_particle(&mut self, term: Term) -> ParticleId {
        self.model.particles.add(Particle { min: 1, max: Some(1), term })
    }

    /// Reads everything that was referred to so far.
    pub(crate) fn drain(&mut self) {
        let muted = std::mem::take(&mut self.findings.muted);
        while let Some(job) = self.queue.pop() {
            if self.model.elements.len() + self.model.particles.len() > COMPONENTS_MAX {
                self.queue.clear();
                let (Job::Type(_, at) | Job::Element(_, at) | Job::Group(_, at)) = job;
                let message = format!("the schemas have more than {COMPONENTS_MAX} elements and particles together");
                self.finding_as(Severity::Error, at, "bounds", message);
                break;
            }
            match job {
                Job::Type(id, at) => self.read_type(id, at),
                Job::Element(id, at) => self.read_element(id, at),
                Job::Group(id, at) => self.read_group(id, at),
            }
        }
        self.findings.muted = muted;
    }

    /// Reads what requests refer to. What is wrong with anything else harms no request: it is a warning.
    pub(crate) fn requests_are_known(&mut self) {
        self.drain();
        self.severity = Severity::Warning;
    }

    /// Reads what no message refers to (types that stand in by `xsi:type`, substitutes), inherits, and hands out.
    /// What is wrong there harms no message: it is a warning.
    pub(crate) fn finish(mut self) -> Schemas {
        self.drain();
        self.severity = Severity::Warning;
        for name in self.names.remove("type").unwrap_or_default() {
            self.type_of(&name);
        }
        // What stands in by `xsi:type` may be any of these.
        self.type_of(&Name::new("http://schemas.xmlsoap.org/soap/encoding/", "Array"));
        Builtin::ALL.into_iter().for_each(|(builtin, _)| {
            self.builtin(builtin);
        });
        let globals = self.names.remove("element").unwrap_or_default();
        for name in &globals {
            self.element(name);
        }
        self.drain();
        self.severity = Severity::Error;
        self.inherit();
        self.untie();
        self.bound_particles();
        self.substitute(&globals);
        self.model
    }

    /// A qualified name in an attribute, resolved by scope.
    fn qname(&self, at: At<'d, 'i>, text: &str) -> Name {
        let (prefix, local) = split_qname(text);
        let namespace = match at.node.lookup_namespace_uri(prefix) {
            Some(namespace) => Arc::from(namespace),
            None if prefix.is_some() => {
                // A prefix bound to nothing resolves to nothing, and is reported where it is looked up.
                let prefix = prefix.unwrap_or_default();
                let undeclared = || Arc::from(format!("{UNDECLARED}{prefix}"));
                if prefix == "xml" { Arc::from(XML_NAMESPACE) } else { undeclared() }
            }
            None => match self.schemas.get(at.schema) {
                Some(schema) if schema.chameleon => Arc::clone(&schema.target),
                Some(_) | None => Arc::from(""),
            },
        };
        Name { namespace, local: Arc::from(local) }
    }

    /// Within a redefinition its own name means what it replaces.
    fn seen_from(&self, at: At<'d, 'i>, kind: &'static str, name: Name) -> Name {
        if !self.redefines {
            return name;
        }
        let mut ancestors = std::iter::successors(Some(at.node), |node| node.parent_element());
        let is_top = |node: &Node<'d, 'i>| {
            node.parent_element().is_some_and(|parent| matches!(parent.tag_name().name(), "schema" | "redefine"))
        };
        let Some(own) = ancestors.find(is_top).filter(|own| global_kind(*own) == Some(kind)) else { return name };
        let mut level = name.clone();
        for _ in 0..NESTING_MAX {
            let Some(there) = self.globals.get(&(kind, level.clone())) else { return name };
            let below = replaced(&level);
            if there.node == own {
                return if self.globals.contains_key(&(kind, below.clone())) { below } else { name };
            }
            level = below;
        }
        name
    }

    /// A reference to a type; what is not there is reported and becomes `xs:anyType`.
    fn type_ref(&mut self, at: At<'d, 'i>, text: &str) -> TypeId {
        let name = self.seen_from(at, "type", self.qname(at, text));
        if let Some(id) = self.type_of(&name) {
            return id;
        }
        let target = self.schemas.get(at.schema).map(|schema| Arc::clone(&schema.target)).unwrap_or_default();
        if let Some(meant) = self.guess("type", &target, &name)
            && let Some(id) = self.type_of(&self.seen_from(at, "type", meant.clone()))
        {
            self.assume(at, "type", &name, text, &meant.to_string());
            return id;
        }
        if let Some(id) = self.type_of_its_element(&name) {
            self.assume(at, "type", &name, text, "the type of the element of that name");
            return id;
        }
        self.missing(at, "type", &name, text);
        self.model.any_type
    }

    /// What a name that leads nowhere means: in schemas that mix up no namespace and the target namespace, with a
    /// prefix that is declared nowhere, or of a namespace that no schema has.
    pub(crate) fn guess(&mut self, kind: &'static str, target: &str, name: &Name) -> Option<Name> {
        let with = |namespace: &str| Name { namespace: Arc::from(namespace), local: Arc::clone(&name.local) };
        let undeclared = name.namespace.strip_prefix(UNDECLARED);
        let free = name.namespace.is_empty() || undeclared.is_some() || &*name.namespace == super::bundle::WSDL;
        let mut guesses = Vec::new();
        guesses.extend(undeclared.and_then(document::conventional_namespace).map(with));
        if free {
            guesses.push(with(target));
            guesses.push(with(""));
            guesses.push(with(XSD));
        } else if *name.namespace == *target {
            guesses.push(with(""));
        }
        let is_there = |compiler: &mut Self, guess: &Name| match kind {
            "type" => compiler.type_of(guess).is_some(),
            _ => compiler.globals.contains_key(&(kind, guess.clone())),
        };
        if let Some(guess) = guesses.into_iter().find(|guess| is_there(self, guess)) {
            return Some(guess);
        }
        if !free && self.namespaces.contains(&name.namespace) {
            return None;
        }
        self.alone.get(&(kind, Arc::clone(&name.local)))?.clone()
    }

    /// What a schema that names an element where a type should stand means.
    fn type_of_its_element(&mut self, name: &Name) -> Option<TypeId> {
        let at = *self.globals.get(&("element", name.clone()))?;
        let text = at.node.attribute("type")?;
        let name = self.qname(at, text);
        self.type_of(&name)
    }

    fn assume(&mut self, at: At<'d, 'i>, kind: &'static str, name: &Name, text: &str, assumed: &str) {
        if self.misses.insert((kind, name.clone())) {
            let place = self.place(at);
            let message = format!("there is no {kind} {text}; assumed: {assumed}");
            self.findings.add(Severity::Warning, place, "src-resolve", message);
        }
    }

    fn missing(&mut self, at: At<'d, 'i>, kind: &'static str, name: &Name, text: &str) {
        if !self.misses.insert((kind, name.clone())) {
            return;
        }
        let namespace = &*name.namespace;
        let known = self.names.get(kind).map(Vec::as_slice).unwrap_or_default();
        let there = self.namespaces.contains(namespace);
        let hint = if namespace.starts_with(UNDECLARED) {
            "; its prefix is not declared".to_owned()
        } else if !there {
            format!("; no schema of {namespace:?} is loaded")
        } else {
            let locals = known.iter().filter(|other| *other.namespace == *namespace).map(|other| &*other.local);
            nearest(&name.local, locals).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
        };
        self.finding(at, "src-resolve", format!("there is no {kind} {text}{hint}"));
    }

    fn read_element(&mut self, id: ElementId, at: At<'d, 'i>) {
        let declared = at.node.attribute("type");
        let inline = elements(at.node).find(|child| matches!(child.tag_name().name(), "simpleType" | "complexType"));
        let head = at.node.attribute("substitutionGroup");
        let type_id = match (declared, inline, head) {
            (Some(text), ..) => self.type_ref(at, text),
            (None, Some(node), _) => self.new_type(None, At { node, ..at }),
            (None, None, Some(head)) => {
                let head = self.qname(at, head);
                self.element(&head).and_then(|head| self.type_of_head(id, at, head)).unwrap_or(self.model.any_type)
            }
            (None, None, None) => self.model.any_type,
        };
        self.model.elements[id].type_id = type_id;
    }

    /// The type of a head of substitution, which may not have been read yet: its own, or that of its own head.
    fn type_of_head(&mut self, member: ElementId, from: At<'d, 'i>, head: ElementId) -> Option<TypeId> {
        let mut head = head;
        let mut seen = HashSet::from([member]);
        loop {
            let name = self.model.elements[head].name.clone();
            let at = *self.globals.get(&("element", name.clone()))?;
            if let Some(text) = at.node.attribute("type") {
                return Some(self.type_ref(at, text));
            }
            let inline = elements(at.node).any(|child| matches!(child.tag_name().name(), "simpleType" | "complexType"));
            let next = at.node.attribute("substitutionGroup").filter(|_| !inline)?;
            if !seen.insert(head) {
                if seen.iter().any(|element| self.circular.contains(element)) {
                    return None;
                }
                let message = format!(
                    "element {name} is in its own substitution group, and none of that circle has a type; assumed: anything"
                );
                self.finding(from, "e-props-correct.6", message);
                self.circular.extend(seen);
                return None;
            }
            let next = self.qname(at, next);
            head = self.element(&next)?;
        }
    }

    fn read_group(&mut self, id: ParticleId, at: At<'d, 'i>) {
        let model = elements(at.node).find(|child| matches!(child.tag_name().name(), "sequence" | "choice" | "all"));
        if let Some(particle) = model.and_then(|node| self.particle(At { node, ..at })) {
            self.model.particles[id].term = Term::Sequence(vec![particle]);
        }
    }

    fn read_type(&mut self, id: TypeId, at: At<'d, 'i>) {
        let draft = if at.node.tag_name().name() == "simpleType" {
            self.draft_simple(at)
        } else {
            Draft::Complex(Box::new(self.draft_complex(id, at)))
        };
        self.model.types[id].base = match &draft {
            Draft::Done => None,
            Draft::Simple { base, .. } => *base,
            Draft::Complex(complex) => complex.base,
        };
        self.drafts.insert(id, draft);
    }

    fn draft_simple(&mut self, at: At<'d, 'i>) -> Draft {
        // As the draft of 1999 has it.
        if let Some(text) = at.node.attribute("base") {
            let base = self.type_ref(at, text);
            return Draft::Simple { base: Some(base), variety: None, step: Box::new(self.facets(at)) };
        }
        for child in elements(at.node) {
            let at = At { node: child, ..at };
            match child.tag_name().name() {
                "restriction" => {
                    let base = match (child.attribute("base"), inline_simple(child)) {
                        (Some(text), _) => self.type_ref(at, text),
                        (None, Some(node)) => self.new_type(None, At { node, ..at }),
                        (None, None) => self.builtin(Builtin::AnySimpleType),
                    };
                    return Draft::Simple { base: Some(base), variety: None, step: Box::new(self.facets(at)) };
                }
                "list" => {
                    let item = match (child.attribute("itemType"), inline_simple(child)) {
                        (Some(text), _) => self.type_ref(at, text),
                        (None, Some(node)) => self.new_type(None, At { node, ..at }),
                        (None, None) => self.builtin(Builtin::AnySimpleType),
                    };
                    let variety = Some(Variety::List(item));
                    return Draft::Simple { base: None, variety, step: Box::default() };
                }
                "union" => {
                    let named: Vec<&str> =
                        child.attribute("memberTypes").unwrap_or_default().split_whitespace().collect();
                    let mut members: Vec<TypeId> = named.into_iter().map(|text| self.type_ref(at, text)).collect();
                    for node in elements(child).filter(|node| node.tag_name().name() == "simpleType") {
                        members.push(self.new_type(None, At { node, ..at }));
                    }
                    let variety = Some(Variety::Union(members));
                    return Draft::Simple { base: None, variety, step: Box::default() };
                }
                _ => {}
            }
        }
        self.finding(at, "src-simple-type", "a simpleType has no restriction, list or union".to_owned());
        Draft::Simple { base: None, variety: Some(Variety::Atomic(Builtin::String)), step: Box::default() }
    }

    fn facets(&mut self, at: At<'d, 'i>) -> Facets {
        let mut facets = Facets::default();
        let mut enumeration = Vec::new();
        let mut patterns = Vec::new();
        for child in elements(at.node) {
            let Some(value) = child.attribute("value") else { continue };
            let at = At { node: child, ..at };
            match child.tag_name().name() {
                "enumeration" => enumeration.push(value.to_owned()),
                "pattern" => patterns.push(value),
                "whiteSpace" => {
                    facets.white_space = match value {
                        "replace" => Some(WhiteSpace::Replace),
                        "collapse" => Some(WhiteSpace::Collapse),
                        _ => Some(WhiteSpace::Preserve),
                    }
                }
                "minInclusive" => facets.low = Some(Bound { value: value.to_owned(), inclusive: true }),
                "minExclusive" => facets.low = Some(Bound { value: value.to_owned(), inclusive: false }),
                "maxInclusive" => facets.high = Some(Bound { value: value.to_owned(), inclusive: true }),
                "maxExclusive" => facets.high = Some(Bound { value: value.to_owned(), inclusive: false }),
                "length" => facets.length = self.count(at, value),
                "minLength" => facets.min_length = self.count(at, value),
                "maxLength" => facets.max_length = self.count(at, value),
                "totalDigits" | "precision" => facets.total_digits = self.count(at, value),
                "fractionDigits" | "scale" => facets.fraction_digits = self.count(at, value),
                _ => {}
            }
        }
        facets.enumeration = enumeration.into();
        facets.patterns = self.patterns(at, &patterns);
        facets
    }

    /// The patterns of one derivation step: one of them must match.
    fn patterns(&mut self, at: At<'d, 'i>, sources: &[&str]) -> Vec<Pattern> {
        let joined = sources.join("|");
        if sources.is_empty() {
            return Vec::new();
        }
        let known = self.patterns.len();
        let compiled = self.patterns.entry(joined.clone()).or_insert_with(|| match known {
            known if known > PATTERNS_MAX => Err(format!("is one of more than {PATTERNS_MAX}")),
            _ => pattern::compile(&joined),
        });
        match compiled.clone() {
            Ok(regex) => vec![Pattern { source: joined.into(), regex }],
            Err(reason) => {
                let shown = document::clip(&joined, 100).into_owned();
                let message = format!("the pattern {shown} {reason}; assumed: values are not checked against it");
                self.finding_as(Severity::Warning, at, "pattern", message);
                Vec::new()
            }
        }
    }

    fn count(&mut self, at: At<'d, 'i>, value: &str) -> Option<u64> {
        let count = value.trim().parse().ok();
        if count.is_none() {
            let place = self.place(at);
            let shown = document::clip(value, 40).into_owned();
            let message = format!("{shown:?} is no number; assumed: the facet is not there");
            self.findings.add(Severity::Warning, place, "facet", message);
        }
        count
    }

    fn draft_complex(&mut self, id: TypeId, at: At<'d, 'i>) -> DraftComplex {
        let mut draft = DraftComplex {
            is_abstract: is_true(at.node, "abstract"),
            mixed: is_true(at.node, "mixed"),
            base: None,
            how: How::Plain,
            content: None,
            attributes: Vec::new(),
            any_attribute: false,
        };
        let derived =
            elements(at.node).find(|child| matches!(child.tag_name().name(), "complexContent" | "simpleContent"));
        let step = derived.and_then(|content| {
            elements(content).find(|child| matches!(child.tag_name().name(), "extension" | "restriction"))
        });
        let (Some(content), Some(step)) = (derived, step) else {
            // As the draft of 1999 has it.
            if let Some(text) = at.node.attribute("base") {
                draft.base = Some(self.type_ref(at, text));
                let restricts = at.node.attribute("derivedBy") == Some("restriction");
                draft.how = if restricts { How::Restriction } else { How::Extension };
            }
            self.read_content(at, &mut draft);
            return draft;
        };
        draft.mixed |= is_true(content, "mixed");
        let at = At { node: step, ..at };
        let base = step.attribute("base").map(|text| self.type_ref(at, text));
        draft.base = base.or(Some(self.model.any_type));
        let extension = step.tag_name().name() == "extension";
        if content.tag_name().name() == "simpleContent" {
            draft.how = if extension {
                How::SimpleExtension
            } else {
                let inner = inline_simple(step).map(|node| self.new_type(None, At { node, ..at }));
                How::SimpleRestriction { step: self.facets(at), inner }
            };
            self.read_attributes(at, &mut draft);
        } else {
            draft.how = if extension { How::Extension } else { How::Restriction };
            self.read_content(at, &mut draft);
            let base = step.attribute("base").map(|text| self.qname(at, text));
            let derived = draft.base.is_some_and(|base| self.model.encoding.arrays.contains_key(&base));
            if derived && draft.content.is_none() {
                return draft;
            }
            if derived || base.is_some_and(|base| encoding::is_array_root(&base)) {
                self.note_array(id, at, draft.content);
            }
        }
        draft
    }

    fn read_content(&mut self, at: At<'d, 'i>, draft: &mut DraftComplex) {
        for child in elements(at.node) {
            if matches!(child.tag_name().name(), "sequence" | "choice" | "all" | "group") {
                draft.content = self.particle(At { node: child, ..at });
            }
        }
        let loose = |node: &Node<'d, 'i>| matches!(node.tag_name().name(), "element" | "any");
        if draft.content.is_none() && elements(at.node).any(|node| loose(&node)) {
            self.read_loose_content(at, draft);
        }
        self.read_attributes(at, draft);
    }

    /// Elements directly within a type: a sequence in the draft of 1999, forgotten in later schemas.
    fn read_loose_content(&mut self, at: At<'d, 'i>, draft: &mut DraftComplex) {
        if at.node.tag_name().namespace() == Some(XSD) {
            let message = "elements stand directly within a type; assumed: they are a sequence".to_owned();
            self.finding_as(Severity::Warning, at, "src-ct", message);
        }
        let parts = elements(at.node).filter_map(|node| match node.tag_name().name() {
            "element" | "any" => self.particle(At { node, ..at }),
            _ => None,
        });
        let parts: Vec<ParticleId> = parts.collect();
        draft.content = Some(self.new_particle(Term::Sequence(parts)));
    }

    fn read_attributes(&mut self, at: At<'d, 'i>, draft: &mut DraftComplex) {
        let mut seen = HashSet::new();
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            for child in elements(at.node) {
                let at = At { node: child, ..at };
                match child.tag_name().name() {
                    "attribute" => draft.attributes.extend(self.attribute(at)),
                    "anyAttribute" => draft.any_attribute = true,
                    "attributeGroup" => {
                        let Some(text) = child.attribute("ref") else { continue };
                        let name = self.seen_from(at, "attributeGroup", self.qname(at, text));
                        match self.globals.get(&("attributeGroup", name.clone())).copied() {
                            Some(group) if seen.insert(name.clone()) => open.push(group),
                            Some(_) => {}
                            None if is_soap_encoding(&name.namespace) => draft.any_attribute = true,
                            None => self.missing(at, "attributeGroup", &name, text),
                        }
                    }
                    _ => {}
                }
            }
        }
        self.attribute_uses += draft.attributes.len();
        if self.attribute_uses > ATTRIBUTES_MAX {
            draft.attributes.clear();
            self.finding(at, "bounds", format!("the types have more than {ATTRIBUTES_MAX} attributes together"));
        }
    }

    fn attribute(&mut self, at: At<'d, 'i>) -> Option<AttributeUse> {
        let (mut declaration, mut name) = (at, None);
        let is_ref = at.node.has_attribute("ref");
        if let Some(text) = at.node.attribute("ref") {
            let referred = self.qname(at, text);
            match self.globals.get(&("attribute", referred.clone())).copied() {
                Some(global) => declaration = global,
                None if &*referred.namespace == XML_NAMESPACE || is_soap_encoding(&referred.namespace) => {}
                None if &*referred.namespace == super::bundle::WSDL => return None,
                None => {
                    let message = format!("there is no attribute {text}; assumed: it holds a string");
                    let place = self.place(at);
                    self.findings.add(Severity::Warning, place, "src-resolve", message);
                }
            }
            name = Some(referred);
        }
        let name = match name {
            Some(name) => name,
            None => self.local_name(at, "attributeFormDefault")?,
        };
        let inline = inline_simple(declaration.node);
        let type_id = match (declaration.node.attribute("type"), inline) {
            (Some(text), _) => self.type_ref(declaration, text),
            (None, Some(node)) => self.new_type(None, At { node, ..declaration }),
            (None, None) => self.builtin(Builtin::String),
        };
        let usage = at.node.attribute("use").unwrap_or_default();
        Some(AttributeUse {
            name,
            type_id,
            required: usage == "required",
            prohibited: usage == "prohibited",
            is_ref,
            default: value_of(at.node, "default").or_else(|| value_of(declaration.node, "default")),
            fixed: value_of(at.node, "fixed").or_else(|| value_of(declaration.node, "fixed")),
        })
    }

    /// The name of a local declaration, in a namespace or in none as `form` and the schema say.
    fn local_name(&self, at: At<'d, 'i>, default: &str) -> Option<Name> {
        let local = at.node.attribute("name")?.trim();
        let schema = self.schemas.get(at.schema)?;
        let form = at.node.attribute("form").or_else(|| self.root(at.schema)?.attribute(default));
        let namespace = if form == Some("qualified") { Arc::clone(&schema.target) } else { Arc::from("") };
        Some(Name { namespace, local: Arc::from(local) })
    }

    /// A particle of a content model; the depth of the document bounds the recursion.
    fn particle(&mut self, at: At<'d, 'i>) -> Option<ParticleId> {
        let term = match at.node.tag_name().name() {
            "element" => Term::Element(self.local_element(at)?),
            "any" => Term::Any,
            "group" => Term::Sequence(vec![self.group_ref(at)?]),
            name @ ("sequence" | "choice" | "all") => {
                let parts: Vec<ParticleId> =
                    elements(at.node).filter_map(|node| self.particle(At { node, ..at })).collect();
                match name {
                    "sequence" => Term::Sequence(parts),
                    "choice" => Term::Choice(parts),
                    _ => Term::All(parts),
                }
            }
            _ => return None,
        };
        let (min, max) = self.occurrences(at);
        let wildcard = matches!(term, Term::Any).then(|| self.wildcard(at));
        if matches!(term, Term::Sequence(_) | Term::Choice(_) | Term::All(_)) {
            let id = self.model.particles.add(Particle { min, max, term });
            self.places.insert(id, self.place(at));
            return Some(id);
        }
        let id = self.model.particles.add(Particle { min, max, term });
        self.model.wildcards.extend(wildcard.map(|wildcard| (id, wildcard)));
        Some(id)
    }

    /// How often a particle comes (XSD 1.0 part 1, 3.9.6, Particle Correct). Most say nothing, or say it well.
    fn occurrences(&mut self, at: At<'d, 'i>) -> (u32, Option<u32>) {
        let written = at.node.attribute("minOccurs").map(str::trim);
        let min = written.map_or(1, |text| self.min_occurs(at, text));
        let max = match at.node.attribute("maxOccurs").map(str::trim) {
            None => Some(1),
            Some("unbounded" | "*") => None,
            Some(text) => self.max_occurs(at, text, min),
        };
        match (written, max) {
            (_, Some(max)) if min <= max => (min, Some(max)),
            (_, None) => (min, None),
            (None, Some(_)) => {
                let message = "maxOccurs is 0 and minOccurs is not written, which makes it 1; assumed: it is not there";
                self.finding_as(Severity::Warning, at, "p-props-correct.2.1", message.to_owned());
                (0, Some(0))
            }
            (Some(_), Some(max)) => {
                let absent = if at.node.has_attribute("maxOccurs") { "" } else { ", which is not written and so" };
                let message = format!("minOccurs {min} is more than maxOccurs{absent} {max}; assumed: {min} times");
                self.finding(at, "p-props-correct.2.1", message);
                (min, Some(min))
            }
        }
    }

    fn min_occurs(&mut self, at: At<'d, 'i>, text: &str) -> u32 {
        let shown = document::clip(text, 40);
        let (reason, assumed) = match occurrence(text) {
            Ok(min) => return min,
            Err(NoCount::TooLarge) => ("is more than any message can hold", u32::MAX),
            Err(NoCount::NoNumber) => ("is no number from 0", 1),
        };
        self.finding(at, "p-props-correct.1", format!("minOccurs {shown:?} {reason}; assumed: {assumed}"));
        assumed
    }

    fn max_occurs(&mut self, at: At<'d, 'i>, text: &str, min: u32) -> Option<u32> {
        let shown = document::clip(text, 40);
        match occurrence(text) {
            Ok(max) => Some(max),
            Err(NoCount::TooLarge) => {
                let message = format!("maxOccurs {shown:?} is more than any message holds; assumed: unbounded");
                self.finding_as(Severity::Warning, at, "p-props-correct.1", message);
                None
            }
            Err(NoCount::NoNumber) => {
                let message = format!("maxOccurs {shown:?} is neither a number from 0 nor unbounded; assumed: {min}");
                self.finding(at, "p-props-correct.1", message);
                Some(min)
            }
        }
    }

    /// What an `any` takes (XSD 1.0 part 1, 3.10).
    fn wildcard(&self, at: At<'d, 'i>) -> Wildcard {
        let target = || self.schemas.get(at.schema).map(|schema| Arc::clone(&schema.target)).unwrap_or_default();
        let namespaces = match at.node.attribute("namespace").map(str::trim) {
            None | Some("##any") => Namespaces::Any,
            Some("##other") => Namespaces::Other(target()),
            Some(some) => Namespaces::Of(
                some.split_whitespace()
                    .map(|word| match word {
                        "##targetNamespace" => target(),
                        "##local" => Arc::from(""),
                        namespace => Arc::from(namespace),
                    })
                    .collect(),
            ),
        };
        let strict = matches!(at.node.attribute("processContents").map(str::trim), None | Some("strict"));
        Wildcard { namespaces, strict }
    }

    fn group_ref(&mut self, at: At<'d, 'i>) -> Option<ParticleId> {
        let text = at.node.attribute("ref")?;
        let name = self.seen_from(at, "group", self.qname(at, text));
        if let Some(id) = self.groups.get(&name) {
            return Some(*id);
        }
        let Some(group) = self.globals.get(&("group", name.clone())).copied() else {
            self.missing(at, "group", &name, text);
            return None;
        };
        let id = self.new_particle(Term::Sequence(Vec::new()));
        self.groups.insert(name, id);
        self.places.insert(id, self.place(group));
        self.queue.push(Job::Group(id, group));
        Some(id)
    }

    fn local_element(&mut self, at: At<'d, 'i>) -> Option<ElementId> {
        if let Some(text) = at.node.attribute("ref") {
            let name = self.qname(at, text);
            let id = self.element(&name);
            if id.is_none() && name == *XSD_SCHEMA {
                // .NET DataSets: the schema travels in the message.
                return None;
            }
            if id.is_none() {
                let target = self.schemas.get(at.schema).map(|schema| Arc::clone(&schema.target)).unwrap_or_default();
                if let Some(meant) = self.guess("element", &target, &name) {
                    self.assume(at, "element", &name, text, &meant.to_string());
                    return self.element(&meant);
                }
                self.missing(at, "element", &name, text);
            }
            return id;
        }
        let name = self.local_name(at, "elementFormDefault")?;
        let id = self.new_element(name, at);
        self.queue.push(Job::Element(id, at));
        Some(id)
    }

    /// Completes every type from its base, bases first, without recursion.
    fn inherit(&mut self) {
        let ids: Vec<TypeId> = self.model.types.ids().collect();
        for id in ids {
            let mut chain = vec![id];
            let mut on_chain: HashSet<TypeId> = HashSet::from([id]);
            while let Some(next) = chain.last().and_then(|last| self.pending_base(*last)) {
                if !on_chain.insert(next) {
                    self.break_cycle(next);
                    break;
                }
                chain.push(next);
            }
            while let Some(id) = chain.pop() {
                if let Some(draft) = self.drafts.remove(&id) {
                    self.complete(id, draft);
                }
                self.drafts.insert(id, Draft::Done);
            }
        }
    }

    fn pending_base(&self, id: TypeId) -> Option<TypeId> {
        let base = match self.drafts.get(&id)? {
            Draft::Done => None,
            Draft::Simple { base, .. } => *base,
            Draft::Complex(complex) => match complex.how {
                How::SimpleRestriction { inner: Some(inner), .. } if self.is_pending(inner) => Some(inner),
                How::Plain
                | How::Extension
                | How::Restriction
                | How::SimpleExtension
                | How::SimpleRestriction { .. } => complex.base,
            },
        };
        base.filter(|base| self.is_pending(*base))
    }

    fn is_pending(&self, id: TypeId) -> bool {
        self.drafts.get(&id).is_some_and(|draft| !matches!(draft, Draft::Done))
    }

    fn break_cycle(&mut self, id: TypeId) {
        let place = self.model.types[id].place;
        let name = self.model.types[id].name.as_ref().map_or_else(|| "a type".to_owned(), Name::to_string);
        let message = format!("{name} is derived from itself");
        self.findings.add(Severity::Error, place, "ct-props-correct.3", message);
        self.model.types[id].base = None;
        self.drafts.insert(id, Draft::Done);
    }

    /// A list or union that comes back to itself has no end: whoever reads its values would follow it for ever.
    fn untie(&mut self) {
        let mut settled: HashSet<TypeId> = HashSet::new();
        for id in self.model.types.ids() {
            let mut path = vec![(id, self.members(id))];
            let mut on_path = HashSet::from([id]);
            while let Some((current, left)) = path.last_mut() {
                let current = *current;
                match left.pop() {
                    Some(next) if on_path.contains(&next) => {
                        left.clear();
                        self.cut_circle(current);
                    }
                    Some(next) if settled.contains(&next) => {}
                    Some(next) => {
                        on_path.insert(next);
                        path.push((next, self.members(next)));
                    }
                    None => {
                        on_path.remove(&current);
                        settled.insert(current);
                        path.pop();
                    }
                }
            }
        }
    }

    /// The types that a list or union is made of.
    fn members(&self, id: TypeId) -> Vec<TypeId> {
        match &self.model.types[id].definition {
            Definition::Simple(Simple { variety: Variety::List(item), .. }) => vec![*item],
            Definition::Simple(Simple { variety: Variety::Union(members), .. }) => members.clone(),
            Definition::Simple(Simple { variety: Variety::Atomic(_), .. })
            | Definition::Any
            | Definition::Complex(_) => Vec::new(),
        }
    }

    fn cut_circle(&mut self, id: TypeId) {
        let place = self.model.types[id].place;
        let name = self.model.types[id].name.as_ref().map_or_else(|| "a type".to_owned(), Name::to_string);
        self.findings.add(Severity::Error, place, "src-simple-type.4", format!("{name} is made of itself"));
        let variety = Variety::Atomic(Builtin::AnySimpleType);
        self.model.types[id].definition = Definition::Simple(Simple { variety, facets: Facets::default() });
    }

    fn complete(&mut self, id: TypeId, draft: Draft) {
        let definition = match draft {
            Draft::Done => return,
            Draft::Simple { base, variety, step } => Definition::Simple(self.complete_simple(base, variety, &step)),
            Draft::Complex(draft) => Definition::Complex(self.complete_complex(*draft)),
        };
        self.model.types[id].definition = definition;
    }

    fn complete_simple(&self, base: Option<TypeId>, variety: Option<Variety>, step: &Facets) -> Simple {
        let inherited = base.and_then(|base| self.model.simple(base));
        let facets = inherited.map_or_else(|| step.clone(), |base| base.facets.narrowed_by(step));
        let mut facets = facets;
        facets.patterns.truncate(PATTERNS_INHERITED_MAX);
        let variety = variety
            .or_else(|| inherited.map(|base| base.variety.clone()))
            .unwrap_or(Variety::Atomic(Builtin::AnySimpleType));
        Simple { variety, facets }
    }

    fn complete_complex(&mut self, draft: DraftComplex) -> Complex {
        let base = draft.base;
        let content = self.complete_content(&draft);
        let (mut attributes, mut any_attribute, mut mixed) = (Vec::new(), draft.any_attribute, draft.mixed);
        if let Some(Definition::Complex(base)) = base.map(|base| &self.model.types[base].definition) {
            attributes.clone_from(&base.attributes);
            any_attribute |= base.any_attribute && matches!(draft.how, How::Extension | How::SimpleExtension);
            mixed |= base.mixed && matches!(draft.how, How::Extension);
        }
        let own: HashSet<Name> = draft.attributes.iter().map(|attribute| attribute.name.clone()).collect();
        attributes.retain(|attribute| !own.contains(&attribute.name));
        attributes.extend(draft.attributes);
        let mut seen = HashSet::new();
        attributes.retain(|attribute| !attribute.prohibited && seen.insert(attribute.name.clone()));
        self.attribute_uses += attributes.len();
        if self.attribute_uses > ATTRIBUTES_MAX * 4 {
            attributes.clear();
        }
        let is_abstract = draft.is_abstract;
        Complex { is_abstract, mixed, content, attributes, any_attribute, children: OnceLock::new() }
    }

    fn complete_content(&mut self, draft: &DraftComplex) -> Content {
        let base = draft.base;
        let own = draft.content.map_or(Content::Empty, Content::Particle);
        let inherited = base.map_or(Content::Empty, |base| match &self.model.types[base].definition {
            Definition::Complex(complex) => complex.content,
            Definition::Simple(_) => Content::Simple(base),
            Definition::Any => Content::Empty,
        });
        match &draft.how {
            How::Restriction if own == Content::Empty && matches!(inherited, Content::Simple(_)) => inherited,
            How::Plain | How::Restriction => own,
            How::Extension => match (inherited, own) {
                (Content::Particle(first), Content::Particle(second)) => {
                    let whole = self.new_particle(Term::Sequence(vec![first, second]));
                    self.places.extend(self.places.get(&second).copied().map(|place| (whole, place)));
                    Content::Particle(whole)
                }
                (inherited, Content::Empty) => inherited,
                (_, own) => own,
            },
            How::SimpleExtension => match inherited {
                Content::Simple(_) => inherited,
                Content::Empty | Content::Particle(_) => Content::Simple(self.builtin(Builtin::AnySimpleType)),
            },
            How::SimpleRestriction { step, inner } => {
                let from = match (inner, inherited) {
                    (Some(inner), _) => Some(*inner),
                    (None, Content::Simple(base)) => Some(base),
                    (None, Content::Empty | Content::Particle(_)) => None,
                };
                let simple = self.complete_simple(from, None, step);
                let definition = Definition::Simple(simple);
                let id = self.model.types.add(Type {
                    name: None,
                    place: Place::default(),
                    base: from,
                    definition,
                    documentation: None,
                });
                self.drafts.insert(id, Draft::Done);
                Content::Simple(id)
            }
        }
    }

    /// Cuts groups that contain themselves, and content models that would grow without bound.
    fn bound_particles(&mut self) {
        let mut measured: HashMap<ParticleId, Option<(usize, usize)>> = HashMap::new();
        let ids: Vec<ParticleId> = self.model.particles.ids().collect();
        for start in ids {
            if measured.contains_key(&start) {
                continue;
            }
            measured.insert(start, None);
            let mut open = vec![(start, 0usize)];
            while let Some((id, next)) = open.pop() {
                let parts = parts(&self.model.particles[id].term);
                if let Some(part) = parts.get(next).copied() {
                    open.push((id, next + 1));
                    if let Entry::Vacant(entry) = measured.entry(part) {
                        entry.insert(None);
                        open.push((part, 0));
                    }
                    continue;
                }
                let size = measure(parts, &measured);
                let fits = size.filter(|(size, depth)| *size <= PARTICLES_MAX && *depth <= NESTING_MAX);
                if fits.is_none() {
                    self.cut(id, size.is_none());
                }
                measured.insert(id, Some(fits.unwrap_or((1, 1))));
            }
        }
    }

    fn cut(&mut self, id: ParticleId, circular: bool) {
        let message = if circular {
            "a group contains itself".to_owned()
        } else {
            format!("a content model is made of more than {PARTICLES_MAX} particles or nests deeper than {NESTING_MAX}")
        };
        let rule = if circular { "mg-props-correct.2" } else { "bounds" };
        let place = self.places.get(&id).copied().unwrap_or_default();
        self.findings.add(Severity::Error, place, rule, message);
        self.model.particles[id].term = Term::Sequence(Vec::new());
    }

    fn substitute(&mut self, globals: &[Name]) {
        let mut heads: HashMap<ElementId, Vec<ElementId>> = HashMap::new();
        for name in globals {
            let Some(at) = self.globals.get(&("element", name.clone())).copied() else { continue };
            let Some(text) = at.node.attribute("substitutionGroup") else { continue };
            let head = self.qname(at, text);
            let ids = (self.model.global_elements.get(&head), self.model.global_elements.get(name));
            if let (Some(head), Some(member)) = ids {
                heads.entry(*head).or_default().push(*member);
            }
        }
        let mut total = 0;
        let mut in_order: Vec<&ElementId> = heads.keys().collect();
        in_order.sort_by_key(|head| {
            let Place { file, line, column } = self.model.elements[**head].place;
            (file, line, column)
        });
        for head in in_order {
            if total > SUBSTITUTES_MAX {
                let message = format!("the substitution groups have more than {SUBSTITUTES_MAX} members together");
                self.findings.add(Severity::Error, self.model.elements[*head].place, "bounds", message);
                return;
            }
            let mut members = Vec::new();
            let mut seen = HashSet::from([*head]);
            let mut open: Vec<ElementId> = vec![*head];
            while let Some(next) = open.pop() {
                for member in heads.get(&next).map(Vec::as_slice).unwrap_or_default() {
                    if member == head && !self.circular.contains(head) {
                        self.circular.extend(seen.iter().copied());
                        let Element { place, name, .. } = &self.model.elements[*head];
                        let message = format!(
                            "element {name} is in its own substitution group; assumed: each of that circle may stand for the others"
                        );
                        self.findings.add(Severity::Warning, *place, "e-props-correct.6", message);
                    }
                    if seen.insert(*member) {
                        members.push(*member);
                        open.push(*member);
                    }
                }
            }
            total += members.len();
            self.model.substitutes.insert(*head, members);
        }
    }
}

/// Why an occurrence is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoCount {
    TooLarge,
    NoNumber,
}

/// An `xs:nonNegativeInteger`.
fn occurrence(text: &str) -> Result<u32, NoCount> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // No less than 0, and written so.
        let zero = text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte == b'0'));
        return if zero { Ok(0) } else { Err(NoCount::NoNumber) };
    }
    digits.parse().map_err(|_| NoCount::TooLarge)
}

static XSD_SCHEMA: std::sync::LazyLock<Name> = std::sync::LazyLock::new(|| Name::new(XSD, "schema"));

fn parts(term: &Term) -> &[ParticleId] {
    match term {
        Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => parts,
        Term::Element(_) | Term::Any => &[],
    }
}

/// Particles and depth of what a term holds; none when a part is still being measured, which makes it circular.
fn measure(parts: &[ParticleId], measured: &HashMap<ParticleId, Option<(usize, usize)>>) -> Option<(usize, usize)> {
    parts.iter().try_fold((1usize, 1usize), |(size, depth), part| {
        let (more, deep) = measured.get(part).copied().flatten()?;
        Some((size + more, depth.max(deep + 1)))
    })
}

/// The name under which what a redefinition replaces is kept.
fn replaced(name: &Name) -> Name {
    Name { namespace: Arc::clone(&name.namespace), local: format!("{}{REPLACED}", name.local).into() }
}

/// Whether a component stands in a `redefine`, or is a type that is derived from one of its own name.
fn is_redefinition(node: Node<'_, '_>) -> bool {
    if node.parent_element().is_some_and(|parent| parent.tag_name().name() == "redefine") {
        return true;
    }
    if !matches!(node.tag_name().name(), "simpleType" | "complexType") {
        return false;
    }
    let step = |node: Node<'_, '_>| matches!(node.tag_name().name(), "extension" | "restriction");
    let mut steps = elements(node).flat_map(|child| if step(child) { vec![child] } else { elements(child).collect() });
    let base = steps.find(|child| step(*child)).and_then(|step| step.attribute("base"));
    let Some((prefix, local)) = base.map(split_qname) else { return false };
    let target = node.parent_element().and_then(|schema| schema.attribute("targetNamespace"));
    node.attribute("name").map(str::trim) == Some(local)
        && (prefix.is_none() || node.lookup_namespace_uri(prefix) == target)
}

fn global_kind(node: Node<'_, '_>) -> Option<&'static str> {
    Some(match node.tag_name().name() {
        "simpleType" | "complexType" => "type",
        "element" => "element",
        "attribute" => "attribute",
        "group" => "group",
        "attributeGroup" => "attributeGroup",
        _ => return None,
    })
}

fn inline_simple<'d, 'i>(node: Node<'d, 'i>) -> Option<Node<'d, 'i>> {
    elements(node).find(|child| child.tag_name().name() == "simpleType")
}

fn is_true(node: Node<'_, '_>, name: &str) -> bool {
    matches!(node.attribute(name).map(str::trim), Some("true" | "1"))
}

fn value_of(node: Node<'_, '_>, name: &str) -> Option<String> {
    node.attribute(name).map(str::to_owned)
}
