//! `omgate lanes`: which lanes do not go on, and what stands in one.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::{Value, json};

use crate::cli::client::VerbArgs;
use crate::cli::destinations::name;
use crate::cli::print;

/// Arguments of `lanes`.
pub type Args = VerbArgs<Verb>;

/// What `lanes` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List the lanes in which something is blocked, or that a dead or held delivery stops.
    List {
        /// Only of this system.
        #[arg(long)]
        system: Option<String>,
        /// At most this many (1,000 at the most).
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what is not settled in a lane, in order.
    Show {
        /// The system's name.
        #[arg(value_parser = name)]
        system: String,
        /// The lane's key, such as a record's id.
        #[arg(value_parser = name)]
        lane: String,
        /// At most this many (1,000 at the most).
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `omgate lanes`. It is an error to look into a lane in which nothing is unsettled: the key may be mistyped.
///
/// # Errors
/// When the gateway cannot be reached or says no.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.admin.client()?;
    match args.verb {
        Verb::List { system, limit, json } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(system.map(|system| ("system", system)));
            let lanes = client.list("/lanes", &query, limit).await?;
            if json {
                print::json(&lanes);
            } else {
                list(lanes);
            }
        }
        Verb::Show { system, lane, limit, json } => {
            let path = format!("/lanes/{}/{}", segment(&system), segment(&lane));
            let mut found = client.list(&path, &[("limit", limit.to_string())], limit).await?;
            if found.as_array().is_some_and(Vec::is_empty) {
                bail!(
                    "nothing is unsettled in a lane {lane:?} of system {system}: all of it is settled, or there never was such \
                     a lane; `omgate lanes list --system {system}` lists those that do not go on"
                );
            }
            if json {
                print::json(&found);
            } else {
                found.as_array_mut().into_iter().flatten().for_each(print::say_why);
                print::say_states(&mut found);
                print::list(
                    &found,
                    &[
                        ("delivery", "/delivery_id"),
                        ("notification", "/notification_id"),
                        ("record", "/record_id"),
                        ("destination", "/destination"),
                        ("state", "/state"),
                        ("attempts", "/attempts"),
                        ("reason", "/reason"),
                    ],
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(mut lanes: Value) {
    for lane in lanes.as_array_mut().into_iter().flatten() {
        let more = if lane.get("is_more") == Some(&Value::Bool(true)) { "+" } else { "" };
        let behind = format!("{}{more}", print::cell(lane.get("behind")));
        if let Some(head) = lane.get_mut("head") {
            print::say_why(head);
            let state = head.get("state").map(print::word).unwrap_or_default();
            set(head, "state", json!(state));
        }
        set(lane, "behind", json!(behind));
    }
    print::list(
        &lanes,
        &[
            ("system", "/system"),
            ("lane", "/lane"),
            ("head", "/head/delivery_id"),
            ("is", "/head/state"),
            ("attempts", "/head/attempts"),
            ("behind", "/behind"),
            ("since", "/since"),
            ("reason", "/head/reason"),
        ],
    );
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// A name as a part of an address.
fn segment(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_part_of_an_address() {
        assert_eq!(segment("006-a_b.c~"), "006-a_b.c~");
        assert_eq!(segment("a/b c%ä?"), "a%2Fb%20c%25%C3%A4%3F");
    }
}
