//! `omgate inspect`: what omgate sees in an envelope, as JSON.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::cli::print;
use crate::disk;
use crate::envelope::{Content, Envelope, Notification, Record, RecordTypes};
use crate::{parse, wsdl};

/// No envelope is that large; the gateway takes 16 MiB unless configured otherwise.
const BYTES_MAX: u64 = 256 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The envelope, as it was posted; - is the standard input.
    file: PathBuf,

    /// The outbound message's WSDL: types the fields and reports what does not fit.
    #[arg(long, value_name = "FILE")]
    wsdl: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What went wrong, for a person.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let types = args.wsdl.as_deref().map(record_types).transpose()?;
    let body = read(&args.file).with_context(|| format!("reading {}", args.file.display()))?;
    let envelope = parse::envelope(&body, None, &parse::Limits::default(), types.as_ref())
        .with_context(|| format!("{} is refused", args.file.display()))?;
    let text = serde_json::to_string_pretty(&report(&envelope)).context("writing the envelope as JSON")?;
    print::line(&text);
    Ok(ExitCode::SUCCESS)
}

/// What omgate sees in an envelope. A key `unreadable` or `drift` is there only when there is something to say.
#[must_use]
pub fn report(envelope: &Envelope) -> Value {
    json!({
        "organization_id": envelope.organization_id.as_str(),
        "action_id": envelope.action_id.as_str(),
        "enterprise_url": envelope.enterprise_url,
        "partner_url": envelope.partner_url,
        "notifications": envelope.notifications.iter().map(notification).collect::<Vec<_>>(),
    })
}

fn notification(notification: &Notification) -> Value {
    let record = notification.record();
    let mut shown = Map::new();
    shown.insert("id".to_owned(), notification.id().map_or(Value::Null, |id| id.as_str().into()));
    shown.insert("record_type".to_owned(), record.map_or(Value::Null, |record| record.record_type.as_str().into()));
    shown.insert("record".to_owned(), record.map_or(Value::Null, |record| record.to_json().into()));
    if let Content::Unreadable { reason, .. } = &notification.content {
        shown.insert("unreadable".to_owned(), reason.as_str().into());
    }
    if let Some(drift) = record.map(drift).filter(|drift| !drift.is_empty()) {
        shown.insert("drift".to_owned(), drift.into());
    }
    shown.into()
}

fn drift(record: &Record) -> Vec<String> {
    record.drift.iter().map(ToString::to_string).collect()
}

fn record_types(path: &Path) -> anyhow::Result<RecordTypes> {
    let name = path.display().to_string();
    let bytes = disk::read(path, BYTES_MAX).with_context(|| format!("reading the WSDL {name}"))?;
    let text = parse::decode(&bytes, None).with_context(|| format!("reading the WSDL {name}"))?;
    match wsdl::outbound::record_types(&name, &text) {
        Ok(types) => Ok(types),
        Err(findings) => {
            let lines: Vec<String> = findings
                .iter()
                .map(|finding| format!("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message))
                .collect();
            bail!("the WSDL cannot be used: {}", lines.join("\n"))
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(std::fs::File::open(path)?) };
    source.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
