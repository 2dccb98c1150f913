//! What expressions give, case by case.

use std::collections::HashMap;

use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::envelope::{Field, Value as FieldValue};

fn record() -> Record {
    let text = |text: &str| FieldValue::Text(text.to_owned());
    let number = |digits: &str| FieldValue::Number(digits.to_owned());
    let fields = [
        ("Id", text("006A")),
        ("Name", text(" Größe & Co ")),
        ("Amount", number("45000.00")),
        ("Big", number("123456789012345678901234567890.125")),
        ("Half", number("2.675")),
        ("Zero", number("0.0")),
        ("Monster", number("1e999999999")),
        ("Untyped", text("45000.0")),
        ("Won", FieldValue::Boolean(true)),
        ("Nothing", FieldValue::Null),
        ("Empty", text("")),
        ("Country", text("Deutschland")),
        ("Picks", text("a;b;c")),
        ("Day", text("2026-03-29")),
        ("Moment", text("2026-07-01T22:30:00.000Z")),
        ("Twice", FieldValue::List(vec![text("x"), number("1.0")])),
    ];
    let fields = fields.into_iter().map(|(name, value)| Field { name: name.to_owned(), value }).collect();
    Record { record_type: "Opportunity".to_owned(), fields, drift: Vec::new() }
}

fn tables() -> Tables {
    let rows: HashMap<_, _> = [("Deutschland".to_owned(), "DE".to_owned())].into();
    let table = |on_missing| Table { rows: rows.clone(), on_missing };
    Tables(Arc::new(
        [("countries".to_owned(), table(OnMissing::Dead)), ("soft".to_owned(), table(OnMissing::None))].into(),
    ))
}

