//! Simple types: the built-in ones, their lexical forms, and the facets (XSD 1.0 part 2).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use regex::Regex;

use super::document::clip;
use super::model::{Definition, Schemas, Simple, TypeId, Variety};
use super::moment;

/// Types within types (unions, lists) are followed no deeper.
const NESTING_MAX: usize = 32;
const NOR_ANOTHER: &str = "; nor is it of another type of the union";
/// How many members of unions one value is held against.
const MEMBERS_MAX: usize = 100_000;

/// The built-in simple types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Builtin {
    AnySimpleType,
    String,
    NormalizedString,
    Token,
    Language,
    NmToken,
    NmTokens,
    Name,
    NcName,
    Id,
    IdRef,
    IdRefs,
    Entity,
    Entities,
    AnyUri,
    QName,
    Notation,
    Boolean,
    Base64Binary,
    HexBinary,
    Float,
    Double,
    Decimal,
    Integer,
    NonPositiveInteger,
    NegativeInteger,
    Long,
    Int,
    Short,
    Byte,
    NonNegativeInteger,
    PositiveInteger,
    UnsignedLong,
    UnsignedInt,
    UnsignedShort,
    UnsignedByte,
    Duration,
    DateTime,
    Time,
    Date,
    GYearMonth,
    GYear,
    GMonthDay,
    GDay,
    GMonth,
}

impl Builtin {
    /// All of them with their names.
    pub(crate) const ALL: [(Self, &'static str); 45] = [
        (Self::AnySimpleType, "anySimpleType"),
        (Self::String, "string"),
        (Self::NormalizedString, "normalizedString"),
        (Self::Token, "token"),
        (Self::Language, "language"),
        (Self::NmToken, "NMTOKEN"),
        (Self::NmTokens, "NMTOKENS"),
        (Self::Name, "Name"),
        (Self::NcName, "NCName"),
        (Self::Id, "ID"),
        (Self::IdRef, "IDREF"),
        (Self::IdRefs, "IDREFS"),
        (Self::Entity, "ENTITY"),
        (Self::Entities, "ENTITIES"),
        (Self::AnyUri, "anyURI"),
        (Self::QName, "QName"),
        (Self::Notation, "NOTATION"),
        (Self::Boolean, "boolean"),
        (Self::Base64Binary, "base64Binary"),
        (Self::HexBinary, "hexBinary"),
        (Self::Float, "float"),
        (Self::Double, "double"),
        (Self::Decimal, "decimal"),
        (Self::Integer, "integer"),
        (Self::NonPositiveInteger, "nonPositiveInteger"),
        (Self::NegativeInteger, "negativeInteger"),
        (Self::Long, "long"),
        (Self::Int, "int"),
        (Self::Short, "short"),
        (Self::Byte, "byte"),
        (Self::NonNegativeInteger, "nonNegativeInteger"),
        (Self::PositiveInteger, "positiveInteger"),
        (Self::UnsignedLong, "unsignedLong"),
        (Self::UnsignedInt, "unsignedInt"),
        (Self::UnsignedShort, "unsignedShort"),
        (Self::UnsignedByte, "unsignedByte"),
        (Self::Duration, "duration"),
        (Self::DateTime, "dateTime"),
        (Self::Time, "time"),
        (Self::Date, "date"),
        (Self::GYearMonth, "gYearMonth"),
        (Self::GYear, "gYear"),
        (Self::GMonthDay, "gMonthDay"),
        (Self::GDay, "gDay"),
        (Self::GMonth, "gMonth"),
    ];

    /// The local name in the XSD namespace.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(builtin, _)| *builtin == self).map_or("anySimpleType", |(_, name)| name)
    }

    /// Whether values are integers or decimals.
    pub(crate) fn is_decimal(self) -> bool {
        self == Self::Decimal || self.integer_range().is_some()
    }

    /// Whether values are numbers of any kind.
    pub(crate) fn is_number(self) -> bool {
        self.is_decimal() || matches!(self, Self::Float | Self::Double)
    }

