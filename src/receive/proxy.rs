//! What a reverse proxy says of whoever stands before it: the address and the client certificate in headers, and the PROXY
//! protocol. Only listed proxies are believed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::clock::Timestamp;
use crate::receive::client::{Clients, Refused};
use crate::receive::denial::Denial;
use crate::receive::front::Caller;
use crate::receive::network::Networks;

/// What every PROXY header of version 2 begins with (its specification, §2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1 (§2.1), its line end included.
const LINE_BYTES_MAX: usize = 107;
/// The most that a header of version 2 may bring along: addresses, and what proxies add.
const BLOCK_BYTES_MAX: usize = 4 << 10;
/// The longest chain in a header.
const CHAIN_MAX: usize = 10;
/// The header of RFC 9440 that brings the intermediate certificates.
const CLIENT_CERT_CHAIN: &str = "client-cert-chain";

/// `[server.proxy]`.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where the proxies are.
    pub addresses: Networks,
    /// In which header they say who sent; none: they do not.
    pub address_header: Option<Header>,
    /// In which header they hand on the client certificate.
    pub certificate_header: Option<Header>,
    /// What they say before anything else.
    pub protocol: Option<Protocol>,
    /// Whose certificates are taken in that header.
    pub clients: Option<Arc<Clients>>,
}

/// The name of an HTTP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(HeaderName);

impl Header {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = HeaderName::from_bytes(text.as_bytes());
        name.map(Self).map_err(|_| format!("{text:?} is no name of a header; write one such as \"X-Forwarded-For\""))
    }
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
    /// Either.
    Any,
}

/// Who sent a request: the rightmost address that is no proxy's, as far as proxies are to be believed.
#[must_use]
pub fn sender(proxy: Option<&Proxy>, caller: &Caller, headers: &HeaderMap) -> IpAddr {
    let mut sender = caller.address;
    let Some(proxy) = proxy else { return sender };
    let Some(Header(name)) = &proxy.address_header else { return sender };
    let values: Option<Vec<&str>> = headers.get_all(name).map(|value| value.to_str().ok()).collect();
    let mut entries: Vec<&str> = values.iter().flatten().flat_map(|value| value.split(',')).collect();
    while proxy.addresses.contain(sender) {
        // What cannot be read was written by nobody who is to be believed.
        let Some(address) = entries.pop().and_then(address_of) else { break };
        sender = address;
    }
    sender
}

/// An address as proxies write it: bare, with a port, in brackets.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether whoever sent a request shows a certificate that is taken: in the header of a proxy, or in the handshake.
///
/// # Errors
/// Why not.
pub fn identify(proxy: &Proxy, caller: &Caller, headers: &HeaderMap, now: Timestamp) -> Result<(), Refused> {
    let (Some(clients), Some(Header(name))) = (&proxy.clients, &proxy.certificate_header) else { return Ok(()) };
    let refused = |denial, reason: String| Refused { denial, reason, certificate: None };
    if !proxy.addresses.contain(caller.peer) {
        if caller.certificate.is_some() || !clients.are_required() {
            return Ok(());
        }
        let reason = format!("{} is no proxy of server.proxy.addresses, and showed no certificate itself", caller.peer);
        return Err(refused(Denial::NoCertificate, reason));
    }
    let unreadable = |reason: String| {
        refused(Denial::CertificateUnreadable, format!("the certificate in the header {name} cannot be read: {reason}"))
    };
    let values: Vec<_> = headers.get_all(name).collect();
    if values.len() > 1 {
        return Err(unreadable(
            "there are several such headers; the proxy must replace what a sender writes".to_owned(),
        ));
    }
    let value = values.first().map(|value| value.to_str()).transpose();
    let value = value.map_err(|_| unreadable("it has bytes that no header has".to_owned()))?.map_or("", str::trim);
    // So does Apache write that there is none.
    if value.is_empty() || value == "(null)" {
        if clients.are_required() {
            let reason = format!("the proxy handed on no client certificate in the header {name}");
            return Err(refused(Denial::NoCertificate, reason));
        }
        return Ok(());
    }
    let mut chain = chain_of(value).map_err(unreadable)?;
    if name == "client-cert"
        && let Some(more) = headers.get(CLIENT_CERT_CHAIN).and_then(|value| value.to_str().ok())
    {
        chain.extend(chain_of(more).map_err(unreadable)?);
    }
    let Some((leaf, intermediates)) = chain.split_first().filter(|_| chain.len() <= CHAIN_MAX) else {
        return Err(unreadable("there is none in it, or too many are".to_owned()));
    };
    clients.judge(leaf, intermediates, now).map(drop)
}

