//! Where the database is, and the way there: the address of the configuration, TLS, connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use crate::secret::{Piece, Text};

/// A connection must stand after this long.
const CONNECT_MAX: Duration = Duration::from_secs(4);
/// A free connection is waited for no longer than this.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A dead peer is noticed after this long.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What an address may carry behind its `?`.
const OPTIONS: [&str; 8] =
    ["sslmode", "sslrootcert", "application_name", "host", "port", "user", "password", "target_session_attrs"];

/// The database of `store.url`, its form checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    config: Config,
    tls: bool,
    /// A file with the certificates of the authorities that are trusted; none: those of the machine.
    authorities: Option<PathBuf>,
    shown: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=…`. Secrets in it need no escapes.
    ///
    /// # Errors
    /// What is wrong with its form, in words that hold no secret.
    pub fn parse(text: &Text) -> Result<Self, String> {
        let whole = matches!(text.pieces().next(), Some(Piece::Secret(..)));
        let escaped = |secret: &str| utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let written = if whole { text.reveal() } else { text.reveal_with(escaped) };
        let mut url = Url::parse(&written)
            .map_err(|error| format!("is no address: {error}; write \"postgres://user@host/database\""))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err("is no address of PostgreSQL; write \"postgres://user@host/database\"".to_owned());
        }
        let options: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        if let Some((name, _)) = options.iter().find(|(name, _)| !OPTIONS.contains(&name.as_str())) {
            let name = if text.is_plain() { format!(" {name:?}") } else { String::new() };
            return Err(format!("has an option{name} that omgate does not know; it knows {}", OPTIONS.join(", ")));
        }
        let option = |wanted: &str| options.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let mode = mode(option("sslmode"))?;
        let authorities = option("sslrootcert").filter(|path| *path != "system").map(PathBuf::from);
        url.set_query(None);
        for (name, value) in options.iter().filter(|(name, _)| !name.starts_with("ssl")) {
            url.query_pairs_mut().append_pair(name, value);
        }
        let config: Config = url
            .as_str()
            .parse()
            .map_err(|_| "is not understood; write \"postgres://user@host:5432/database\"".to_owned())?;
        let shown = shown(text, &config, whole);
        Self { config, tls: false, authorities, shown }.completed(mode)
    }

    fn completed(mut self, mode: Option<SslMode>) -> Result<Self, String> {
        let missing = |what: &str| Err(format!("names no {what}; write \"postgres://user@host/database\""));
        if self.config.get_user().is_none_or(str::is_empty) {
            return missing("user");
        }
        if self.config.get_hosts().is_empty() {
            return missing("host");
        }
        if self.config.get_dbname().is_none_or(str::is_empty) {
            return missing("database");
        }
        let near = self.config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name == "127.0.0.1" || name == "::1",
            #[cfg(unix)]
            Host::Unix(_) => true,
        });
        let mode = mode.unwrap_or(if near { SslMode::Disable } else { SslMode::Prefer });
        self.tls = mode != SslMode::Disable;
        self.config.ssl_mode(mode).connect_timeout(CONNECT_MAX).tcp_user_timeout(SILENCE_MAX);
        self.config.keepalives_idle(SILENCE_MAX).keepalives_interval(SILENCE_MAX / 4).keepalives_retries(3);
        if self.config.get_application_name().is_none() {
            self.config.application_name("omgate");
        }
        Ok(self)
    }

    /// The address as it may be shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether a password stands in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The file of `sslrootcert`, if one is named.
    #[must_use]
    pub fn authorities(&self) -> Option<&Path> {
        self.authorities.as_deref()
    }

    /// The same with the file of `sslrootcert` at another path: one that is relative is relative to the configuration.
    #[must_use]
    pub fn with_authorities(mut self, path: PathBuf) -> Self {
        self.authorities = Some(path);
        self
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// How TLS is spoken; none: not at all.
    pub(super) fn tls(&self) -> Result<Option<MakeRustlsConnect>, String> {
        if !self.tls {
            return Ok(None);
        }
        let builder = rustls::ClientConfig::builder();
        let config = match &self.authorities {
            None => builder
                .with_platform_verifier()
                .map_err(|error| format!("the machine's certificate authorities cannot be used: {error}"))?,
            Some(path) => builder.with_root_certificates(roots(path)?),
        };
        Ok(Some(MakeRustlsConnect::new(config.with_no_client_auth())))
    }

    pub(super) fn pool(&self, connections: usize) -> Result<Pool, String> {
        let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match self.tls()? {
            None => Manager::from_config(self.config.clone(), NoTls, settings),
            Some(tls) => Manager::from_config(self.config.clone(), tls, settings),
        };
        let pool = Pool::builder(manager)
            .max_size(connections)
            .wait_timeout(Some(WAIT_MAX))
            .create_timeout(Some(CONNECT_MAX))
            .recycle_timeout(Some(CONNECT_MAX))
            .post_create(Hook::async_fn(|client, _| Box::pin(bound(client))))
            .runtime(Runtime::Tokio1);
        pool.build().map_err(|error| error.to_string())
    }
}

/// Bounds for how long a transaction that failed may lie about with its connection: what a transaction sets for itself is
/// undone by its own failure. A pooler in transaction mode may lend the next transaction another session: there each has its
/// own bound alone.
async fn bound(client: &mut ClientWrapper) -> Result<(), HookError> {
    let set = client.batch_execute("SET idle_in_transaction_session_timeout = 15000").await;
    set.map_err(HookError::Backend)
}

/// As libpq knows them. Whoever speaks TLS here always looks at the certificate.
fn mode(text: Option<&str>) -> Result<Option<SslMode>, String> {
    match text {
        None => Ok(None),
        Some("disable") => Ok(Some(SslMode::Disable)),
        Some("allow" | "prefer") => Ok(Some(SslMode::Prefer)),
        Some("require" | "verify-ca" | "verify-full") => Ok(Some(SslMode::Require)),
        Some(_) => Err("has an unknown sslmode; there is disable, prefer, require, verify-full".to_owned()),
    }
}

fn roots(path: &Path) -> Result<Arc<rustls::RootCertStore>, String> {
    let unusable = |reason: String| format!("sslrootcert {}: {reason}", path.display());
    let pem = crate::disk::read(path, 1 << 20).map_err(|error| unusable(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(format!("is no PEM: {error}")))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("holds no certificate".to_owned()));
    }
    Ok(Arc::new(roots))
}

/// A password is no secret to the configuration when it stands there in clear: it is left out all the same.
fn shown(text: &Text, config: &Config, whole: bool) -> String {
    if whole {
        return text.masked();
    }
    let host = config.get_hosts().first().map_or_else(String::new, |host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let port = config.get_ports().first().filter(|port| **port != 5432);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    format!("postgres://{host}{port}/{}", config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(&Text::plain(text))
    }

    #[test]
    fn an_address_is_user_host_and_database_and_its_options_are_known() {
        for (text, shown, tls) in [
            ("postgres://omgate@db.internal/omgate", "postgres://db.internal/omgate", true),
            ("postgresql://omgate:pw@db:6432/x?sslmode=disable", "postgres://db:6432/x", false),
            ("postgres://omgate@127.0.0.1/x", "postgres://127.0.0.1/x", false),
            ("postgres://omgate@127.0.0.1/x?sslmode=verify-full", "postgres://127.0.0.1/x", true),
            ("postgres://omgate@%2Frun%2Fpostgresql/x", "postgres:///run/postgresql/x", false),
            ("postgres:///x?host=/run/postgresql&user=me", "postgres:///run/postgresql/x", false),
        ] {
            let address = parse(text).unwrap();
            assert_eq!((address.shown(), address.tls), (shown, tls), "{text}");
        }
        for (text, words) in [
            ("postgres://db/x", "names no user"),
            ("postgres://me@db", "names no database"),
            ("postgres:///x?user=me", "names no host"),
            ("postgres://me@db/x?sslmode=no", "unknown sslmode"),
            ("postgres://me@db/x?sslmoed=require", "an option \"sslmoed\" that omgate does not know"),
            ("postgres://me@db:port/x", "is no address: invalid port number"),
            ("mysql://me@db/x", "is no address of PostgreSQL"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_in_it_needs_no_escapes_and_is_never_shown() {
        let mut text = Text::plain("postgres://omgate:");
        text.push_secret("${PASSWORD}", SecretString::from("p@ss/w:rd?&#"));
        text.push_plain("@db/omgate");
        let address = Address::parse(&text).unwrap();
        assert_eq!(address.config.get_password(), Some("p@ss/w:rd?&#".as_bytes()));
        assert_eq!(address.shown(), "postgres://db/omgate");
        assert!(!format!("{address:?}").contains("p@ss"), "{address:?}");
        let mut whole = Text::default();
        whole.push_secret("${URL}", SecretString::from("postgres://me:secret@db/omgate"));
        let address = Address::parse(&whole).unwrap();
        assert_eq!((address.shown(), address.config.get_user()), ("${URL}", Some("me")));
    }
}
