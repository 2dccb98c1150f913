//! `omgate store move`: into another store, while the gateway goes on.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cipher::Keyring;
use crate::cli::client::{AdminArgs, ChangeArgs, Client};
use crate::cli::print;
use crate::cli::store::{deed, is_unreachable, may_open};
use crate::clock::SystemClock;
use crate::config::{self, StoreSettings};
use crate::disk;
use crate::gateway::open;
use crate::person;
use crate::store::By;
use crate::store::transfer::mover::{Mover, Progress};
use crate::store::transfer::taking::Ending;

/// How often a move is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// While the gateway turns to the other store it does not answer for a moment; calls under way get the drain time.
const SILENT_MAX: Duration = Duration::from_secs(120);
/// While it copies it answers; and while it turns, who comes waits and is not refused: its sockets stay.
const GONE_AFTER: Duration = Duration::from_secs(15);
/// After so long people are told that there is no answer.
const TOLD_AFTER: Duration = Duration::from_secs(5);
/// Gateways show every so often that they live; one that was heard so lately may still work on a database.
const HEARD_LATELY: Duration = Duration::from_secs(90);

/// Arguments of `store move`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to: `postgres://user@host/database` or `sqlite:PATH`. `${NAME}` and `${file:PATH}` stand for secrets, which the
    /// gateway looks up.
    #[arg(long, value_name = "URL", required_unless_present = "give_up")]
    to: Option<String>,
    /// Give up a move that was begun: the store is as before, and what was copied is of no use.
    #[arg(long, conflicts_with_all = ["to", "dry_run"])]
    give_up: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `omgate store move`.
///
/// # Errors
/// Why it was not moved; then the store is as it was, and the same command goes on with the move.
pub async fn run(admin: &AdminArgs, args: Args) -> anyhow::Result<ExitCode> {
    let client = admin.client()?;
    let Some(to) = &args.to else { return give_up(admin, &client, &args).await };
    if args.change.dry_run {
        return look(admin, &client, (to, args.change.json)).await;
    }
    let begun = client.post("/store/move", &json!({"to": to, "reason": args.change.reason})).await;
    let standing = match begun {
        Ok(_) => follow(&client).await?,
        Err(error) if may_open(admin, &error) => {
            move_closed(admin, to, &args.change.reason).await.with_context(|| format!("{error:#}"))?
        }
        Err(error) => return Err(error),
    };
    if args.change.json {
        print::json(&standing);
    } else {
        tell(&standing);
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what would be copied, and where to.
async fn look(admin: &AdminArgs, client: &Client, (to, json): (&str, bool)) -> anyhow::Result<ExitCode> {
    let outlook = match client.post("/store/move", &json!({"to": to, "dry_run": true})).await {
        Ok(outlook) => outlook,
        Err(error) if may_open(admin, &error) => look_closed(admin, to).await.with_context(|| format!("{error:#}"))?,
        Err(error) => return Err(error),
    };
    if json {
        print::json(&outlook);
    } else {
        tell_outlook(&outlook);
    }
    Ok(ExitCode::SUCCESS)
}

async fn look_closed(admin: &AdminArgs, to: &str) -> anyhow::Result<Value> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
    let folder = admin.config().parent().unwrap_or(Path::new(""));
    let target = config::store_at(to, folder).map_err(|reason| anyhow!("--to {reason}"))?;
    Ok(json!(open::outlook(&loaded.store, &target).await?))
}

fn tell_outlook(outlook: &Value) {
    let text = |pointer: &str| print::cell(outlook.pointer(pointer));
    let bytes = |key: &str| outlook.get(key).and_then(Value::as_u64).map(disk::in_words);
    let size = bytes("bytes").unwrap_or_default();
    print::line(&format!(
        "{} rows, about {size}, would be copied from {} to {}:",
        text("/rows"),
        text("/from"),
        text("/to")
    ));
    let tables = outlook.get("tables").and_then(Value::as_array).into_iter().flatten();
    let tables: Vec<Value> = tables.filter(|table| table.get("rows") != Some(&json!(0))).cloned().collect();
    print::list(&Value::Array(tables), &[("table", "/table"), ("rows", "/rows")]);
    print::line(match outlook.get("destination").and_then(Value::as_str) {
        Some("absent") => "the destination can be reached, and has no store yet: it would be made",
        Some("begun") => "the destination can be reached, and has a part of this move",
        _ => "the destination can be reached, and is empty",
    });
    if let Some(free) = bytes("free_bytes") {
        print::line(&format!("{free} are free there"));
    }
    if outlook.get("resumes").is_some_and(|resumes| !resumes.is_null()) {
        let at = match outlook.pointer("/resumes/table").and_then(Value::as_str) {
            Some(table) => format!("in table {table}"),
            None => "where all is copied and changes are followed".to_owned(),
        };
        let (begun, copied) = (text("/resumes/begun_at"), text("/resumes/tables_copied"));
        print::line(&format!("the move that was begun at {begun} would go on {at}; {copied} tables are copied"));
    }
    print::line("nothing was written on either side");
}

fn tell(standing: &Value) {
    let moved = standing.get("moved").filter(|moved| !moved.is_null());
    if moved.is_none() {
        let to = print::cell(standing.get("to"));
        print::line(&match standing.get("state").and_then(Value::as_str) {
            Some("ended before") => format!("the store was moved to {to}, and that move has ended"),
            _ => format!("the move to {to}, which was cut off, is ended"),
        });
        return note_address();
    }
    let tables = moved.and_then(|moved| moved.get("tables")).and_then(Value::as_array);
    let count = |name: &str| {
        let of = |table: &&Value| table.get("table").and_then(Value::as_str) == Some(name);
        print::cell(tables.and_then(|tables| tables.iter().find(of)).and_then(|table| table.get("rows")))
    };
    print::line(&format!(
        "moved to {}: {} notifications, {} deliveries, {} attempts; {} rows read back and found equal",
        print::cell(standing.get("to")),
        count("notification"),
        count("delivery"),
        count("attempt"),
        print::cell(moved.and_then(|moved| moved.get("compared")))
    ));
    note_address();
}

/// The address is not shown again: a password may stand in it.
fn note_address() {
    print::line("now write its address into [store] url of the configuration: the old store cannot be opened any more");
}

/// Shows how far a move is until it ended.
async fn follow(client: &Client) -> anyhow::Result<Value> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:>24} {bar:32} {pos} of {len} rows, {eta} left") {
        bar.set_style(style);
    }
    let (mut heard, mut turns, mut told) = (Instant::now(), false, false);
    loop {
        tokio::time::sleep(LOOK).await;
        let standing = match ask(client, (heard, turns), &mut told, &bar).await {
            Ok(standing) => standing,
            Err(error) if heard.elapsed() < patience(turns, is_unreachable(&error)) => {
                let doing = if turns { "switching" } else { "no answer" };
                bar.set_message(format!("{doing} ({})", error.root_cause()).chars().take(24).collect::<String>());
                continue;
            }
            Err(error) => {
                bar.finish_and_clear();
                return Err(error.context(what_to_do(turns)));
            }
        };
        told = false;
        turns = standing.get("state").and_then(Value::as_str) == Some("switching");
        heard = Instant::now();
        show(&bar, standing.get("progress"));
        match standing.get("state").and_then(Value::as_str) {
            Some("running" | "switching") => {}
            Some("done") => {
                bar.finish_and_clear();
                return Ok(standing);
            }
            Some("failed") => {
                bar.finish_and_clear();
                bail!("{}", print::cell(standing.get("error")));
            }
            _ => {
                bar.finish_and_clear();
                bail!("the gateway was started anew meanwhile; give the same command again, and the move goes on");
            }
        }
    }
}

