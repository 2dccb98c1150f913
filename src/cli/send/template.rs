//! Envelope files as templates: ids and a field replaced in the right elements, everything else to the byte.

use std::ops::Range;

use roxmltree::{Document, Node};

const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";
const BOM: &str = "\u{feff}";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SUFFIX_DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// An envelope cut into what stands around the notifications and the notifications themselves.
#[derive(Clone, Debug)]
pub(super) struct Template {
    head: String,
    notifications: Vec<Piece>,
    tail: String,
}

/// One `Notification` element, and where in it stands what may be replaced.
#[derive(Clone, Debug)]
struct Piece {
    text: String,
    id: Option<Range<usize>>,
    record_id: Option<Range<usize>>,
    changeable: Option<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    at: Range<usize>,
    is_number: bool,
}

/// What stands in for what in one notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// Which notification of the template; beyond the last it starts again with the first.
    pub(super) notification: usize,
    /// The number from which fresh ids are made; none: the file's own ids.
    pub(super) fresh: Option<(u64, u64)>,
    /// Set for a changed repeat: which change.
    pub(super) change: Option<u64>,
}

impl Template {
    /// Cuts an envelope.
    ///
    /// # Errors
    /// Why it cannot be cut, in words.
    pub(super) fn cut(text: &str) -> Result<Self, String> {
        let (bom, text) = text.strip_prefix(BOM).map_or(("", text), |text| (BOM, text));
        let document = Document::parse(text).map_err(|error| error.to_string())?;
        let notifications: Vec<Node> = document
            .root_element()
            .children()
            .filter(|node| node.tag_name().name() == "Body")
            .flat_map(|body| body.children())
            .filter(|node| node.has_tag_name((OUTBOUND, "notifications")))
            .flat_map(|list| list.children())
            .filter(|node| node.has_tag_name((OUTBOUND, "Notification")))
            .collect();
        let (Some(first), Some(last)) = (notifications.first(), notifications.last()) else {
            return Err("there is no Notification in it".to_owned());
        };
        Ok(Self {
            head: format!("{bom}{}", part(text, 0..first.range().start)),
            notifications: notifications.iter().map(|node| piece(text, *node)).collect(),
            tail: part(text, last.range().end..text.len()).to_owned(),
        })
    }

    /// How many notifications the file has.
    pub(super) fn len(&self) -> usize {
        self.notifications.len()
    }

    /// Whether a notification has a field that can be changed without breaking its type.
    pub(super) fn is_changeable(&self, notification: usize) -> bool {
        self.piece(notification).is_some_and(|piece| piece.changeable.is_some())
    }

    /// An envelope of these notifications.
    pub(super) fn envelope(&self, edits: &[Edit]) -> String {
        let pieces: Vec<String> =
            edits.iter().filter_map(|edit| self.piece(edit.notification).map(|piece| edited(piece, edit))).collect();
        format!("{}{}{}", self.head, pieces.join("\n   "), self.tail)
    }

    fn piece(&self, notification: usize) -> Option<&Piece> {
        self.notifications.get(notification.checked_rem(self.notifications.len())?)
    }
}

