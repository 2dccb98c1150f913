//! The built-in types and their facets, type by type: what is taken, what is refused, what is equal.

use super::*;

#[test]
fn each_builtin_takes_its_lexical_forms_and_nothing_else() {
    // type | taken | refused
    let table = "\
        boolean | true false 1 0 | True FALSE yes 2
        decimal | 1 -1.50 +.5 5. 007 | 1e5 1,5 . - INF
        integer | 0 -12 +7 123456789012345678901234567890 | 1.0 1e3 -
        nonPositiveInteger | 0 -5 | 1
        negativeInteger | -1 | 0 1
        nonNegativeInteger | 0 7 | -1
        positiveInteger | 1 | 0
        long | 9223372036854775807 | 9223372036854775808
        int | -2147483648 2147483647 | 2147483648 3.0
        short | 32767 | 32768
        byte | -128 | 128
        unsignedLong | 18446744073709551615 | 18446744073709551616 -1
        unsignedInt | 4294967295 | 4294967296
        unsignedShort | 65535 | 65536
        unsignedByte | 255 | 256
        float | 1 1.5e3 -INF NaN INF 1E-5 | +INF inf 1e 0x1 nan
        double | 1e308 .5 | 1d
        dateTime | 2026-11-23T10:00:00Z 2026-11-23T24:00:00 2026-02-28T10:00:00.123+14:00 -0001-01-01T00:00:00 | \
            2026-11-23 2026-02-30T10:00:00 2026-11-23T25:00:00 26-11-23T10:00:00 2026-11-23T10:00 \
            2026-11-23T10:00:00+15:00
        date | 2026-11-23 2024-02-29 2026-11-23Z 12026-01-01 | 2026-2-3 2025-02-29 2026-11-23T00:00:00 0000-01-01
        time | 10:00:00 23:59:59.999Z 24:00:00 | 10:00 24:00:01 10:60:00
        gYear | 2026 -0044 2026Z | 26 0000
        gYearMonth | 2026-11 | 2026-13 2026
        gMonth | --11 --11Z | 11 --13
        gMonthDay | --02-29 | --02-30 02-28
        gDay | ---31 | ---32 31
        duration | P1Y2M3DT4H5M6.7S -P1D PT0S P1M | P P1 1D PT P1S P-1D P1YT
        hexBinary | 0aFF | 0aF 0x
        base64Binary | AAEC AA== | A A=
        language | en en-GB x-klingon | en_GB toolonglanguage
        NMTOKEN | a-b 12 a:b | a,b
        Name | a:b _x | 1a
        NCName | a-b é | a:b 1a
        ID | x1 | 1
        IDREF | x1 | 1
        ENTITY | x1 | 1
        NOTATION | a:b | :b
        QName | a:b b {urn:x}b | a:b:c 1:b :b
        token | a |
        anyURI | http://x/ä not%zz | ";
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = columns[0];
        let (builtin, _) = Builtin::ALL.into_iter().find(|(_, known)| *known == name).unwrap();
        for text in columns[1].split_whitespace() {
            assert_eq!(builtin.check(text), Ok(()), "{name} should take {text}");
        }
        for text in columns[2].split_whitespace() {
            assert!(builtin.check(text).is_err(), "{name} should refuse {text}");
        }
    }
}

#[test]
fn white_space_is_treated_as_the_type_says() {
    assert_eq!(normalized(WhiteSpace::Preserve, " a\n b "), " a\n b ");
    assert_eq!(normalized(WhiteSpace::Replace, " a\n b "), " a  b ");
    assert_eq!(normalized(WhiteSpace::Collapse, " a\n b "), "a b");
}

#[test]
fn values_are_ordered_in_their_value_space() {
    for (builtin, left, right, order) in [
        (Builtin::Decimal, "1.50", "1.5", Some(Ordering::Equal)),
        (Builtin::Decimal, "9", "10", Some(Ordering::Less)),
        (Builtin::Double, "1e3", "999", Some(Ordering::Greater)),
        (Builtin::Double, "NaN", "1", None),
        (Builtin::DateTime, "2026-01-01T12:00:00Z", "2026-01-01T13:30:00+02:00", Some(Ordering::Greater)),
        (Builtin::Date, "2026-02-01", "2026-01-31", Some(Ordering::Greater)),
        (Builtin::Time, "10:00:00.5", "10:00:00.50", Some(Ordering::Equal)),
        (Builtin::Duration, "P1Y", "P13M", Some(Ordering::Less)),
        (Builtin::Duration, "P1M", "P30D", None),
    ] {
        assert_eq!(compare(builtin, left, right), order, "{left} ? {right}");
    }
}

