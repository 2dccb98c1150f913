//! `omgate wsdl fetch`: a WSDL with all it imports, from the network into a folder.
//!
//! Only the host that was named is asked, and those that are allowed by name; credentials go to the first alone. The
//! number and the size of documents are bounded. Locations are rewritten, so that the folder stands for itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Url};
use serde_json::json;

use super::{Disk, in_words};
use crate::cli::print;
use crate::config;
use crate::disk;
use crate::secret::Text;
use crate::wsdl::links::{self, Kind, Linked};
use crate::wsdl::{self, Severity};

const DOCUMENTS_MAX: usize = 300;
const BYTES_MAX: usize = 32 << 20;
const BYTES_MAX_ALL: usize = 128 << 20;
const REDIRECTS_MAX: usize = 5;
const TIMEOUT_MAX: u64 = 600;

/// Arguments of `wsdl fetch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the WSDL is, such as `http://erp.internal:8000/orders?wsdl`.
    #[arg(value_name = "URL")]
    url: String,
    /// The folder that it is brought into.
    #[arg(long, value_name = "DIR", default_value = "wsdl")]
    out: PathBuf,
    /// Credentials: `NAME:${PASSWORD}` or `NAME:${file:PATH}`; the password comes from the environment or a file.
    #[arg(long, value_name = "NAME:SECRET")]
    user: Option<String>,
    /// A token: `${NAME}` or `${file:PATH}`.
    #[arg(long, value_name = "SECRET", conflicts_with = "user")]
    bearer: Option<String>,
    /// A header that is sent to the host of URL, as `Name: value`; may hold `${NAME}` and `${file:PATH}`.
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// PEM: the only certificate authorities that are trusted. Default: the machine's own.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Another host that imports may be fetched from, as `host` or `host:port`; never with credentials.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// How long each document may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_MAX))]
    timeout: u64,
    /// Write over files that are there and differ.
    #[arg(long)]
    replace: bool,
    /// Fetch, and say what would be written.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `{"wsdl","files":[{"file","url","written"}],"left":[{"location","reason"}],"findings":[…]}`.
    #[arg(long)]
    json: bool,
}

/// A document as it came, and where its links lead.
pub(in crate::cli) struct Fetched {
    pub(in crate::cli) url: Url,
    pub(in crate::cli) name: String,
    pub(in crate::cli) linked: Linked,
}

/// A location that was not followed.
struct Left {
    location: String,
    reason: String,
}