    /// The lowest and highest value of an integer type; none where it has no bound.
    fn integer_range(self) -> Option<(Option<i128>, Option<i128>)> {
        fn within(low: impl Into<i128>, high: impl Into<i128>) -> Option<(Option<i128>, Option<i128>)> {
            Some((Some(low.into()), Some(high.into())))
        }
        match self {
            Self::Integer => Some((None, None)),
            Self::NonPositiveInteger => Some((None, Some(0))),
            Self::NegativeInteger => Some((None, Some(-1))),
            Self::NonNegativeInteger => Some((Some(0), None)),
            Self::PositiveInteger => Some((Some(1), None)),
            Self::Long => within(i64::MIN, i64::MAX),
            Self::Int => within(i32::MIN, i32::MAX),
            Self::Short => within(i16::MIN, i16::MAX),
            Self::Byte => within(i8::MIN, i8::MAX),
            Self::UnsignedLong => within(0, u64::MAX),
            Self::UnsignedInt => within(0, u32::MAX),
            Self::UnsignedShort => within(0, u16::MAX),
            Self::UnsignedByte => within(0, u8::MAX),
            Self::AnySimpleType
            | Self::String
            | Self::NormalizedString
            | Self::Token
            | Self::Language
            | Self::NmToken
            | Self::NmTokens
            | Self::Name
            | Self::NcName
            | Self::Id
            | Self::IdRef
            | Self::IdRefs
            | Self::Entity
            | Self::Entities
            | Self::AnyUri
            | Self::QName
            | Self::Notation
            | Self::Boolean
            | Self::Base64Binary
            | Self::HexBinary
            | Self::Float
            | Self::Double
            | Self::Decimal
            | Self::Duration
            | Self::DateTime
            | Self::Time
            | Self::Date
            | Self::GYearMonth
            | Self::GYear
            | Self::GMonthDay
            | Self::GDay
            | Self::GMonth => None,
        }
    }

    /// How white space is treated when nothing says otherwise.
    fn white_space(self) -> WhiteSpace {
        if matches!(self, Self::String | Self::AnySimpleType) {
            WhiteSpace::Preserve
        } else if self == Self::NormalizedString {
            WhiteSpace::Replace
        } else {
            WhiteSpace::Collapse
        }
    }

    /// Whether a (white space normalised) text is of this type.
    fn check(self, text: &str) -> Result<(), String> {
        let right = match self {
            Self::AnySimpleType | Self::String | Self::NormalizedString | Self::Token | Self::AnyUri => true,
            Self::Language => is_language(text),
            Self::NmToken => is_nmtoken(text),
            Self::NmTokens => !text.is_empty() && text.split(' ').all(is_nmtoken),
            Self::Name => is_name(text, true),
            Self::NcName | Self::Id | Self::IdRef | Self::Entity => is_name(text, false),
            Self::IdRefs | Self::Entities => !text.is_empty() && text.split(' ').all(|item| is_name(item, false)),
            Self::QName | Self::Notation => is_qname(text),
            Self::Boolean => matches!(text, "true" | "false" | "1" | "0"),
            Self::Base64Binary => is_base64(text),
            Self::HexBinary => text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Self::Float | Self::Double => is_float(text),
            Self::Decimal => is_decimal(text),
            Self::Integer
            | Self::NonPositiveInteger
            | Self::NegativeInteger
            | Self::Long
            | Self::Int
            | Self::Short
            | Self::Byte
            | Self::NonNegativeInteger
            | Self::PositiveInteger
            | Self::UnsignedLong
            | Self::UnsignedInt
            | Self::UnsignedShort
            | Self::UnsignedByte => return self.check_integer(text),
            Self::Duration => moment::duration(text).is_some(),
            Self::DateTime
            | Self::Time
            | Self::Date
            | Self::GYearMonth
            | Self::GYear
            | Self::GMonthDay
            | Self::GDay
            | Self::GMonth => moment::parse(self, text).is_some(),
        };
        if right { Ok(()) } else { Err(format!("is no xs:{}{}", self.as_str(), self.advice(text))) }
    }

