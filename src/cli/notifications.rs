//! `omgate notifications`: look at what came in.

use std::process::ExitCode;

use crate::cli::client::AdminArgs;
use crate::cli::print;

/// Arguments of `notifications`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List notifications, newest first.
    List(ListArgs),
    /// Show one, all its revisions and its deliveries, as JSON.
    Show {
        /// The notification's id.
        id: String,
        /// Accepted for symmetry: it is JSON anyway.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only from this source.
    #[arg(long)]
    source: Option<String>,
    /// Only of this kind: routed, unrouted, `skipped_empty`, unreadable, quarantined.
    #[arg(long)]
    kind: Option<String>,
    /// Only of this record.
    #[arg(long)]
    record_id: Option<String>,
    /// Below this row: the next page.
    #[arg(long)]
    before: Option<i64>,
    /// At most this many (1,000 at the most).
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `omgate notifications`.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::Show { id, .. } => {
            print::json(&client.get(&format!("/notifications/{id}"), &[]).await?);
        }
        Verb::List(filter) => {
            let mut query = vec![("limit", filter.limit.to_string())];
            let texts = [
                ("source", filter.source),
                ("kind", filter.kind),
                ("record_id", filter.record_id),
                ("before", filter.before.map(|row| row.to_string())),
            ];
            query.extend(texts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
            let found = client.get("/notifications", &query).await?;
            if filter.json {
                print::json(&found);
            } else {
                print::list(
                    &found,
                    &[
                        ("row", "/row"),
                        ("notification", "/notification_id"),
                        ("revision", "/revision"),
                        ("source", "/source"),
                        ("type", "/record_type"),
                        ("record", "/record_id"),
                        ("kind", "/kind"),
                        ("received at", "/received_at"),
                    ],
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
