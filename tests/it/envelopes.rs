//! Envelopes: the project's own against golden files, real ones when the corpus is there, and ones that mean harm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that meets the unexpected fails, and one that is skipped says so"
)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use omgate::cli::inspect::report;
use omgate::envelope::{Content, Envelope, FieldType, IntegerType, Notification, RecordTypes, Value};
use omgate::parse::{self, Limits, ParseError};
use omgate::wsdl::{Finding, outbound};
use proptest::prelude::*;

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files of a folder by name without extension; none, with a word, when the folder is not there.
fn folder(path: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(project(path)) else {
        println!("skipped: {path} is not there");
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "golden"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn order_won() -> RecordTypes {
    outbound::record_types("order-won.wsdl", &fs::read_to_string(project("wsdl/order-won.wsdl")).unwrap()).unwrap()
}

fn read(body: &[u8], types: Option<&RecordTypes>) -> Result<Envelope, ParseError> {
    parse::envelope(body, None, &Limits::default(), types)
}

/// An envelope with these children of `notifications`.
fn message(children: &str) -> String {
    format!(
        "<e:Envelope xmlns:e='{SOAP}' xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><e:Body>\
         <notifications xmlns='{OUTBOUND}'>{children}</notifications></e:Body></e:Envelope>"
    )
}

/// An envelope with the ids it needs and these notifications.
fn envelope_of(notifications: &str) -> String {
    message(&format!("<OrganizationId>00D</OrganizationId><ActionId>04k</ActionId>{notifications}"))
}

fn notification(id: &str, fields: &str) -> String {
    format!(
        "<Notification><Id>{id}</Id><sObject xsi:type='sf:Thing' xmlns:sf='urn:sobject.enterprise.soap.sforce.com'>\
         {fields}</sObject></Notification>"
    )
}

fn only(body: &str) -> Notification {
    let mut notifications = read(body.as_bytes(), None).unwrap().notifications;
    assert_eq!(notifications.len(), 1);
    notifications.remove(0)
}

fn xml_of(notification: &Notification) -> &str {
    match &notification.content {
        Content::Record { xml, .. } | Content::Unreadable { xml, .. } => xml,
        Content::Empty { .. } => "",
    }
}

fn reason_of(notification: &Notification) -> &str {
    match &notification.content {
        Content::Unreadable { reason, .. } => reason,
        Content::Record { .. } | Content::Empty { .. } => "",
    }
}

// The project's own.

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch that rewrites golden files is for whoever runs the tests")]
fn every_fixture_is_seen_as_its_golden_files_say() {
    let update = std::env::var_os("OMGATE_UPDATE").is_some();
    let types = order_won();
    let mut expected: Vec<String> = Vec::new();
    for (name, body) in folder("fixtures/envelopes") {
        for (golden, types) in [(name.clone(), Some(&types)), (format!("{name}.untyped"), None)] {
            let path = project(&format!("fixtures/inspect/{golden}.json"));
            let seen = serde_json::to_string_pretty(&report(&read(&body, types).unwrap())).unwrap() + "\n";
            if update {
                fs::write(&path, &seen).unwrap();
            }
            let known = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(seen, known, "{golden}.json; OMGATE_UPDATE=1 rewrites it");
            expected.push(golden);
        }
    }
    let orphans: Vec<String> =
        folder("fixtures/inspect").into_iter().map(|(name, _)| name).filter(|name| !expected.contains(name)).collect();
    assert!(orphans.is_empty(), "golden files without envelope: {orphans:?}");
    assert!(expected.len() >= 24);
}

#[test]
fn every_encoding_gives_the_same_message() {
    let text = fs::read_to_string(project("fixtures/envelopes/create.xml")).unwrap();
    let plain = read(text.as_bytes(), None).unwrap();
    let bare = text.split_once("?>").unwrap().1;
    let wide = |encode: fn(u16) -> [u8; 2], text: &str| text.encode_utf16().flat_map(encode).collect::<Vec<u8>>();
    let forms: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("byte order mark", format!("\u{FEFF}{text}").into_bytes(), Some("utf-8")),
        ("no declaration", bare.trim_start().into(), Some("UTF-8")),
        ("UTF-16LE with mark", wide(u16::to_le_bytes, &format!("\u{FEFF}{bare}")), None),
        ("UTF-16BE with mark", wide(u16::to_be_bytes, &format!("\u{FEFF}{text}")), Some("utf-8")),
        ("UTF-16LE without mark", wide(u16::to_le_bytes, &text), Some("utf-16")),
        ("ISO-8859-1", text.replace("UTF-8", "ISO-8859-1").into_bytes(), None),
        ("US-ASCII", text.clone().into_bytes(), Some("us-ascii")),
    ];
    for (form, body, charset) in forms {
        let seen = parse::envelope(&body, charset, &Limits::default(), None).expect(form);
        assert_eq!(seen.notifications[0].hash, plain.notifications[0].hash, "{form}");
        assert_eq!(report(&seen), report(&plain), "{form}");
    }
}

#[test]
fn the_stored_fragment_of_a_record_reads_the_same() {
    let types = order_won();
    let mut count = 0;
    let bodies = ["fixtures/envelopes", "../shared/corpus/salesforce/envelopes"].map(folder).concat();
    for (name, body) in bodies {
        for types in [Some(&types), None] {
            for notification in read(&body, types).unwrap().notifications {
                let Content::Record { record, xml, .. } = &notification.content else { continue };
                count += 1;
                assert_eq!(&parse::record(xml, types).unwrap(), record, "{name}: {xml}");
                assert_eq!(parse::well_formed(xml, 10), Ok(()), "{name}: {xml}");
                assert_eq!(hash_of_fragment(xml), notification.hash, "{name}: {xml}");
            }
        }
    }
    assert!(count >= 20);
}

/// The hash of a fragment as it would be if it came again: it stands alone, so it can stand anywhere.
fn hash_of_fragment(xml: &str) -> [u8; 32] {
    only(&envelope_of(&format!("<Notification><Id>x</Id>{xml}</Notification>"))).hash
}

#[test]
fn a_fragment_takes_along_the_declarations_it_uses_and_no_others() {
    let body = format!(
        "<e:Envelope xmlns:e='{SOAP}' xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:sf='urn:a&amp;b' \
         xmlns:typ='urn:typ' xmlns:no='urn:no'><e:Body><n:notifications xmlns:n='{OUTBOUND}' xmlns='urn:default'>\
         <n:OrganizationId>00D</n:OrganizationId><n:ActionId>04k</n:ActionId><n:Notification><n:Id>1</n:Id>\
         <n:sObject xmlns:own = 'urn:own' i:type=' typ:Thing'\n><sf:A own:x='1'>é</sf:A><B xmlns:sf='urn:inner'><sf:x/></B>\
         </n:sObject></n:Notification></n:notifications></e:Body></e:Envelope>"
    );
    assert_eq!(
        xml_of(&only(&body)),
        format!(
            "<n:sObject xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:sf='urn:a&amp;b' xmlns:typ='urn:typ' \
             xmlns:n='{OUTBOUND}' xmlns='urn:default' xmlns:own = 'urn:own' i:type=' typ:Thing'\n>\
             <sf:A own:x='1'>é</sf:A><B xmlns:sf='urn:inner'><sf:x/></B></n:sObject>"
        )
    );
}

#[test]
fn an_unreadable_notification_is_kept_raw_and_harms_no_other() {
    let good = notification("good", "<sf:Id>1</sf:Id>");
    let many: String = (0..2_001).map(|number| format!("<sf:F{number}/>")).collect();
    for (bad, reason) in [
        (notification("null", "<sf:Id>2</sf:Id>"), "the notification's Id is the word null"),
        (notification(" ", "<sf:Id>2</sf:Id>"), "the notification's Id is empty"),
        (notification("a b", "<sf:Id>2</sf:Id>"), "the notification's Id has a blank"),
        (notification(&"x".repeat(65), "<sf:Id>2</sf:Id>"), "the notification's Id is longer than 64"),
        ("<Notification/>".to_owned(), "the notification has no Id"),
        ("<Notification><Id xsi:nil='true'>x</Id></Notification>".to_owned(), "the notification has no Id"),
        ("<Notification><Id>1</Id><Id>1</Id></Notification>".to_owned(), "the notification has more than one Id"),
        ("<Notification><Id>1</Id><sObject/><sObject/></Notification>".to_owned(), "more than one sObject"),
        (notification("1", &many), "the record has more than 2000 fields"),
    ] {
        let notifications = read(envelope_of(&format!("{good}{bad}{good}")).as_bytes(), None).unwrap().notifications;
        assert_eq!(notifications.len(), 3);
        assert_eq!(notifications[0], notifications[2]);
        assert_eq!(notifications[0].id().unwrap().as_str(), "good");
        let unreadable = &notifications[1];
        assert!(reason_of(unreadable).contains(reason), "{reason}: {}", reason_of(unreadable));
        assert_eq!(parse::well_formed(xml_of(unreadable), 10), Ok(()), "{}", xml_of(unreadable));
        assert!(xml_of(unreadable).starts_with("<Notification"));
        // A resend in other company is the same content.
        assert_eq!(only(&envelope_of(&bad)).hash, unreadable.hash);
        assert_ne!(unreadable.hash, notifications[0].hash);
    }
}

#[test]
fn a_notification_without_record_is_empty() {
    for inside in [
        "",
        "<sObject/>",
        "<sObject> </sObject>",
        "<sObject xsi:nil='1'/>",
        "<sObject xsi:type='sf:Thing' xmlns:sf='urn:sf'></sObject>",
        "<sObject xsi:nil='true' xsi:type='Thing'><Id>1</Id></sObject>",
        "<Other><sObject><Id>1</Id></sObject></Other>",
    ] {
        let notification = only(&envelope_of(&format!("<Notification><Id>1</Id>{inside}</Notification>")));
        assert!(matches!(notification.content, Content::Empty { .. }), "{inside}");
    }
}

#[test]
fn ids_are_trimmed_and_the_session_id_is_nowhere() {
    let body = message(&format!(
        "{}<SessionId>secret<x>secret</x></SessionId><ActionId>\n04k </ActionId><PartnerUrl> p </PartnerUrl>\
         <OrganizationId> <!-- c -->00D<![CDATA[x]]></OrganizationId>",
        notification(" 04l\t", "<sf:Id>1</sf:Id>")
    ));
    let envelope = read(body.as_bytes(), None).unwrap();
    assert_eq!(envelope.organization_id.as_str(), "00Dx");
    assert_eq!(envelope.action_id.as_str(), "04k");
    assert_eq!(envelope.partner_url, "p");
    assert_eq!(envelope.enterprise_url, "");
    assert_eq!(envelope.notifications[0].id().unwrap().as_str(), "04l");
    assert!(!format!("{envelope:?}").contains("secret"));
}

#[test]
fn what_is_no_outbound_message_is_refused_with_the_reason() {
    let one = notification("1", "<sf:Id>1</sf:Id>");
    let ids = "<OrganizationId>00D</OrganizationId><ActionId>04k</ActionId>";
    let soap12 = message("").replace(SOAP, "http://www.w3.org/2003/05/soap-envelope");
    for (body, reason) in [
        (String::new(), "the document has no element"),
        ("{}".to_owned(), "line 1, column 1: text outside of the root element"),
        ("<html/>".to_owned(), "the root element is html: a page, as for people, not a SOAP 1.1 Envelope"),
        (soap12, "the root element is an Envelope of SOAP 1.2, not a SOAP 1.1 Envelope"),
        (format!("<e:Envelope xmlns:e='{SOAP}'/>"), "has no Body"),
        (format!("<e:Envelope xmlns:e='{SOAP}'><e:Body/><e:Body/></e:Envelope>"), "Body comes again at line 1"),
        (format!("<e:Envelope xmlns:e='{SOAP}'><e:Body/></e:Envelope>"), "the Body holds no notifications"),
        (message("").replace(OUTBOUND, "urn:other"), "the Body holds no notifications"),
        (message(ids), "has no Notification"),
        (message(&format!("<ActionId>04k</ActionId>{one}")), "has no OrganizationId"),
        (message(&format!("<OrganizationId>00D</OrganizationId>{one}")), "has no ActionId"),
        (message(&format!("<OrganizationId xsi:nil='true'/><ActionId>04k</ActionId>{one}")), "has no OrganizationId"),
        (message(&format!("<OrganizationId/>{one}")), "OrganizationId at line 1, column 190 is empty"),
        (message(&format!("<OrganizationId>null</OrganizationId>{one}")), "is the word null"),
        (message(&format!("{ids}<ActionId>04x</ActionId>{one}")), "ActionId comes again at line 1"),
        (envelope_of(&one.repeat(101)), "more than 100 notifications at line 1"),
        (
            envelope_of(&one).replace("</e:Body>", &format!("<notifications xmlns='{OUTBOUND}'/></e:Body>")),
            "notifications comes again",
        ),
        (
            envelope_of(&notification("1", &format!("{}{}", "<x>".repeat(60), "</x>".repeat(60)))),
            "elements nest deeper than 64",
        ),
        (
            format!("<!DOCTYPE x [<!ENTITY a 'b'>]>{}", envelope_of(&one)),
            "a document type declaration (DOCTYPE) at line 1, column 1",
        ),
        (envelope_of(&one).replace("xmlns:xsi=", "xmlns:xsj="), "the prefix xsi is not declared"),
        (format!("{} ", envelope_of(&one)).replace("</e:Envelope>", ""), "still open"),
    ] {
        let error = read(body.as_bytes(), None).expect_err(reason).to_string();
        assert!(error.contains(reason), "{reason:?}: {error}");
    }
}

#[test]
fn the_most_that_is_allowed_is_accepted() {
    let fields: String = (0..2_000).map(|number| format!("<sf:F{number}>x</sf:F{number}>")).collect();
    let deep = format!("<sf:F>{}{}</sf:F>", "<x>".repeat(58), "</x>".repeat(58));
    let body = envelope_of(
        &(notification("1", "<sf:Id>1</sf:Id>").repeat(98) + &notification("2", &fields) + &notification("3", &deep)),
    );
    let envelope = read(body.as_bytes(), None).unwrap();
    assert_eq!(envelope.notifications.len(), 100);
    assert!(envelope.notifications.iter().all(|notification| notification.record().is_some()));
}

// What real senders sent.

#[test]
fn every_real_envelope_is_accepted() {
    for (name, body) in folder("../shared/corpus/salesforce/envelopes") {
        let envelope = read(&body, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = match name.get(..3) {
            Some("e05" | "e12") => 3,
            Some("s01") => 2,
            _ => 1,
        };
        assert_eq!(envelope.notifications.len(), expected, "{name}");
        assert!(envelope.notifications.iter().all(|notification| notification.record().is_some()), "{name}");
    }
}

#[test]
fn every_refused_message_ends_as_it_should() {
    for (name, body) in folder("../shared/corpus/salesforce/refused") {
        let seen = read(&body, None);
        let fate = match &seen {
            Err(error) => error.to_string(),
            Ok(envelope) => match &envelope.notifications[0].content {
                Content::Record { .. } => "record".to_owned(),
                Content::Empty { .. } => "empty".to_owned(),
                Content::Unreadable { reason, .. } => reason.clone(),
            },
        };
        let expected = match name.get(..3) {
            Some("n02") => "the outbound message has no Notification",
            Some("n03") => "record",
            Some("n04") => "not well-formed XML at line 12",
            Some("n05") => "empty",
            Some("n06") => {
                "not well-formed XML at line 2, column 1: the XML declaration does not stand at the very start"
            }
            Some("n08") => "the prefix xsi is not declared",
            Some("n09") => "the notification's Id is the word null",
            _ => panic!("{name} is not known here: {fate}"),
        };
        assert!(fate.contains(expected), "{name}: {fate}");
    }
}

#[test]
fn every_real_outbound_wsdl_loads() {
    for (name, body) in folder("../shared/corpus/salesforce/wsdl") {
        let types = outbound::record_types(&name, &String::from_utf8(body).unwrap()).unwrap();
        assert_eq!(types.0.len(), 1, "{name}");
        let fields = &types.0.values().next().unwrap().fields;
        assert_eq!(fields[0], ("Id".to_owned(), FieldType::Id), "{name}");
        assert_eq!(fields.len() == 1, name.contains("empty-sequence"), "{name}");
    }
}

// Properties.

/// Any text that XML can hold.
fn xml_text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        '<', '>', '&', '"', '\'', ']', '\r', '\n', '\t', ' ', '\u{85}', '\u{2028}', 'é', '😀',
    ]);
    let other = any::<char>()
        .prop_filter("a character of XML", |&c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..));
    prop::collection::vec(prop_oneof![special, other], 0..60).prop_map(|chars| chars.into_iter().collect())
}

