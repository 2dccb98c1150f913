//! An argument as JSON text → a value; what JSON would drop in silence is refused.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Reads an argument.
///
/// # Errors
/// It is no JSON, or an object has a key twice: which, and where.
pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Value> {
    let no_json = |error| anyhow::anyhow!("standard input is no JSON: {error}");
    let value = serde_json::from_slice(bytes).map_err(no_json)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match (Keys { path: "" }).deserialize(&mut reader) {
        Ok(()) => Ok(value),
        Err(error) => anyhow::bail!("standard input is no argument: {error}"),
    }
}

/// Looks through a value for keys that stand twice in one object.
struct Keys<'p> {
    /// Where the value stands; empty for the whole.
    path: &'p str,
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let dot = if self.path.is_empty() { "" } else { "." };
            let path = format!("{}{dot}{key}", self.path);
            if !seen.insert(key) {
                return Err(A::Error::custom(format!("the key {path} stands there twice")));
            }
            map.next_value_seed(Keys { path: &path })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut path = format!("{}[1]", self.path);
        let mut count = 1;
        while items.next_element_seed(Keys { path: &path })?.is_some() {
            count += 1;
            path = format!("{}[{count}]", self.path);
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_place() {
        for (text, expected) in [
            (r#"{"a": 1, "b": [{"c": 12345678901234567890.10, "d": null}, true, "x"]}"#, ""),
            (r#"{"a": {"b": 1}, "b": 2}"#, ""),
            (r#"{"a": 1, "a": 1}"#, "standard input is no argument: the key a stands there twice at line 1 column 12"),
            ("{\"a\": [1, {\"b\": 1,\n \"b\": 2}]}", "the key a[2].b stands there twice at line 2 column 4"),
            ("{", "standard input is no JSON: EOF while parsing an object at line 1 column 1"),
            ("{} x", "standard input is no JSON: trailing characters at line 1 column 4"),
        ] {
            match read(text.as_bytes()) {
                Ok(_) => assert_eq!(expected, "", "{text}"),
                Err(error) => {
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{text}: {error}")
                }
            }
        }
    }
}
