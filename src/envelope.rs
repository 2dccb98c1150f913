//! What Salesforce sends: an envelope, its notifications, their records.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing but blanks.
    #[error("is empty")]
    Empty,
    /// More than 64 characters.
    #[error("is longer than 64 characters")]
    Long,
    /// A blank or an unprintable character inside.
    #[error("has a blank or an unprintable character in it")]
    Character,
    /// The word `null`, which a broken sender writes for "no value".
    #[error("is the word null")]
    Null,
}

/// Trims and checks an id: 1–64 printable characters without blanks, other than the word `null`.
///
/// # Errors
/// The rule that the text breaks.
pub fn id(text: &str) -> Result<&str, IdError> {
    let is_usual = !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_usual && text != "null" {
        return Ok(text);
    }
    let text = text.trim();
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.chars().count() > 64 {
        return Err(IdError::Long);
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(IdError::Character);
    }
    if text == "null" {
        return Err(IdError::Null);
    }
    Ok(text)
}

/// Salesforce's id with all its 18 characters: the last three say which of the first 15 are capitals, five by five, as
/// `A` for none to `5` for all. None where a text is no id of 15 or 18 letters and digits.
#[must_use]
pub fn whole_id(text: &str) -> Option<String> {
    const CASES: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    if !matches!(text.len(), 15 | 18) || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mut id = text.to_owned();
    if text.len() == 15 {
        let capitals = |five: &[u8]| {
            let bits = five.iter().enumerate().map(|(at, byte)| usize::from(byte.is_ascii_uppercase()) << at);
            CASES.get(bits.sum::<usize>()).copied().map(char::from)
        };
        id.extend(text.as_bytes().chunks(5).filter_map(capitals));
    }
    Some(id)
}

/// What is wrong with an id of 18 characters whose last three do not say which of its first 15 are capitals; none where they
/// do, and where it is no such id. Ids are kept as they come: this is for what a person typed.
#[must_use]
pub fn mistyped(text: &str) -> Option<String> {
    let whole = whole_id(text).and_then(|_| text.get(..15).filter(|_| text.len() == 18)).and_then(whole_id)?;
    let is_wrong = whole != text;
    is_wrong.then(|| {
        format!(
            "the last three letters of {text:?} do not fit the first 15, which would make {whole}: is one mistyped?"
        )
    })
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Parses the id, trimmed; see [`id`] for the rule.
            ///
            /// # Errors
            /// The rule that the text breaks.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                id(text).map(|id| Self(id.to_owned()))
            }

            /// The id as it was sent, less surrounding blanks.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// The id of one notification (`04l…`); with the organization it is the key that makes a notification unique.
    NotificationId
}
opaque_id! {
    /// The id of an outbound message definition (`04k…`).
    ActionId
}

/// A Salesforce organization. Two are the same when their first 15 characters are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrganizationId(String);

impl OrganizationId {
    /// Parses the id, trimmed; see [`id`] for the rule.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        id(text).map(|id| Self(id.to_owned()))
    }

    /// The id as it was sent, less surrounding blanks.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that counts: the first 15 characters, case and all.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.char_indices().nth(15).map_or(self.0.as_str(), |(at, _)| self.0.get(..at).unwrap_or(&self.0))
    }
}

impl PartialEq for OrganizationId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for OrganizationId {}

impl fmt::Display for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One SOAP POST: 1 to 100 notifications, one acknowledgement for all. The `SessionId` was read past.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The organization that sent it.
    pub organization_id: OrganizationId,
    /// The outbound message that sent it.
    pub action_id: ActionId,
    /// `https://…/services/Soap/c/<version>/<organization>`; empty when missing.
    pub enterprise_url: String,
    /// `https://…/services/Soap/u/<version>/<organization>`; empty when missing.
    pub partner_url: String,
    /// In document order.
    pub notifications: Vec<Notification>,
}

/// One `Notification` element.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// What is in it.
    pub content: Content,
    /// SHA-256 of the content as Salesforce means it (record type; name, text and nil of each field), not of its bytes.
    /// Of an unreadable notification: of its raw text.
    pub hash: [u8; 32],
}

