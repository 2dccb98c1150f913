//! Which prefix means which namespace, where; and which of those meanings a fragment cut out of the text needs.

use std::borrow::Cow;
use std::collections::HashMap;

use super::lexical;

/// A namespace, compared by its name. The ones the gateway looks for have a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Namespace {
    /// In no namespace.
    None,
    /// The one of the prefix `xml`.
    Xml,
    /// The one of `xmlns` declarations.
    Declarations,
    /// `http://www.w3.org/2001/XMLSchema-instance`.
    Instance,
    /// SOAP 1.1.
    Soap11,
    /// Salesforce's outbound messages.
    Outbound,
    /// Another one, by its number in the scope.
    Other(usize),
}

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const DECLARATIONS: &str = "http://www.w3.org/2000/xmlns/";

/// One `xmlns` declaration in scope.
#[derive(Debug)]
struct Binding<'a> {
    prefix: &'a str,
    namespace: Namespace,
    /// As it stands in the text: `xmlns:sf="urn:…"`.
    declaration: &'a str,
    /// The binding behind the first few that this one hides.
    hidden: Option<usize>,
    /// One bit for each open capture that uses it.
    used: u8,
}

/// A cut-out in the making.
#[derive(Debug)]
struct Capture {
    /// Bindings below this number stand outside of it.
    outside: usize,
    /// Those of them that it uses.
    used: Vec<usize>,
}

/// The declarations in scope. Every operation takes constant time, whatever the document declares.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    bindings: Vec<Binding<'a>>,
    /// The innermost binding of each prefix, of those behind the first few.
    innermost: HashMap<&'a str, usize>,
    names: Vec<Cow<'a, str>>,
    /// The numbers of the names behind the first few.
    numbers: HashMap<Cow<'a, str>, usize>,
    captures: Vec<Capture>,
}

/// Up to here a walk is faster than a hash.
const FEW: usize = 8;

impl Default for Scope<'_> {
    fn default() -> Self {
        Self {
            bindings: Vec::with_capacity(FEW),
            innermost: HashMap::new(),
            names: Vec::with_capacity(FEW),
            numbers: HashMap::new(),
            captures: Vec::with_capacity(2),
        }
    }
}

impl<'a> Scope<'a> {
    /// How many declarations are in scope: what [`Scope::leave`] takes.
    pub(crate) fn depth(&self) -> usize {
        self.bindings.len()
    }

    /// Ends the scope of all declarations after the first `depth`.
    pub(crate) fn leave(&mut self, depth: usize) {
        while self.bindings.len() > depth {
            if let Some(binding) = self.bindings.pop()
                && self.bindings.len() >= FEW
            {
                match binding.hidden {
                    Some(hidden) => self.innermost.insert(binding.prefix, hidden),
                    None => self.innermost.remove(binding.prefix),
                };
            }
        }
    }

    /// Declares a prefix (empty: the default namespace): Namespaces 1.0 §3 and §6.2.
    ///
    /// # Errors
    /// The rule that the declaration breaks.
    pub(crate) fn declare(&mut self, prefix: &'a str, name: Cow<'a, str>, declaration: &'a str) -> Result<(), String> {
        match (prefix, name.as_ref()) {
            ("xmlns", _) => return Err("the prefix xmlns must not be declared".to_owned()),
            ("xml", XML) => return Ok(()),
            ("xml", _) => return Err(format!("the prefix xml stands for {XML} only")),
            (_, XML | DECLARATIONS) => return Err(format!("the namespace {name} must not be declared")),
            ("", _) => {}
            (_, "") => return Err(format!("{} is declared to be in no namespace", lexical::prefix(prefix))),
            _ => {}
        }
        let namespace = self.number(name);
        let place = self.bindings.len();
        let hidden = if place < FEW { None } else { self.innermost.insert(prefix, place) };
        self.bindings.push(Binding { prefix, namespace, declaration, hidden, used: 0 });
        Ok(())
    }

    /// What a prefix means here; the empty one is the default namespace. None: it is not declared.
    pub(crate) fn resolve(&mut self, prefix: &str) -> Option<Namespace> {
        let later = if self.bindings.len() > FEW { self.innermost.get(prefix).copied() } else { None };
        let among_few = || {
            let few = self.bindings.get(..FEW).unwrap_or(&self.bindings);
            few.iter().rposition(|binding| binding.prefix == prefix)
        };
        let found = later.or_else(among_few);
        match (found, prefix) {
            (Some(number), _) => self.take(number),
            (None, "") => Some(Namespace::None),
            (None, "xml") => Some(Namespace::Xml),
            (None, _) => None,
        }
    }