    fn check_integer(self, text: &str) -> Result<(), String> {
        if !is_integer(text) {
            return Err(format!("is no xs:{}{}", self.as_str(), self.advice(text)));
        }
        let (low, high) = self.integer_range().unwrap_or((None, None));
        // What has more digits than this lies beyond every bound there is, on the side its sign says.
        let negative = text.starts_with('-');
        let value: i128 = text.parse().unwrap_or(if negative { i128::MIN } else { i128::MAX });
        if let Some(low) = low.filter(|low| value < *low) {
            return Err(format!("is below {low}, the least xs:{}", self.as_str()));
        }
        match high.filter(|high| value > *high) {
            Some(high) => Err(format!("is above {high}, the greatest xs:{}", self.as_str())),
            None => Ok(()),
        }
    }

    /// What to do about a value that is not of this type, where that is known.
    fn advice(self, text: &str) -> &'static str {
        let date = moment::parse(Self::DateTime, text).is_some();
        if self == Self::Boolean {
            " (true, false, 1 or 0, in lower case)"
        } else if self == Self::Date && date {
            " but a date with a time: date('%Y-%m-%d') makes it one"
        } else if self == Self::DateTime && moment::parse(Self::Date, text).is_some() {
            " but a date without a time"
        } else if self.integer_range().is_some() && is_decimal(text) {
            " (digits only, no point): int makes it one"
        } else if text.is_empty() {
            ": it is empty"
        } else if self.is_decimal() && text.contains(',') {
            " (no commas)"
        } else {
            ""
        }
    }
}

/// White space handling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhiteSpace {
    Preserve,
    Replace,
    Collapse,
}

/// An ordered bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub value: String,
    pub inclusive: bool,
}

/// The facets of a type, inherited ones included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facets {
    pub white_space: Option<WhiteSpace>,
    pub length: Option<u64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub total_digits: Option<u64>,
    pub fraction_digits: Option<u64>,
    pub low: Option<Bound>,
    pub high: Option<Bound>,
    /// Empty: no enumeration.
    pub enumeration: Arc<[String]>,
    /// One per derivation step that has any; all must match.
    pub patterns: Vec<Pattern>,
}

/// A pattern facet.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// As the schema says it.
    pub source: Arc<str>,
    pub regex: Regex,
}

impl Facets {
    /// What a derivation step adds to what it inherits.
    pub(crate) fn narrowed_by(&self, step: &Self) -> Self {
        let mut patterns = self.patterns.clone();
        patterns.extend(step.patterns.iter().cloned());
        Self {
            white_space: step.white_space.or(self.white_space),
            length: step.length.or(self.length),
            min_length: step.min_length.or(self.min_length),
            max_length: step.max_length.or(self.max_length),
            total_digits: step.total_digits.or(self.total_digits),
            fraction_digits: step.fraction_digits.or(self.fraction_digits),
            low: step.low.clone().or_else(|| self.low.clone()),
            high: step.high.clone().or_else(|| self.high.clone()),
            enumeration: if step.enumeration.is_empty() {
                Arc::clone(&self.enumeration)
            } else {
                Arc::clone(&step.enumeration)
            },
            patterns,
        }
    }
}

/// Checks a text against a simple type; gives it as it should be written (white space collapsed where the type does).
pub(crate) fn check<'t>(schemas: &Schemas, simple: &Simple, text: &'t str) -> Result<Cow<'t, str>, String> {
    check_nested(schemas, simple, text, &mut Effort::default())
}

/// Checks the lexical form alone: what a server answers may break its own facets.
pub(crate) fn lexical<'t>(schemas: &Schemas, simple: &Simple, text: &'t str) -> Result<Cow<'t, str>, String> {
    let free = Simple {
        variety: simple.variety.clone(),
        facets: Facets { white_space: simple.facets.white_space, ..Facets::default() },
    };
    check_nested(schemas, &free, text, &mut Effort::default())
}