/// The text escaped in one of several ways that mean the same.
fn escaped(text: &str, way: usize) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        match (c, (at + way) % 3) {
            ('\r', _) => out.push_str("&#13;"),
            ('&', 0) => out.push_str("&#x26;"),
            ('&', _) => out.push_str("&amp;"),
            ('<', 0) => out.push_str("<![CDATA[<]]>"),
            ('<', _) => out.push_str("&lt;"),
            ('>', _) => out.push_str("&gt;"),
            (c, 0) if way.is_multiple_of(2) => write!(out, "&#{};", u32::from(c)).unwrap(),
            (c, _) => out.push(c),
        }
        if (at + way).is_multiple_of(7) {
            out.push_str("<!-- & --><?p <?>");
        }
    }
    out
}

proptest! {
    #[test]
    fn any_text_survives(text in xml_text(), other in xml_text(), way in 0_usize..6) {
        let fields = format!("<sf:A>{}</sf:A>\r\n<sf:B>{}</sf:B>", escaped(&text, way), escaped(&other, way + 1));
        let notification = only(&envelope_of(&notification("1", &fields)));
        let record = notification.record().unwrap();
        prop_assert_eq!(record.field("A"), Some(&Value::Text(text)));
        prop_assert_eq!(record.field("B"), Some(&Value::Text(other)));
        prop_assert_eq!(&parse::record(xml_of(&notification), None).unwrap(), record);
        prop_assert_eq!(hash_of_fragment(xml_of(&notification)), notification.hash);
    }

    #[test]
    fn a_damaged_envelope_is_read_or_refused_in_words(
        which in 0_usize..100, cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..4), 1..6)
    ) {
        static FIXTURES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| folder("fixtures/envelopes"));
        static TYPES: LazyLock<RecordTypes> = LazyLock::new(order_won);
        let mut body = FIXTURES[which % FIXTURES.len()].1.clone();
        for (at, byte, kind) in cuts {
            let at = at.index(body.len().max(1)).min(body.len().saturating_sub(1));
            match kind {
                // Cut after cut, nothing may be left.
                _ if body.is_empty() => body.push(byte),
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => { body.remove(at); }
                _ => body.truncate(at.max(1)),
            }
        }
        match read(&body, Some(&TYPES)) {
            Ok(envelope) => prop_assert!(envelope.notifications.iter().all(|one| one.id().is_some() || !reason_of(one).is_empty())),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        let _ = parse::without_session_id(&body);
    }

    #[test]
    fn a_session_id_is_taken_out_of_whatever_surrounds_it(before in "[ -~é<&]{0,40}", after in "[ -~é<&]{0,40}") {
        let body = format!("{before}<x:SessionId>TOPSECRET</x:SessionId>{after}");
        prop_assert!(!parse::without_session_id(body.as_bytes()).contains("TOPSECRET"));
    }

    #[test]
    fn any_bytes_end_in_words(body in prop::collection::vec(any::<u8>(), 0..200), charset in "[a-z0-9-]{0,10}") {
        prop_assert!(parse::envelope(&body, Some(&charset), &Limits::default(), None).is_err());
    }
}

