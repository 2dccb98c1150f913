//! `omgate wsdl encode`: an argument as JSON → the request.

use std::process::ExitCode;

use super::{Choice, argument};
use crate::cli::print;
use crate::soap::{self, EncodeOptions, Nulls};

/// Arguments of `wsdl encode`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
}

/// Runs `omgate wsdl encode`. Exit code 1 when the argument makes no valid request.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let operation = args.choice.take()?;
    let argument = argument::read(&super::standard_input()?)?;
    let options = EncodeOptions { nulls: Nulls::Nil, ..EncodeOptions::default() };
    let encoded = soap::encode(&operation, &argument, &options)?;
    print::line(&encoded.body);
    Ok(ExitCode::SUCCESS)
}