/// What checking one value costs.
#[derive(Default)]
struct Effort {
    depth: usize,
    members: usize,
}

fn check_nested<'t>(
    schemas: &Schemas,
    simple: &Simple,
    text: &'t str,
    effort: &mut Effort,
) -> Result<Cow<'t, str>, String> {
    if effort.depth > NESTING_MAX || effort.members > MEMBERS_MAX {
        return Err("has a type of unions and lists nested too deeply to check".to_owned());
    }
    let value = normalized(white_space(simple), text);
    match &simple.variety {
        Variety::Atomic(builtin) => {
            builtin.check(&value).map_err(|reason| named(&value, &reason))?;
            check_facets(&simple.facets, Some(*builtin), length(*builtin, &value), &value)?;
        }
        Variety::List(item) => {
            let items: Vec<&str> = value.split(' ').filter(|item| !item.is_empty()).collect();
            let item = schemas.simple(*item);
            effort.depth += 1;
            for text in &items {
                item.map_or(Ok(Cow::Borrowed("")), |item| check_nested(schemas, item, text, effort))?;
            }
            effort.depth -= 1;
            check_facets(&simple.facets, None, items.len(), &value)?;
        }
        Variety::Union(members) => {
            effort.depth += 1;
            check_union(schemas, members, &value, effort)?;
            effort.depth -= 1;
            check_facets(&simple.facets, None, value.chars().count(), &value)?;
        }
    }
    Ok(value)
}

fn check_union(schemas: &Schemas, members: &[TypeId], value: &str, effort: &mut Effort) -> Result<(), String> {
    let depth = effort.depth;
    let mut first = None;
    for member in members {
        let Definition::Simple(member) = &schemas.types[*member].definition else { return Ok(()) };
        effort.members += 1;
        effort.depth = depth;
        match check_nested(schemas, member, value, effort) {
            Ok(_) => return Ok(()),
            Err(reason) => first = first.or(Some(reason)),
        }
    }
    let Some(reason) = first else { return Ok(()) };
    let said = reason.ends_with(NOR_ANOTHER);
    Err(if said { reason } else { reason + NOR_ANOTHER })
}

fn white_space(simple: &Simple) -> WhiteSpace {
    simple.facets.white_space.unwrap_or(match simple.variety {
        Variety::Atomic(builtin) => builtin.white_space(),
        Variety::List(_) => WhiteSpace::Collapse,
        Variety::Union(_) => WhiteSpace::Preserve,
    })
}

fn normalized(how: WhiteSpace, text: &str) -> Cow<'_, str> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    match how {
        WhiteSpace::Preserve => Cow::Borrowed(text),
        WhiteSpace::Replace if !text.contains(['\t', '\n', '\r']) => Cow::Borrowed(text),
        WhiteSpace::Replace => Cow::Owned(text.replace(['\t', '\n', '\r'], " ")),
        WhiteSpace::Collapse => {
            let trimmed = text.trim_matches(blank);
            if trimmed.contains(['\t', '\n', '\r']) || trimmed.contains("  ") {
                let words: Vec<&str> = trimmed.split(blank).filter(|word| !word.is_empty()).collect();
                Cow::Owned(words.join(" "))
            } else {
                Cow::Borrowed(trimmed)
            }
        }
    }
}