// Harm.

/// Bodies of about this size, each of a kind that makes some readers take quadratic time.
fn hostile(size: usize) -> Vec<(&'static str, String)> {
    let repeat = |unit: &str| unit.repeat(size / unit.len());
    let numbered = |make: fn(usize) -> String| {
        let mut text = String::new();
        (0..)
            .map(make)
            .take_while(|unit| {
                text.push_str(unit);
                text.len() < size
            })
            .count();
        text
    };
    let field = |content: &str| envelope_of(&notification("1", &format!("<sf:A>{content}</sf:A>")));
    let declarations = numbered(|n| format!(" xmlns:p{n}='urn:{n}'"));
    let nested: String = (0..50)
        .map(|n| {
            format!("<x xmlns='urn:{n}'{}>", (0..900).map(|m| format!(" xmlns:p{n}-{m}='u{m}'")).collect::<String>())
        })
        .collect();
    vec![
        ("depth", repeat("<a>")),
        ("depth in a field", field(&repeat("<a>"))),
        ("attributes", format!("<a{}/>", numbered(|n| format!(" a{n}=''")))),
        ("declarations on one element", format!("<a{declarations}/>")),
        ("declarations on many elements", field(&repeat("<x xmlns:p='urn:p'/>"))),
        ("many declarations in scope", field(&format!("{nested}{}{}", repeat("<p0-0:x/>"), "</x>".repeat(50)))),
        ("pieces of text", field(&repeat("a<!---->"))),
        ("CDATA sections", field(&repeat("<![CDATA[]]>"))),
        ("references", field(&repeat("&amp;"))),
        ("long references", field(&repeat("&aaaaaaaa"))),
        ("references in an attribute", field(&format!("<x y='{}'/>", repeat("&#10;")))),
        ("a long number", field(&format!("&#{};", repeat("0")))),
        ("a long name", format!("<{}/>", repeat("a"))),
        ("a long prefix", format!("<{}:a/>", repeat("a"))),
        ("a long comment", format!("<!--{}", repeat("- "))),
        ("a long instruction", format!("<?{}", repeat("? "))),
        ("a long tag", format!("<a {}", repeat("\"'"))),
        ("brackets", field(&repeat("]]"))),
        ("carriage returns", field(&repeat("\r"))),
        ("repeated fields", envelope_of(&notification("1", &repeat("<sf:A/>")))),
        ("different fields", envelope_of(&notification("1", &numbered(|n| format!("<sf:A{n}/>"))))),
        ("unknown elements", envelope_of(&repeat("<x/>"))),
        ("session ids", envelope_of(&repeat("<SessionId>"))),
        ("lines", repeat("\n")),
        ("DTD", format!("<!DOCTYPE a [{}", repeat("<!ENTITY a \"b\">"))),
    ]
}