/// The certificates of a header's value: PEM with percent signs (nginx), PEM on one line (Apache), DER in Base64 (haproxy), or
/// as RFC 9440 has it.
fn chain_of(value: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let decoded = percent_decode_str(value).decode_utf8().map_err(|_| "it is no text".to_owned())?;
    let der = |text: &str| {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        STANDARD.decode(text.trim_matches(':')).map(CertificateDer::from).map_err(|_| "it is no Base64".to_owned())
    };
    if decoded.contains("-----BEGIN ") {
        let blocks = decoded.split("-----BEGIN CERTIFICATE-----").skip(1);
        blocks.map(|block| der(block.split("-----END").next().unwrap_or_default())).collect()
    } else {
        value.split(',').map(der).collect()
    }
}

/// Reads what a proxy says before anything else; the address that it stands for, or none when it speaks for itself.
///
/// # Errors
/// What was wrong with it.
pub async fn preamble(socket: &mut (impl AsyncRead + Unpin), protocol: Protocol) -> Result<Option<SocketAddr>, String> {
    let broken = |error: std::io::Error| format!("the connection ended within the PROXY header: {error}");
    let mut start = [0; SIGNATURE.len()];
    socket.read_exact(&mut start).await.map_err(broken)?;
    if start == SIGNATURE {
        if protocol == Protocol::V1 {
            return Err("it speaks version 2 of the PROXY protocol, and server.proxy.protocol says v1".to_owned());
        }
        let mut head = [0; 4];
        socket.read_exact(&mut head).await.map_err(broken)?;
        let [command, family, high, low] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > BLOCK_BYTES_MAX {
            return Err(format!("its PROXY header brings {length} bytes along, more than {BLOCK_BYTES_MAX}"));
        }
        let mut block = vec![0; length];
        socket.read_exact(&mut block).await.map_err(broken)?;
        return block_of(command, family, &block);
    }
    if !start.starts_with(b"PROXY ") {
        return Err("it does not begin with a PROXY header, as server.proxy.protocol asks of a listed proxy".to_owned());
    }
    if protocol == Protocol::V2 {
        return Err("it speaks version 1 of the PROXY protocol, and server.proxy.protocol says v2".to_owned());
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(format!("its PROXY header is longer than {LINE_BYTES_MAX} bytes"));
        }
        // Byte by byte: what comes after the line is not for us.
        line.push(socket.read_u8().await.map_err(broken)?);
    }
    line_of(&line)
}

/// The address in a header of version 1.
fn line_of(line: &[u8]) -> Result<Option<SocketAddr>, String> {
    let bad = || format!("its PROXY header {:?} is not understood", String::from_utf8_lossy(line).trim_end());
    let text = std::str::from_utf8(line).ok().and_then(|text| text.strip_suffix("\r\n")).ok_or_else(bad)?;
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let source: IpAddr = source.parse().map_err(|_| bad())?;
            let destination: IpAddr = destination.parse().map_err(|_| bad())?;
            let port: u16 = source_port.parse().map_err(|_| bad())?;
            let _: u16 = destination_port.parse().map_err(|_| bad())?;
            let is_four = *family == "TCP4";
            if source.is_ipv4() != is_four || destination.is_ipv4() != is_four {
                return Err(bad());
            }
            Ok(Some(SocketAddr::new(source, port)))
        }
        _ => Err(bad()),
    }
}

