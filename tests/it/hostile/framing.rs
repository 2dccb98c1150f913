//! Attacks on how a request is framed: two lengths, broken chunks, odd methods, addresses and headers.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::{Attack, Ending, loot, post, request, whole};

const TYPE: &str = "Content-Type: text/xml; charset=UTF-8\r\n";

/// A body in one chunk.
fn chunk(body: &str) -> Vec<u8> {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
}

/// The proper envelope behind another request's head, which must swallow it or be refused with it.
fn behind(head: &str) -> Vec<u8> {
    [head.as_bytes(), &whole(loot())].concat()
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = lengths();
    all.extend(chunks());
    all.extend(heads());
    all.extend(methods_and_paths());
    all.extend(encodings());
    all
}

/// Smuggling pairs: what one reader takes for the end of a request is in the middle of it for another.
fn lengths() -> Vec<Attack> {
    let body = loot();
    let length = body.len();
    let with = |headers: String| post(&format!("{TYPE}{headers}"), body.as_bytes());
    vec![
        Attack::new("two lengths that differ", with(format!("Content-Length: {length}\r\nContent-Length: 5\r\n")), 400),
        Attack::new("two lengths in one line", with(format!("Content-Length: {length}, 5\r\n")), 400),
        Attack::new("a length with a sign", with(format!("Content-Length: +{length}\r\n")), 400),
        Attack::new("a negative length", with(format!("Content-Length: -{length}\r\n")), 400),
        Attack::new("a length in hexadecimal", with(format!("Content-Length: 0x{length:x}\r\n")), 400),
        Attack::new("a length with a letter behind it", with(format!("Content-Length: {length}a\r\n")), 400),
        Attack::new("an empty length", with("Content-Length: \r\n".to_owned()), 400),
        Attack::new("a length beyond any number", with("Content-Length: 99999999999999999999999\r\n".to_owned()), 400),
        Attack::new("a length of a terabyte", with("Content-Length: 1099511627776\r\n".to_owned()), 413),
        Attack::new("no length and no chunks", post(TYPE, body.as_bytes()), None),
        Attack::new(
            "a length and chunks",
            post(&format!("{TYPE}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), &chunk(&body)),
            400,
        ),
        Attack::new(
            "chunks and a length",
            post(&format!("{TYPE}Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"), body.as_bytes()),
            400,
        ),
        Attack::new(
            "a request hidden in the body of a GET",
            behind("GET /om/orders HTTP/1.1\r\nHost: gate\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"),
            None,
        ),
        Attack::new(
            "a request hidden behind a length of nothing",
            behind("POST /om/orders HTTP/1.1\r\nHost: gate\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400,
        ),
    ]
}

fn chunks() -> Vec<Attack> {
    let body = loot();
    let chunked = |encoding: &str, body: Vec<u8>| post(&format!("{TYPE}{encoding}\r\n"), &body);
    let plain = |body: &str| chunked("Transfer-Encoding: chunked", body.as_bytes().to_vec());
    let sized = |size: &str| plain(&format!("{size}\r\n{body}\r\n0\r\n\r\n"));
    let hex = format!("{:x}", body.len());
    vec![
        Attack::new(
            "an encoding that only looks like chunks",
            chunked("Transfer-Encoding: xchunked", chunk(&body)),
            400,
        ),
        Attack::new(
            "chunks that are not the last encoding",
            chunked("Transfer-Encoding: chunked, identity", chunk(&body)),
            400,
        ),
        Attack::new(
            "chunks named twice",
            chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", chunk(&body)),
            400,
        ),
        Attack::new("a blank before the colon", chunked("Transfer-Encoding : chunked", chunk(&body)), 400),
        Attack::new("a tab in the encoding", chunked("Transfer-Encoding:\tchunked\x0b", chunk(&body)), 400),
        Attack::new(
            "chunks in HTTP/1.0",
            request("POST /om/orders HTTP/1.0\r\n", &format!("{TYPE}Transfer-Encoding: chunked\r\n"), &chunk(&body)),
            400,
        ),
        Attack::new("a chunk beyond any number", sized("ffffffffffffffffff"), None),
        Attack::new("a chunk of a negative size", sized("-1"), None),
        Attack::new("a chunk with a prefix", sized(&format!("0x{hex}")), None),
        Attack::new("a chunk with a sign", sized(&format!("+{hex}")), None),
        Attack::new("a chunk of no size", sized(""), None),
        Attack::new("a chunk without its end", plain(&format!("{hex}\r\n{body}0\r\n\r\n")), None),
        Attack::new("a chunk that ends early", plain(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len() + 9)), None),
        Attack::new("chunks that end with line feeds", plain(&format!("{hex}\n{body}\n0\n\n")), None),
        Attack::new("an extension without an end", plain(&format!("{hex};a={}", "a".repeat(8 << 20))), None),
        Attack::new("chunks without an end", plain(&format!("{hex}\r\n{body}\r\n")), None).ending(Ending::HalfClose),
        Attack::new("two million chunks of a byte", plain(&"1\r\na\r\n".repeat(2 << 20)), None),
        Attack::new(
            "a trailer of a megabyte",
            plain(&format!("1\r\na\r\n0\r\n{}\r\n", "X-A: a\r\n".repeat(1 << 17))),
            None,
        ),
    ]
}

fn heads() -> Vec<Attack> {
    let body = loot();
    let length = format!("Content-Length: {}\r\n", body.len());
    let with = |headers: &str| post(&format!("{TYPE}{length}{headers}"), body.as_bytes());
    let many = "X-A: a\r\n".repeat(100_000);
    vec![
        Attack::new("a header of a megabyte", with(&format!("X-A: {}\r\n", "a".repeat(1 << 20))), None),
        Attack::new("a hundred thousand headers", with(&many), None),
        Attack::new("a header without a name", with(": a\r\n"), 400),
        Attack::new("a header with a zero byte", with("X-A: a\0b\r\n"), 400),
        Attack::new("a header over two lines", with("X-A: a\r\n b\r\n"), 400),
        Attack::new("a header ended by a carriage return", with("X-A: a\rX-B: b\r\n"), 400),
        Attack::new("a name with a blank", with("X A: a\r\n"), 400),
        Attack::new("no request at all", "\r\n\r\n\r\n\r\n", None).ending(Ending::HalfClose),
        Attack::new("a greeting of TLS", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0\0\0"[..], None)
            .ending(Ending::HalfClose),
        Attack::new("a greeting of HTTP/2", behind("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), None),
        Attack::new("noise", (0..=255_u8).cycle().take(1 << 16).collect::<Vec<u8>>(), None),
        Attack::new("HTTP/0.9", behind("GET /om/orders\r\n\r\n"), None),
        Attack::new(
            "HTTP/3.7",
            request("POST /om/orders HTTP/3.7\r\nHost: gate\r\n", &format!("{TYPE}{length}"), body.as_bytes()),
            400,
        ),
        Attack::new(
            "an expectation that nobody knows",
            post("Expect: a-miracle\r\nContent-Length: 5\r\n", b"<a/>\n"),
            None,
        ),
        Attack::new(
            "a request to switch to HTTP/2",
            post(
                "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5\r\n",
                b"<a/>\n",
            ),
            None,
        ),
        Attack::new(
            "a request to switch to WebSocket",
            post(
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: 5\r\n",
                b"<a/>\n",
            ),
            None,
        ),
    ]
}

fn methods_and_paths() -> Vec<Attack> {
    let body = loot();
    let length = format!("{TYPE}Connection: close\r\nContent-Length: {}\r\n", body.len());
    let line = |line: &str| request(&format!("{line}\r\nHost: gate\r\n"), &length, body.as_bytes());
    vec![
        Attack::new("GET with an envelope", line("GET /om/orders HTTP/1.1"), 200),
        Attack::new("PUT", line("PUT /om/orders HTTP/1.1"), 405),
        Attack::new("DELETE", line("DELETE /om/orders HTTP/1.1"), 405),
        Attack::new("PATCH", line("PATCH /om/orders HTTP/1.1"), 405),
        Attack::new("TRACE", line("TRACE /om/orders HTTP/1.1"), 405),
        Attack::new("a method of our own", line("ACKNOWLEDGE /om/orders HTTP/1.1"), 405),
        Attack::new("CONNECT", line("CONNECT erp.internal:443 HTTP/1.1"), None),
        Attack::new("OPTIONS of everything", line("OPTIONS * HTTP/1.1"), None),
        Attack::new("a path that climbs", line("POST /om/../admin/orders HTTP/1.1"), 404),
        Attack::new("a path that climbs in disguise", line("POST /om/%2e%2e/om/orders HTTP/1.1"), 404),
        Attack::new("a path with two slashes", line("POST //om/orders HTTP/1.1"), 404),
        Attack::new("a path with a slash more", line("POST /om/orders/ HTTP/1.1"), 404),
        Attack::new("a path in capitals", line("POST /OM/ORDERS HTTP/1.1"), 404),
        Attack::new("a path with a zero", line("POST /om/orders%00 HTTP/1.1"), 404),
        Attack::new("the API on the public listener", line("POST /api/v1/reload HTTP/1.1"), 404),
        Attack::new("a path of a megabyte", line(&format!("POST /om/{} HTTP/1.1", "a".repeat(1 << 20))), None),
        Attack::new("a blank in the path", line("POST /om/or ders HTTP/1.1"), 400),
    ]
}

fn encodings() -> Vec<Attack> {
    let encoded = |name: &str, body: &[u8]| {
        post(&format!("{TYPE}Content-Encoding: {name}\r\nContent-Length: {}\r\n", body.len()), body)
    };
    let spaces = " ".repeat(1 << 20);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        gzip.write_all(spaces.as_bytes()).unwrap();
        deflate.write_all(spaces.as_bytes()).unwrap();
    }
    let (gzip, deflate) = (gzip.finish().unwrap(), deflate.finish().unwrap());
    let mut twice = GzEncoder::new(Vec::new(), Compression::best());
    twice.write_all(&gzip).unwrap();
    vec![
        Attack::new("a gzip bomb", encoded("gzip", &gzip), 413),
        Attack::new("a gzip bomb in a gzip", encoded("gzip, gzip", &twice.finish().unwrap()), None),
        Attack::new("a deflate bomb", encoded("deflate", &deflate), None),
        Attack::new("half a gzip", encoded("gzip", &gzip[..gzip.len() / 2]), None),
        Attack::new("a gzip that is none", encoded("gzip", loot().as_bytes()), None),
        Attack::new("an encoding that nobody knows", encoded("rot13", loot().as_bytes()), None),
        Attack::new("JSON", post("Content-Type: application/json\r\nContent-Length: 2\r\n", b"{}"), None),
        Attack::new(
            "a form",
            post("Content-Type: multipart/form-data; boundary=a\r\nContent-Length: 8\r\n", b"--a--\r\n\n"),
            None,
        ),
    ]
}