#[test]
fn hostile_bodies_take_linear_time() {
    // In a debug build half a MiB takes a second at most; quadratic time would be minutes or hours.
    const PATIENCE: Duration = Duration::from_secs(30);
    let limits = Limits { depth: 64, notifications: 100, fields: 1_000_000 };
    for (kind, body) in hostile(1 << 19) {
        let started = Instant::now();
        let result = parse::envelope(body.as_bytes(), None, &limits, None);
        let _ = parse::well_formed(&body, usize::MAX);
        let _ = parse::without_session_id(body.as_bytes());
        println!(
            "{kind}: {:?} {:?}",
            started.elapsed(),
            result.err().map(|error| error.to_string().chars().take(80).collect::<String>())
        );
        assert!(started.elapsed() < PATIENCE, "{kind} took {:?}", started.elapsed());
    }
}

// WSDLs that are none, and the command.

#[test]
fn a_wsdl_that_is_no_outbound_message_is_refused_with_place_and_advice() {
    let good = fs::read_to_string(project("wsdl/order-won.wsdl")).unwrap();
    for (text, rule, place, said) in [
        (String::new(), "not-xml", (1, 1), "no element"),
        ("<definitions".to_owned(), "not-xml", (1, 1), "tag not closed"),
        (format!("<!DOCTYPE x [<!ENTITY a 'b'>]>{good}"), "not-xml", (1, 1), "DOCTYPE"),
        ("\n <html/>".to_owned(), "not-wsdl", (2, 2), "the root element is html"),
        (good.replace("2005/09/outbound", "2006/04/metadata"), "not-outbound", (6, 1), "no element notifications"),
        (
            good.replace("name=\"Notification\" maxOccurs", "name=\"Other\" maxOccurs"),
            "not-outbound",
            (69, 13),
            "no element Notification",
        ),
        (good.replace("name=\"sObject\" type", "name=\"record\" type"), "not-outbound", (82, 13), "no element sObject"),
        (good.replace("\"ens:Opportunity\"", "\"ens:Lead\""), "type-missing", (85, 21), "\"ens:Lead\""),
        (good.replace("\"ens:Opportunity\"", "\"nowhere:Opportunity\""), "type-missing", (85, 21), "nowhere"),
        (good.replace("base=\"ens:sObject\"", "base=\"ens:Opportunity\""), "type-chain", (45, 13), "or itself"),
    ] {
        let findings: Vec<Finding> = outbound::record_types("x.wsdl", &text).unwrap_err();
        let finding = &findings[0];
        assert_eq!((finding.rule.as_str(), (finding.line, finding.column)), (rule, place), "{}", finding.message);
        assert!(finding.message.contains(said) && finding.message.contains("Click for WSDL"), "{}", finding.message);
        assert_eq!(finding.file, "x.wsdl");
    }
}