/// What a notification holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A record change.
    Record {
        /// The notification's id.
        id: NotificationId,
        /// The record as read, typed when a WSDL is known.
        record: Record,
        /// The `sObject` element as a self-contained UTF-8 fragment: what the store keeps.
        xml: String,
    },
    /// No sObject: the record was deleted before Salesforce sent the message.
    Empty {
        /// The notification's id.
        id: NotificationId,
    },
    /// No id, or broken inside. Kept raw; its neighbours are not harmed.
    Unreadable {
        /// The `Notification` element as it came, as a self-contained UTF-8 fragment.
        xml: String,
        /// Why it cannot be read.
        reason: String,
    },
}

impl Notification {
    /// The notification's id, unless it is unreadable.
    #[must_use]
    pub fn id(&self) -> Option<&NotificationId> {
        match &self.content {
            Content::Record { id, .. } | Content::Empty { id } => Some(id),
            Content::Unreadable { .. } => None,
        }
    }

    /// The record, when there is one.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.content {
            Content::Record { record, .. } => Some(record),
            Content::Empty { .. } | Content::Unreadable { .. } => None,
        }
    }
}

/// An sObject: a type and its fields, in document order (declared fields that were absent come last, as null).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The local name of `xsi:type`, such as `Account` or `Order__c`; empty when there was none.
    pub record_type: String,
    /// The fields by API name.
    pub fields: Vec<Field>,
    /// What did not fit the source's WSDL; empty without one.
    pub drift: Vec<Drift>,
}

impl Record {
    /// The value of a field; none when the field is absent.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    /// The record's Id, when it has a usable one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self.field("Id") {
            Some(Value::Text(text)) => id(text).ok(),
            _ => None,
        }
    }
}

impl Record {
    /// The fields as a JSON object, in their order: see [`Value::to_json`].
    #[must_use]
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.fields.iter().map(|field| (field.name.clone(), field.value.to_json())).collect()
    }
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// API name, such as `Amount` or `Region__c`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A field's value. Every kind keeps the text as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `xsi:nil`, a declared field that is absent, or an empty element of a type that has no empty value.
    Null,
    /// Text, to the letter. Dates, times and ids are text too; so is everything without a WSDL.
    Text(String),
    /// `true`, `false`, `1` or `0`.
    Boolean(bool),
    /// An `xsd:int`, `xsd:double` or other number: its digits as they were sent, such as `45000.0`.
    Number(String),
    /// A field that came more than once.
    List(Vec<Self>),
}

impl Value {
    /// The value in JSON. A number keeps its digits to the letter (`45000.0` stays `45000.0`) where JSON can write them; what
    /// it cannot is changed as little as it takes: `+1` → `1`, `007` → `7`, `.5` → `0.5`, `5.` → `5`, `1E5` → `1e5`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Text(text) => serde_json::Value::String(text.clone()),
            Self::Boolean(boolean) => serde_json::Value::Bool(*boolean),
            Self::Number(text) => json_number(text),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
        }
    }
}

/// A number in JSON (RFC 8259 §6); a string when the text is no number at all.
fn json_number(text: &str) -> serde_json::Value {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let exponent_at = digits.find(['e', 'E']).unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at(exponent_at);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let power = exponent.get(1..).unwrap_or_default();
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let power_digits = power.strip_prefix(['+', '-']).unwrap_or(power);
    let is_number = is_digits(whole)
        && is_digits(fraction)
        && is_digits(power_digits)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_empty() == power_digits.is_empty();
    if !is_number {
        return serde_json::Value::String(text.to_owned());
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let number = format!("{sign}{whole}{point}{fraction}{exponent}");
    number.parse().map_or_else(|_| text.into(), serde_json::Value::Number)
}

/// How a record differed from what the source's WSDL declares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Drift {
    /// The WSDL does not know this type of record.
    UnknownRecordType(String),
    /// The WSDL does not know this field. Kept as text.
    UnknownField(String),
    /// The value does not fit the declared type. Kept as text.
    Misfit {
        /// The field.
        field: String,
        /// Its declared type.
        expected: FieldType,
    },
    /// The field came more than once. Kept as a list.
    Repeated(String),
}

