//! Values made up for simple types: each passes its type's own check.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

use super::decode::scalar;
use crate::wsdl::model::{Schemas, Simple, TypeId, Variety};
use crate::wsdl::simple::{self, Builtin, Facets};

/// How long a made-up text may be.
const LENGTH_MAX: u64 = 20_000;
const NESTING_MAX: usize = 16;

/// A value of a type, as decoding it would give it. None: none was found.
pub(super) fn of(schemas: &Schemas, simple: &Simple, ids: &mut usize) -> Option<Value> {
    let text = text(schemas, simple, ids, 0)?;
    Some(scalar(schemas, simple, &text))
}

fn text(schemas: &Schemas, simple: &Simple, ids: &mut usize, depth: usize) -> Option<String> {
    if depth > NESTING_MAX {
        return None;
    }
    let fits = |text: &String| simple::check(schemas, simple, text).is_ok();
    if let Some(listed) = simple.facets.enumeration.iter().find(|text| fits(text)) {
        return Some(listed.clone());
    }
    if matches!(simple.variety, Variety::Atomic(Builtin::Id)) {
        *ids += 1;
    }
    let plain = plain(schemas, simple, ids, depth).into_iter().find(fits);
    plain.or_else(|| patterned(&simple.facets).into_iter().find(fits))
}

/// Candidates that the facets alone suggest.
fn plain(schemas: &Schemas, simple: &Simple, ids: &mut usize, depth: usize) -> Vec<String> {
    match &simple.variety {
        Variety::Atomic(builtin) => atomic(*builtin, &simple.facets, *ids),
        Variety::List(item) => list(schemas, *item, &simple.facets, ids, depth),
        Variety::Union(members) => {
            let members = members.iter().filter_map(|member| schemas.simple(*member));
            members.filter_map(|member| text(schemas, member, ids, depth + 1)).collect()
        }
    }
}

