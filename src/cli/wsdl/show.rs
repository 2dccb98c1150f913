//! `omgate wsdl show`: what a WSDL offers, and what one operation's messages hold.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Disk, in_words, tree};
use crate::cli::print;
use crate::wsdl::{self, Model, Operation, OperationChoice, Port};

/// Arguments of `wsdl show`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The WSDL.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show this operation's request and answer.
    operation: Option<String>,
    /// The service, where several have the operation.
    #[arg(long)]
    service: Option<String>,
    /// The port; default: the first SOAP 1.1 port that has the operation, else the first of SOAP 1.2.
    #[arg(long)]
    port: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows a WSDL. Exit code 1 when it cannot be used, or has no such operation.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let model = match wsdl::load(&args.file, &Disk) {
        Ok(model) => model,
        Err(findings) => {
            findings.iter().for_each(|finding| print::note(&in_words(&args.file, finding)));
            return Ok(ExitCode::FAILURE);
        }
    };
    let Some(name) = &args.operation else {
        if args.json {
            print::json(&services(&model));
        } else {
            print::line(overview(&model).trim_end());
        }
        return Ok(ExitCode::SUCCESS);
    };
    let choice = OperationChoice { service: args.service.as_deref(), port: args.port.as_deref(), operation: name };
    match model.operation(&choice) {
        Ok(operation) if args.json => print::json(&messages(&operation)),
        Ok(operation) => print::line(page(&model, &operation).trim_end()),
        Err(error) => {
            print::note(&format!("{}: {error}", args.file.display()));
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An operation of a port; the reason when it cannot be called.
fn operation(model: &Model, service: &str, port: &Port, name: &str) -> Result<Operation, String> {
    let choice = OperationChoice { service: Some(service), port: Some(&port.name), operation: name };
    model.operation(&choice).map_err(|error| error.reason)
}

fn overview(model: &Model) -> String {
    let mut text = String::new();
    for service in model.services() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "service {}", service.name);
        if service.ports.is_empty() {
            let _ = writeln!(text, "  no SOAP port");
        }
        for port in &service.ports {
            let address = if port.endpoint.is_empty() { "without an address" } else { &port.endpoint };
            let _ = writeln!(text, "  port {}, SOAP {}, {address}", port.name, port.version);
            let width = port.operations.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(60);
            for name in &port.operations {
                let words = match operation(model, &service.name, port, name) {
                    Ok(operation) => in_short(&operation),
                    Err(reason) => format!("cannot be called: {reason}"),
                };
                let _ = writeln!(text, "    {name:width$}  {words}");
            }
        }
    }
    if text.is_empty() { "no service".to_owned() } else { text }
}

fn in_short(operation: &Operation) -> String {
    let way = if operation.is_one_way() { ", one-way" } else { "" };
    let action = operation.soap_action();
    let action = if action.is_empty() { String::new() } else { format!(", action {action}") };
    format!("{}{way}{action}", operation.style().in_words())
}

fn page(model: &Model, operation: &Operation) -> String {
    let mut text = format!(
        "operation {}, service {}, port {}\nSOAP {}, {}\n",
        operation.name(),
        operation.service(),
        operation.port(),
        operation.version(),
        in_short(operation)
    );
    let _ = writeln!(text, "address {}", operation.endpoint());
    let others: Vec<String> = model
        .services()
        .iter()
        .flat_map(|service| service.ports.iter().map(move |port| (service.name.clone(), port.clone())))
        .filter(|(_, port)| port.operations.iter().any(|name| name == operation.name()))
        .filter(|(service, port)| service != operation.service() || port.name != operation.port())
        .map(|(service, port)| format!("{service}/{} (SOAP {})", port.name, port.version))
        .collect();
    if !others.is_empty() {
        let _ = writeln!(text, "also at {}", others.join(", "));
    }
    let mut section = |title: &str, lines: Vec<String>| {
        let _ = writeln!(text, "\n{title}");
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    };
    let headers = operation.request_headers();
    if !headers.is_empty() {
        section("header blocks of the request, below $header in a mapping", tree::lines(&headers, 2));
    }
    section("request", tree::lines(&operation.request(), 2));
    let headers = operation.response_headers();
    if !headers.is_empty() {
        section("header blocks of the answer", tree::lines(&headers, 2));
    }
    match operation.response() {
        Some(response) => section("answer", tree::lines(&response, 2)),
        None => section("no answer", Vec::new()),
    }
    text
}

fn services(model: &Model) -> Value {
    let port = |service: &str, port: &Port| {
        let operations: Vec<Value> = port
            .operations
            .iter()
            .map(|name| match operation(model, service, port, name) {
                Ok(operation) => json!({
                    "name": name,
                    "style": operation.style(),
                    "action": operation.soap_action(),
                    "one_way": operation.is_one_way(),
                }),
                Err(reason) => json!({ "name": name, "unsupported": reason }),
            })
            .collect();
        json!({ "name": port.name, "soap_version": port.version, "address": port.endpoint, "operations": operations })
    };
    let services: Vec<Value> = model
        .services()
        .iter()
        .map(|service| {
            let ports: Vec<Value> = service.ports.iter().map(|known| port(&service.name, known)).collect();
            json!({ "name": service.name, "ports": ports })
        })
        .collect();
    json!({ "services": services })
}

fn messages(operation: &Operation) -> Value {
    json!({
        "service": operation.service(),
        "port": operation.port(),
        "operation": operation.name(),
        "soap_version": operation.version(),
        "style": operation.style(),
        "action": operation.soap_action(),
        "address": operation.endpoint(),
        "request_headers": operation.request_headers(),
        "request": operation.request(),
        "response_headers": operation.response_headers(),
        "response": operation.response(),
    })
}
