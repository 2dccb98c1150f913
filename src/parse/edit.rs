//! A stored record with some fields changed by a person, and what the parser makes of it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::record::{Found, Raw};
use super::strict::{Event, Reader, Start};
use super::{Limits, ParseError};
use crate::envelope::{Record, RecordTypes};

/// What a person may do wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// No well-formed XML.
    #[error(transparent)]
    Xml(#[from] ParseError),
    /// Another document than a record.
    #[error("the record must be an sObject element, not {0}")]
    Foreign(String),
    /// A record without fields.
    #[error("the sObject has no fields")]
    Empty,
    /// Too many fields.
    #[error("the record has more than {0} fields")]
    Long(usize),
    /// A field that comes more than once cannot be told apart.
    #[error("field {0} comes more than once; give the whole sObject as XML")]
    Repeated(String),
    /// No field of Salesforce is called so.
    #[error("{0:?} is no name of a field")]
    Name(String),
}

/// A record that a person gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// As read.
    pub record: Record,
    /// See `Notification::hash`.
    pub hash: [u8; 32],
    /// As a self-contained fragment.
    pub xml: String,
}

/// Reads a whole `sObject` that a person gave.
///
/// # Errors
/// Why it is none.
pub fn sobject(text: &str, limits: &Limits, types: Option<&RecordTypes>) -> Result<Edited, EditError> {
    let mut reader = Reader::new(text.trim_start_matches('\u{FEFF}').trim(), limits.depth)?;
    let root = root(&mut reader)?;
    reader.capture(&root);
    let mut raw = Raw::default();
    let (found, end) = raw.read(&mut reader, limits.fields)?;
    let xml = reader.captured(&root, end)?;
    while !matches!(reader.next()?, Event::Complete) {}
    match found {
        Found::Fields => Ok(Edited { record: raw.record(types), hash: raw.hash(), xml }),
        Found::Nothing => Err(EditError::Empty),
        Found::TooMany => Err(EditError::Long(limits.fields)),
    }
}

/// A stored `sObject` with other values in some of its fields; none is nil. A field that it does not have is added.
///
/// # Errors
/// Why that cannot be.
pub fn with_fields(xml: &str, fields: &BTreeMap<String, Option<String>>) -> Result<String, EditError> {
    if let Some(name) = fields.keys().find(|name| !is_name(name)) {
        return Err(EditError::Name(name.clone()));
    }
    let mut reader = Reader::new(xml, usize::MAX)?;
    root(&mut reader)?;
    let mut changed: BTreeMap<&str, (Range<usize>, String)> = BTreeMap::new();
    let mut prefix = None;
    let end = loop {
        match reader.next()? {
            Event::Start(field) => {
                let to = end_of(&mut reader, field.to)?;
                prefix.get_or_insert_with(|| field.name.split_once(':').map_or("", |(prefix, _)| prefix));
                let Some((name, value)) = fields.get_key_value(field.local) else { continue };
                let element = (field.from..to, element(field.name, value.as_deref()));
                if changed.insert(name, element).is_some() {
                    return Err(EditError::Repeated(name.clone()));
                }
            }
            Event::End { from, .. } => break from,
            Event::Text(_) | Event::Character(_) | Event::Complete => {}
        }
    };
    let mut added = String::new();
    for (name, value) in fields.iter().filter(|(name, _)| !changed.contains_key(name.as_str())) {
        let name = match prefix.unwrap_or_default() {
            "" => name.clone(),
            prefix => format!("{prefix}:{name}"),
        };
        added.push_str(&element(&name, value.as_deref()));
    }
    let mut pieces: Vec<(Range<usize>, String)> = changed.into_values().collect();
    pieces.sort_by_key(|(place, _)| place.start);
    pieces.push((end..end, added));
    let mut text = String::with_capacity(xml.len());
    let mut at = 0;
    for (place, piece) in pieces {
        text.push_str(xml.get(at..place.start).unwrap_or_default());
        text.push_str(&piece);
        at = place.end;
    }
    text.push_str(xml.get(at..).unwrap_or_default());
    Ok(text)
}

fn root<'a>(reader: &mut Reader<'a>) -> Result<Start<'a>, EditError> {
    loop {
        match reader.next()? {
            Event::Start(start) if start.local == "sObject" => return Ok(start),
            Event::Start(start) => return Err(EditError::Foreign(format!("<{}>", start.name))),
            Event::Complete => return Err(EditError::Foreign("nothing".to_owned())),
            Event::End { .. } | Event::Text(_) | Event::Character(_) => {}
        }
    }
}

