//! `omgate wsdl decode`: a response → what it says, as JSON.

use std::process::ExitCode;

use serde_json::json;

use super::Choice;
use crate::cli::print;
use crate::outcome::Response;
use crate::soap::{self, Reply};

/// Arguments of `wsdl decode`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
}

/// Runs `omgate wsdl decode`. Exit code 1 when there is no response of the operation to read; what in it is not as the
/// WSDL has it is a warning on standard error, and printed as it was sent.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let operation = args.choice.take()?;
    let body = super::standard_input()?.into();
    let response = Response { status: 200, headers: Vec::new(), body, cut: false };
    let value = match soap::decode(&operation, &response) {
        Reply::Body(body) => {
            let misfits = soap::misfits(&operation, &response)
                .map_err(|error| anyhow::anyhow!("standard input is another SOAP response: {error}"))?;
            for misfit in misfits {
                print::note(&format!("warning: {misfit}"));
            }
            json!({ "body": body })
        }
        Reply::Fault(fault) => json!({
            "fault": {
                "code": fault.code,
                "subcodes": fault.subcodes,
                "string": fault.string,
                "actor": fault.actor,
                "detail": fault.content,
            }
        }),
        Reply::Broken(why) => anyhow::bail!("standard input is a SOAP response that cannot be read: {why}"),
        Reply::Unreadable(what) => anyhow::bail!("standard input is no SOAP response: it is {what}"),
    };
    print::line(&value.to_string());
    Ok(ExitCode::SUCCESS)
}
