//! One recorded answer → what it would come to, and what would follow, as text.

use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::call::Call;
use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::deliver::egress::{Egress, Names};
use crate::deliver::tls::Tls;
use crate::deliver::{self, Target, TargetConfig, classify, keep};
use crate::map;
use crate::outcome::{Exchange, Judgement};
use crate::secret::Text;
use crate::settle::{self, Facts, Verdict};
use crate::store::Settlement;

/// What follows is said for a first attempt that ends at 2026-01-01T00:00:00.000Z, without jitter.
const FACTS: Facts = Facts {
    attempt: 1,
    excused: 0,
    lockouts_alone: 0,
    age: Duration::ZERO,
    repeat: None,
    now: Timestamp(1_767_225_600_000),
    jitter: 0.0,
};

/// What is sent so that an answer comes.
const REQUEST: &[u8] = b"?";
/// Longer than any recorded answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the configuration makes of an answer. `name` is its path below the folder of fixtures: one of its folders names the
/// destination.
///
/// # Errors
/// When it cannot be tried at all.
pub(super) async fn replay(loaded: &Loaded, name: &Path, answer: &[u8]) -> Result<String, String> {
    let folders: Vec<_> = name.parent().into_iter().flat_map(Path::components).map(|part| part.as_os_str()).collect();
    let named = |destination: &str| folders.iter().any(|folder| *folder == destination);
    let mut routes: Vec<_> = loaded.plan.routes.values().filter(|route| named(&route.destination)).collect();
    routes.sort_by(|one, other| one.name.cmp(&other.name));
    let Some(route) = routes.first() else {
        return Err("no folder of it is named like a destination that a route leads to".to_owned());
    };
    let Some(destination) = loaded.plan.destinations.get(&route.destination) else {
        return Err(format!("destination {} has no connection", route.destination));
    };
    let exchange = read(answer, destination.target.response_bytes_max()).await?;
    let reply = map::reply(&route.mapping, &exchange);
    let judgement = classify::judge(&exchange, reply.as_ref(), &destination.rules);
    let verdict = settle::verdict(&judgement, &FACTS, &route.policy);
    let mut text = page(&route.destination, &judgement, &verdict);
    if verdict.settlement == Settlement::Delivered {
        let mask = &loaded.plan.mask;
        for kept in keep::kept(&destination.keep, &exchange, reply.as_ref(), &|text| mask.apply(text)) {
            let warning = kept.warning.map_or_else(String::new, |warning| format!(": {warning}"));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  keeps    {} = {}{warning}", kept.name, kept.value);
        }
    }
    Ok(text)
}

fn page(destination: &str, judgement: &Judgement, verdict: &Verdict) -> String {
    let mut text = format!("destination {destination}\n");
    let rule = judgement.rule.map_or_else(|| "none matches".to_owned(), |rule| format!("{rule} matches"));
    let reason = match judgement.outcome.reason() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let follows = match &verdict.settlement {
        Settlement::Delivered => "delivered".to_owned(),
        Settlement::Waiting { due_at } => format!("sent again after {} ms", due_at.since(FACTS.now).as_millis()),
        Settlement::Dead { holds_lane, .. } => {
            format!("dead letter; its lane {}", if *holds_lane { "stops" } else { "goes on" })
        }
        Settlement::Held { .. } => "held for a person; its lane stops".to_owned(),
        Settlement::Superseded { .. } => "superseded".to_owned(),
    };
    let probe_at = verdict.pause.as_ref().and_then(|pause| pause.probe_at);
    let pause = probe_at.map(|at| {
        let seconds = at.since(FACTS.now).as_secs();
        format!("; the whole system is paused, and one delivery tries again after {seconds} s")
    });
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "  rule     {rule}\n  outcome  {}{reason}\n  follows  {follows}{}\n",
        judgement.outcome.as_str(),
        pause.unwrap_or_default()
    );
    text
}

/// An HTTP answer as it came over the wire; or a first line `not sent: …` or `no answer: …`.
async fn read(answer: &[u8], response_bytes_max: usize) -> Result<Exchange, String> {
    let mut lines = head(answer).into_iter();
    let first = lines.next().unwrap_or_default();
    let reason = |what| first.strip_prefix(what).map(|reason| reason.trim_start_matches(':').trim().to_owned());
    if let Some(reason) = reason("not sent") {
        return Ok(Exchange::NotSent { reason });
    }
    if let Some(reason) = reason("no answer") {
        return Ok(Exchange::NoAnswer { reason });
    }
    let mut words = first.split_whitespace();
    match (words.next(), words.next().map(str::parse::<u16>)) {
        (Some(version), Some(Ok(_))) if version.starts_with("HTTP/") => {}
        _ => {
            return Err(format!(
                "its first line is {first:?}; write \"HTTP/1.1 500\", \"not sent: why\" or \"no answer: why\""
            ));
        }
    }
    if let Some(line) = lines.find(|line| !line.contains(':')) {
        return Err(format!("{line:?} is no header; an empty line ends them"));
    }
    if !answer.windows(2).any(|two| two == b"\n\n") && !answer.windows(3).any(|three| three == b"\n\r\n") {
        return Err("its headers do not end: an empty line ends them".to_owned());
    }
    play(answer, response_bytes_max).await
}

/// The lines before the first empty one.
fn head(answer: &[u8]) -> Vec<String> {
    let lines = answer.split(|&byte| byte == b'\n').map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
    lines.take_while(|line| !line.is_empty()).collect()
}

/// What the gateway itself reads of those bytes: they are sent to its own client, on this machine and nowhere else. So
/// chunks, compression, interim answers and an end that comes too early count as they do with the real target.
async fn play(answer: &[u8], response_bytes_max: usize) -> Result<Exchange, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("playing it on 127.0.0.1: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| cannot(&error))?;
    let address = listener.local_addr().map_err(|error| cannot(&error))?;
    let target = Target::new(TargetConfig {
        name: "recorded".to_owned(),
        auth: None,
        security: None,
        connect_timeout: PATIENCE,
        response_bytes_max,
        tls: Tls::default(),
        proxy: None,
        egress: Egress::default(),
        names: Names::default(),
    });
    let target = target.map_err(|error| cannot(&error))?;
    let url = format!("http://{address}");
    let call = Call {
        method: "POST".to_owned(),
        url: Text::plain(format!("{url}/")),
        headers: Vec::new(),
        id: String::new(),
        trace: None,
        body: Bytes::from_static(REQUEST),
        timeout: PATIENCE,
    };
    // Ends with the call: what it left unread nobody waits for.
    let exchange = tokio::select! {
        exchange = deliver::send(&target, &call) => exchange,
        Err(error) = serve(&listener, answer) => return Err(cannot(&error)),
    };
    Ok(match exchange {
        Exchange::NoAnswer { reason } => Exchange::NoAnswer { reason: reason.replace(&url, "the target") },
        Exchange::NotSent { reason } | Exchange::NoCredentials { reason, .. } => return Err(cannot(&reason)),
        Exchange::Answered(response) => Exchange::Answered(response),
    })
}

/// Takes one request, gives the answer to it, and hangs up.
async fn serve(listener: &TcpListener, answer: &[u8]) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = Vec::new();
    while !request.ends_with(&[b"\r\n\r\n", REQUEST].concat()) && stream.read_buf(&mut request).await? > 0 {}
    // The client hangs up on what it cannot read.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    // What the client makes of it ends the race.
    std::future::pending().await
}
