//! The command line: one file a command.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub mod account;
pub mod alarms;
pub mod audit;
pub mod call;
pub mod check;
pub mod client;
pub mod completions;
pub mod deliveries;
pub mod demo;
pub mod destinations;
pub mod doctor;
pub mod find;
pub mod follow;
pub mod inspect;
pub mod issues;
pub mod jobs;
pub mod lanes;
pub mod ledger;
pub mod man;
pub mod moment;
pub mod moving;
pub mod notifications;
pub mod number;
pub mod pause;
pub mod print;
pub mod rekey;
pub mod reload;
pub mod scaffold;
pub mod send;
pub mod serve;
pub mod sources;
pub mod status;
pub mod store;
pub mod stub;
pub mod systems;
pub mod table;
pub mod test;
pub mod token;
pub mod top;
mod usage;
pub mod watch;
pub mod what_if;
pub mod why;
pub mod wsdl;

/// Receives Salesforce Outbound Messages, keeps them safe, and carries each one to SOAP and REST systems.
#[derive(Debug, Parser)]
#[command(name = "omgate", version, propagate_version = true)]
pub struct Cli {
    /// Run a command that only looks again and again, every so many seconds (2 unless it is said, as in --watch=10).
    #[arg(long, value_name = "SECONDS", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watch: Option<u64>,
    /// How much the terminal shows, for a command that is run again and again, such as 80x24.
    #[arg(long, hide = true, global = true)]
    room: Option<table::Room>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(serve::Args),
    /// Load everything `serve` would and say what each route does.
    Check(check::Args),
    /// Write a complete configuration for two WSDLs, with obvious pairs filled in.
    Scaffold(scaffold::Args),
    /// Make one call by hand: of a destination, with values of your own.
    Call(call::Args),
    /// Replay envelope fixtures against golden files: no network, no store.
    Test(test::Args),
    /// Show what another configuration would make of the stored notifications: no network, no writes.
    WhatIf(what_if::Args),
    /// Show the whole path in a temporary folder: two stub systems, the project's fixtures, a live table.
    Demo(demo::Args),
    /// Post envelopes as Salesforce would.
    Send(send::Args),
    /// Show what omgate sees in an envelope, as JSON.
    Inspect(inspect::Args),
    /// Look for what stands in the way: listeners, certificates, clock, store, destinations; one line each and what to do.
    Doctor(doctor::Args),
    /// How a running gateway stands, and its accounts.
    Status(status::Args),
    /// Have a running gateway read its configuration again.
    Reload(reload::Args),
    /// The accounts of sources and destinations, in all or by day.
    Ledger(ledger::Args),
    /// When each source was heard last, and when nobody listened.
    Sources(sources::Args),
    /// Where messages go: list, show, test, pause, resume.
    Destinations(destinations::Args),
    /// The limits of a destination as they are in force, and which setting made each so.
    Explain(destinations::ExplainArgs),
    /// What happens to deliveries, while it happens.
    Tail(follow::TailArgs),
    /// The exchanges with a destination, while they happen; masked as everywhere.
    Trace(follow::TraceArgs),
    /// What comes in and goes out a second, drawn anew.
    Top(top::Args),
    /// What came in.
    Notifications(notifications::Args),
    /// What was made of it.
    Deliveries(deliveries::Args),
    /// What gave up, and waits for a person.
    Dead(deliveries::Args),
    /// What there is of an id or a value, whatever it may be, and where it stands.
    Find(find::Args),
    /// Why a delivery is where it is, or why a notification has none, in words.
    Why(why::Args),
    /// Dead letters grouped by destination and cause.
    Issues(issues::Args),
    /// Lanes that do not go on, and what stands in one.
    Lanes(lanes::Args),
    /// Changes of many deliveries: list, pause, resume, cancel.
    Jobs(jobs::Args),
    /// The target systems: list, pause, resume.
    Systems(systems::Args),
    /// List what stands and who is told of it, or tell them that this is a test.
    Alarms(alarms::Args),
    /// What people did.
    Audit(audit::Args),
    /// Tokens of the admin API: create, list, revoke.
    Token(token::Args),
    /// Prepare accounts of the admin listener.
    Account(account::Args),
    /// Look after the store.
    Store(store::Args),
    /// Work with WSDLs, offline.
    Wsdl(wsdl::Args),
    /// Print or write manual pages.
    Man(man::Args),
    /// Print a shell's completion script.
    Completions(completions::Args),
}

/// Reads the command line; and what of it is to be watched. It ends the process where clap would: with its own words.
///
/// # Errors
/// When something is to be watched that cannot be.
pub fn parsed() -> anyhow::Result<(Cli, Option<watch::Watch>)> {
    let mut command = Cli::command();
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let matches = matches.unwrap_or_else(|error| usage::told(error, &mut command, &arguments).exit());
    let watch = watch::wanted(&matches, arguments)?;
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(room) = cli.room {
        table::set_room(room);
    }
    Ok((cli, watch))
}

/// Runs the command line. Exit codes: 0 ok, 1 failed or findings, 64 wrong configuration in `serve`.
///
/// # Errors
/// What went wrong, for a person.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    outlive_file_limits();
    leave_no_core();
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Scaffold(args) => scaffold::run(args).await,
        Command::Call(args) => call::run(args).await,
        Command::Test(args) => test::run(args).await,
        Command::WhatIf(args) => what_if::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Send(args) => send::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Reload(args) => reload::run(args).await,
        Command::Ledger(args) => ledger::run(args).await,
        Command::Sources(args) => sources::run(args).await,
        Command::Destinations(args) => destinations::run(args).await,
        Command::Explain(args) => destinations::explain(args).await,
        Command::Tail(args) => follow::tail(args).await,
        Command::Trace(args) => follow::trace(args).await,
        Command::Top(args) => top::run(args).await,
        Command::Man(args) => man::run(args).await,
        Command::Notifications(args) => notifications::run(args).await,
        Command::Deliveries(args) => deliveries::run(args).await,
        Command::Dead(args) => deliveries::run_dead(args).await,
        Command::Find(args) => find::run(args).await,
        Command::Why(args) => why::run(args).await,
        Command::Issues(args) => issues::run(args).await,
        Command::Lanes(args) => lanes::run(args).await,
        Command::Jobs(args) => jobs::run(args).await,
        Command::Systems(args) => systems::run(args).await,
        Command::Alarms(args) => alarms::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Account(args) => account::run(&args),
        Command::Store(args) => store::run(args).await,
        Command::Wsdl(args) => wsdl::run(args).await,
        Command::Completions(args) => completions::run(args).await,
    }
}

/// SIGXFSZ, by the number that Linux gives it on all but MIPS.
const FILE_TOO_LARGE: i32 = 25;

/// A file that may not grow is then an error of the write, which is told and outlived, and not the end of the process.
fn outlive_file_limits() {
    // Once it was asked for, the signal ends nothing any more.
    let heard = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(FILE_TOO_LARGE));
    if let Err(error) = heard {
        tracing::debug!(%error, "the limit of a file's size ends the process");
    }
}

/// Neither this process nor a program that it runs ever gains privileges, such as those of a program that is set-uid.
pub fn gain_no_privileges() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        tracing::debug!(%error, "privileges could be gained");
    }
}

/// A core dump would hold every secret that the process knows. So none is written, and nobody but root may look into its
/// memory or its environment.
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::debug!(%error, "the size of core dumps cannot be limited");
    }
    // A pipe that takes core dumps, as systemd's does, does not ask for that limit.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "core dumps cannot be turned off");
    }
}
