//! Attacks by what an XML processor does: entities, external references, floods, and envelopes that are none.

use super::{ACTION, Attack, ORGANIZATION, good, loot, post, whole};

/// The envelope that would be acknowledged, with one place replaced.
fn with(place: &str, by: &str) -> Vec<u8> {
    let body = loot();
    assert!(body.contains(place), "{place}");
    whole(body.replacen(place, by, 1))
}

/// With a document type before the envelope.
fn doctype(subset: &str, text: &str) -> Vec<u8> {
    let body = loot().replacen("<soapenv:Envelope", &format!("<!DOCTYPE a [{subset}]>\n<soapenv:Envelope"), 1);
    whole(body.replacen("<sf:Name>A", &format!("<sf:Name>{text}"), 1))
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = entities();
    all.extend(floods());
    all.extend(broken());
    all.extend(envelopes());
    all
}

fn entities() -> Vec<Attack> {
    let laughs: String =
        (1..10).map(|level| format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10))).collect();
    let wide = format!("<!ENTITY w \"{}\">", "w".repeat(50_000));
    vec![
        Attack::new("a billion laughs", doctype(&format!("<!ENTITY l0 \"ha\">{laughs}"), "&l9;"), 500),
        Attack::new("a quadratic blow-up", doctype(&wide, &"&w;".repeat(1_000)), 500),
        Attack::new("an external entity", doctype("<!ENTITY x SYSTEM \"file:///etc/passwd\">", "&x;"), 500),
        Attack::new("an entity over HTTP", doctype("<!ENTITY x SYSTEM \"http://127.0.0.1:9/\">", "&x;"), 500),
        Attack::new("a parameter entity", doctype("<!ENTITY % p SYSTEM \"http://127.0.0.1:9/\"> %p;", "a"), 500),
        Attack::new("an entity that contains itself", doctype("<!ENTITY a \"&b;\"><!ENTITY b \"&a;\">", "&a;"), 500),
        Attack::new("attributes by default", doctype("<!ATTLIST soapenv:Body a CDATA \"b\">", "a"), 500),
        Attack::new(
            "an external document type",
            with("<soapenv:Envelope", "<!DOCTYPE a SYSTEM \"http://127.0.0.1:9/a.dtd\"><soapenv:Envelope"),
            500,
        ),
        Attack::new("an empty document type", with("<soapenv:Envelope", "<!DOCTYPE a><soapenv:Envelope"), 500),
        Attack::new("an entity that nobody declared", with("<sf:Name>A", "<sf:Name>&a;"), 500),
        Attack::new("a reference to the character zero", with("<sf:Name>A", "<sf:Name>&#0;"), 500),
        Attack::new("a reference beyond Unicode", with("<sf:Name>A", "<sf:Name>&#x110000;"), 500),
        Attack::new("a reference to half a character", with("<sf:Name>A", "<sf:Name>&#xD800;"), 500),
    ]
}

fn floods() -> Vec<Attack> {
    let attributes: String = (0..40_000).map(|number| format!(" a{number}=\"\"")).collect();
    let namespaces: String = (0..20_000).map(|number| format!(" xmlns:n{number}=\"u:{number}\"")).collect();
    let name = "a".repeat(900_000);
    vec![
        Attack::new("depth", whole("<a>".repeat(300_000)), 500),
        Attack::new(
            "depth that is closed again",
            with("<sf:Name>A</sf:Name>", &format!("{}{}", "<a>".repeat(1_000), "</a>".repeat(1_000))),
            500,
        ),
        Attack::new("attributes", whole(format!("<a{attributes}/>")), 500),
        Attack::new("namespaces", whole(format!("<a{namespaces}/>")), 500),
        Attack::new("a name of nearly a megabyte", whole(format!("<{name}/>")), 500),
        Attack::new("a name of nearly a megabyte that does not end", whole(format!("<{name}")), 500),
        Attack::new("a comment without an end", whole(format!("<!--{name}")), 500),
        Attack::new("instructions", whole("<?a?>".repeat(150_000)), 500),
        Attack::new("empty character data", whole(format!("<a>{}</a>", "<![CDATA[]]>".repeat(80_000))), 500),
        Attack::new("references", whole(format!("<a>{}</a>", "&#65;".repeat(180_000))), 500),
        Attack::new("a body beyond the limit", whole(" ".repeat((1 << 20) + 1)), 413),
        Attack::new("blanks up to the limit", whole(" ".repeat(1 << 20)), 500),
        Attack::new("opening brackets", whole("<".repeat(1 << 20)), 500),
        Attack::new("notifications beyond the limit", whole(many(101)), 500),
    ]
}

