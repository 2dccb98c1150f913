//! Message trees in lines, as `wsdl show` and `scaffold` print them.

use crate::wsdl::outline::{Cut, Kind, Outline};

/// How many values of an enumeration are named.
const VALUES_MAX: usize = 12;
/// How long a pattern is shown.
const PATTERN_MAX: usize = 60;

/// How often something comes: `1`, `0..1`, `0..n`.
pub(in crate::cli) fn occurs(outline: &Outline) -> String {
    match (outline.min, outline.max) {
        (min, Some(max)) if min == max => min.to_string(),
        (min, Some(max)) => format!("{min}..{max}"),
        (min, None) => format!("{min}..n"),
    }
}

/// The type with its facets, in words: `Amount: decimal, 18 digits, 2 decimal places`.
pub(in crate::cli) fn type_in_words(outline: &Outline) -> String {
    let builtin = outline.builtin.as_str();
    if !outline.array.is_empty() {
        return array_in_words(outline);
    }
    let mut words = match (outline.type_name.as_str(), builtin) {
        ("", "") if outline.children.is_empty() => "anything".to_owned(),
        ("", builtin) => builtin.to_owned(),
        (name, builtin) if builtin.is_empty() || name == builtin => name.to_owned(),
        (name, builtin) => format!("{name}: {builtin}"),
    };
    let mut add = |text: String| {
        if !words.is_empty() {
            words.push_str(", ");
        }
        words.push_str(&text);
    };
    facets(outline).into_iter().for_each(&mut add);
    if !outline.enumeration.is_empty() {
        let values: Vec<&str> = outline.enumeration.iter().take(VALUES_MAX).map(String::as_str).collect();
        let more = outline.enumeration.len() - values.len();
        let more = if more > 0 { format!(" | … {more} more") } else { String::new() };
        add(format!("one of {}{more}", values.join(" | ")));
    }
    if outline.nillable {
        add("may be nil".to_owned());
    }
    if let Some(default) = &outline.default {
        add(format!("default {default:?}"));
    }
    if let Some(fixed) = &outline.fixed {
        add(format!("always {fixed:?}"));
    }
    if outline.is_abstract {
        add("abstract".to_owned());
    }
    if !outline.types.is_empty() {
        let names: Vec<&str> = outline.types.iter().take(VALUES_MAX).map(String::as_str).collect();
        add(format!("$type may be {}", names.join(" | ")));
    }
    match outline.cut {
        Some(Cut::Recursion) => add("as above".to_owned()),
        Some(Cut::Bounds) => add("goes on".to_owned()),
        None => {}
    }
    words
}

/// `ArrayOfInt: array`, `array of 2 dimensions, array within it of 1`.
fn array_in_words(outline: &Outline) -> String {
    let dimensions = |rank: usize| if rank > 1 { format!("array of {rank} dimensions") } else { "array".to_owned() };
    let ranks: Vec<String> = outline.array.iter().map(|rank| dimensions(*rank)).collect();
    let words = ranks.join(" of ");
    let words = if outline.type_name.is_empty() { words } else { format!("{}: {words}", outline.type_name) };
    let nil = if outline.nillable { ", may be nil" } else { "" };
    let cut = if outline.cut.is_some() { ", as above" } else { "" };
    format!("{words}{nil}{cut}")
}

fn facets(outline: &Outline) -> Vec<String> {
    let number = |wanted: &str| outline.facets.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let mut words = Vec::new();
    // XSD 1.0 part 2, 4.3.1: what a length counts is for the type to say.
    let unit = match outline.builtin.as_str() {
        "list" | "NMTOKENS" | "IDREFS" | "ENTITIES" => "items",
        "base64Binary" | "hexBinary" => "bytes",
        _ => "characters",
    };
    match (number("length"), number("minLength").filter(|least| *least != "0"), number("maxLength")) {
        (Some(length), _, _) => words.push(format!("{length} {unit}")),
        (None, Some(least), Some(most)) => words.push(format!("{least} to {most} {unit}")),
        (None, Some(least), None) => words.push(format!("at least {least} {unit}")),
        (None, None, Some(most)) => words.push(format!("up to {most} {unit}")),
        (None, None, None) => {}
    }
    words.extend(number("totalDigits").map(|digits| format!("up to {digits} digits")));
    words.extend(number("fractionDigits").map(|digits| format!("up to {digits} decimal places")));
    for (name, sign) in [("minInclusive", "≥"), ("minExclusive", ">"), ("maxInclusive", "≤"), ("maxExclusive", "<")]
    {
        words.extend(number(name).map(|bound| format!("{sign} {bound}")));
    }
    for (_, pattern) in outline.facets.iter().filter(|(name, _)| name == "pattern") {
        let shown: String = pattern.chars().take(PATTERN_MAX).collect();
        words.push(format!("pattern {shown}{}", if shown.len() < pattern.len() { "…" } else { "" }));
    }
    words
}

/// The name as a path says it; a group as what it is.
pub(in crate::cli) fn label(outline: &Outline) -> String {
    match outline.kind {
        Kind::Element => match &outline.part {
            Some(part) if *part != outline.name => format!("{part} ({})", outline.name),
            _ => outline.name.clone(),
        },
        Kind::Attribute => format!("@{}", outline.name),
        Kind::Sequence => "(these in order)".to_owned(),
        Kind::Choice => "(one of)".to_owned(),
        Kind::All => "(these in any order)".to_owned(),
        Kind::Any => "(any element)".to_owned(),
    }
}

/// A tree in lines of three columns: name, occurrence, type. Each level is indented by two.
pub(super) fn lines(outlines: &[Outline], indent: usize) -> Vec<String> {
    let mut rows = Vec::new();
    outlines.iter().for_each(|outline| collect(outline, indent, &mut rows));
    let width = |column: usize| {
        let column = rows.iter().map(|row: &[String; 3]| row.get(column).map_or(0, |cell| cell.chars().count()));
        column.max().unwrap_or(0).min(60)
    };
    let (names, counts) = (width(0), width(1));
    rows.iter()
        .map(|[name, count, words]| format!("{name:names$}  {count:counts$}  {words}").trim_end().to_owned())
        .collect()
}

fn collect(outline: &Outline, indent: usize, rows: &mut Vec<[String; 3]>) {
    let name = format!("{:indent$}{}", "", label(outline));
    let words = if outline.is_group() || outline.kind == Kind::Any { String::new() } else { type_in_words(outline) };
    rows.push([name, occurs(outline), words]);
    for child in &outline.children {
        collect(child, indent + 2, rows);
    }
}
