//! `omgate wsdl sample`: a request made up for every operation of every SOAP port, one JSON line each.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::print;
use crate::soap::{self, EncodeOptions, Extent};
use crate::wsdl::{Model, Operation, OperationChoice, Style};

/// Arguments of `wsdl sample`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The WSDL.
    file: PathBuf,
    /// Only the operation of this name.
    #[arg(long)]
    operation: Option<String>,
    /// Only what must be there.
    #[arg(long)]
    minimal: bool,
}

/// Runs `omgate wsdl sample`. Exit code 1 when a request could not be made up.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let model = super::load(&args.file)?;
    let extent = if args.minimal { Extent::Minimal } else { Extent::Full };
    let operations = operations(&model, args.operation.as_deref());
    if let Some(name) = args.operation.as_deref().filter(|_| operations.is_empty()) {
        // Says what there is instead.
        model.operation(&OperationChoice { operation: name, ..OperationChoice::default() })?;
    }
    let mut code = ExitCode::SUCCESS;
    for operation in operations {
        match line(&operation, extent) {
            Ok(line) => print::line(&line),
            Err(reason) => {
                print::note(&format!("operation {} of port {}: {reason}", operation.name(), operation.port()));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// The operations that can be called, of all SOAP ports.
fn operations(model: &Model, only: Option<&str>) -> Vec<Operation> {
    let mut operations = Vec::new();
    for service in model.services() {
        for port in &service.ports {
            for name in port.operations.iter().filter(|name| only.is_none_or(|only| only == name.as_str())) {
                let choice = OperationChoice { service: Some(&service.name), port: Some(&port.name), operation: name };
                operations.extend(model.operation(&choice));
            }
        }
    }
    operations
}

fn line(operation: &Operation, extent: Extent) -> Result<String, String> {
    let argument = soap::sample(operation, extent).ok_or(
        "no valid request can be made up: a type must hold itself, has no value that could be found, or must \
             be larger than a sample may be",
    )?;
    let encoded = soap::encode(operation, &argument, &EncodeOptions::default()).map_err(|error| error.to_string())?;
    let style = match operation.style() {
        Style::DocumentWrapped | Style::DocumentBare => "document",
        Style::RpcLiteral | Style::RpcEncoded => "rpc",
    };
    let line = json!({
        "service": operation.service(),
        "port": operation.port(),
        "operation": operation.name(),
        "soap_version": operation.version(),
        "style": style,
        "use": operation.usage(),
        "action": operation.soap_action(),
        "envelope": encoded.body,
    });
    Ok(line.to_string())
}