/// So many notifications in one envelope.
fn many(count: usize) -> String {
    let one = loot();
    let (start, end) = (one.find("<Notification>").unwrap(), one.find("  </notifications>").unwrap());
    format!("{}{}{}", &one[..start], one[start..end].repeat(count), &one[end..])
}

fn broken() -> Vec<Attack> {
    let mut utf_16: Vec<u8> = loot().encode_utf16().flat_map(u16::to_le_bytes).collect();
    utf_16.pop();
    let mut latin = loot().replacen("<sf:Name>A", "<sf:Name>?", 1).into_bytes();
    let place = latin.iter().rposition(|&byte| byte == b'?').unwrap();
    latin[place] = 0xe9;
    let typed =
        |kind: &str, body: &[u8]| post(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()), body);
    vec![
        Attack::new("an empty body", whole(""), 500),
        Attack::new("half an envelope", whole(&loot()[..loot().len() / 2]), 500),
        Attack::new("two roots", whole(format!("{}<a/>", loot())), 500),
        Attack::new("text behind the root", whole(format!("{}a", loot())), 500),
        Attack::new("text before the declaration", whole(format!(" {}", loot())), 500),
        Attack::new("an attribute twice", with("<soapenv:Body>", "<soapenv:Body a=\"1\" a=\"2\">"), 500),
        Attack::new("a prefix that nobody declared", with("<sf:Name>A</sf:Name>", "<x:Name>A</x:Name>"), 500),
        Attack::new("ends that cross", with("<sf:Name>A</sf:Name>", "<b><c></b></c>"), 500),
        Attack::new("bytes that are no UTF-8", whole(latin), 500),
        Attack::new("overlong UTF-8", with("<sf:Name>A", "<sf:Name>\u{1}"), 500),
        Attack::new("UTF-16 that ends within a letter", whole(utf_16), 500),
        Attack::new("UTF-7", typed("text/xml; charset=UTF-7", loot().replacen("UTF-8", "UTF-7", 1).as_bytes()), 500),
        Attack::new(
            "an encoding that nobody has",
            typed("text/xml", loot().replacen("UTF-8", "X-NONE", 1).as_bytes()),
            500,
        ),
        Attack::new("XML 1.1", whole(loot().replacen("version=\"1.0\"", "version=\"1.1\"", 1)), 500),
    ]
}

fn envelopes() -> Vec<Attack> {
    vec![
        Attack::new(
            "an envelope of SOAP 1.2",
            whole(
                loot().replace("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"),
            ),
            500,
        ),
        Attack::new(
            "another namespace of Salesforce",
            with("http://soap.sforce.com/2005/09/outbound", "http://soap.sforce.com/2099/01/outbound"),
            500,
        ),
        Attack::new("no notification", whole(many(0)), 500),
        Attack::new("another organization", with(ORGANIZATION, "00D99000000zzzzEAA"), 500),
        Attack::new("no organization", with(&format!("<OrganizationId>{ORGANIZATION}</OrganizationId>"), ""), 500),
        Attack::new(
            "two organizations",
            with(
                &format!("<OrganizationId>{ORGANIZATION}</OrganizationId>"),
                &format!(
                    "<OrganizationId>{ORGANIZATION}</OrganizationId><OrganizationId>00D99000000zzzzEAA</OrganizationId>"
                ),
            ),
            500,
        ),
        Attack::new("another action", with(ACTION, "04k99000000HfHaAAK"), 500),
        Attack::new(
            "an acknowledgement in place of a message",
            whole(
                "<?xml version=\"1.0\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body><notificationsResponse xmlns=\"http://soap.sforce.com/2005/09/outbound\"><Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>",
            ),
            500,
        ),
        Attack::new(
            "a header that must be understood",
            with(
                "<soapenv:Body>",
                "<soapenv:Header><a xmlns=\"u:a\" soapenv:mustUnderstand=\"1\"/></soapenv:Header><soapenv:Body>",
            ),
            500,
        ),
        Attack::new(
            "two bodies",
            whole(good("04lATTACKED").replacen("</soapenv:Body>", "</soapenv:Body><soapenv:Body/>", 1)),
            500,
        ),
        Attack::new("HTML", whole("<!doctype html><html><body>Hello</body></html>"), 500),
    ]
}
