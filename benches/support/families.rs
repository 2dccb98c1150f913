//! Documents of any size that make some readers take more than linear time or memory: envelopes, answers, WSDLs.

use std::io;
use std::path::Path;

use omgate::outcome::Response;
use omgate::parse::{self, Limits};
use omgate::soap;
use omgate::wsdl::{self, Files, Operation, OperationChoice, outbound};

/// A kind of document: its name, and what makes one of about so many bytes.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) make: Box<dyn Fn(usize) -> String>,
}

fn family(name: &'static str, make: impl Fn(usize) -> String + 'static) -> Family {
    Family { name, make: Box::new(make) }
}

/// What reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `parse::envelope`, and what becomes of a body that is refused.
    Envelope,
    /// `soap::decode` by a model, and `soap::read` without one.
    Response,
    /// `wsdl::load`.
    Wsdl,
    /// `wsdl::outbound::declared`.
    Outbound,
}

impl Reader {
    pub(crate) const ALL: [Self; 4] = [Self::Envelope, Self::Response, Self::Wsdl, Self::Outbound];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Response => "response",
            Self::Wsdl => "wsdl",
            Self::Outbound => "outbound",
        }
    }

    pub(crate) fn families(self) -> Vec<Family> {
        let inside = |frame: fn(&str) -> String| {
            let within =
                |&(name, make): &(&'static str, fn(usize) -> String)| family(name, move |size| frame(&make(size)));
            CONTENT.iter().map(within).collect::<Vec<_>>()
        };
        let mut families = match self {
            Self::Envelope => envelopes(),
            Self::Response => responses(),
            Self::Wsdl => wsdls(),
            Self::Outbound => Vec::new(),
        };
        families.extend(match self {
            Self::Envelope => inside(|content| field(&format!("<sf:A>{content}</sf:A>"))),
            Self::Response => inside(|content| answer(&format!("<s>{content}</s>"))),
            Self::Wsdl => inside(|content| {
                around(&format!("<xs:element name=\"Do\" type=\"xs:string\"><xs:annotation><xs:documentation>{content}</xs:documentation></xs:annotation></xs:element>"), "")
            }),
            Self::Outbound => inside(|content| {
                ORDER_WON.replacen("<types>", &format!("<documentation>{content}</documentation><types>"), 1)
            }),
        });
        families
    }

    /// Reads a document as the gateway would. What comes of it is no matter here.
    pub(crate) fn read(self, text: &str, operation: &Operation) {
        match self {
            Self::Envelope => {
                if parse::envelope(text.as_bytes(), None, &Limits::default(), None).is_err() {
                    drop(parse::without_session_id(text.as_bytes()));
                }
            }
            Self::Response => {
                let body = text.as_bytes().to_vec().into();
                let response = Response { status: 200, headers: Vec::new(), body, cut: false };
                drop(soap::decode(operation, &response));
                drop(soap::read(&response));
            }
            Self::Wsdl => drop(wsdl::load(Path::new("a.wsdl"), &One(text.as_bytes().to_vec()))),
            Self::Outbound => drop(outbound::declared("a.wsdl", text)),
        }
    }
}

const ORDER_WON: &str = include_str!("../../wsdl/order-won.wsdl");

/// One file.
struct One(Vec<u8>);

