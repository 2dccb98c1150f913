//! What SOAP's encoding adds to XSD: arrays, and the few types that every toolkit takes for known.
//!
//! An array type restricts `soapenc:Array` and says its items' type in an attribute of WSDL's own (`wsdl:arrayType`,
//! WSDL 1.1 2.2), or by the one element of its content.

use std::collections::HashMap;

use super::bundle::is_soap_encoding;
use super::model::{ElementId, Name, Schemas, TypeId};
use super::simple::Builtin;

/// The namespace of Apache's types: `Map`, `Vector`.
pub(crate) const APACHE: &str = "http://xml.apache.org/xml-soap";

/// What is known of encoded types.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    /// Array types, by themselves or by their base.
    pub arrays: HashMap<TypeId, ArrayType>,
    /// `soapenc:Array` of either version.
    pub array_roots: Vec<TypeId>,
    /// Apache's `Map`.
    pub map: Option<TypeId>,
}

/// An array type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArrayType {
    /// The type of its innermost items, when it is said.
    pub item: Option<TypeId>,
    /// The element that its content declares.
    pub element: Option<ElementId>,
    /// How many dimensions it has, and then how many each array within it has: `int[][,]` is 2, 1.
    pub ranks: Vec<usize>,
}

impl ArrayType {
    /// The dimensions of the array itself.
    pub(crate) fn rank(&self) -> usize {
        self.ranks.first().copied().unwrap_or(1).max(1)
    }
}

/// The name and the ranks that `wsdl:arrayType` holds, outermost first.
pub(crate) fn array_type(text: &str) -> Option<(&str, Vec<usize>)> {
    let text = text.trim();
    let (name, mut rest) = text.split_at_checked(text.find('[')?)?;
    let mut ranks = Vec::new();
    while let Some((inside, tail)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        ranks.push(inside.split(',').count());
        rest = tail.trim_start();
    }
    ranks.reverse();
    (rest.is_empty() && ranks.len() <= 16 && ranks.iter().all(|rank| *rank <= 16)).then_some((name.trim(), ranks))
}

/// The dimensions that SOAP 1.2's `arraySize` holds (`* 2`).
pub(crate) fn array_size(text: &str) -> usize {
    text.split_whitespace().count().clamp(1, 16)
}

/// Whether a name is that of a type that is known though no schema declares it.
pub(crate) fn is_known(name: &Name) -> bool {
    is_array_root(name)
        || (is_soap_encoding(&name.namespace) && &*name.local == "Struct")
        || (&*name.namespace == APACHE
            && matches!(&*name.local, "Map" | "Vector" | "Element" | "Document" | "DocumentFragment"))
}

/// The built-in type that another is derived from (XSD 1.0 part 2, 3); none for the root of all simple types.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other type is derived from anySimpleType itself")]
pub(crate) fn parent(builtin: Builtin) -> Option<Builtin> {
    use Builtin as B;
    Some(match builtin {
        B::AnySimpleType => return None,
        B::NormalizedString => B::String,
        B::Token => B::NormalizedString,
        B::Language | B::NmToken | B::Name => B::Token,
        B::NcName => B::Name,
        B::Id | B::IdRef | B::Entity => B::NcName,
        B::Integer => B::Decimal,
        B::NonPositiveInteger | B::Long | B::NonNegativeInteger => B::Integer,
        B::NegativeInteger => B::NonPositiveInteger,
        B::Int => B::Long,
        B::Short => B::Int,
        B::Byte => B::Short,
        B::PositiveInteger | B::UnsignedLong => B::NonNegativeInteger,
        B::UnsignedInt => B::UnsignedLong,
        B::UnsignedShort => B::UnsignedInt,
        B::UnsignedByte => B::UnsignedShort,
        _ => B::AnySimpleType,
    })
}

/// Whether a name is that of all arrays.
pub(crate) fn is_array_root(name: &Name) -> bool {
    is_soap_encoding(&name.namespace) && &*name.local == "Array"
}

impl Schemas {
    /// What is known of an array type; none when it is no array.
    pub(crate) fn array(&self, id: TypeId) -> Option<ArrayType> {
        let mut current = Some(id);
        for _ in 0..64 {
            let here = current?;
            if let Some(array) = self.encoding.arrays.get(&here) {
                return Some(array.clone());
            }
            if self.encoding.array_roots.contains(&here) {
                return Some(ArrayType::default());
            }
            current = self.types[here].base;
        }
        None
    }

    /// Whether a type is Apache's `Map` or made of it.
    pub(crate) fn is_map(&self, id: TypeId) -> bool {
        self.encoding.map.is_some_and(|map| id == map || (map != self.any_type && self.derives(id, map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_types_are_read_with_their_ranks_outermost_first() {
        for (text, expected) in [
            ("xsd:int[]", Some(("xsd:int", vec![1]))),
            ("xsd:int[,]", Some(("xsd:int", vec![2]))),
            (" int[][,] ", Some(("int", vec![2, 1]))),
            ("xsd:int[2]", Some(("xsd:int", vec![1]))),
            ("xsd:int", None),
            ("xsd:int[", None),
            ("xsd:int[]x", None),
        ] {
            assert_eq!(array_type(text), expected, "{text}");
        }
        assert_eq!((array_size("*"), array_size("* 1"), array_size("")), (1, 2, 1));
    }
}