/// Asks how far the move is; says once that nothing is answered, when that has lasted.
async fn ask(
    client: &Client,
    (heard, turns): (Instant, bool),
    told: &mut bool,
    bar: &ProgressBar,
) -> anyhow::Result<Value> {
    let asked = client.get("/store/move", &[]);
    tokio::pin!(asked);
    if !*told {
        let left = TOLD_AFTER.saturating_sub(heard.elapsed());
        // A refusal may be there at once, also when the time to tell has come.
        if !left.is_zero()
            && let Ok(answer) = tokio::time::timeout(left, &mut asked).await
        {
            return answer;
        }
        *told = true;
        let doing = if turns { ", which began to turn to the other store," } else { "" };
        let seconds = TOLD_AFTER.as_secs();
        bar.suspend(|| print::note(&format!("omgate: the gateway{doing} has not answered for {seconds} s: waiting")));
    }
    asked.await
}

/// For how long an answer is waited for.
fn patience(turns: bool, is_refused: bool) -> Duration {
    if turns && !is_refused { SILENT_MAX } else { GONE_AFTER }
}

/// What is to be done when the gateway does not answer any more.
fn what_to_do(turns: bool) -> &'static str {
    if turns {
        "the gateway does not answer any more since it began to turn to the other store; nothing is lost: look into its log, \
         and start it if it does not run; if it starts, the move was not made, and the same command goes on with it; if it \
         says that its store was moved, give the same command again while it is stopped, which ends the move, and write the \
         new address into [store] url"
    } else {
        "the gateway does not answer any more; nothing is lost: start it, give the same command again, and the move goes on"
    }
}

fn show(bar: &ProgressBar, progress: Option<&Value>) {
    let Some(progress) = progress.filter(|progress| !progress.is_null()) else { return };
    let number = |key: &str| progress.get(key).and_then(Value::as_u64).unwrap_or(0);
    bar.set_length(number("rows_in_all"));
    bar.set_position(number("rows"));
    bar.set_message(format!("{} {}", print::cell(progress.get("phase")), print::cell(progress.get("table"))));
}