#[test]
fn the_fields_of_a_wsdl_keep_their_order_and_types_under_any_prefix() {
    let good = fs::read_to_string(project("wsdl/order-won.wsdl")).unwrap();
    let other = good
        .replace("ens:", "o:")
        .replace("xmlns:ens=", "xmlns:o=")
        .replace("xsd:", "x:")
        .replace("xmlns:xsd=", "xmlns:x=")
        .replace("urn:sobject.enterprise", "urn:sobject.partner");
    let types = outbound::record_types("x.wsdl", &format!("\u{FEFF}{good}")).unwrap();
    assert_eq!(types, outbound::record_types("y.wsdl", &other).unwrap());
    let fields: HashMap<&str, FieldType> =
        types.0["Opportunity"].fields.iter().map(|(name, field_type)| (name.as_str(), *field_type)).collect();
    for (name, expected) in [
        ("Id", FieldType::Id),
        ("AccountId", FieldType::Id),
        ("Amount", FieldType::Double),
        ("CloseDate", FieldType::Date),
        ("IsWon", FieldType::Boolean),
        ("LastModifiedDate", FieldType::DateTime),
        ("Name", FieldType::String),
        ("Quantity__c", FieldType::Integer(IntegerType::Int)),
    ] {
        assert_eq!(fields.get(name), Some(&expected), "{name}");
    }
    assert_eq!(fields.len(), 11);
    assert_eq!(types.0.len(), 1);
}