/// A type of these facets, as a schema declares it.
fn declared(base: &str, facets: &[(&str, &str)]) -> (Schemas, TypeId) {
    let facets: String = facets
        .iter()
        .map(|(name, value)| format!("<xs:{name} value='{}'/>", value.replace('&', "&amp;").replace('<', "&lt;")))
        .collect();
    let text = format!(
        "<w:definitions xmlns:w='http://schemas.xmlsoap.org/wsdl/' xmlns:xs='http://www.w3.org/2001/XMLSchema'>\
         <w:types><xs:schema><xs:simpleType name='T'><xs:restriction base='xs:{base}'>{facets}</xs:restriction>\
         </xs:simpleType></xs:schema></w:types></w:definitions>"
    );
    let model = crate::wsdl::load(std::path::Path::new("t.wsdl"), &One(text)).unwrap();
    assert_eq!(model.findings(), [], "{base} {facets}");
    let inner = Arc::into_inner(model.inner).unwrap();
    let id = *inner.schemas.global_types.iter().find(|(name, _)| &*name.local == "T").unwrap().1;
    (inner.schemas, id)
}

struct One(String);

impl crate::wsdl::Files for One {
    fn read(&self, _: &std::path::Path) -> std::io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }
}

/// Holds a type with facets against values.
fn holds(base: &str, facets: &[(&str, &str)], taken: &[&str], refused: &[&str]) {
    let (schemas, id) = declared(base, facets);
    let simple = schemas.simple(id).unwrap();
    for text in taken {
        let outcome = check(&schemas, simple, text);
        assert!(outcome.is_ok(), "{base} {facets:?} should take {text:?}: {outcome:?}");
    }
    for text in refused {
        let reason = check(&schemas, simple, text).expect_err(&format!("{base} {facets:?} should refuse {text:?}"));
        assert!(!reason.is_empty());
    }
}