impl Files for One {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("a.wsdl") { Ok(self.0.clone()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// An operation whose answer has everything that takes some care.
pub(crate) fn operation() -> Option<Operation> {
    let schema = r###"<xs:element name="Do"><xs:complexType><xs:sequence>
        <xs:element name="l" type="xs:int" minOccurs="0" maxOccurs="unbounded"/><xs:element name="s" type="xs:string" minOccurs="0"/>
        <xs:sequence minOccurs="0" maxOccurs="unbounded"><xs:element name="k" type="xs:token"/><xs:element name="v" type="xs:string"/>
        </xs:sequence><xs:element name="t" type="t:Tree" minOccurs="0"/>
        <xs:any namespace="##other" minOccurs="0" maxOccurs="unbounded" processContents="lax"/>
        </xs:sequence></xs:complexType></xs:element>
        <xs:complexType name="Tree"><xs:choice maxOccurs="unbounded"><xs:element name="leaf" type="xs:byte"/>
        <xs:element name="node" type="t:Tree"/></xs:choice></xs:complexType>"###;
    let model = wsdl::load(Path::new("a.wsdl"), &One(around(schema, "").into_bytes())).ok()?;
    model.operation(&OperationChoice { operation: "Do", ..OperationChoice::default() }).ok()
}

/// A unit, again and again.
fn repeat(unit: &str, size: usize) -> String {
    unit.repeat((size / unit.len()).max(1))
}

/// Units that differ by their number.
fn numbered(size: usize, unit: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(size + 256);
    let mut number = 0;
    while text.len() < size {
        text.push_str(&unit(number));
        number += 1;
    }
    text
}

/// Towers of elements, each within the bounds of every reader, one beside the other.
fn towers(size: usize, open: &str, close: &str) -> String {
    repeat(&format!("{}{}", open.repeat(40), close.repeat(40)), size)
}

/// Half the text declares prefixes, forty elements deep; the other half uses the outermost of them.
fn bindings(size: usize) -> String {
    let each = size / 80;
    let open: String = (0..40)
        .map(|level| format!("<x{}>", numbered(each.min(40_000), |n| format!(" xmlns:p{level}-{n}='u{n}'"))))
        .collect();
    format!("{open}{}{}", repeat("<p0-0:x/>", size / 2), "</x>".repeat(40))
}

/// A name, and what makes so many bytes of it.
type Made = (&'static str, fn(usize) -> String);

/// What may stand inside of an element, wherever that is.
const CONTENT: &[Made] = &[
    ("depth", |size| towers(size, "<a>", "</a>")),
    ("depth beyond the bound", |size| repeat("<a>", size)),
    ("depth with declarations", |size| towers(size, "<a xmlns='urn:a' xmlns:p='urn:p'>", "</a>")),
    ("elements", |size| repeat("<a/>", size)),
    ("elements that differ", |size| numbered(size, |n| format!("<a{n}/>"))),
    ("attributes", |size| repeat(&format!("<a{}/>", numbered(8_000, |n| format!(" a{n}=''"))), size)),
    ("attributes without end", |size| format!("<a{}/>", numbered(size, |n| format!(" a{n}='")))),
    ("more attributes than there may be", |size| format!("<a{}/>", numbered(size, |n| format!(" a{n}=''")))),
    ("attributes that come twice", |size| {
        repeat(&format!("<a{} a0=''/>", numbered(8_000, |n| format!(" a{n}=''"))), size)
    }),
    ("a long attribute", |size| format!("<a b='{}'/>", repeat("x", size))),
    ("references in an attribute", |size| format!("<a b='{}'/>", repeat("&amp;&#10;", size))),
    ("white space in a tag", |size| format!("<a{}b='c'/>", repeat(" ", size))),
    ("declarations", |size| repeat("<a xmlns:p='urn:p'/>", size)),
    ("declarations that differ", |size| numbered(size, |n| format!("<a xmlns:p{n}='urn:{n}'/>"))),
    ("declarations on one element", |size| {
        repeat(&format!("<a{}/>", numbered(8_000, |n| format!(" xmlns:p{n}='u{n}'"))), size)
    }),
    ("many declarations in scope", bindings),
    ("a long namespace", |size| {
        format!("<p:a xmlns:p='{}'>{}</p:a>", repeat("u", size / 2), repeat("<p:a/>", size / 2))
    }),
    ("pieces of text", |size| repeat("a<!---->", size)),
    ("pieces of text and elements", |size| repeat("a<b/>", size)),
    ("CDATA sections", |size| repeat("<![CDATA[]]>", size)),
    ("CDATA sections with text", |size| repeat("<![CDATA[a]]>b", size)),
    ("references", |size| repeat("&amp;", size)),
    ("references to characters", |size| repeat("&#65;", size)),
    ("references to nothing", |size| repeat("&a;", size)),
    ("a long number", |size| format!("&#{};", repeat("0", size))),
    ("a long name", |size| format!("<{}/>", repeat("a", size))),
    ("long names", |size| repeat(&format!("<{}/>", "a".repeat(4_000)), size)),
    ("a long prefix", |size| format!("<{}:a/>", repeat("a", size))),
    ("a long comment", |size| format!("<!--{}-->", repeat("- ", size))),
    ("a comment without end", |size| format!("<!--{}", repeat("- ", size))),
    ("comments", |size| repeat("<!---->", size)),
    ("instructions", |size| repeat("<?a?>", size)),
    ("a long instruction", |size| format!("<?a {}?>", repeat("? ", size))),
    ("white space", |size| repeat(" \n", size)),
    ("carriage returns", |size| repeat("\r", size)),
    ("brackets", |size| repeat("]]", size)),
    ("opening brackets", |size| repeat("<", size)),
    ("text", |size| repeat("text ", size)),
];

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// An envelope with these children of `notifications`.
fn message(children: &str) -> String {
    format!(
        "<e:Envelope xmlns:e='{SOAP}' xmlns:xsi='{INSTANCE}'><e:Body>\
         <notifications xmlns='http://soap.sforce.com/2005/09/outbound'><OrganizationId>00D</OrganizationId>\
         <ActionId>04k</ActionId>{children}</notifications></e:Body></e:Envelope>"
    )
}

fn notification(id: usize, fields: &str) -> String {
    format!(
        "<Notification><Id>04l{id}</Id><sObject xsi:type='sf:Thing' xmlns:sf='urn:sobject.enterprise.soap.sforce.com'>\
         {fields}</sObject></Notification>"
    )
}

fn field(fields: &str) -> String {
    message(&notification(1, fields))
}

fn envelopes() -> Vec<Family> {
    vec![
        family("a hundred notifications", |size| {
            message(&(0..100).map(|n| notification(n, &repeat("<sf:A>b</sf:A>", size / 100))).collect::<String>())
        }),
        family("notifications beyond the bound", |size| message(&numbered(size, |n| notification(n, "")))),
        family("notifications without an id", |size| {
            message(
                &(0..100)
                    .map(|_| format!("<Notification>{}</Notification>", repeat("<a/>", size / 100)))
                    .collect::<String>(),
            )
        }),
        family("fields that come again", |size| field(&repeat("<sf:A/>", size))),
        family("fields that differ", |size| field(&numbered(size, |n| format!("<sf:A{n}/>")))),
        family("long fields", |size| {
            field(&(0..1_000).map(|n| format!("<sf:A{n}>{}</sf:A{n}>", repeat("x", size / 1_000))).collect::<String>())
        }),
        family("types", |size| field(&repeat("<sf:A xsi:type='sf:B' xsi:nil='true'/>", size))),
        family("unknown elements", |size| message(&format!("{}{}", repeat("<x/>", size), notification(1, "")))),
        family("session ids", |size| message(&repeat("<SessionId>", size))),
        family("session ids that end", |size| message(&repeat("<SessionId>a</SessionId>", size))),
        family("what looks like a session id", |size| repeat("00D000000000000!", size)),
        family("header blocks", |size| {
            message("").replacen("<e:Body>", &format!("<e:Header>{}</e:Header><e:Body>", repeat("<x/>", size)), 1)
        }),
        family("a long declaration around a hundred records", |size| {
            let records: String = (0..100).map(|n| notification(n, "<sf:A/><p:a/>")).collect();
            message(&records).replacen("<e:Body>", &format!("<e:Body xmlns:p='{}'>", repeat("u", size)), 1)
        }),
        family("many declarations around a hundred records", |size| {
            let uses: String = (0..20).map(|n| format!("<p{n}:a/>")).collect();
            let records: String = (0..100).map(|n| notification(n, &uses)).collect();
            let declarations: String =
                (0..20).map(|n| format!(" xmlns:p{n}='{n}{}'", repeat("u", size / 20))).collect();
            message(&records).replacen("<e:Body>", &format!("<e:Body{declarations}>"), 1)
        }),
        family("a document type", |size| format!("<!DOCTYPE a [{}", repeat("<!ENTITY a \"b\">", size))),
        family("nothing but lines", |size| repeat("\n", size)),
    ]
}

/// An answer of the operation.
fn answer(content: &str) -> String {
    body(&format!("<Do xmlns='urn:t'>{content}</Do>"))
}

fn body(content: &str) -> String {
    format!(
        "<e:Envelope xmlns:e='{SOAP}' xmlns:xsi='{INSTANCE}' xmlns:xsd='http://www.w3.org/2001/XMLSchema' \
         xmlns:enc='http://schemas.xmlsoap.org/soap/encoding/'><e:Body>{content}</e:Body></e:Envelope>"
    )
}

fn responses() -> Vec<Family> {
    vec![
        family("mixed content below a long namespace", |size| {
            let content = repeat("<b>t<p:c/></b>", size / 2);
            answer(&format!("<o:x xmlns:o='urn:o' xmlns:p='{}'>{content}</o:x>", repeat("u", size / 2)))
        }),
        family("elements in text below a long namespace", |size| {
            let content = repeat("t<p:c/>", size / 2);
            answer(&format!("<o:x xmlns:o='urn:o' xmlns:p='{}'>{content}</o:x>", repeat("u", size / 2)))
        }),
        family("qualified names of a long namespace", |size| {
            let content = repeat("<l xsi:type='xsd:QName'>p:c</l>", size / 2);
            answer(&format!("<o:x xmlns:o='urn:o' xmlns:p='{}'>{content}</o:x>", repeat("u", size / 2)))
        }),
        family("a fault's detail of a long namespace", |size| {
            let content = repeat("<p:c/>", size / 2);
            body(&format!(
                "<e:Fault><faultcode>a</faultcode><detail xmlns:p='{}'>{content}</detail></e:Fault>",
                repeat("u", size / 2)
            ))
        }),
        family("declarations among many", |size| {
            let many = numbered(9_000, |n| format!(" xmlns:p{n}='u'"));
            answer(&format!("<o:x xmlns:o='urn:o'{many}>{}</o:x>", repeat("<b xmlns:q='u'/>", size)))
        }),
        family("a list", |size| answer(&repeat("<l>1</l>", size))),
        family("groups that come again", |size| answer(&repeat("<k>a</k><v>b</v>", size))),
        family("groups and others", |size| answer(&format!("{}<x/>", repeat("<k>a</k><v>b</v>", size)))),
        family("a tree", |size| answer(&format!("<t>{}</t>", towers(size, "<node>", "</node>")))),
        family("leaves", |size| {
            answer(&format!("<t>{}</t>", repeat("<leaf>1</leaf><node><leaf>2</leaf></node>", size)))
        }),
        family("elements of others", |size| answer(&repeat("<o:o xmlns:o='urn:o'/>", size))),
        family("elements of others that differ", |size| {
            answer(&numbered(size, |n| format!("<o:o{n} xmlns:o='urn:o'/>")))
        }),
        family("types", |size| answer(&repeat("<l xsi:type='xsd:int'>1</l>", size))),
        family("qualified names", |size| answer(&repeat("<a xsi:type='xsd:QName'>xsd:int</a>", size))),
        family("many children of the body", |size| body(&repeat("<a/>", size))),
        family("a fault", |size| {
            body(&format!(
                "<e:Fault><faultcode>a</faultcode><faultstring>b</faultstring><detail>{}</detail></e:Fault>",
                repeat("<a b='c'/>", size)
            ))
        }),
        family("subcodes", |size| body(&format!("<e:Fault><faultcode>{}</faultcode></e:Fault>", repeat("a.", size)))),
        family("a page", |size| format!("<html><title>{}", repeat("<p>", size))),
        family("text before a page", |size| format!("{}<html>", repeat(" x", size))),
        family("JSON", |size| format!("[{}1]", repeat("1,", size))),
        family("deep JSON", |size| repeat("[", size)),
    ]
}

/// A WSDL around a schema: one operation `Do`, whose messages are the element `Do`.
fn around(schema: &str, more: &str) -> String {
    format!(
        r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
             xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
           <types><xs:schema targetNamespace="urn:t" elementFormDefault="qualified">{schema}</xs:schema></types>
           <message name="In"><part name="parameters" element="t:Do"/></message>
           <message name="Out"><part name="parameters" element="t:Do"/></message>{more}
           <portType name="T"><operation name="Do"><input message="t:In"/><output message="t:Out"/></operation></portType>
           <binding name="B" type="t:T"><soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
             <operation name="Do"><soap:operation soapAction=""/><input><soap:body use="literal"/></input>
             <output><soap:body use="literal"/></output></operation></binding>
           <service name="S"><port name="P" binding="t:B"><soap:address location="http://h/"/></port></service>
           </definitions>"#
    )
}

/// A schema with the element `Do`, whose content is a sequence of this.
fn sequence(content: &str, more: &str) -> String {
    around(
        &format!(
            "<xs:element name='Do'><xs:complexType><xs:sequence>{content}</xs:sequence></xs:complexType></xs:element>{more}"
        ),
        "",
    )
}

fn wsdls() -> Vec<Family> {
    vec![
        family("elements of a type", |size| {
            sequence(&numbered(size, |n| format!("<xs:element name='a{n}' type='xs:int'/>")), "")
        }),
        family("elements of one name", |size| sequence(&repeat("<xs:element name='a' type='xs:int'/>", size), "")),
        family("types", |size| {
            sequence("", &numbered(size, |n| format!("<xs:complexType name='T{n}'><xs:sequence/></xs:complexType>")))
        }),
        family("types that lead to one another", |size| {
            let more = numbered(size, |n| {
                let next = n + 1;
                format!(
                    "<xs:complexType name='T{n}'><xs:sequence><xs:element name='a' type='t:T{next}' minOccurs='0'/>\
                     </xs:sequence></xs:complexType>"
                )
            });
            sequence("<xs:element name='a' type='t:T0'/>", &more)
        }),
        family("types that extend one another", |size| {
            let more = numbered(size, |n| {
                let next = n + 1;
                format!(
                    "<xs:complexType name='T{n}'><xs:complexContent><xs:extension base='t:T{next}'/></xs:complexContent>\
                     </xs:complexType>"
                )
            });
            sequence("<xs:element name='a' type='t:T0'/>", &more)
        }),
        family("types that restrict one another", |size| {
            let more = numbered(size, |n| {
                let next = n + 1;
                format!("<xs:simpleType name='T{n}'><xs:restriction base='t:T{next}'/></xs:simpleType>")
            });
            sequence("<xs:element name='a' type='t:T0'/>", &more)
        }),
        family("groups that hold one another", |size| {
            let more = numbered(size, |n| {
                let next = n + 1;
                format!(
                    "<xs:group name='G{n}'><xs:sequence><xs:group ref='t:G{next}'/><xs:group ref='t:G{next}'/>\
                     </xs:sequence></xs:group>"
                )
            });
            sequence("<xs:group ref='t:G0'/>", &more)
        }),
        family("elements that stand for another", |size| {
            let more = numbered(size, |n| format!("<xs:element name='a{n}' type='xs:int' substitutionGroup='t:a'/>"));
            sequence("<xs:element ref='t:a'/>", &format!("<xs:element name='a' type='xs:int'/>{more}"))
        }),
        family("nothing that is referred to", |size| {
            sequence(&numbered(size, |n| format!("<xs:element name='a{n}' type='t:T{n}'/>")), "")
        }),
        family("values", |size| {
            let values = numbered(size, |n| format!("<xs:enumeration value='v{n}'/>"));
            sequence(
                "<xs:element name='a' type='t:V'/>",
                &format!(
                    "<xs:simpleType name='V'><xs:restriction base='xs:string'>{values}</xs:restriction></xs:simpleType>"
                ),
            )
        }),
        family("patterns", |size| {
            let patterns = repeat("<xs:pattern value='[a-z]{1,9}(b|c)*'/>", size);
            sequence(
                "<xs:element name='a' type='t:V'/>",
                &format!(
                    "<xs:simpleType name='V'><xs:restriction base='xs:string'>{patterns}</xs:restriction></xs:simpleType>"
                ),
            )
        }),
        family("members of a union", |size| {
            let more = format!(
                "<xs:simpleType name='V'><xs:union memberTypes='{}'/></xs:simpleType>",
                repeat("xs:int ", size)
            );
            sequence("<xs:element name='a' type='t:V'/>", &more)
        }),
        family("attributes of a type", |size| {
            let more = numbered(size, |n| format!("<xs:attribute name='a{n}' type='xs:int'/>"));
            sequence("<xs:element name='a' type='t:V'/>", &format!("<xs:complexType name='V'>{more}</xs:complexType>"))
        }),
        family("messages", |size| {
            around(
                "<xs:element name='Do' type='xs:int'/>",
                &numbered(size, |n| format!("<message name='M{n}'><part name='p' element='t:Do'/></message>")),
            )
        }),
        family("port types", |size| {
            around(
                "<xs:element name='Do' type='xs:int'/>",
                &numbered(size, |n| {
                    format!("<portType name='T{n}'><operation name='Do'><input message='t:In'/></operation></portType>")
                }),
            )
        }),
        family("bindings", |size| {
            around(
                "<xs:element name='Do' type='xs:int'/>",
                &numbered(size, |n| {
                    format!(
                        "<binding name='B{n}' type='t:T'><soap:binding transport='http://schemas.xmlsoap.org/soap/http'/><operation name='Do'><soap:operation/><input><soap:body use='literal'/></input></operation></binding>"
                    )
                }),
            )
        }),
        family("schemas", |size| {
            around("<xs:element name='Do' type='xs:int'/>", "").replacen(
                "<types>",
                &format!("<types>{}", numbered(size, |n| format!("<xs:schema targetNamespace='urn:{n}'/>"))),
                1,
            )
        }),
        family("imports of nothing", |size| {
            around("<xs:element name='Do' type='xs:int'/>", "").replacen(
                "<types>",
                &format!("{}<types>", numbered(size, |n| format!("<import namespace='urn:{n}' location='{n}.wsdl'/>"))),
                1,
            )
        }),
        family("choices", |size| {
            sequence(
                &repeat(
                    "<xs:choice><xs:element name='a' type='xs:int'/><xs:element name='b' type='xs:int'/></xs:choice>",
                    size,
                ),
                "",
            )
        }),
        family("anything", |size| sequence(&repeat("<xs:any minOccurs='0'/>", size), "")),
    ]
}
