//! `omgate token`: how scripts come in at the admin API.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use crate::cli::client::{AdminArgs, ChangeArgs};
use crate::cli::destinations::name;
use crate::cli::{account, print};
use crate::config;
use crate::store::TOKEN_LIFE;

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make one. It is printed once, and nobody can look it up later.
    Create(CreateArgs),
    /// List them: what each may, until when, when it was used last.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End one at once.
    Revoke {
        /// Its id, as `list` shows it.
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// What it is for.
    #[arg(long)]
    name: String,
    /// viewer, operator or admin.
    #[arg(long, default_value = "viewer")]
    role: String,
    /// Rights that are added to the role: payload, replay, edit, unmask.
    #[arg(long, value_delimiter = ',')]
    rights: Vec<String>,
    /// How long it counts, such as 90d.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = life)]
    expires: Duration,
    /// The parts of the API that it is for, such as metrics or deliveries,dead; everything unless it is said.
    #[arg(long, value_delimiter = ',')]
    scope: Vec<String>,
    /// Log in as this account with the role admin, where there is no token yet; the password is typed, or comes from standard
    /// input.
    #[arg(long, value_name = "ACCOUNT")]
    login: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// How long a token is to count.
fn life(text: &str) -> Result<Duration, String> {
    let life = config::duration(text)?;
    let is_fine = TOKEN_LIFE.contains(&life);
    is_fine.then_some(life).ok_or_else(|| "a token counts from 1 minute to 731 days".to_owned())
}

/// Runs `omgate token`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut client = args.admin.client()?;
    match args.verb {
        Verb::Create(wanted) => {
            let CreateArgs { name, role, rights, expires, scope, login, change } = wanted;
            if let Some(login) = login {
                let password = account::password()?;
                if password.is_empty() {
                    bail!(
                        "no password came: type it when it is asked for, or send it as the first line of standard input"
                    );
                }
                client.log_in(&login, &password).await?;
            }
            let body = json!({
                "name": name, "role": role, "rights": rights, "scope": scope, "expires_in_s": expires.as_secs(),
                "reason": change.reason, "dry_run": change.dry_run,
            });
            let made = client.post("/tokens", &body).await?;
            match made.get("token").and_then(serde_json::Value::as_str) {
                Some(token) if !change.json => {
                    print::line(token);
                    let (id, until) = (print::cell(made.get("id")), print::cell(made.get("expires_at")));
                    print::note(&format!("token {id} counts until {until}; keep it now, it is not shown again"));
                }
                _ => print::json(&made),
            }
        }
        Verb::List { json } => {
            let found = client.get("/tokens", &[]).await?;
            if json {
                print::json(&found);
            } else {
                let columns = [
                    ("token", "/id"),
                    ("name", "/name"),
                    ("role", "/role"),
                    ("rights", "/rights"),
                    ("scope", "/scope"),
                    ("until", "/expires_at"),
                    ("last used", "/used_at"),
                    ("revoked", "/revoked_at"),
                ];
                print::list(&found, &columns);
            }
        }
        Verb::Revoke { id, change } => {
            let done = client.change(&format!("/tokens/{id}/revoke"), &change).await?;
            if change.json {
                print::json(&done);
            } else if change.dry_run {
                print::line(&format!("token {id} ({}) would be revoked", print::cell(done.get("name"))));
            } else {
                print::line(&format!("token {id} ({}) is revoked", print::cell(done.get("name"))));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