/// Types with an order: a low, a middle and a high value.
const ORDERED: [(&str, [&str; 3]); 25] = [
    ("decimal", ["-1.5", "0", "2.25"]),
    ("integer", ["-99999999999999999999", "0", "99999999999999999999"]),
    ("nonPositiveInteger", ["-9", "-3", "0"]),
    ("negativeInteger", ["-9", "-3", "-1"]),
    ("nonNegativeInteger", ["0", "4", "9"]),
    ("positiveInteger", ["1", "4", "9"]),
    ("long", ["-9223372036854775808", "0", "9223372036854775807"]),
    ("int", ["-2147483648", "0", "2147483647"]),
    ("short", ["-32768", "0", "32767"]),
    ("byte", ["-128", "0", "127"]),
    ("unsignedLong", ["0", "5", "18446744073709551615"]),
    ("unsignedInt", ["0", "5", "4294967295"]),
    ("unsignedShort", ["0", "5", "65535"]),
    ("unsignedByte", ["0", "5", "255"]),
    ("float", ["-INF", "0.5e0", "INF"]),
    ("double", ["-1E300", "0", "1E300"]),
    ("duration", ["PT23H", "P1D", "P1DT0.001S"]),
    ("dateTime", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T01:00:01+01:00"]),
    ("time", ["09:00:00", "09:00:00.5", "10:00:00"]),
    ("date", ["2026-01-31", "2026-02-01", "2027-01-01"]),
    ("gYearMonth", ["2025-12", "2026-01", "2026-02"]),
    ("gYear", ["-0044", "2026", "12000"]),
    ("gMonthDay", ["--01-31", "--02-29", "--12-31"]),
    ("gDay", ["---01", "---15", "---31"]),
    ("gMonth", ["--01", "--06", "--12"]),
];

#[test]
fn bounds_patterns_and_enumerations_hold_for_every_ordered_type() {
    for (base, [low, middle, high]) in ORDERED {
        holds(base, &[("minInclusive", middle)], &[middle, high], &[low]);
        holds(base, &[("minExclusive", middle)], &[high], &[middle, low]);
        holds(base, &[("maxInclusive", middle)], &[middle, low], &[high]);
        holds(base, &[("maxExclusive", middle)], &[low], &[middle, high]);
        holds(base, &[("minInclusive", low), ("maxInclusive", high)], &[low, middle, high], &[]);
        holds(base, &[("enumeration", low), ("enumeration", high)], &[low, high], &[middle]);
        let pattern = middle.replace('.', "\\.").replace('+', "\\+");
        holds(base, &[("pattern", &pattern)], &[middle], &[low, high]);
        let padded = format!(" \n{middle}\t");
        holds(base, &[], &[&padded], &["", "x"]);
    }
}

/// Types with a length: values of two, three and four.
const MEASURED: [(&str, [&str; 3]); 18] = [
    ("string", ["é漢", "é漢x", "é漢xy"]),
    ("normalizedString", ["a ", "a b", "a  b"]),
    ("token", ["ab", "a b", "a bc"]),
    ("language", ["en", "deu", "en-G"]),
    ("Name", ["a:", "_bc", ":bcd"]),
    ("NCName", ["ab", "a-é", "a.cd"]),
    ("NMTOKEN", ["12", "1:2", "-123"]),
    ("ID", ["ab", "abc", "abcd"]),
    ("IDREF", ["ab", "abc", "abcd"]),
    ("ENTITY", ["ab", "abc", "abcd"]),
    ("anyURI", ["ab", "a:b", "a://"]),
    ("hexBinary", ["0aFF", "0aFF00", "0aFF0011"]),
    ("base64Binary", ["AAA=", "AA AA", "AAAAAA=="]),
    ("NMTOKENS", ["1 2", "1 2 3", "1 2 3 4"]),
    ("IDREFS", ["a b", "a b c", "a b c d"]),
    ("ENTITIES", ["a b", "a b c", "a b c d"]),
    // XSD 1.0 part 2, 4.3.1: of these the length says nothing.
    ("QName", ["ab", "a:b", "ab:d"]),
    ("NOTATION", ["ab", "a:b", "ab:d"]),
];

#[test]
fn lengths_patterns_and_enumerations_hold_for_every_type_of_characters() {
    for (base, [two, three, four]) in MEASURED {
        if matches!(base, "QName" | "NOTATION") {
            holds(base, &[("length", "3")], &[two, three, four], &[""]);
        } else {
            holds(base, &[("length", "3")], &[three], &[two, four]);
            holds(base, &[("minLength", "3")], &[three, four], &[two]);
            holds(base, &[("maxLength", "3")], &[two, three], &[four]);
            holds(base, &[("minLength", "2"), ("maxLength", "3")], &[two, three], &[four]);
        }
        holds(base, &[("enumeration", three), ("enumeration", two)], &[two, three], &[four]);
        let pattern: String =
            three.chars().map(|c| if ".-".contains(c) { format!("\\{c}") } else { c.into() }).collect();
        holds(base, &[("pattern", &pattern)], &[three], &[two, four]);
        holds(base, &[("pattern", "x"), ("pattern", &pattern)], &[three], &[two, four]);
    }
}

#[test]
fn digits_are_counted_without_what_is_not_significant() {
    for (base, _) in ORDERED.iter().take(14) {
        let sign = if matches!(*base, "negativeInteger" | "nonPositiveInteger") { "-" } else { "" };
        let of = |digits: &str| format!("{sign}{digits}");
        holds(base, &[("totalDigits", "2")], &[&of("10"), &of("0010"), &of("1")], &[&of("100"), &of("123")]);
        holds(base, &[("fractionDigits", "0")], &[&of("10")], &[&of("1.5")]);
    }
    holds("decimal", &[("totalDigits", "3")], &["12.3", "0.123", "00012.30"], &["12.34", "1234"]);
    holds("decimal", &[("fractionDigits", "1")], &["1.5", "1.50", ".5", "1."], &["1.55"]);
    holds("boolean", &[("pattern", "true|false")], &["true", "false"], &["1", "0"]);
}

#[test]
fn what_is_equal_in_the_value_space_is_equal_to_an_enumeration() {
    // type | the enumeration | equal | not equal
    for (base, allowed, equal, other) in [
        ("decimal", "1.50", "+01.5", "1.51"),
        ("integer", "7", "+007", "-7"),
        ("double", "1e1", "10.0", "10.1"),
        ("float", "-0.5", "-5E-1", "0.5"),
        ("dateTime", "2026-12-31T24:00:00Z", "2027-01-01T01:00:00+01:00", "2026-12-31T00:00:00Z"),
        ("time", "10:00:00Z", "11:30:00.00+01:30", "10:00:00+01:00"),
        ("date", "2026-11-23Z", "2026-11-23+00:00", "2026-11-24Z"),
        ("duration", "P1Y2M", "P14M", "P14D"),
        ("duration", "P1D", "PT24H", "PT23H"),
        ("hexBinary", "0aFF", "0AFf", "0AFE"),
        ("base64Binary", "AAEC", "AA EC", "AAED"),
    ] {
        holds(base, &[("enumeration", allowed)], &[allowed, equal], &[other]);
    }
}

#[test]
fn white_space_is_preserved_replaced_or_collapsed_before_a_value_is_checked() {
    for (base, facets, text, expected) in [
        ("string", &[][..], " a\n b ", " a\n b "),
        ("string", &[("whiteSpace", "replace")], " a\n b ", " a  b "),
        ("string", &[("whiteSpace", "collapse")], " a\n b ", "a b"),
        ("normalizedString", &[], "a\tb ", "a b "),
        ("token", &[], " a\r\n b ", "a b"),
        ("NMTOKENS", &[], " a\n b ", "a b"),
        ("int", &[], " 1 ", "1"),
    ] {
        let (schemas, id) = declared(base, facets);
        assert_eq!(check(&schemas, schemas.simple(id).unwrap(), text).unwrap(), expected, "{base} {facets:?}");
    }
}

#[test]
fn all_forty_four_types_are_held_against_values_and_facets() {
    let known = Builtin::ALL.iter().map(|(_, name)| *name).filter(|name| *name != "anySimpleType");
    let untested = known.filter(|name| {
        let ordered = ORDERED.iter().any(|(base, _)| base == name);
        !ordered && !MEASURED.iter().any(|(base, _)| base == name) && *name != "boolean"
    });
    assert_eq!(untested.collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(ORDERED.len() + MEASURED.len() + 1, 44);
}

#[test]
fn what_cannot_be_ordered_against_a_bound_is_out_of_it() {
    let nines = "9".repeat(1_200);
    let small = format!("0.{}1", "0".repeat(1_200));
    let (below, least) = (format!("-{nines}"), small.replacen('0', "1", 1));
    for (base, facet, bound, taken, refused) in [
        ("float", "minInclusive", "1", vec!["1", "INF"], vec!["0.5", "NaN"]),
        ("float", "maxInclusive", "1.5", vec!["1.5000000001", "-INF"], vec!["1.51", "NaN"]),
        ("double", "maxInclusive", "1.5", vec!["1.5"], vec!["1.5000000001", "NaN"]),
        ("double", "maxInclusive", "NaN", vec!["NaN"], vec!["1", "INF"]),
        ("double", "minExclusive", "NaN", vec![], vec!["NaN", "1"]),
        ("duration", "minInclusive", "P1M", vec!["P1M", "P32D", "P2M"], vec!["P27D", "P28D", "P30D", "P31D", "PT744H"]),
        ("duration", "maxInclusive", "P1M", vec!["P1M", "P27D"], vec!["P28D", "P30D", "P31D"]),
        ("duration", "minExclusive", "P1Y", vec!["P367D", "P13M"], vec!["P364D", "P365D", "P366D", "P12M"]),
        ("duration", "maxInclusive", "P5M", vec!["P149D"], vec!["P150D", "P153D", "P154D"]),
        ("duration", "maxInclusive", "-P1M", vec!["-P32D", "-P1M"], vec!["-P30D", "-P31D"]),
        ("duration", "maxInclusive", "-PT1.2S", vec!["-PT1.5S", "-PT1.20S", "-PT1.25S"], vec!["-PT1.1S", "-PT1S"]),
        (
            "dateTime",
            "minInclusive",
            "2024-01-01T00:00:00Z",
            vec!["2024-01-01T00:00:00Z", "2024-01-01T14:00:00.1", "2024-01-01T14:00:01"],
            vec!["2024-01-01T12:00:00", "2024-01-01T14:00:00", "2023-12-31T09:00:00"],
        ),
        (
            "dateTime",
            "maxExclusive",
            "2024-12-31T00:00:00",
            vec!["2024-12-30T23:00:00", "2024-12-30T09:59:59.9Z"],
            vec!["2024-12-30T10:00:00Z", "2024-12-31T00:00:00Z"],
        ),
        (
            "date",
            "minExclusive",
            "2024-02-29",
            vec!["2024-03-01", "2024-03-01Z"],
            vec!["2024-02-29", "2024-02-29Z", "2024-02-29+14:00"],
        ),
        (
            "time",
            "minInclusive",
            "10:00:00Z",
            vec!["09:00:00-02:00", "05:00:00+14:00", "24:00:00Z"],
            vec!["10:00:00", "23:59:59", "09:59:59Z"],
        ),
        ("gYear", "minInclusive", "2000", vec!["2000", "2001Z"], vec!["2000Z", "1999Z"]),
        ("gYearMonth", "minInclusive", "2000-02", vec!["2000-03Z"], vec!["2000-02Z"]),
        ("gMonthDay", "minInclusive", "--02-01", vec!["--02-02Z"], vec!["--02-01Z"]),
        ("gMonth", "maxInclusive", "--10Z", vec!["--09"], vec!["--10", "--11"]),
        ("gDay", "maxInclusive", "---10Z", vec!["---09"], vec!["---10", "---11"]),
        (
            "decimal",
            "maxInclusive",
            "1",
            vec![small.as_str(), below.as_str(), "-0"],
            vec![nines.as_str(), least.as_str()],
        ),
    ] {
        holds(base, &[(facet, bound)], &taken, &refused);
    }
}
