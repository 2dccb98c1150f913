//! Messages of WSDLs that nobody here wrote: what is made of them is valid, and is read back as it was.
//!
//! The corpus is no part of the project: the tests read it at `../shared/corpus/soap` and say so when it is not there.
//! What is valid is libxml2's to say (`xmllint`); without it that part is skipped, and said so.

mod answers;
mod arguments;
mod forms;
mod node;
mod php;
mod schemas;

use std::collections::{BTreeMap, HashSet};

use omgate::soap::{EncodeOptions, Extent};
use omgate::wsdl::{Model, Operation, OperationChoice, Style, Usage};
use omgate::{soap, wsdl};
use serde_json::{Map, Value};

use crate::corpus::{Disk, corpus, wsdls};

/// The operations that can be called, of all SOAP ports.
fn operations(model: &Model) -> Vec<Operation> {
    let mut operations = Vec::new();
    for service in model.services() {
        for port in &service.ports {
            for name in &port.operations {
                let choice = OperationChoice { service: Some(&service.name), port: Some(&port.name), operation: name };
                operations.extend(model.operation(&choice));
            }
        }
    }
    operations
}

/// What is read back says null where `$nil` was written, and knows nothing of headers.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(object) if object.len() == 1 && object.contains_key("$nil") => Value::Null,
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, _)| key.as_str() != "$header");
            Value::Object(kept.map(|(key, value)| (key.clone(), normal(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// What became of the samples of all operations.
#[derive(Default)]
struct Tally {
    made: usize,
    reasons: BTreeMap<String, Vec<String>>,
}

impl Tally {
    fn fail(&mut self, reason: &str, what: String) {
        self.reasons.entry(reason.to_owned()).or_default().push(what);
    }

    fn failed(&self) -> usize {
        self.reasons.values().map(Vec::len).sum()
    }

    #[expect(clippy::disallowed_methods, reason = "a switch of the test run")]
    fn print(&self, title: &str) {
        println!("{title}: {} of {} are not", self.failed(), self.made);
        let shown = if std::env::var_os("OMGATE_CORPUS_VERBOSE").is_some() { 1_000 } else { 5 };
        for (reason, cases) in &self.reasons {
            println!("  {} × {reason}", cases.len());
            cases.iter().take(shown).for_each(|case| println!("      {case}"));
        }
    }

    /// At most two of a hundred.
    fn must_hold(&self) {
        assert!(self.failed() * 50 <= self.made, "{} of {} failed", self.failed(), self.made);
    }
}

/// Requests that nobody validates: what keeps libxml2 from it → the WSDLs, each with the number of its requests.
#[derive(Default)]
struct Unseen(BTreeMap<String, Vec<(String, usize, String)>>);

impl Unseen {
    fn add(&mut self, reason: &str, wsdl: &str, requests: usize) {
        let row = (wsdl.to_owned(), requests, reason.to_owned());
        self.0.entry(schemas::kind(reason)).or_default().push(row);
    }

    #[expect(clippy::disallowed_methods, reason = "a switch of the test run")]
    fn print(&self) {
        let all: usize = self.0.values().flatten().map(|(_, requests, _)| requests).sum();
        println!("requests that libxml2 does not look at: {all}");
        let shown = if std::env::var_os("OMGATE_CORPUS_VERBOSE").is_some() { 1_000 } else { 3 };
        for (kind, wsdls) in &self.0 {
            println!("  {} × {kind}", wsdls.iter().map(|(_, requests, _)| requests).sum::<usize>());
            for (wsdl, requests, reason) in wsdls.iter().take(shown) {
                println!("      {requests} of {wsdl}: {reason}");
            }
        }
    }
}

#[test]
fn every_operation_of_the_corpus_has_a_full_and_a_minimal_request_that_are_valid_and_read_back_the_same() {
    let Some(folder) = corpus() else { return };
    let linter = schemas::xmllint();
    let (mut made, mut same, mut valid) = (Tally::default(), Tally::default(), Tally::default());
    let mut unseen = Unseen::default();
    let mut styles = BTreeMap::<&str, [usize; 2]>::new();
    for path in wsdls(&folder) {
        let Ok(model) = wsdl::load(&path, &Disk) else { continue };
        let name = path.strip_prefix(&folder).unwrap_or(&path).display().to_string();
        let mut instances = Vec::new();
        let start = std::time::Instant::now();
        for operation in operations(&model) {
            for extent in [Extent::Full, Extent::Minimal] {
                let what = format!("{name} {} {} {extent:?}", operation.port(), operation.name());
                if let Some(envelope) = request(&operation, extent, &what, &mut made, &mut same) {
                    instances.push(schemas::Instance {
                        what,
                        operation: operation.name().to_owned(),
                        port: operation.port().to_owned(),
                        style: operation.style().in_words(),
                        rpc: matches!(operation.style(), Style::RpcLiteral | Style::RpcEncoded),
                        encoded: operation.usage() == Usage::Encoded,
                        envelope,
                    });
                }
            }
        }
        if start.elapsed().as_secs() >= 5 {
            println!("slow: {name} took {:?}", start.elapsed());
        }
        if let Some(linter) = &linter {
            match schemas::check(linter, &path, &instances) {
                Ok(outcomes) => {
                    let wrong: HashSet<&String> =
                        outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(what, _)| what).collect();
                    for instance in instances.iter().filter(|instance| !instance.encoded) {
                        let [all, fine] = styles.entry(instance.style).or_default();
                        *all += 1;
                        *fine += usize::from(!wrong.contains(&instance.what));
                    }
                    for (what, outcome) in outcomes {
                        valid.made += 1;
                        if let Err(reason) = outcome {
                            valid.fail(&schemas::kind(&reason), format!("{what}: {reason}"));
                        }
                    }
                }
                Err(reason) => unseen.add(&reason, &name, instances.len()),
            }
        }
    }
    made.print("requests that can be made up");
    same.print("requests that are read back the same");
    valid.print("requests that libxml2 takes");
    unseen.print();
    for (style, [all, fine]) in styles {
        println!("{style}: {fine} of {all} are valid");
    }
    made.must_hold();
    same.must_hold();
    assert_eq!(same.reasons.get("our validator"), None, "what is written must be what is taken");
    if linter.is_some() {
        valid.must_hold();
    }
}

/// Makes a request, checks it with our own validator, and reads it back.
fn request(operation: &Operation, extent: Extent, what: &str, made: &mut Tally, same: &mut Tally) -> Option<String> {
    made.made += 1;
    let Some(argument) = soap::sample(operation, extent) else {
        made.fail("no sample", what.to_owned());
        return None;
    };
    let encoded = match soap::encode(operation, &argument, &EncodeOptions::default()) {
        Ok(encoded) => encoded,
        Err(error) => {
            made.fail("refused", format!("{what}: {error}"));
            return None;
        }
    };
    same.made += 1;
    if let Err(error) = soap::validate(operation, &encoded.body) {
        same.fail("our validator", format!("{what}: {error}"));
    }
    let read = soap::argument(operation, &encoded.body).map(|value| normal(&value));
    let argument = match normal(&argument) {
        Value::Object(object) if object.len() == 1 && object.contains_key("$value") => object["$value"].clone(),
        other => other,
    };
    if read.as_ref() != Some(&argument) {
        let (ours, read) = (argument.to_string(), read.unwrap_or_default().to_string());
        let at = ours.bytes().zip(read.bytes()).take_while(|(left, right)| left == right).count().saturating_sub(60);
        let cut = |text: &str| text.chars().skip(at).take(160).collect::<String>();
        same.fail("read back", format!("{what}:\n        {}\n        {}", cut(&ours), cut(&read)));
    }
    Some(encoded.body)
}