fn list(schemas: &Schemas, item: TypeId, facets: &Facets, ids: &mut usize, depth: usize) -> Vec<String> {
    let Some(item) = schemas.simple(item).and_then(|item| text(schemas, item, ids, depth + 1)) else {
        return Vec::new();
    };
    let least = facets.length.or(facets.min_length).unwrap_or(1).clamp(1, 1_000);
    let wanted = facets.length.or(facets.max_length).map_or(2, |most| most.clamp(1, 2)).max(least);
    [wanted, least].iter().map(|count| vec![item.as_str(); usize::try_from(*count).unwrap_or(1)].join(" ")).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other type is made of characters")]
fn atomic(builtin: Builtin, facets: &Facets, ids: usize) -> Vec<String> {
    let length = length(facets);
    let count = usize::try_from(length.unwrap_or(4)).unwrap_or(4);
    let mut candidates: Vec<String> = Vec::new();
    let some = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    match builtin {
        _ if builtin.is_number() => candidates.extend(numbers(facets)),
        Builtin::Boolean => candidates.extend(some(&["true", "false"])),
        Builtin::Base64Binary => {
            use base64::Engine;
            candidates.push(base64::engine::general_purpose::STANDARD.encode(vec![1_u8; count]));
        }
        Builtin::HexBinary => candidates.push("0A".repeat(count)),
        Builtin::Duration => candidates.extend(some(&["P1D", "PT1H", "P1Y"])),
        Builtin::DateTime => candidates.extend(some(&["2026-01-31T12:30:00Z", "2026-01-31T12:30:00"])),
        Builtin::Time => candidates.extend(some(&["12:30:00Z", "12:30:00"])),
        Builtin::Date => candidates.extend(some(&["2026-01-31", "2026-01-31Z"])),
        Builtin::GYearMonth => candidates.push("2026-01".to_owned()),
        Builtin::GYear => candidates.push("2026".to_owned()),
        Builtin::GMonthDay => candidates.push("--01-31".to_owned()),
        Builtin::GDay => candidates.push("---31".to_owned()),
        Builtin::GMonth => candidates.push("--01".to_owned()),
        Builtin::Language => candidates.extend(some(&["en", "de-CH"])),
        Builtin::Id => candidates.push(format!("id{ids}")),
        Builtin::IdRef | Builtin::IdRefs => candidates.push(format!("id{}", ids.max(1))),
        Builtin::QName => candidates.push("name".to_owned()),
        Builtin::AnyUri => candidates.extend(some(&["http://example.com/", "urn:a"])),
        _ => candidates.push("text".to_owned()),
    }
    candidates.extend([&facets.low, &facets.high].into_iter().flatten().map(|bound| bound.value.clone()));
    if let Some(length) = length {
        let text: String = "text".chars().cycle().take(usize::try_from(length).unwrap_or(0)).collect();
        let uri: String = "http://example.com/aaaa".chars().chain("a".chars().cycle()).take(text.len()).collect();
        candidates.extend([uri, text]);
    }
    candidates
}

/// A length that fits, when the facets say anything of it.
fn length(facets: &Facets) -> Option<u64> {
    let (least, most) = (facets.min_length, facets.max_length);
    let any = facets.length.or_else(|| {
        (least.is_some() || most.is_some()).then(|| 4.max(least.unwrap_or(0)).min(most.unwrap_or(u64::MAX)))
    });
    any.map(|length| length.min(LENGTH_MAX))
}

/// Numbers in and about the bounds.
fn numbers(facets: &Facets) -> Vec<String> {
    use bigdecimal::BigDecimal;
    use std::str::FromStr;
    let mut candidates: Vec<String> = ["1", "0", "-1", "10", "100", "0.5", "0.01"].map(str::to_owned).to_vec();
    if facets.fraction_digits.unwrap_or(2) >= 2 && facets.total_digits.unwrap_or(5) >= 4 {
        candidates.insert(0, "12.25".to_owned());
    }
    let step = ["1", "0.1", "0.001"].map(|step| BigDecimal::from_str(step).unwrap_or_default());
    for bound in [&facets.low, &facets.high].into_iter().flatten() {
        let Ok(value) = BigDecimal::from_str(bound.value.trim()) else { continue };
        candidates.push(value.to_plain_string());
        for step in &step {
            candidates.push((&value + step).normalized().to_plain_string());
            candidates.push((&value - step).normalized().to_plain_string());
        }
    }
    candidates
}

/// Texts that the patterns describe, of growing length.
fn patterned(facets: &Facets) -> Vec<String> {
    let mut texts = Vec::new();
    for pattern in facets.patterns.iter().rev() {
        let Ok(hir) = regex_syntax::Parser::new().parse(pattern.regex.as_str()) else { continue };
        let wanted = length(facets).unwrap_or(0);
        for grow in (0..24).chain([31, 35, 39, 49, 63, 99, u32::try_from(wanted).unwrap_or(0)]) {
            for turn in 0..3 {
                let mut text = String::new();
                write(&hir, grow, turn, &mut text);
                texts.push(text);
            }
        }
    }
    texts
}

/// Writes a text that a pattern describes: repetitions as often as they must and `grow` allows, alternatives in turn.
fn write(hir: &Hir, grow: u32, turn: usize, out: &mut String) {
    if out.len() as u64 > LENGTH_MAX {
        return;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(Class::Unicode(class)) => {
            let takes = |c: &char| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(c));
            let liked = ['a', 'A', '1', '0', '5', ' ', '-', '.', '@', '/'];
            let first = class.ranges().iter().flat_map(|range| range.start()..=range.end());
            let seen = first.take(0x400).find(|c| super::text::is_xml_char(*c) && !c.is_whitespace());
            out.extend(liked.into_iter().cycle().skip(turn).take(liked.len()).find(takes).or(seen));
        }
        HirKind::Class(Class::Bytes(class)) => {
            out.extend(class.ranges().first().map(|range| char::from(range.start())));
        }
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX);
            let times = repetition.min.max(grow.min(most)).min(5_000);
            (0..times).for_each(|_| write(&repetition.sub, grow, turn, out));
        }
        HirKind::Capture(capture) => write(&capture.sub, grow, turn, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, grow, turn, out)),
        HirKind::Alternation(parts) => {
            if let Some(part) = parts.get(turn % parts.len().max(1)) {
                write(part, grow, turn, out);
            }
        }
    }
}