/// Moves the store of a gateway that does not run.
async fn move_closed(admin: &AdminArgs, to: &str, reason: &str) -> anyhow::Result<Value> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
    let folder = admin.config().parent().unwrap_or(Path::new(""));
    let target = config::store_at(to, folder).map_err(|reason| anyhow!("--to {reason}"))?;
    // One that was cut off between the turn and its end has only that end left.
    if let Some(mark) = open::left(&loaded.store).await.ok().flatten() {
        let was = format!("the store {} was moved to {}", loaded.store.shown(), mark.other);
        let state = match open::end_move(mark, target.clone()).await.context(was)? {
            Ending::Open => "done",
            Ending::Done => "ended before",
        };
        return Ok(json!({"state": state, "to": target.shown()}));
    }
    let (queue_max, is_database) = (loaded.server.limits.queue_max, loaded.store.is_database());
    let (hold, keys) = (loaded.hold_unknown.clone(), loaded.encryption);
    let opened = open::store((loaded.store, keys.clone()), hold, queue_max, SystemClock::shared()).await?;
    let moved = async {
        if is_database {
            refuse_company(&opened).await?;
        }
        move_open(&opened, &target, reason).await
    };
    let moved = moved.await;
    // What came of the move is told in any case: a store that takes no entry hides nothing.
    let noted = match &moved {
        Err(error) => note(&opened, &target, reason, format!("failed: {error:#}")).await,
        Ok(_) => Ok(()),
    };
    opened.store.close().await;
    let noted = match &moved {
        Err(_) => noted,
        Ok(_) => note_there((target.clone(), keys), loaded.hold_unknown, queue_max, reason).await,
    };
    if let Err(error) = noted {
        print::note(&format!("omgate: no entry in the audit log: {error:#}"));
    }
    moved
}

/// Notes in the store that counts now that it was moved there.
async fn note_there(
    (target, keys): (StoreSettings, Keyring),
    hold: Vec<String>,
    queue_max: usize,
    reason: &str,
) -> anyhow::Result<()> {
    let there = open::store((target.clone(), keys), hold, queue_max, SystemClock::shared()).await?;
    let noted = note(&there, &target, reason, "done".to_owned()).await;
    there.store.close().await;
    noted
}

/// A database that is moved away while another gateway works on it leaves that one without a store.
async fn refuse_company(opened: &open::Opened) -> anyhow::Result<()> {
    let Some(heard) = (opened.origin)().heard().await? else { return Ok(()) };
    let since = opened.clock.now().since(heard);
    if since >= HEARD_LATELY {
        return Ok(());
    }
    bail!(
        "another gateway may be at work on this database: one was heard {} s ago; let that one move it (name its address with \
         --admin), or stop every gateway and wait until none was heard for {} s",
        since.as_secs(),
        HEARD_LATELY.as_secs()
    )
}

async fn note(opened: &open::Opened, target: &StoreSettings, reason: &str, result: String) -> anyhow::Result<()> {
    let by = By::new(person::of_this_process(), reason);
    let deed = deed(opened.clock.now(), by, "move", &target.shown(), 1, result);
    opened.store.audit(deed).await.context("writing the audit log")?;
    Ok(())
}

async fn move_open(opened: &open::Opened, target: &StoreSettings, reason: &str) -> anyhow::Result<Value> {
    note(opened, target, reason, "begun".to_owned()).await?;
    let (progress, seen) = watch::channel(Progress::default());
    let bar = ProgressBar::new(0);
    let moving = async {
        let destination = open::destination(target.clone()).await?;
        let mover = Mover::new((opened.origin)(), destination, std::sync::Arc::clone(&opened.clock), progress);
        mover.copy().await?;
        Ok::<_, anyhow::Error>(mover.switch().await?)
    };
    let watching = async {
        loop {
            tokio::time::sleep(LOOK).await;
            show(&bar, Some(&json!(*seen.borrow())));
        }
    };
    let moved = tokio::select! { moved = moving => moved?, () = watching => bail!("the move was given up") };
    bar.finish_and_clear();
    Ok(json!({"state": "done", "to": target.shown(), "moved": moved}))
}

async fn give_up(admin: &AdminArgs, client: &Client, args: &Args) -> anyhow::Result<ExitCode> {
    let given_up = match client.post("/store/move/give-up", &json!({"reason": args.change.reason})).await {
        Ok(answer) => print::cell(answer.get("given_up")),
        Err(error) if may_open(admin, &error) => give_up_closed(admin).await.with_context(|| format!("{error:#}"))?,
        Err(error) => return Err(error),
    };
    if args.change.json {
        print::json(&json!({"given_up": given_up}));
    } else {
        print::line(&format!("the move to {given_up} is given up; what was copied there can be removed"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn give_up_closed(admin: &AdminArgs) -> anyhow::Result<String> {
    let loaded = config::load(admin.config()).map_err(|problems| anyhow!("{problems}"))?;
    let queue_max = loaded.server.limits.queue_max;
    let opened =
        open::store((loaded.store, loaded.encryption), loaded.hold_unknown, queue_max, SystemClock::shared()).await?;
    let given_up = Mover::give_up(&*(opened.origin)()).await;
    opened.store.close().await;
    given_up?.map(|mark| mark.other).context("no move was begun")
}
