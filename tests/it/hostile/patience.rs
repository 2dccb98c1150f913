//! Attacks on patience: clients that are slow, never end, or go away.

use super::{Attack, Ending, loot, post, request};

/// The attack, and then a piece every half second, for longer than any time limit.
fn drip(attack: Attack, piece: &str) -> Attack {
    (0..16).fold(attack, |attack, _| attack.then(500, piece))
}

fn stray(headers: &str) -> Vec<u8> {
    request("POST /om/other HTTP/1.1\r\nHost: gate\r\n", headers, b"")
}

fn got(headers: &str) -> Vec<u8> {
    request("GET /om/orders HTTP/1.1\r\nHost: gate\r\n", headers, b"")
}

pub(super) fn attacks() -> Vec<Attack> {
    let body = loot();
    let length = format!("Content-Type: text/xml\r\nContent-Length: {}\r\n", body.len());
    let (half, rest) = body.split_at(body.len() / 2);
    let chunked = "Content-Type: text/xml\r\nTransfer-Encoding: chunked\r\n";
    vec![
        Attack::new("silence", "", None),
        Attack::new("half a request line", "POST /om/or", None),
        drip(Attack::new("a header a line at a time", "POST /om/orders HTTP/1.1\r\n", None), "X-A: a\r\n"),
        drip(Attack::new("a header a letter at a time", "POST /om/orders HTTP/1.1\r\nX-A: ", None), "a"),
        Attack::new("a body that never comes", post(&length, b""), None),
        Attack::new("a body that stops in the middle", post(&length, half.as_bytes()), None),
        Attack::new("the rest of a body too late", post(&length, half.as_bytes()), None).then(6_000, rest),
        drip(Attack::new("a body a blank at a time", post(&length, b""), None), " "),
        drip(Attack::new("a chunk at a time", post(chunked, b""), None), "1\r\n \r\n"),
        Attack::new("an expectation and then nothing", post(&format!("{length}Expect: 100-continue\r\n"), b""), None),
        drip(Attack::new("a chunk at a time for an unknown address", stray(chunked), None), "1\r\n \r\n"),
        drip(Attack::new("a chunk at a time for GET", got(chunked), None), "1\r\n \r\n"),
        Attack::new("half a body and then the end", post(&length, half.as_bytes()), None).ending(Ending::HalfClose),
        Attack::new("half a body and then gone", post(&length, half.as_bytes()), None).ending(Ending::Leave),
        Attack::new("a head and then gone", post(&length, b""), None).ending(Ending::Leave),
        Attack::new("a thousand requests and no ear", "GET / HTTP/1.1\r\nHost: gate\r\n\r\n".repeat(1_000), None)
            .ending(Ending::Leave),
        Attack::new("a thousand requests", "GET / HTTP/1.1\r\nHost: gate\r\n\r\n".repeat(1_000), None)
            .ending(Ending::HalfClose),
    ]
}