/// A name that came, for people who may not see what came with it: what no name of Salesforce looks like may be anything.
#[must_use]
pub fn named(name: &str) -> Cow<'_, str> {
    const LENGTH_MAX: usize = 100;
    let is_usual =
        !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_usual {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("(of {} characters, which is no name of Salesforce's)", name.chars().count()))
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRecordType(name) => write!(f, "record type {} is not in the WSDL", named(name)),
            Self::UnknownField(name) => write!(f, "field {} is not in the WSDL", named(name)),
            Self::Misfit { field, expected } => write!(f, "field {field} does not fit its type {expected}"),
            Self::Repeated(name) => write!(f, "field {} came more than once", named(name)),
        }
    }
}

/// The declared type of a field in an outbound WSDL, as far as it changes how a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// `xsd:string` and everything else that is kept as text.
    String,
    /// `ent:ID`.
    Id,
    /// `xsd:boolean`.
    Boolean,
    /// `xsd:int`, `xsd:long` and the other types of whole numbers.
    Integer(IntegerType),
    /// `xsd:double`, `xsd:decimal`, `xsd:float`.
    Double,
    /// `xsd:date`.
    Date,
    /// `xsd:dateTime`.
    DateTime,
    /// `xsd:time`.
    Time,
    /// `xsd:base64Binary`.
    Base64,
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Id => "ID",
            Self::Boolean => "boolean",
            Self::Integer(integer) => integer.as_str(),
            Self::Double => "double",
            Self::Date => "date",
            Self::DateTime => "dateTime",
            Self::Time => "time",
            Self::Base64 => "base64Binary",
        })
    }
}

/// The types of whole numbers that XSD 1.0 part 2 builds in; they differ in their range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of XSD")]
pub enum IntegerType {
    Integer,
    NonPositiveInteger,
    NegativeInteger,
    NonNegativeInteger,
    PositiveInteger,
    Long,
    Int,
    Short,
    Byte,
    UnsignedLong,
    UnsignedInt,
    UnsignedShort,
    UnsignedByte,
}

impl IntegerType {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Integer,
        Self::NonPositiveInteger,
        Self::NegativeInteger,
        Self::NonNegativeInteger,
        Self::PositiveInteger,
        Self::Long,
        Self::Int,
        Self::Short,
        Self::Byte,
        Self::UnsignedLong,
        Self::UnsignedInt,
        Self::UnsignedShort,
        Self::UnsignedByte,
    ];

    /// Its name in XSD.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::NonPositiveInteger => "nonPositiveInteger",
            Self::NegativeInteger => "negativeInteger",
            Self::NonNegativeInteger => "nonNegativeInteger",
            Self::PositiveInteger => "positiveInteger",
            Self::Long => "long",
            Self::Int => "int",
            Self::Short => "short",
            Self::Byte => "byte",
            Self::UnsignedLong => "unsignedLong",
            Self::UnsignedInt => "unsignedInt",
            Self::UnsignedShort => "unsignedShort",
            Self::UnsignedByte => "unsignedByte",
        }
    }

    /// The least and the greatest value; none where there is no bound.
    fn range(self) -> (Option<i128>, Option<i128>) {
        fn within(least: impl Into<i128>, greatest: impl Into<i128>) -> (Option<i128>, Option<i128>) {
            (Some(least.into()), Some(greatest.into()))
        }
        match self {
            Self::Integer => (None, None),
            Self::NonPositiveInteger => (None, Some(0)),
            Self::NegativeInteger => (None, Some(-1)),
            Self::NonNegativeInteger => (Some(0), None),
            Self::PositiveInteger => (Some(1), None),
            Self::Long => within(i64::MIN, i64::MAX),
            Self::Int => within(i32::MIN, i32::MAX),
            Self::Short => within(i16::MIN, i16::MAX),
            Self::Byte => within(i8::MIN, i8::MAX),
            Self::UnsignedLong => within(0, u64::MAX),
            Self::UnsignedInt => within(0, u32::MAX),
            Self::UnsignedShort => within(0, u16::MAX),
            Self::UnsignedByte => within(0, u8::MAX),
        }
    }

    /// Whether a number, an optional sign and digits, lies within the range.
    #[must_use]
    pub fn holds(self, number: &str) -> bool {
        // What has more digits than any bound lies beyond all of them, on the side that its sign says.
        let beyond = if number.starts_with('-') { i128::MIN } else { i128::MAX };
        let value = number.parse::<i128>().unwrap_or(beyond);
        let (least, greatest) = self.range();
        least.is_none_or(|least| least <= value) && greatest.is_none_or(|greatest| value <= greatest)
    }
}