fn with_subject<T>(ask: impl FnOnce(&Subject<'_>) -> T) -> T {
    let record = record();
    ask(&Subject {
        record: Some(&record),
        notification_id: "04l1",
        received_at: Timestamp(1_790_000_000_123),
        organization_id: "00D1",
        action_id: "04k1",
        enterprise_url: "https://e",
        partner_url: "https://p",
        source: "order-won",
        after: None,
    })
}

fn evaluate(source: &str) -> Result<Json, String> {
    let expression = Expression::compile(source, &tables()).map_err(|error| error.to_string())?;
    with_subject(|subject| expression.evaluate(subject)).map_err(|error| error.to_string())
}

#[test]
fn expressions_give_values() {
    for (source, expected) in [
        // Fields keep their type and their digits.
        ("record.Amount", "45000.00"),
        ("record.Big", "123456789012345678901234567890.125"),
        ("record.Monster", "1e999999999"),
        ("record.Name", r#"" Größe & Co ""#),
        ("record.Won", "true"),
        ("record.Nothing", "null"),
        ("record.Absent", "null"),
        ("record.Absent.Deeper.Still", "null"),
        ("record['Amount']", "45000.00"),
        ("record.Twice", r#"["x",1.0]"#),
        ("record.Twice[1]", "1.0"),
        ("notification.id ~ '/' ~ source", r#""04l1/order-won""#),
        ("notification.received_at", r#""2026-09-21T14:13:20.123Z""#),
        ("envelope.organization_id ~ envelope.action_id", r#""00D104k1""#),
        ("'EUR'", r#""EUR""#),
        ("42", "42"),
        ("2.50", "2.50"),
        ("-123456789012345678901234567890", "-123456789012345678901234567890"),
        ("[record.Id, {'a': 1}]", r#"["006A",{"a":1}]"#),
        // Numbers calculate exactly.
        ("record.Amount * 2", "90000.00"),
        ("record.Amount + 0.1", "45000.10"),
        ("record.Amount / 8", "5625"),
        ("(record.Amount / 7) | decimal(4)", "6428.5714"),
        ("(1 / 3) | decimal(3)", "0.333"),
        ("1 / 3", "0.3333333333333333333333333333333333"),
        ("-record.Amount", "-45000.00"),
        ("record.Untyped * 2", "90000.0"),
        ("7 // 2", "3"),
        ("-7 % 3", "2"),
        ("2 ** 10", "1024"),
        ("record.Big + 1", "123456789012345678901234567891.125"),
        // And compare by value, written as a number or as text.
        ("record.Amount > 1000", "true"),
        ("record.Amount == 45000", "true"),
        ("record.Amount == record.Untyped", "true"),
        ("record.Untyped >= 45000.0", "true"),
        ("record.Big > 123456789012345678901234567890.1", "true"),
        ("0 < record.Half <= 2.675", "true"),
        ("record.Amount in [1, 45000]", "true"),
        ("'Co' in record.Name", "true"),
        ("record.Absent > 5", "false"),
        ("record.Absent < 5", "false"),
        ("record.Absent == none", "true"),
        ("record.Absent == 'x'", "false"),
        ("record.Absent != 'x' and record.Absent not in ['x']", "true"),
        ("record.Absent != none", "false"),
        ("record.Absent < 'x' or record.Absent >= 'x' or 1 > record.Absent", "false"),
        ("record.Absent in ['x'] or 'x' in record.Absent", "false"),
        ("record.Absent is none and record.Nothing is not defined", "true"),
        ("record.Empty == ''", "true"),
        ("record.Day > '2026-01-01'", "true"),
        ("not record.Zero", "true"),
        ("'yes' if record.Won else 'no'", r#""yes""#),
        ("record.Nothing or 'else'", r#""else""#),
        // Filters.
        ("record.Half | decimal(2)", "2.68"),
        ("2.665 | decimal(2)", "2.66"),
        ("record.Big | decimal(2)", "123456789012345678901234567890.12"),
        ("record.Untyped | decimal(0)", "45000"),
        ("-record.Half | decimal(1)", "-2.7"),
        ("record.Half | round(1)", "2.7"),
        ("record.Half | int", "2"),
        ("record.Untyped | float", "45000.0"),
        ("'0' | bool", "false"),
        ("record.Day | date('%d.%m.%Y')", r#""29.03.2026""#),
        ("record.Day | date('%d.%m.%Y', 'America/New_York')", r#""29.03.2026""#),
        ("record.Moment | date('%Y-%m-%d %H:%M', 'Europe/Berlin')", r#""2026-07-02 00:30""#),
        ("record.Moment | date('%Y-%m-%dT%H:%M:%S%:z')", r#""2026-07-01T22:30:00+00:00""#),
        ("'2026-03-29T01:30:00+01:00' | date('%H:%M', 'UTC')", r#""00:30""#),
        ("'2026-12-31T24:00:00' | date('%Y-%m-%d %H:%M')", r#""2027-01-01 00:00""#),
        ("'2026-02-28T24:00:00.00+01:00' | date('%Y-%m-%d %H:%M', 'UTC')", r#""2026-02-28 23:00""#),
        ("'2026-02-28T24:00:00Z' | date('%d.%m.%Y')", r#""01.03.2026""#),
        ("record.Id | pad(8)", r#""    006A""#),
        ("record.Id | pad(8, '0')", r#""0000006A""#),
        ("record.Id | pad(8, '.', 'right')", r#""006A....""#),
        ("record.Name | trim | truncate(3)", r#""Grö""#),
        ("record.Name | trim | upper", r#""GRÖSSE & CO""#),
        ("record.Name | trim | lower | replace(' & ', '-')", r#""größe-co""#),
        ("record.Picks | split(';') | join('+')", r#""a+b+c""#),
        ("record.Picks | split(';') | last", r#""c""#),
        ("record.Picks | split(';') | length > 2", "true"),
        ("record.Absent | default('x')", r#""x""#),
        ("record.Empty | default('x')", r#""""#),
        ("record.Empty | default('x', true)", r#""x""#),
        ("record.Country | lookup('countries')", r#""DE""#),
        ("record.Id | lookup('soft')", "null"),
        ("record.Id | lookup('soft') | default('??')", r#""??""#),
        ("record.Absent | lookup('countries')", "null"),
        ("record.Absent | decimal(2) | pad(3) | date('%Y') | split(',') | join | upper", "null"),
        ("record.Amount | string ~ ' EUR'", r#""45000.00 EUR""#),
        ("record.Absent ~ 'x'", r#""x""#),
        ("record.Id | nil", r#"{"$nil":true}"#),
        ("'it' 's'", r#""its""#),
        ("record.Name[1:4]", r#""Grö""#),
    ] {
        assert_eq!(evaluate(source).map(|value| value.to_string()), Ok(expected.to_owned()), "{source}");
    }
}

#[test]
fn a_condition_holds_unless_it_comes_to_nothing_or_to_a_text_that_says_no() {
    for (source, expected) in [
        ("true", true),
        ("false", false),
        ("none", false),
        ("0", false),
        ("2", true),
        ("''", false),
        ("[]", false),
        ("{}", false),
        ("[0]", true),
        ("'yes'", true),
        ("'false'", false),
        ("' False '", false),
        ("'0'", false),
        ("'no'", false),
        ("'OFF'", false),
        ("'nothing'", true),
        ("record.Name", true),
        ("record.Absent", false),
    ] {
        let expression = Expression::compile(source, &tables()).unwrap();
        assert_eq!(with_subject(|subject| expression.holds(subject)).unwrap(), expected, "{source}");
    }
}

#[test]
fn what_cannot_be_done_is_said_with_the_expression() {
    for (source, reason) in [
        ("record.Name > 5", "cannot compare the text \" Größe & Co \" with the number 5 in `>`"),
        ("record.Name * 2", "cannot calculate with the text"),
        ("record.Absent * 2", "cannot calculate with none in `*`"),
        ("record.Monster * 2", "cannot calculate with the number 1e999999999"),
        ("record.Amount + 'x'", "join texts with `~`"),
        ("record.Amount / 0", "divides by zero"),
        ("2 ** 1000", "an exponent must be a whole number from 0 to 100"),
        ("((9 ** 100) ** 100) ** 100", "more than 1,000 digits"),
        ("record.Id | lookup('countries')", "table \"countries\" has no row for \"006A\""),
        ("record.Name | decimal(2)", "decimal needs a number"),
        ("record.Amount | decimal(-1)", "from 0 to 100, not the number -1"),
        ("record.Name | date('%Y')", "date needs an xsd:date or xsd:dateTime"),
        ("record.Day | date('%H:%M')", "date cannot write"),
        ("'2026-12-31T24:00:01' | date('%Y')", "date needs an xsd:date or xsd:dateTime"),
        ("'9999-12-31T24:00:00' | date('%Y')", "date needs an xsd:date or xsd:dateTime"),
        ("record.Moment | date('%H', 'Mars/Olympus')", "is no time zone"),
        ("record.Id | pad(1000000)", "from 0 to 10000"),
        ("record.Id | pad(8, 'ab')", "one character"),
        ("record.Twice | upper", "needs text, not a list"),
        ("record.Name | replace('', 'x')", "not empty"),
        ("record.Name | bool", "bool needs true, false, 1 or 0"),
    ] {
        let error = evaluate(source).unwrap_err();
        assert!(error.contains(reason), "{source}: {error}");
        assert!(error.contains(&format!("`{source}`")), "{source}: {error}");
    }
}

#[test]
fn what_is_wrong_is_found_when_the_expression_is_compiled() {
    for (source, reason, offset, suggestion) in [
        ("record.Name | uper", "there is no filter named \"uper\"", Some(14), Some("upper")),
        ("record.Name is defind", "there is no test named \"defind\"", Some(15), Some("defined")),
        ("record.C | lookup('countrys')", "there is no table named \"countrys\"", Some(18), Some("countries")),
        ("record.Name.upper()", "functions and methods cannot be called", Some(17), None),
        ("range(10)", "functions and methods cannot be called", Some(5), None),
        ("record.Amount | decimal", "decimal needs the number of places", Some(16), None),
        ("record.A | pad(8, char='0')", "have no names", Some(22), None),
        ("record.A | pad(8, '00')", "must be one character", Some(11), None),
        ("record.A | pad(8, '0', 'middle')", "'left' or 'right'", Some(11), None),
        ("record.A | decimal(-1)", "must be a whole number from 0 to 100", Some(11), None),
        ("record.A | truncate('x')", "must be a whole number", Some(11), None),
        ("record.A | date('%!')", "date cannot write", Some(11), None),
        ("record.A | date('%H', 'Europe/Berlinn')", "is no time zone", Some(11), None),
        ("record.A | replace('', 'x')", "that is not empty", Some(11), None),
        ("record.A | split('')", "that is not empty", Some(11), None),
        ("record.A ==", "expected a value, found its end", Some(11), None),
        ("record.A = 1", "expected the end of the expression, found `=`", Some(9), None),
        ("record.A && true", "'&' has no meaning here", Some(9), None),
        ("'open", "has no end", Some(0), None),
        ("", "is empty", Some(0), None),
        ("a not b", "", None, None),
    ] {
        let error = Expression::compile(source, &tables()).unwrap_err();
        assert!(error.reason.contains(reason), "{source}: {error}");
        assert_eq!((error.offset, error.suggestion.as_deref()), (offset, suggestion), "{source}");
    }
}

#[test]
fn hostile_sources_are_refused_and_not_followed() {
    for source in [
        "(".repeat(10_000),
        "-".repeat(10_000),
        "not ".repeat(3_000) + "1",
        "[".repeat(5_000) + &"]".repeat(5_000),
        "a".to_owned() + &".b".repeat(20_000),
        "a".to_owned() + &"['b']".repeat(100) + &"(".repeat(300),
        "{{".to_owned(),
        "\u{0}".to_owned(),
        "a|".repeat(2_000),
    ] {
        let _ = Expression::compile(&source, &tables()).map(|expression| with_subject(|s| expression.evaluate(s)));
    }
    let long_sum = vec!["1"; 250].join(" + ");
    assert_eq!(evaluate(&long_sum).unwrap(), json!(250));
}

#[test]
fn an_expression_names_what_it_reads() {
    let expression = Expression::compile("record.Amount | default(record.Other) > 1 and recrod.X", &tables()).unwrap();
    let names: Vec<_> = expression.names().collect();
    assert_eq!(names, [("record.Amount", 0), ("record.Other", 24), ("recrod.X", 46)]);
    let error = expression.check_names(&SUBJECT_NAMES).unwrap_err();
    assert_eq!((error.offset, error.suggestion.as_deref()), (Some(46), Some("record")));
}

#[test]
fn answers_are_judged_by_status_headers_fault_and_body() {
    let headers = [("content-type".to_owned(), "text/xml".to_owned())];
    let typed = Fault {
        detail: Some("<OrderFault><Code>7</Code></OrderFault>".to_owned()),
        content: json!({"OrderFault": {"Code": 7}}),
        ..Fault::default()
    };
    let plain = Fault { detail: Some("busy".to_owned()), ..Fault::default() };
    for (fault, source) in [
        (&typed, "response.fault.detail.OrderFault.Code == 7"),
        (&typed, "'<Code>7' in response.fault.detail_xml"),
        (&plain, "response.fault.detail == 'busy' and response.fault.detail_xml == 'busy'"),
    ] {
        let scope = ResponseScope { status: 500, headers: &headers, fault: Some(fault), body: None };
        let expression = Expression::compile(source, &Tables::default()).unwrap();
        assert!(expression.evaluate_response(&scope).unwrap().holds, "{source}");
    }
    let fault = Fault { code: "Server".to_owned(), subcodes: vec!["Busy".to_owned()], ..Fault::default() };
    let body = json!({"status": {"code": 7, "text": "QUEUED"}});
    let scope = ResponseScope { status: 200, headers: &headers, fault: Some(&fault), body: Some(&body) };
    for (source, expected) in [
        ("response.status < 300", true),
        ("response.body.status.text == 'QUEUED'", true),
        ("response.body.status.code == 7", true),
        ("response.body.nothing.there", false),
        ("response.headers['content-type'] is startingwith 'text/'", true),
        ("response.fault.code == 'Server' and 'Busy' in response.fault.subcodes", true),
        ("response.fault.detail", false),
    ] {
        let expression = Expression::compile(source, &Tables::default()).unwrap();
        assert_eq!(expression.evaluate_response(&scope).unwrap().holds, expected, "{source}");
    }
}

#[test]
fn a_condition_that_is_decided_without_the_body_does_not_read_it() {
    let scope = ResponseScope { status: 204, headers: &[], fault: None, body: None };
    for (source, expected) in [
        ("response.status == 204", (true, false)),
        ("response.status == 204 or response.body.ok", (true, false)),
        ("response.status == 200 and response.body.ok", (false, false)),
        ("true if response.status == 204 else response.body.ok", (true, false)),
        ("response.body.ok or response.status == 204", (true, true)),
        ("response['body'].ok is none", (true, true)),
        ("response.body | length == 0", (false, true)),
        ("not response.body.error", (true, true)),
        ("response.nothing is defined", (false, false)),
    ] {
        let judged = Expression::compile(source, &Tables::default()).unwrap().evaluate_response(&scope).unwrap();
        assert_eq!((judged.holds, judged.reads_body), expected, "{source}");
    }
}

#[test]
fn a_secret_stands_in_a_constant_and_is_never_shown() {
    let mut text = Text::plain("'");
    text.push_secret("${KEY}", SecretString::from("it's \"x\" \\ y"));
    text.push_plain("' ~ record.Name | date('%Y')");
    let expression = Expression::compile_text(&text, &Tables::default()).unwrap();
    let error = with_subject(|subject| expression.evaluate(subject)).unwrap_err();
    assert!(!error.to_string().contains("it's"), "{error}");
    assert!(error.to_string().contains("'${KEY}' ~"), "{error}");

    let mut bare = Text::default();
    bare.push_secret("${KEY}", SecretString::from("record.Name"));
    assert!(Expression::compile_text(&bare, &Tables::default()).is_err());

    let mut constant = Text::plain("'");
    constant.push_secret("${KEY}", SecretString::from("it's \"x\" \\ y"));
    constant.push_plain("'");
    let expression = Expression::compile_text(&constant, &Tables::default()).unwrap();
    assert_eq!(with_subject(|subject| expression.evaluate(subject)).unwrap(), json!("it's \"x\" \\ y"));
}

fn fill(text: &str, place: Place) -> Result<String, String> {
    let template = Template::compile(&Text::plain(text), place, &tables()).map_err(|error| error.to_string())?;
    with_subject(|subject| template.fill(subject)).map(|text| text.reveal()).map_err(|error| error.to_string())
}

#[test]
fn holes_of_a_url_are_percent_encoded_and_never_empty() {
    assert_eq!(fill("http://h/c/{{ record.Id }}", Place::Url).unwrap(), "http://h/c/006A");
    assert_eq!(
        fill("http://h/{{record.Name|trim}}?q={{ '}}/?&' }}&e={{ record.Empty }}", Place::Url).unwrap(),
        "http://h/Gr%C3%B6%C3%9Fe%20%26%20Co?q=%7D%7D%2F%3F%26&e="
    );
    assert_eq!(fill("http://h/{{ {'a': 'x'}.a }}", Place::Url).unwrap(), "http://h/x");
    for (text, reason) in [
        ("http://h/{{ record.Absent }}", "a URL cannot be made without it"),
        ("http://h/{{ record.Id | nil }}", "a URL cannot be made without it"),
        ("http://h/{{ record.Empty }}", "would change the path"),
        ("http://h/{{ '..' }}/x", "would change the path"),
        ("http://h/{{ record.Twice }}", "a list or an object"),
        ("http://h/{{ record.Id", "`{{` has no `}}`"),
        ("http://h/{{ }}", "is empty"),
        ("http://h/{{ record.Id | uper }}", "no filter named"),
    ] {
        let error = fill(text, Place::Url).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn holes_of_a_header_carry_no_line_end() {
    assert_eq!(fill("v-{{ record.Amount }}-{{ record.Absent }}", Place::Header).unwrap(), "v-45000.00-");
    assert!(fill("{{ 'a\\r\\nX-Evil: 1' }}", Place::Header).unwrap_err().contains("no header may carry"));
}

fn document(source: &str) -> Result<String, String> {
    let document = Document::compile("order.xml.j2", source, &tables()).map_err(|error| error.to_string())?;
    with_subject(|subject| document.render(subject)).map_err(|error| error.to_string())
}

#[test]
fn a_document_escapes_what_its_holes_write() {
    let source = "<o>{# note #}{% if record.Amount > 1000 %}<a>{{ record.Name }}</a>{% else %}no{% endif %}\
                  {% for p in record.Picks | split(';') %}<p n='{{ loop.index }}'>{{ p }}</p>{% endfor %}\
                  {%- set t = record.Amount * 2 %}<t>{{ t }}</t>{{ record.Absent }}</o>";
    assert_eq!(
        document(source).unwrap(),
        "<o><a> Größe &amp; Co </a><p n='1'>a</p><p n='2'>b</p><p n='3'>c</p><t>90000.00</t></o>"
    );
    for (source, reason) in [
        ("{% include 'x' %}", "there is no `{% include %}`"),
        ("{{ record.A", "has no `}}`"),
        ("{% if record.A %}", "unexpected end"),
        ("{{ recrod.A }}", "no name named"),
        ("{{ '\\u0001' }}", "U+0001"),
        ("{% for x in record.Twice %}{% for y in record.Twice %}{{ [x, y] }}{% endfor %}{% endfor %}", "a list"),
    ] {
        let error = document(source).unwrap_err();
        assert!(error.contains(reason), "{source}: {error}");
    }
}

#[test]
fn a_document_cannot_run_for_ever() {
    let list = format!("[{}]", vec!["1"; 60].join(","));
    let loops: String = "abcdef".chars().map(|name| format!("{{% for {name} in {list} %}}")).collect();
    let source = format!("{loops}x{}", "{% endfor %}".repeat(6));
    assert!(document(&source).unwrap_err().contains("costs more"));
}