/// A reason that begins with the value.
fn named(value: &str, reason: &str) -> String {
    format!("{:?} {reason}", clip(value, 60))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other type is measured in characters")]
fn length(builtin: Builtin, value: &str) -> usize {
    match builtin {
        Builtin::HexBinary => value.len() / 2,
        Builtin::Base64Binary => {
            let digits = value.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count();
            digits * 3 / 4
        }
        Builtin::NmTokens | Builtin::IdRefs | Builtin::Entities => value.split(' ').count(),
        _ => value.chars().count(),
    }
}

fn check_facets(facets: &Facets, builtin: Option<Builtin>, length: usize, value: &str) -> Result<(), String> {
    // XSD 1.0 4.3.1: length facets say nothing about QNames.
    if !matches!(builtin, Some(Builtin::QName | Builtin::Notation)) {
        check_lengths(facets, length, value)?;
    }
    if !facets.enumeration.is_empty() && !facets.enumeration.iter().any(|allowed| same(builtin, allowed, value)) {
        let known = facets.enumeration.iter().map(String::as_str);
        let hint = super::nearest(value, known.clone()).map(|near| format!("; did you mean {near:?}?"));
        let some: Vec<&str> = known.take(8).collect();
        let more = if facets.enumeration.len() > some.len() { ", …" } else { "" };
        let reason = format!("is not one of {}{more}{}", some.join(", "), hint.unwrap_or_default());
        return Err(named(value, &reason));
    }
    if let Some(pattern) = facets.patterns.iter().find(|pattern| !pattern.regex.is_match(value)) {
        return Err(named(value, &format!("does not match the pattern {}", clip(&pattern.source, 100))));
    }
    if let Some(builtin) = builtin {
        check_digits(facets, builtin, value)?;
        check_bounds(facets, builtin, value)?;
    }
    Ok(())
}

fn check_lengths(facets: &Facets, length: usize, value: &str) -> Result<(), String> {
    let length = length as u64;
    if let Some(exact) = facets.length.filter(|exact| *exact != length) {
        return Err(named(value, &format!("is {length} long; length is {exact}")));
    }
    if let Some(max) = facets.max_length.filter(|max| length > *max) {
        return Err(named(value, &format!("is {length} long; maxLength is {max}")));
    }
    if let Some(min) = facets.min_length.filter(|min| length < *min) {
        return Err(named(value, &format!("is {length} long; minLength is {min}")));
    }
    Ok(())
}

fn check_digits(facets: &Facets, builtin: Builtin, value: &str) -> Result<(), String> {
    if !builtin.is_decimal() || (facets.total_digits.is_none() && facets.fraction_digits.is_none()) {
        return Ok(());
    }
    let plain = value.trim_start_matches(['+', '-']);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if let Some(max) = facets.fraction_digits.filter(|max| fraction.len() as u64 > *max) {
        let reason = format!("has {} decimal places; fractionDigits is {max}", fraction.len());
        return Err(named(value, &reason));
    }
    let digits = if whole.is_empty() { fraction.trim_start_matches('0').len() } else { whole.len() + fraction.len() };
    match facets.total_digits.filter(|max| digits as u64 > *max) {
        Some(max) => Err(named(value, &format!("has {digits} digits; totalDigits is {max}"))),
        None => Ok(()),
    }
}

fn check_bounds(facets: &Facets, builtin: Builtin, value: &str) -> Result<(), String> {
    for (bound, wrong, side) in [(&facets.low, Ordering::Less, "min"), (&facets.high, Ordering::Greater, "max")] {
        let Some(bound) = bound else { continue };
        let kind = if bound.inclusive { "Inclusive" } else { "Exclusive" };
        let limit = clip(bound.value.trim(), 60);
        match compare(builtin, value, bound.value.trim()) {
            Some(order) if order == wrong || (order == Ordering::Equal && !bound.inclusive) => {
                return Err(named(value, &format!("is out of bounds; {side}{kind} is {limit}")));
            }
            Some(_) => {}
            // XSD 1.0 part 2, 4.3.7 to 4.3.10: what cannot be ordered is not within.
            None if compare(builtin, bound.value.trim(), bound.value.trim()).is_some() => {
                let reason = format!("is neither above nor below {limit} for certain, which is {side}{kind}");
                return Err(named(value, &reason));
            }
            None => {}
        }
    }
    Ok(())
}

/// Equality in the value space, where it differs from the text.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other type is ordered, or equal when its texts are")]
fn same(builtin: Option<Builtin>, left: &str, right: &str) -> bool {
    let Some(builtin) = builtin.filter(|_| left != right) else { return left == right };
    let digits = |text: &str| text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
    match builtin {
        Builtin::HexBinary => left.eq_ignore_ascii_case(right),
        Builtin::Base64Binary => digits(left) == digits(right),
        _ => compare(builtin, left, right) == Some(Ordering::Equal),
    }
}

/// Orders two values of a type; none when they cannot be ordered.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other type has no order")]
pub(crate) fn compare(builtin: Builtin, left: &str, right: &str) -> Option<Ordering> {
    if builtin.is_decimal() {
        return compare_decimals(left, right);
    }
    match builtin {
        Builtin::Float => compare_floats::<f32>(left, right),
        Builtin::Double => compare_floats::<f64>(left, right),
        Builtin::Duration => moment::duration(left)?.compare(&moment::duration(right)?),
        Builtin::Boolean => Some(matches!(left, "true" | "1").cmp(&matches!(right, "true" | "1"))),
        Builtin::DateTime
        | Builtin::Time
        | Builtin::Date
        | Builtin::GYearMonth
        | Builtin::GYear
        | Builtin::GMonthDay
        | Builtin::GDay
        | Builtin::GMonth => moment::parse(builtin, left)?.compare(&moment::parse(builtin, right)?),
        _ => None,
    }
}

/// Orders two decimals by their digits, however many.
fn compare_decimals(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (decimal(left)?, decimal(right)?);
    let size =
        |left: (&str, &str), right: (&str, &str)| left.0.len().cmp(&right.0.len()).then_with(|| left.cmp(&right));
    Some(match (left.0, right.0) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => size(left.1, right.1),
        (true, true) => size(right.1, left.1),
    })
}

