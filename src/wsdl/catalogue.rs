//! Schemas of well-known namespaces, written after their specifications: what imports them needs no file, and no network.

/// A schema that is always there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub namespace: &'static str,
    /// Under this name findings and places speak of it.
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! entry {
    ($namespace:literal, $file:literal) => {
        Entry {
            namespace: $namespace,
            name: concat!("built-in/", $file),
            text: include_str!(concat!("catalogue/", $file)),
        }
    };
}

/// All of them; one that needs another stands before it.
pub(crate) const ENTRIES: [Entry; 17] = [
    entry!("http://schemas.xmlsoap.org/soap/encoding/", "soap11-encoding.xsd"),
    entry!("http://www.w3.org/2003/05/soap-encoding", "soap12-encoding.xsd"),
    entry!("http://schemas.xmlsoap.org/soap/envelope/", "soap11-envelope.xsd"),
    entry!("http://www.w3.org/2005/05/xmlmime", "xmlmime.xsd"),
    entry!("http://www.w3.org/2004/11/xmlmime", "xmlmime-2004.xsd"),
    entry!("http://www.w3.org/2004/08/xop/include", "xop-include.xsd"),
    entry!("http://ws-i.org/profiles/basic/1.1/xsd", "swaref.xsd"),
    entry!("http://www.w3.org/2005/08/addressing", "addressing-2005-08.xsd"),
    entry!("http://schemas.xmlsoap.org/ws/2004/08/addressing", "addressing-2004-08.xsd"),
    entry!("http://www.w3.org/2000/09/xmldsig#", "xmldsig.xsd"),
    entry!("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd", "wsse.xsd"),
    entry!("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd", "wsu.xsd"),
    entry!("http://www.w3.org/1999/xlink", "xlink.xsd"),
    entry!("http://www.w3.org/XML/1998/namespace", "xml.xsd"),
    entry!("http://xml.apache.org/xml-soap", "apache-soap.xsd"),
    entry!("http://schemas.microsoft.com/2003/10/Serialization/", "microsoft-serialization.xsd"),
    entry!("http://microsoft.com/wsdl/types/", "microsoft-types.xsd"),
];
