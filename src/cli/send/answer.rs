//! Reads a listener's answer as Salesforce reads it.

use encoding_rs::Encoding;
use quick_xml::NsReader;
use quick_xml::events::Event;

use super::edit::{OUTBOUND, namespace, referred};

/// The namespace of SOAP 1.1 envelopes.
const SOAP_1_1: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// What Salesforce's queue page shows when an answer is no XML.
pub(super) const PROLOG: &str = "org.xml.sax.SAXParseException: Content is not allowed in prolog.";
/// Elements inside one another.
const DEPTH_MAX: usize = 1_000;

/// What a SOAP answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `Ack` true.
    Ack,
    /// `Ack` false.
    Nack,
    /// A fault: its code and its reason.
    Fault {
        /// `faultcode`, with the prefix as it was sent.
        code: String,
        /// `faultstring`.
        reason: String,
    },
}

/// Reads an answer.
///
/// # Errors
/// Why it is none: in Salesforce's words where they are known.
pub(super) fn read(bytes: &[u8]) -> Result<Answer, String> {
    let text = decode(bytes)?;
    let text = text.as_str();
    let start = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if start.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    if !start.starts_with('<') {
        return Err(PROLOG.to_owned());
    }
    if start.len() < text.len() && start.starts_with("<?xml ") {
        return Err("there are blanks before the XML declaration".to_owned());
    }
    Reading::default().run(text)
}

/// Where in an answer an element stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Envelope,
    Body,
    Response,
    Ack,
    Fault,
    FaultCode,
    FaultString,
    Other,
}

fn place(parent: Option<Place>, namespace: &str, local: &str) -> Place {
    match (parent, namespace, local) {
        (None, SOAP_1_1, "Envelope") => Place::Envelope,
        (Some(Place::Envelope), SOAP_1_1, "Body") => Place::Body,
        (Some(Place::Body), SOAP_1_1, "Fault") => Place::Fault,
        (Some(Place::Fault), _, "faultcode") => Place::FaultCode,
        (Some(Place::Fault), _, "faultstring") => Place::FaultString,
        (Some(Place::Body), OUTBOUND, "notificationsResponse") => Place::Response,
        (Some(Place::Response), OUTBOUND, "Ack") => Place::Ack,
        _ => Place::Other,
    }
}

/// One pass over an answer.
#[derive(Default)]
struct Reading {
    stack: Vec<Place>,
    root: Option<String>,
    first_in_body: Option<String>,
    response: bool,
    fault: bool,
    ack: Option<String>,
    code: String,
    reason: String,
}

impl Reading {
    fn run(mut self, text: &str) -> Result<Answer, String> {
        let mut reader = NsReader::from_str(text);
        loop {
            let (resolved, event) = match reader.read_resolved_event() {
                Ok((resolved, event)) => (namespace(&resolved), event),
                Err(error) => return Err(format!("the answer is not well-formed XML: {error}")),
            };
            match event {
                Event::Start(tag) => self.open(&resolved?, tag.local_name().as_ref())?,
                Event::Empty(tag) => {
                    self.open(&resolved?, tag.local_name().as_ref())?;
                    self.stack.pop();
                }
                Event::End(_) => {
                    self.stack.pop();
                }
                Event::Text(text) => self.collect(&text.xml10_content())?,
                Event::CData(text) => self.collect(&text.xml10_content())?,
                Event::GeneralRef(reference) => self.collect(&referred(&reference)?)?,
                Event::DocType(_) => return Err("the answer has a document type declaration: it is no SOAP".to_owned()),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof => return self.finish(),
            }
        }
    }

    fn open(&mut self, namespace: &str, local: &str) -> Result<(), String> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(format!("the answer's elements are nested deeper than {DEPTH_MAX}"));
        }
        let parent = self.stack.last().copied();
        if parent.is_none() && self.root.is_some() {
            return Err("the answer is not well-formed XML: it has two root elements".to_owned());
        }
        let place = place(parent, namespace, local);
        let name = || format!("{local} in {}", if namespace.is_empty() { "no namespace" } else { namespace });
        match parent {
            None => self.root = Some(name()),
            Some(Place::Body) if self.first_in_body.is_none() => self.first_in_body = Some(name()),
            _ => {}
        }
        match place {
            Place::Response => self.response = true,
            Place::Fault => self.fault = true,
            Place::Ack if self.ack.is_some() => return Err("the answer has more than one Ack".to_owned()),
            Place::Ack => self.ack = Some(String::new()),
            Place::Envelope | Place::Body | Place::FaultCode | Place::FaultString | Place::Other => {}
        }
        self.stack.push(place);
        Ok(())
    }

    fn collect(&mut self, text: &str) -> Result<(), String> {
        match self.stack.last() {
            None if !text.trim().is_empty() => {
                return Err("the answer is not well-formed XML: text outside the root element".to_owned());
            }
            Some(Place::Ack) => self.ack.get_or_insert_default().push_str(text),
            Some(Place::FaultCode) => self.code.push_str(text),
            Some(Place::FaultString) => self.reason.push_str(text),
            None | Some(Place::Envelope | Place::Body | Place::Response | Place::Fault | Place::Other) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Answer, String> {
        if !self.stack.is_empty() {
            return Err("the answer is not well-formed XML: it ends in the middle".to_owned());
        }
        let root = self.root.unwrap_or_default();
        if root != format!("Envelope in {SOAP_1_1}") {
            return Err(format!("the answer is no SOAP 1.1 envelope but {root}"));
        }
        if self.fault {
            return Ok(Answer::Fault { code: self.code.trim().to_owned(), reason: self.reason.trim().to_owned() });
        }
        match (self.ack.as_deref().map(str::trim), self.first_in_body) {
            (Some("true" | "1"), _) => Ok(Answer::Ack),
            (Some("false" | "0"), _) => Ok(Answer::Nack),
            (Some(other), _) => {
                Err(format!("the answer's Ack is {:?}, neither true nor false", super::tally::cut(other)))
            }
            (None, _) if self.response => Err(format!("the answer's notificationsResponse has no Ack in {OUTBOUND}")),
            (None, Some(name)) => Err(format!(
                "the answer's Body has no notificationsResponse in {OUTBOUND} but {}",
                super::tally::cut(&name)
            )),
            (None, None) => Err("the answer's Body is empty or missing".to_owned()),
        }
    }
}

/// The answer as text: by its byte order mark, by what its declaration says, or as UTF-8.
fn decode(bytes: &[u8]) -> Result<String, String> {
    let (encoding, skip) = match Encoding::for_bom(bytes) {
        Some(found) => found,
        None => (declared(bytes).unwrap_or(encoding_rs::UTF_8), 0),
    };
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes.get(skip..).unwrap_or_default())
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| format!("the answer is not valid {}", encoding.name()))
}

fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = String::from_utf8_lossy(bytes.get(..bytes.len().min(200))?).into_owned();
    let declaration = start.strip_prefix("<?xml")?.split_once("?>")?.0;
    let (_, value) = declaration.split_once("encoding")?;
    let label = value.trim_start_matches([' ', '=', '\t', '\r', '\n']);
    let quote = label.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Encoding::for_label(label.split(quote).nth(1)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soap(body: &str) -> String {
        format!(r#"<s:Envelope xmlns:s="{SOAP_1_1}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>"#)
    }

    fn response(ack: &str) -> String {
        soap(&format!(r#"<notificationsResponse xmlns="{OUTBOUND}">{ack}</notificationsResponse>"#))
    }

    #[test]
    fn an_acknowledgement_is_read_whatever_its_prefixes_and_blanks() {
        for ack in
            ["<Ack>true</Ack>", "<Ack>1</Ack>", "<Ack>\n  true </Ack>", "<Ack><!-- x --><![CDATA[tr]]>&#117;e</Ack>"]
        {
            assert_eq!(read(response(ack).as_bytes()), Ok(Answer::Ack), "{ack}");
        }
        for ack in ["<Ack>false</Ack>", "<Ack> 0 </Ack>"] {
            assert_eq!(read(response(ack).as_bytes()), Ok(Answer::Nack), "{ack}");
        }
        let prefixed = format!(
            "\u{FEFF}<?xml version='1.0' encoding='UTF-8'?>\n<E:Envelope xmlns:E='{SOAP_1_1}' xmlns:o='{OUTBOUND}'>\
             <E:Body><o:notificationsResponse><o:Ack>true</o:Ack></o:notificationsResponse></E:Body></E:Envelope>\n"
        );
        assert_eq!(read(prefixed.as_bytes()), Ok(Answer::Ack));
        let wide: Vec<u8> =
            [0xFF, 0xFE].into_iter().chain(prefixed.encode_utf16().skip(1).flat_map(u16::to_le_bytes)).collect();
        assert_eq!(read(&wide), Ok(Answer::Ack));
    }

    #[test]
    fn a_fault_is_shown_with_its_code_and_reason() {
        let text =
            soap("<s:Fault><faultcode>s:Client</faultcode><faultstring>no &lt;such&gt; place</faultstring></s:Fault>");
        let expected = Answer::Fault { code: "s:Client".to_owned(), reason: "no <such> place".to_owned() };
        assert_eq!(read(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn what_is_no_acknowledgement_is_named() {
        let twelve = response("<Ack>true</Ack>").replace(SOAP_1_1, "http://www.w3.org/2003/05/soap-envelope");
        let deep = "<a>".repeat(100_000);
        let cases: [(&str, &str); 16] = [
            ("", "is empty"),
            ("ok", "Content is not allowed in prolog"),
            ("{\"ok\":true}", "Content is not allowed in prolog"),
            ("<!DOCTYPE html><html></html>", "document type"),
            ("<html><body>hello</body></html>", "no SOAP 1.1 envelope but html in no namespace"),
            ("\n<?xml version=\"1.0\"?><a/>", "blanks before"),
            (&twelve, "no SOAP 1.1 envelope"),
            (&response("<Ack>yes</Ack>"), "\"yes\", neither true nor false"),
            (&response("<Ack/>"), "neither true nor false"),
            (&response("<Ack>true</Ack><Ack>true</Ack>"), "more than one Ack"),
            (&response("<Ack xmlns=\"\">true</Ack>"), "has no Ack"),
            (
                &soap(&format!("<notifications xmlns=\"{OUTBOUND}\"><Ack>true</Ack></notifications>")),
                "but notifications in",
            ),
            (&soap(""), "is empty or missing"),
            (&response("<Ack>true</Ack>").replace("</s:Envelope>", ""), "ends in the middle"),
            (&soap("<o:x/>"), "prefix o is not declared"),
            (&deep, "nested deeper"),
        ];
        for (text, expected) in cases {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}\n{}", text.chars().take(300).collect::<String>());
        }
        assert!(read(b"<a>\xE4</a>").unwrap_err().contains("not valid UTF-8"));
        assert!(read(b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xE4</a>").unwrap_err().contains("no SOAP 1.1"));
    }
}