    /// The name of a namespace, for messages.
    pub(crate) fn name(&self, namespace: Namespace) -> &str {
        match namespace {
            Namespace::None => "",
            Namespace::Xml => XML,
            Namespace::Declarations => DECLARATIONS,
            Namespace::Instance => "http://www.w3.org/2001/XMLSchema-instance",
            Namespace::Soap11 => "http://schemas.xmlsoap.org/soap/envelope/",
            Namespace::Outbound => "http://soap.sforce.com/2005/09/outbound",
            Namespace::Other(number) => self.names.get(number).map_or("", Cow::as_ref),
        }
    }

    /// Begins to note which of the first `outside` declarations are used. Captures nest, eight deep at most.
    pub(crate) fn capture(&mut self, outside: usize) {
        self.captures.push(Capture { outside, used: Vec::new() });
    }

    /// Notes a use that happened before the capture began: by the start tag of its own element.
    pub(crate) fn note(&mut self, prefix: &str) {
        self.resolve(prefix);
    }

    /// Ends the innermost capture: the declarations it used, as they stand in the text, in their order.
    pub(crate) fn captured(&mut self) -> Vec<&'a str> {
        let Some(mut capture) = self.captures.pop() else { return Vec::new() };
        let bit = 1_u8.checked_shl(u32::try_from(self.captures.len()).unwrap_or(u32::MAX)).unwrap_or(0);
        capture.used.sort_unstable();
        let mut declarations = Vec::with_capacity(capture.used.len());
        for number in capture.used {
            if let Some(binding) = self.bindings.get_mut(number) {
                binding.used &= !bit;
                declarations.push(binding.declaration);
            }
        }
        declarations
    }

    fn take(&mut self, number: usize) -> Option<Namespace> {
        let binding = self.bindings.get_mut(number)?;
        let mut bit = 1_u8;
        for capture in &mut self.captures {
            if number < capture.outside && binding.used & bit == 0 {
                binding.used |= bit;
                capture.used.push(number);
            }
            bit = bit.wrapping_shl(1);
        }
        Some(binding.namespace)
    }

    fn number(&mut self, name: Cow<'a, str>) -> Namespace {
        match name.as_ref() {
            "" => Namespace::None,
            "http://www.w3.org/2001/XMLSchema-instance" => Namespace::Instance,
            "http://schemas.xmlsoap.org/soap/envelope/" => Namespace::Soap11,
            "http://soap.sforce.com/2005/09/outbound" => Namespace::Outbound,
            _ => {
                let next = self.names.len();
                let few = self.names.get(..FEW).unwrap_or(&self.names);
                let number = match few.iter().position(|known| *known == name) {
                    Some(number) => number,
                    None if next < FEW => next,
                    None => *self.numbers.entry(name.clone()).or_insert(next),
                };
                if number == next {
                    self.names.push(name);
                }
                Namespace::Other(number)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare<'a>(scope: &mut Scope<'a>, prefix: &'a str, name: &'a str) {
        scope.declare(prefix, Cow::Borrowed(name), prefix).unwrap();
    }

    #[test]
    fn an_inner_declaration_hides_an_outer_one_until_it_ends() {
        let prefixes: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
        let mut scope = Scope::default();
        declare(&mut scope, "a", "urn:1");
        let outer = scope.resolve("a");
        for round in [0, 20] {
            let depth = scope.depth();
            prefixes.iter().take(round).for_each(|prefix| declare(&mut scope, prefix, "urn:many"));
            declare(&mut scope, "a", "urn:2");
            assert_ne!(scope.resolve("a"), outer);
            scope.leave(depth);
            assert_eq!(scope.resolve("a"), outer);
            assert_eq!(scope.resolve("p1"), None);
        }
    }

    #[test]
    fn captures_tell_the_outer_declarations_they_use() {
        let mut scope = Scope::default();
        declare(&mut scope, "a", "urn:a");
        declare(&mut scope, "b", "urn:b");
        declare(&mut scope, "c", "urn:c");
        scope.capture(3);
        scope.resolve("b");
        declare(&mut scope, "d", "urn:d");
        scope.capture(4);
        scope.resolve("d");
        scope.resolve("c");
        scope.resolve("c");
        assert_eq!(scope.captured(), ["c", "d"]);
        assert_eq!(scope.captured(), ["b", "c"]);
    }

    #[test]
    fn reserved_names_are_not_to_be_declared() {
        let mut scope = Scope::default();
        for (prefix, name) in [
            ("xmlns", "urn:x"),
            ("xml", "urn:x"),
            ("x", XML),
            ("", XML),
            ("x", DECLARATIONS),
            ("", DECLARATIONS),
            ("x", ""),
        ] {
            assert!(scope.declare(prefix, Cow::Borrowed(name), "").is_err(), "{prefix} {name}");
        }
        assert_eq!(scope.declare("xml", Cow::Borrowed(XML), ""), Ok(()));
        assert_eq!(scope.resolve("xml"), Some(Namespace::Xml));
        assert_eq!(scope.resolve("nowhere"), None);
        assert_eq!(scope.resolve(""), Some(Namespace::None));
    }
}