/// Fetches a WSDL. Exit code 1 when it cannot be used as it was brought.
///
/// # Errors
/// What could not be fetched or written.
pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = address(&args.url)?;
    let courier = Courier::new(&args, &url)?;
    let (documents, left) = courier.bring(url).await?;
    let files = rewritten(&documents);
    let folder = if args.dry_run { None } else { Some(args.out.as_path()) };
    let scratch = tempfile::tempdir().context("making a folder to try the WSDL in")?;
    for (name, text) in &files {
        fs::write(scratch.path().join(name), text).with_context(|| format!("writing {name}"))?;
    }
    let written = folder.map(|folder| write(folder, &files, args.replace)).transpose()?;
    let main = documents.first().map(|document| document.name.clone()).unwrap_or_default();
    let (ok, findings) = match wsdl::load(&scratch.path().join(&main), &Disk) {
        Ok(model) => (true, model.findings().to_vec()),
        Err(findings) => (false, findings),
    };
    let target = args.out.join(&main);
    if args.json {
        let written = |name: &str| written.as_ref().is_some_and(|written| written.contains(name));
        let files: Vec<_> = documents
            .iter()
            .map(|document| {
                let file = args.out.join(&document.name).display().to_string();
                json!({ "file": file, "url": document.url.as_str(), "written": written(&document.name) })
            })
            .collect();
        let left: Vec<_> =
            left.iter().map(|left| json!({ "location": left.location, "reason": left.reason })).collect();
        print::json(&json!({
            "wsdl": target.display().to_string(), "ok": ok, "files": files, "left": left, "findings": findings
        }));
    } else {
        for document in &documents {
            let file = args.out.join(&document.name);
            let what = match &written {
                None => "would be written",
                Some(written) if written.contains(&document.name) => "written",
                Some(_) => "as it was",
            };
            print::line(&format!("{}  {what}, from {}", file.display(), document.url));
        }
        for left in &left {
            print::line(&format!("left as it is: {}: {}", left.location, left.reason));
        }
        findings.iter().for_each(|finding| print::line(&in_words(&target, finding)));
        print::line(&format!("{} {}", target.display(), if ok { "can be used" } else { "cannot be used" }));
    }
    let is_error = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if ok && !is_error { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn address(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("{text:?} is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        bail!("{text:?} is no http:// or https:// URL; a WSDL of the disk needs no fetching");
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!("the URL carries credentials; give them with --user, the password as ${{NAME}} or ${{file:PATH}}");
    }
    Ok(url)
}

/// The documents as they are written: every location that was followed names a file of the folder.
pub(in crate::cli) fn rewritten(documents: &[Fetched]) -> BTreeMap<String, String> {
    let names: BTreeMap<&str, &str> =
        documents.iter().map(|document| (document.url.as_str(), document.name.as_str())).collect();
    let text = |document: &Fetched| {
        let changed: Vec<_> = document
            .linked
            .links
            .iter()
            .filter_map(|link| {
                let url = joined(&document.url, &link.location)?;
                names.get(url.as_str()).map(|name| (link, (*name).to_owned()))
            })
            .collect();
        document.linked.with(&changed)
    };
    documents.iter().map(|document| (document.name.clone(), text(document))).collect()
}

/// Writes what differs from what is there; nothing at all when something would be lost.
fn write(folder: &Path, files: &BTreeMap<String, String>, replace: bool) -> anyhow::Result<BTreeSet<String>> {
    let mut written = BTreeSet::new();
    for (name, text) in files {
        match disk::read(&folder.join(name), BYTES_MAX as u64) {
            Ok(known) if known == text.as_bytes() => {}
            Ok(_) if !replace => {
                let path = folder.join(name);
                bail!(
                    "{} is there and differs; nothing was written. --replace writes over it, `omgate wsdl diff` compares",
                    path.display()
                );
            }
            Ok(_) => drop(written.insert(name.clone())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => drop(written.insert(name.clone())),
            Err(error) => return Err(error).with_context(|| format!("reading {}", folder.join(name).display())),
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    for (name, text) in files.iter().filter(|(name, _)| written.contains(*name)) {
        fs::write(folder.join(name), text).with_context(|| format!("writing {}", folder.join(name).display()))?;
    }
    Ok(written)
}

/// The address that a location names, seen from a document; less its fragment.
pub(in crate::cli) fn joined(base: &Url, location: &str) -> Option<Url> {
    let mut url = base.join(location).ok()?;
    url.set_fragment(None);
    Some(url)
}

/// Host and port, as `--host` says them.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().to_lowercase();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

struct Courier {
    client: Client,
    home: Url,
    secrets: HeaderMap,
    hosts: Vec<String>,
}

impl Courier {
    fn new(args: &Args, url: &Url) -> anyhow::Result<Self> {
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .gzip(true)
            .user_agent(concat!("omgate/", env!("CARGO_PKG_VERSION")))
            .timeout(Duration::from_secs(args.timeout));
        if let Some(path) = &args.ca {
            let pem = disk::read(path, BYTES_MAX as u64).with_context(|| format!("reading {}", path.display()))?;
            let authorities =
                Certificate::from_pem_bundle(&pem).with_context(|| format!("{} is no PEM", path.display()))?;
            builder = builder.tls_certs_only(authorities);
        }
        let client = builder.build().context("setting up the connection")?;
        let hosts = args.host.iter().map(|host| host.to_lowercase()).collect();
        Ok(Self { client, home: url.clone(), secrets: secrets(args)?, hosts })
    }

    /// The WSDL and all that it names, the first one first.
    async fn bring(&self, url: Url) -> anyhow::Result<(Vec<Fetched>, Vec<Left>)> {
        let mut documents: Vec<Fetched> = Vec::new();
        let mut left: Vec<Left> = Vec::new();
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut known: BTreeSet<String> = BTreeSet::from([url.to_string()]);
        let mut wanted = VecDeque::from([url]);
        let mut bytes = 0;
        while let Some(url) = wanted.pop_front() {
            if documents.len() >= DOCUMENTS_MAX {
                bail!("the WSDL is made of more than {DOCUMENTS_MAX} documents");
            }
            let linked = self.document(&url).await.with_context(|| format!("fetching {url}"))?;
            bytes += linked.text.len();
            if bytes > BYTES_MAX_ALL {
                bail!("the WSDL is larger than {} MiB altogether", BYTES_MAX_ALL >> 20);
            }
            for link in &linked.links {
                let next = joined(&url, &link.location);
                match next.filter(|next| self.is_allowed(next)) {
                    Some(next) if known.insert(next.to_string()) => wanted.push_back(next),
                    Some(_) => {}
                    None if left.iter().any(|other| other.location == link.location) => {}
                    None => left.push(self.left(&url, link)),
                }
            }
            let name = file_name(&url, linked.kind, &mut names);
            documents.push(Fetched { url, name, linked });
        }
        Ok((documents, left))
    }

    fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.home.origin()
    }

    fn is_allowed(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_lowercase();
        let listed = self.hosts.iter().any(|known| *known == host_of(url) || *known == host);
        matches!(url.scheme(), "http" | "https") && (self.is_home(url) || listed)
    }

    fn left(&self, base: &Url, link: &links::Link) -> Left {
        let reason = match joined(base, &link.location) {
            _ if link.built_in => "its namespace is known without it".to_owned(),
            Some(url) if matches!(url.scheme(), "http" | "https") => {
                format!("it is on another host; --host {} fetches it too", host_of(&url))
            }
            Some(url) => format!("{} is no http:// or https:// URL", url.scheme()),
            None => "it is no URL".to_owned(),
        };
        Left { location: link.location.clone(), reason }
    }

    async fn document(&self, url: &Url) -> anyhow::Result<Linked> {
        let (bytes, charset) = self.follow(url.clone()).await?;
        links::read(&bytes, charset.as_deref()).map_err(|reason| anyhow::anyhow!("what came {reason}"))
    }

    async fn follow(&self, mut url: Url) -> anyhow::Result<(Vec<u8>, Option<String>)> {
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.client.get(url.clone());
            if self.is_home(&url) {
                request = request.headers(self.secrets.clone());
            }
            let mut answer = request.send().await.map_err(|error| anyhow::anyhow!("{}", chain(&error)))?;
            let status = answer.status();
            if status.is_redirection()
                && let Some(location) = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok())
            {
                let next =
                    url.join(location).with_context(|| format!("redirected to {location:?}, which is no URL"))?;
                if !self.is_allowed(&next) || (url.scheme() == "https" && next.scheme() == "http") {
                    bail!("redirected to {next}, which is not followed: another host, or without TLS");
                }
                url = next;
                continue;
            }
            if !status.is_success() {
                let hint = if status.as_u16() == 401 { "; --user or --bearer gives credentials" } else { "" };
                bail!("answered {status}{hint}");
            }
            let charset = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(charset);
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| anyhow::anyhow!("{}", chain(&error)))? {
                if bytes.len() + chunk.len() > BYTES_MAX {
                    bail!("it is larger than {} MiB", BYTES_MAX >> 20);
                }
                bytes.extend_from_slice(&chunk);
            }
            return Ok((bytes, charset));
        }
        bail!("redirected more than {REDIRECTS_MAX} times")
    }
}