/// Whether a decimal is below zero, and its digits before and behind the point, without those that say nothing.
fn decimal(text: &str) -> Option<(bool, (&str, &str))> {
    let text = text.trim();
    let digits = unsigned(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let negative = text.starts_with('-') && !(whole.is_empty() && fraction.is_empty());
    is_decimal(text).then_some((negative, (whole, fraction)))
}

/// Orders two floats in their own precision; what is no number equals itself alone.
fn compare_floats<F: FromStr + PartialOrd>(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (left.trim(), right.trim());
    if left == "NaN" && right == "NaN" {
        return Some(Ordering::Equal);
    }
    // The type's own words for what has no digits are those of the standard library.
    let read = |text: &str| is_float(text).then(|| text.parse::<F>().ok()).flatten();
    read(left)?.partial_cmp(&read(right)?)
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn is_integer(text: &str) -> bool {
    let digits = unsigned(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let digits = unsigned(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    whole.len() + fraction.len() > 0 && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
}

fn is_float(text: &str) -> bool {
    if matches!(text, "INF" | "-INF" | "NaN") {
        return true;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    is_decimal(mantissa) && exponent.is_none_or(is_integer)
}

fn is_base64(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| *c != ' ').collect();
    base64::engine::general_purpose::STANDARD.decode(digits).is_ok()
}

fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let fits = |part: &str| (1..=8).contains(&part.len());
    parts.next().is_some_and(|first| fits(first) && first.bytes().all(|byte| byte.is_ascii_alphabetic()))
        && parts.all(|part| fits(part) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_qname(text: &str) -> bool {
    // Clark notation is how a mapping says a namespace; the writer makes a prefix of it.
    let local = text.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or(text, |(_, local)| local);
    local.split(':').count() <= 2 && local.split(':').all(|part| is_name(part, false))
}

fn is_nmtoken(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| is_name_char(c) || c == ':')
}

/// Whether a text is an XML name; with colons when they are allowed.
pub(crate) fn is_name(text: &str, colons: bool) -> bool {
    let fits = |c: char| is_name_char(c) || (colons && c == ':');
    text.chars().next().is_some_and(|c| is_name_start(c) || (colons && c == ':')) && text.chars().all(fits)
}

fn is_name_start(c: char) -> bool {
    matches!(c, 'A'..='Z' | 'a'..='z' | '_' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn is_name_char(c: char) -> bool {
    is_name_start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

#[cfg(test)]
mod tests;