/// What a source's WSDL says of its records: record type → its fields in the WSDL's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordTypes(pub HashMap<String, Arc<RecordType>>);

/// The declared fields of one record type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordType {
    /// Declared fields in order, `Id` included, `fieldsToNull` left out.
    pub fields: Vec<(String, FieldType)>,
    /// Name → position in `fields`.
    pub index: HashMap<String, usize>,
}

impl RecordType {
    /// A record type with these fields; a name declared twice keeps its first place.
    #[must_use]
    pub fn new(fields: Vec<(String, FieldType)>) -> Self {
        let mut index = HashMap::with_capacity(fields.len());
        for (position, (name, _)) in fields.iter().enumerate() {
            index.entry(name.clone()).or_insert(position);
        }
        Self { fields, index }
    }

    /// The declared type of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<FieldType> {
        self.index.get(name).and_then(|&position| self.fields.get(position)).map(|(_, field_type)| *field_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_whose_last_letters_do_not_fit_is_told() {
        for fine in ["00D24000000abCdEAI", "00D24000000abCd", "ACME-4711", "no letters: 18 at", ""] {
            assert_eq!(mistyped(fine), None, "{fine}");
        }
        let told = mistyped("00D24000000abCdEAA").unwrap();
        assert!(told.contains("do not fit the first 15, which would make 00D24000000abCdEAI"), "{told}");
    }

    #[test]
    fn organizations_are_compared_on_their_first_fifteen_characters() {
        let parse = |text| OrganizationId::parse(text).unwrap();
        assert_eq!(parse(" 00D24000000abcdEAA\n"), parse("00D24000000abcd"));
        assert_ne!(parse("00D24000000abcD"), parse("00D24000000abcd"));
        assert_eq!(parse("short").key(), "short");
    }

    #[test]
    fn a_number_keeps_its_digits_in_json() {
        for (text, json) in [
            ("45000.0", "45000.0"),
            ("12345678901234567890.10", "12345678901234567890.10"),
            ("-0", "-0"),
            ("-1.50E+07", "-1.50e+07"),
            ("1e-3", "1e-3"),
            ("+1", "1"),
            ("007", "7"),
            ("-00.50", "-0.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("000", "0"),
            ("1e", "\"1e\""),
            ("e1", "\"e1\""),
            (".", "\".\""),
            ("", "\"\""),
            ("INF", "\"INF\""),
            ("1 2", "\"1 2\""),
        ] {
            assert_eq!(Value::Number(text.to_owned()).to_json().to_string(), json, "{text}");
        }
    }

    #[test]
    fn an_id_is_short_printable_and_not_the_word_null() {
        assert_eq!(NotificationId::parse("  04l1 "), Ok(NotificationId("04l1".to_owned())));
        assert_eq!(NotificationId::parse(" \n"), Err(IdError::Empty));
        assert_eq!(NotificationId::parse("null"), Err(IdError::Null));
        assert_eq!(NotificationId::parse("a b"), Err(IdError::Character));
        assert_eq!(NotificationId::parse(&"x".repeat(65)), Err(IdError::Long));
    }
}