#[test]
fn a_simple_type_of_the_schema_counts_as_what_it_restricts() {
    let good = fs::read_to_string(project("wsdl/order-won.wsdl")).unwrap();
    let with = good
        .replace(
            "<complexType name=\"AggregateResult\">",
            "<simpleType name='Money'><restriction base='xsd:decimal'/></simpleType><complexType name=\"AggregateResult\">",
        )
        .replace("type=\"xsd:double\"", "type=\"ens:Money\"")
        .replace("type=\"xsd:date\"", "type=\"xsd:anyType\"")
        .replace("type=\"xsd:int\"", "type=\"xsd:base64Binary\"")
        .replace("type=\"xsd:boolean\"/>\n                        <element name=\"Last", "type=\"xsd:time\"/>\n                        <element name=\"Last");
    let types = outbound::record_types("x.wsdl", &with).unwrap();
    let opportunity = &types.0["Opportunity"];
    assert_eq!(opportunity.field("Amount"), Some(FieldType::Double));
    assert_eq!(opportunity.field("CloseDate"), Some(FieldType::String));
    assert_eq!(opportunity.field("Quantity__c"), Some(FieldType::Base64));
    assert_eq!(opportunity.field("IsWon"), Some(FieldType::Time));
}

#[test]
fn a_whole_number_out_of_the_range_of_its_declared_type_stays_text_and_is_drift() {
    let good = fs::read_to_string(project("wsdl/order-won.wsdl")).unwrap();
    for (declared, number, fits) in [
        ("int", "2147483647", true),
        ("int", "99999999999", false),
        ("long", "99999999999", true),
        ("unsignedByte", "-1", false),
        ("integer", "-99999999999999999999999999999999999999999999", true),
    ] {
        let wsdl = good.replace("type=\"xsd:int\"", &format!("type=\"xsd:{declared}\""));
        let types = outbound::record_types("x.wsdl", &wsdl).unwrap();
        let xml = format!(
            "<s xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:type='Opportunity'>\
             <Quantity__c>{number}</Quantity__c></s>"
        );
        let record = parse::record(&xml, Some(&types)).unwrap();
        let (expected, drift) = if fits {
            (Value::Number(number.to_owned()), String::new())
        } else {
            (Value::Text(number.to_owned()), format!("field Quantity__c does not fit its type {declared}"))
        };
        assert_eq!(record.field("Quantity__c"), Some(&expected), "{declared} {number}");
        assert_eq!(record.drift.iter().map(ToString::to_string).collect::<String>(), drift);
    }
}