pub(in crate::cli) fn charset(content_type: &str) -> Option<String> {
    let (_, parameters) = content_type.split_once(';')?;
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn chain(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        words = format!("{words}: {inner}");
        source = inner.source();
    }
    words
}

/// Headers for the host of the URL, secrets in clear.
fn secrets(args: &Args) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let secret =
        |raw: &str, option: &str| config::with_secrets(raw).map_err(|reason| anyhow::anyhow!("{option}: {reason}"));
    let clear = |text: &Text, option: &str| {
        let advice = "would stand in clear on the command line; write ${NAME} or ${file:PATH}";
        if text.is_plain() { Err(anyhow::anyhow!("the secret of {option} {advice}")) } else { Ok(()) }
    };
    if let Some(user) = &args.user {
        let text = secret(user, "--user")?;
        clear(&text, "--user")?;
        let revealed = text.reveal();
        if !revealed.contains(':') {
            bail!("--user wants NAME:SECRET");
        }
        headers.insert(AUTHORIZATION, value(&format!("Basic {}", STANDARD.encode(revealed)), "--user")?);
    }
    if let Some(bearer) = &args.bearer {
        let text = secret(bearer, "--bearer")?;
        clear(&text, "--bearer")?;
        headers.insert(AUTHORIZATION, value(&format!("Bearer {}", text.reveal().trim()), "--bearer")?);
    }
    for header in &args.header {
        let Some((name, rest)) = header.split_once(':') else { bail!("--header wants `Name: value`, not {header:?}") };
        let name =
            HeaderName::from_bytes(name.trim().as_bytes()).with_context(|| format!("{name:?} is no header name"))?;
        let text = secret(rest.trim(), "--header")?;
        if name == AUTHORIZATION {
            clear(&text, "--header")?;
        }
        headers.insert(name, value(&text.reveal(), "--header")?);
    }
    Ok(headers)
}

