//! How commands talk to a running gateway: over its admin API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config;

/// Where the gateway is.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminArgs {
    /// The configuration file: the admin address comes from there.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG", global = true)]
    config: PathBuf,
    /// The admin address, such as `http://127.0.0.1:8081`; then no configuration is read.
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<String>,
    /// A token for the admin API, where one is needed.
    #[arg(long, value_name = "TOKEN", env = "OMGATE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
}

/// What a person does, and why.
#[derive(Clone, Debug, clap::Args)]
pub struct ChangeArgs {
    /// Why; kept in the gateway's audit.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A connection to the admin API.
pub struct Client {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl AdminArgs {
    /// The configuration file that was named.
    #[must_use]
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Whether the address was named itself: then nothing is done to the store of a configuration in the gateway's place.
    #[must_use]
    pub fn names_address(&self) -> bool {
        self.admin.is_some()
    }

    /// Finds the gateway.
    ///
    /// # Errors
    /// When the configuration does not say where it is.
    pub fn client(&self) -> anyhow::Result<Client> {
        let base = match &self.admin {
            Some(url) if url.contains("://") => url.trim_end_matches('/').to_owned(),
            Some(address) => format!("http://{}", address.trim_end_matches('/')),
            None => format!("http://{}", config::admin_address(&self.config).map_err(anyhow::Error::msg)?),
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .context("preparing the HTTP client")?;
        Ok(Client { base, token: self.token.clone(), http })
    }
}

impl Client {
    /// Asks for `/api/v1` + `path` with a query.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.send(self.http.get(format!("{}/api/v1{path}", self.base)).query(query)).await
    }

    /// Makes a changing call.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn change(&self, path: &str, change: &ChangeArgs) -> anyhow::Result<Value> {
        self.change_until(path, change, None).await
    }

    /// Makes a changing call that ends by itself at a moment, if one is given.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn change_until(
        &self,
        path: &str,
        change: &ChangeArgs,
        until: Option<Timestamp>,
    ) -> anyhow::Result<Value> {
        let mut body = json!({"reason": change.reason, "dry_run": change.dry_run});
        if let (Some(until), Some(body)) = (until, body.as_object_mut()) {
            body.insert("until".to_owned(), json!(until));
        }
        self.post(path, &body).await
    }

    /// Makes a changing call with a body of its own.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.http.post(format!("{}/api/v1{path}", self.base)).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("talking to the gateway at {}: does it run?", self.base))?;
        let status = response.status();
        let body = response.bytes().await.context("reading the gateway's answer")?;
        let value: Value = serde_json::from_slice(&body)
            .map_err(|_| anyhow!("{} answered HTTP {status} and no JSON: is it the admin address?", self.base))?;
        if !status.is_success() {
            bail!("{}", value.get("detail").and_then(Value::as_str).unwrap_or("the gateway refused"));
        }
        Ok(value)
    }
}