fn inspect(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_omgate"))
        .arg("inspect")
        .args(arguments)
        .current_dir(project(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it, which is no fault of this test.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn inspect_prints_what_it_sees_and_fails_with_the_reason() {
    let create = fs::read(project("fixtures/envelopes/create.xml")).unwrap();
    let golden = |name: &str| fs::read(project(&format!("fixtures/inspect/{name}.json"))).unwrap();
    for (arguments, input, expected) in [
        (vec!["fixtures/envelopes/create.xml"], &[][..], golden("create.untyped")),
        (vec!["-"], &create, golden("create.untyped")),
        (vec!["-", "--wsdl", "wsdl/order-won.wsdl"], &create, golden("create")),
    ] {
        let output = inspect(&arguments, input);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, expected, "{arguments:?}");
    }
    for (arguments, input, said) in [
        (vec!["-"], &b"\n<a"[..], "- is refused: not well-formed XML at line 2, column 1"),
        (vec!["nowhere.xml"], &[], "reading nowhere.xml: No such file"),
        (vec!["fixtures"], &[], "reading fixtures: "),
        (vec!["-", "--wsdl", "nowhere.wsdl"], &create, "reading the WSDL nowhere.wsdl"),
        (
            vec!["-", "--wsdl", "fixtures/envelopes/create.xml"],
            &create,
            "fixtures/envelopes/create.xml:2:1: the root element is Envelope",
        ),
    ] {
        let output = inspect(&arguments, input);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty() && stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