fn value(text: &str, option: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| anyhow::anyhow!("the value of {option} has a line break or control character in it"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A name for the file, that no other document has: `orders?wsdl` → `orders.wsdl`, `orders?xsd=xsd0` → `orders.xsd0.xsd`.
pub(in crate::cli) fn file_name(url: &Url, kind: Kind, names: &mut BTreeSet<String>) -> String {
    let extension = match kind {
        Kind::Wsdl => "wsdl",
        Kind::Schema => "xsd",
    };
    let segment = url.path_segments().and_then(|mut segments| segments.rfind(|part| !part.is_empty()));
    let segment = segment.or(url.host_str()).unwrap_or("document");
    let stem = segment.rsplit_once('.').map_or(segment, |(stem, _)| stem);
    let mut stem = safe(stem);
    for (name, value) in url.query_pairs() {
        let said = if value.is_empty() { name } else { value };
        let said = safe(&said);
        if !said.is_empty() && !matches!(said.to_lowercase().as_str(), "wsdl" | "xsd" | "singlewsdl") {
            stem = format!("{stem}.{}", said.strip_suffix(&format!(".{extension}")).unwrap_or(&said));
        }
    }
    let stem: String = if stem.is_empty() { "document".to_owned() } else { stem.chars().take(100).collect() };
    let mut name = format!("{stem}.{extension}");
    let mut number = 1;
    // Names that differ in case alone are one file on some disks.
    while !names.insert(name.to_lowercase()) {
        number += 1;
        name = format!("{stem}-{number}.{extension}");
    }
    name
}

fn safe(text: &str) -> String {
    let kept = text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' });
    kept.collect::<String>().trim_matches(['.', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_for_what_their_addresses_say_and_never_twice() {
        let mut names = BTreeSet::new();
        for (url, kind, expected) in [
            ("http://h/orders?wsdl", Kind::Wsdl, "orders.wsdl"),
            ("http://h/Orders.asmx?WSDL", Kind::Wsdl, "Orders-2.wsdl"),
            ("http://h/orders?xsd=xsd0", Kind::Schema, "orders.xsd0.xsd"),
            ("http://h/orders?xsd=../../etc/passwd", Kind::Schema, "orders.etc-passwd.xsd"),
            ("http://h/a/types.xsd", Kind::Schema, "types.xsd"),
            ("http://h/b/types.xsd", Kind::Schema, "types-2.xsd"),
            ("http://h/", Kind::Wsdl, "h.wsdl"),
            ("http://h/%2e%2e/%E6%BC%A2", Kind::Wsdl, "E6-BC-A2.wsdl"),
        ] {
            assert_eq!(file_name(&Url::parse(url).unwrap(), kind, &mut names), expected, "{url}");
        }
    }
}