/// The address in a header of version 2.
fn block_of(command: u8, family: u8, block: &[u8]) -> Result<Option<SocketAddr>, String> {
    let bad = |what: &str| format!("its PROXY header is not understood: {what}");
    match command {
        // Its own connection, such as a health check.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(bad("neither LOCAL nor PROXY of version 2")),
    }
    let short = || bad("its addresses are cut off");
    let port = |at: usize| {
        let bytes = block.get(at..at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
        bytes.map(u16::from_be_bytes).ok_or_else(short)
    };
    match family {
        0x11 => {
            let source = block.first_chunk::<4>().filter(|_| block.len() >= 12).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(IpAddr::from(*source), port(8)?)))
        }
        0x21 => {
            let source = block.first_chunk::<16>().filter(|_| block.len() >= 36).ok_or_else(short)?;
            Ok(Some(SocketAddr::new(IpAddr::from(*source), port(32)?)))
        }
        // Unspecified, or no TCP: then it speaks for itself.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::network;
    use actix_web::http::header::HeaderValue;

    fn proxy() -> Proxy {
        Proxy {
            addresses: Networks::new(vec![network::parse("10.0.0.0/8").unwrap()]),
            address_header: Some(Header::parse("X-Forwarded-For").unwrap()),
            certificate_header: None,
            protocol: None,
            clients: None,
        }
    }

    fn caller(address: &str) -> Caller {
        let address = address.parse().unwrap();
        Caller { peer: address, address, certificate: None }
    }

    #[test]
    fn the_sender_is_the_rightmost_address_that_is_no_proxys() {
        for (peer, headers, expected) in [
            ("10.0.0.1", &["203.0.113.7"][..], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.0.0.9"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.7", "10.0.0.9"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("192.0.2.1", &["203.0.113.7"], "192.0.2.1"),
        ] {
            let mut map = HeaderMap::new();
            for value in headers {
                map.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(sender(Some(&proxy()), &caller(peer), &map).to_string(), expected, "{peer} {headers:?}");
            assert_eq!(sender(None, &caller(peer), &map).to_string(), peer);
        }
    }

    #[test]
    fn a_certificate_is_read_as_each_proxy_writes_it() {
        let der = [0x30, 0x82, 0xff, 0x3e, 0x3f];
        let base64 = STANDARD.encode(der);
        assert!(base64.contains('/') || base64.contains('+'), "{base64}");
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let escaped = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string();
        for value in [&base64, &format!(":{base64}:"), &escaped, &pem.replace('\n', " ")] {
            assert_eq!(chain_of(value), Ok(vec![CertificateDer::from(der.to_vec())]), "{value}");
        }
        assert_eq!(chain_of(&format!("{escaped}{escaped}")).unwrap().len(), 2);
        assert_eq!(chain_of(&format!(":{base64}:, :{base64}:")).unwrap().len(), 2);
        assert!(chain_of("%%%").is_err() && chain_of("not base64!").is_err());
    }

    async fn read(bytes: &[u8], protocol: Protocol) -> Result<(Option<String>, Vec<u8>), String> {
        let mut bytes = bytes;
        let address = preamble(&mut bytes, protocol).await?;
        Ok((address.map(|address| address.to_string()), bytes.to_vec()))
    }

    #[tokio::test]
    async fn a_proxy_header_tells_the_address_and_leaves_what_follows() {
        let two = |command: u8, family: u8, block: &[u8]| {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([command, family]);
            bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
            bytes.extend(block);
            bytes.extend(b"POST");
            bytes
        };
        let four = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187, 4, 0, 1, 0];
        let mut six = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        six.extend([0; 16]);
        six.extend([0x12, 0x67, 1, 187]);
        for (bytes, protocol, expected) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\nPOST".to_vec(), Protocol::V1, Some("203.0.113.7:4711")),
            (b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\nPOST".to_vec(), Protocol::Any, Some("[2001:db8::1]:4711")),
            (b"PROXY UNKNOWN\r\nPOST".to_vec(), Protocol::V1, None),
            (two(0x21, 0x11, &four), Protocol::V2, Some("203.0.113.7:4711")),
            (two(0x21, 0x21, &six), Protocol::Any, Some("[2001:db8::1]:4711")),
            (two(0x20, 0x00, &[]), Protocol::V2, None),
            (two(0x21, 0x31, &[0; 216]), Protocol::V2, None),
        ] {
            let (address, rest) = read(&bytes, protocol).await.unwrap();
            assert_eq!((address.as_deref(), rest.as_slice()), (expected, b"POST".as_slice()), "{bytes:?}");
        }
        for (bytes, protocol) in [
            (b"POST /om/orders HTTP/1.1\r\n".to_vec(), Protocol::Any),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(), Protocol::V2),
            (two(0x21, 0x11, &four), Protocol::V1),
            (b"PROXY TCP4 ::1 10.0.0.1 4711 443\r\n".to_vec(), Protocol::V1),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 9\r\n".to_vec(), Protocol::V1),
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 99443\r\n".to_vec(), Protocol::V1),
            ([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(), Protocol::V1),
            (b"PROXY TCP4 203.0".to_vec(), Protocol::V1),
            (two(0x21, 0x11, &four[..11]), Protocol::V2),
            (two(0x31, 0x11, &four), Protocol::V2),
            (two(0x21, 0x11, &[0; 5_000]), Protocol::V2),
            (SIGNATURE.to_vec(), Protocol::V2),
        ] {
            assert!(read(&bytes, protocol).await.is_err(), "{bytes:?}");
        }
    }
}