fn part(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

fn piece(text: &str, notification: Node) -> Piece {
    let start = notification.range().start;
    let within = |range: Range<usize>| range.start - start..range.end - start;
    let record = notification.children().find(|node| node.has_tag_name((OUTBOUND, "sObject")));
    let fields = record.into_iter().flat_map(|record| record.children()).filter(Node::is_element);
    let record_id = fields.clone().find(|node| node.tag_name().name() == "Id").and_then(content);
    let candidates: Vec<Field> = fields.filter_map(|node| field(text, node)).collect();
    let best = candidates.iter().find(|field| !field.is_number).or_else(|| candidates.first()).cloned();
    Piece {
        text: part(text, notification.range()).to_owned(),
        id: notification.children().find(|node| node.has_tag_name((OUTBOUND, "Id"))).and_then(content).map(within),
        record_id: record_id.map(within),
        changeable: best.map(|field| Field { at: within(field.at), ..field }),
    }
}

/// Where the content of an element stands, if it has any.
fn content(node: Node) -> Option<Range<usize>> {
    let (first, last) = (node.first_child()?, node.last_child()?);
    Some(first.range().start..last.range().end)
}

/// A field that can be changed and keeps its type: free text, or a number.
fn field(text: &str, node: Node) -> Option<Field> {
    let value = node.text()?.trim();
    let is_word = matches!(value, "" | "true" | "false") || node.children().any(|child| child.is_element());
    let is_date = value.len() >= 10 && value.get(4..5) == Some("-") && value.get(7..8) == Some("-");
    let is_id = matches!(value.len(), 15 | 18) && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if node.tag_name().name().ends_with("Id") || is_word || is_date || is_id {
        return None;
    }
    let is_number = value.parse::<f64>().is_ok();
    let at = content(node)?;
    // A number is changed by a digit before it, so it must begin with one.
    let begins_with_digit = part(text, at.clone()).starts_with(|letter: char| letter.is_ascii_digit());
    (!is_number || begins_with_digit).then_some(Field { at, is_number })
}

fn edited(piece: &Piece, edit: &Edit) -> String {
    let mut replacements: Vec<(Range<usize>, String)> = Vec::new();
    if let Some((run, number)) = edit.fresh {
        if let Some(at) = &piece.id {
            replacements.push((at.clone(), fresh_id("04l", run, number)));
        }
        if let Some(at) = &piece.record_id {
            let prefix = part(&piece.text, at.clone()).trim().get(..3).unwrap_or("001").to_owned();
            replacements.push((at.clone(), fresh_id(&prefix, run, number)));
        }
    }
    if let (Some(change), Some(field)) = (edit.change, &piece.changeable) {
        let (at, text) = if field.is_number {
            (field.at.start..field.at.start, (change % 9 + 1).to_string())
        } else {
            (field.at.end..field.at.end, format!(" ({change})"))
        };
        replacements.push((at, text));
    }
    replacements.sort_by_key(|(at, _)| at.start);
    let mut text = String::with_capacity(piece.text.len() + 16);
    let mut from = 0;
    for (at, replacement) in replacements {
        text.push_str(part(&piece.text, from..at.start));
        text.push_str(&replacement);
        from = at.end;
    }
    text.push_str(part(&piece.text, from..piece.text.len()));
    text
}

/// An id of 18 characters: prefix, 12 of the run and the number, and the suffix that Salesforce derives from the case
/// of the first 15.
fn fresh_id(prefix: &str, run: u64, number: u64) -> String {
    let mut id: String = prefix.chars().take(3).filter(char::is_ascii_alphanumeric).collect();
    while id.len() < 3 {
        id.push('0');
    }
    id.push_str(&digits(run, 6));
    id.push_str(&digits(number, 6));
    let suffix = suffix(&id);
    id + &suffix
}

/// The last `length` digits of a number to the base 62.
fn digits(number: u64, length: u32) -> String {
    (0..length)
        .rev()
        .filter_map(|place| DIGITS.get(usize::try_from(number / 62_u64.pow(place) % 62).ok()?))
        .map(|&digit| char::from(digit))
        .collect()
}

fn suffix(id: &str) -> String {
    id.as_bytes()
        .chunks(5)
        .filter_map(|chunk| {
            let capitals = chunk.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase());
            SUFFIX_DIGITS.get(capitals.map(|(place, _)| 1 << place).sum::<usize>())
        })
        .map(|&digit| char::from(digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: &str = r#"<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>
 <notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>00D1</OrganizationId><Id>no</Id>
  <Notification><Id>04l000000000001AAA</Id><sObject xmlns:sf="urn:x"><sf:Id>006000000000001AAA</sf:Id><sf:AccountId>001</sf:AccountId>
   <sf:Amount>45000.0</sf:Amount><sf:Name><![CDATA[<Id>no</Id>]]></sf:Name></sObject></Notification>
  <Notification><Id>04l000000000002AAA</Id><sObject xmlns:sf="urn:x"><sf:Id>00Q000000000002AAA</sf:Id><sf:Amount>7.0</sf:Amount></sObject></Notification>
  <Notification><!-- deleted --><Id>04l000000000003AAA</Id></Notification>
 </notifications></e:Body></e:Envelope>"#;

    fn edit(notification: usize) -> Edit {
        Edit { notification, ..Edit::default() }
    }

    #[test]
    fn an_envelope_that_is_not_edited_keeps_its_notifications_to_the_byte() {
        let template = Template::cut(ENVELOPE).unwrap();
        assert_eq!(template.len(), 3);
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(squeezed(&template.envelope(&[edit(0), edit(1), edit(2)])), squeezed(ENVELOPE));
        let with_bom = Template::cut(&format!("{BOM}{ENVELOPE}")).unwrap();
        assert!(with_bom.envelope(&[edit(0)]).starts_with("\u{feff}<?xml"));
    }

    #[test]
    fn fresh_ids_stand_in_the_right_elements_only() {
        let template = Template::cut(ENVELOPE).unwrap();
        let envelope = template.envelope(&[
            Edit { fresh: Some((1, 10)), ..edit(0) },
            Edit { fresh: Some((1, 11)), ..edit(4) },
            Edit { fresh: Some((1, 12)), ..edit(2) },
        ]);
        for id in [
            "04l00000100000AAAA",
            "00600000100000AAAA",
            "04l00000100000BAAQ",
            "00Q00000100000BAAQ",
            "04l00000100000CAAQ",
        ] {
            let (bare, _) = id.split_at(15);
            assert_eq!(
                envelope.matches(&format!("<Id>{bare}")).count() + envelope.matches(&format!("<sf:Id>{bare}")).count(),
                1
            );
        }
        assert_eq!(envelope.matches("<Id>no</Id>").count(), 2, "{envelope}");
        assert!(envelope.contains("<sf:AccountId>001</sf:AccountId>"));
        assert!(Document::parse(&envelope).is_ok());
    }

    #[test]
    fn a_change_keeps_the_type_of_the_field() {
        let template = Template::cut(ENVELOPE).unwrap();
        let envelope = template.envelope(&[
            Edit { change: Some(3), ..edit(0) },
            Edit { change: Some(3), ..edit(1) },
            Edit { change: Some(3), ..edit(2) },
        ]);
        assert!(envelope.contains("<sf:Name><![CDATA[<Id>no</Id>]]> (3)</sf:Name>"), "{envelope}");
        assert!(envelope.contains("<sf:Amount>45000.0<") && envelope.contains("<sf:Amount>47.0<"), "{envelope}");
        assert_eq!([0, 1, 2].map(|notification| template.is_changeable(notification)), [true, true, false]);
    }

    #[test]
    fn ids_have_the_suffix_that_salesforce_derives() {
        for (id, expected) in [("00D24000000abcd", "EAA"), ("0015000000Gv7qJ", "AAR"), ("001000000000000", "AAA")] {
            assert_eq!(suffix(id), expected, "{id}");
        }
        assert_eq!(fresh_id("x", 62, 61).len(), 18);
        assert_ne!(fresh_id("04l", 1, 2), fresh_id("04l", 2, 1));
    }

    #[test]
    fn what_is_no_envelope_is_refused_in_words() {
        for (text, expected) in [("", "root"), ("<a/>", "no Notification"), ("<!DOCTYPE a []><a/>", "DTD"), ("<a>", "")]
        {
            let error = Template::cut(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