/// Where the element ends whose start tag was read last.
fn end_of(reader: &mut Reader<'_>, start: usize) -> Result<usize, ParseError> {
    let mut open = 1_usize;
    loop {
        match reader.next()? {
            Event::Start(_) => open += 1,
            Event::End { to, .. } if open == 1 => return Ok(to),
            Event::End { .. } => open -= 1,
            Event::Text(_) | Event::Character(_) => {}
            Event::Complete => return Ok(start),
        }
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 255
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn element(name: &str, value: Option<&str>) -> String {
    let Some(value) = value else {
        return format!("<{name} xsi:nil=\"true\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"/>");
    };
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '\r' => text.push_str("&#13;"),
            _ => text.push(c),
        }
    }
    format!("<{name}>{text}</{name}>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Value;

    const STORED: &str = "<sObject xsi:type=\"sf:Order\" xmlns:sf=\"urn:s\" \
                          xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n <sf:Id>006</sf:Id>\n \
                          <sf:Name>A &amp; B</sf:Name><sf:Note xsi:nil=\"true\"/></sObject>";

    fn read(xml: &str) -> Edited {
        sobject(xml, &Limits::default(), None).unwrap()
    }

    fn changed(fields: &[(&str, Option<&str>)]) -> Result<Edited, EditError> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
        with_fields(STORED, &fields).map(|xml| read(&xml))
    }

    #[test]
    fn changed_fields_are_read_back_and_all_others_stay() {
        let edited = changed(&[("Name", Some("<C> & \r\n D")), ("Note", Some("x")), ("New__c", Some("7"))]).unwrap();
        let text = |name: &str| match edited.record.field(name) {
            Some(Value::Text(text)) => text.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!(edited.record.record_type, "Order");
        assert_eq!(["Id", "Name", "Note", "New__c"].map(text), ["006", "<C> & \r\n D", "x", "7"]);
        let nil = changed(&[("Name", None)]).unwrap();
        assert_eq!(nil.record.field("Name"), Some(&Value::Null));
        assert_eq!(nil.record.field("Id"), Some(&Value::Text("006".to_owned())));
    }

    #[test]
    fn the_hash_is_that_of_the_same_content_however_it_is_written() {
        assert_eq!(changed(&[]).unwrap().hash, read(STORED).hash);
        assert_eq!(changed(&[("Name", Some("A & B"))]).unwrap().hash, read(STORED).hash);
        assert_ne!(changed(&[("Name", Some("A"))]).unwrap().hash, read(STORED).hash);
        let other = "<?xml version=\"1.0\"?><x:sObject xmlns:x=\"urn:p\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" \
                     i:type=\"x:Order\"><Name>A &#38; B</Name><Note i:nil=\"1\"></Note><Id>006</Id></x:sObject>";
        assert_eq!(read(other).hash, read(STORED).hash);
        assert!(!read(other).xml.starts_with("<?xml"));
    }

    #[test]
    fn what_is_no_record_is_refused_in_words() {
        for (text, reason) in [
            ("", "the document has no element"),
            ("<order/>", "must be an sObject element, not <order>"),
            ("<sObject/>", "has no fields"),
            ("<sObject><a></sObject>", "not well-formed"),
            ("<!DOCTYPE a><sObject><a/></sObject>", "DOCTYPE"),
            ("<sObject><p:a/></sObject>", "a prefix (1 character) is not declared"),
        ] {
            let error = sobject(text, &Limits::default(), None).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let few = Limits { fields: 1, ..Limits::default() };
        assert_eq!(sobject("<sObject><a/><b/></sObject>", &few, None), Err(EditError::Long(1)));
        let fields = BTreeMap::from([("a".to_owned(), Some("1".to_owned()))]);
        let twice = with_fields("<sObject><a>1</a><a>2</a></sObject>", &fields);
        assert_eq!(twice, Err(EditError::Repeated("a".to_owned())));
        let odd = BTreeMap::from([("a><b".to_owned(), None)]);
        assert_eq!(with_fields(STORED, &odd), Err(EditError::Name("a><b".to_owned())));
    }
}
