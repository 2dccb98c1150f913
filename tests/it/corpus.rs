//! WSDLs that nobody here wrote: each loads, or its defect is named; what is wrong by the rules is refused.
//!
//! They are no part of the project. The tests read them at `../shared/corpus/soap` and say so when they are not there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that meets the unexpected fails, and one that is skipped says so"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use omgate::wsdl::{self, Files, Finding, Reading, Severity};
use serde_json::Value;

/// What another client loads and we refuse: the end of the path, the rule it breaks.
const BROKEN: &[(&str, &str)] = &[
    // The messages of its one operation are not there, or are not named.
    ("badWSDL/Error-FaultInOperationWithMissingMessageAttribute-MultipleFaults.wsdl", "WSDL 2.4"),
    ("badWSDL/Error-FaultInOperationWithMissingMessageAttribute.wsdl", "WSDL 2.4"),
    ("badWSDL/Error-FaultInOperationWithUndefinedMessage-MultipleFaults.wsdl", "R2101"),
    ("badWSDL/Error-FaultInOperationWithUndefinedMessage.wsdl", "R2101"),
    ("badWSDL/Error-InputInOperationWithUndefinedMessage.wsdl", "R2101"),
    ("badWSDL/Error-OutputInOperationWithMissingMessageAttribute.wsdl", "WSDL 2.4"),
    ("badWSDL/Error-OutputInOperationWithUndefinedMessage.wsdl", "R2101"),
    ("internal/resources/logical.wsdl", "WSDL 2.4"),
    // The binding's operation is not that of the port type.
    ("badWSDL/mismatchedOperation.wsdl", "R2718"),
    // No part of the request is declared by any schema.
    ("internal/resources/NoTypeRef.wsdl", "WSDL 2.3.1"),
    ("validator_wsdl/bp2717.wsdl", "WSDL 2.3.1"),
    // The binding does not say how the body is written.
    ("validator_wsdl/header_rpc_lit_2203_in.wsdl", "WSDL 3.5"),
    // Operations bound to SOAP in a binding that is not.
    ("hello_world_mixed_style.wsdl", "R2701"),
    // Text of a type in a document/literal body: SOAP has no place for it.
    ("jaxws/expected/expected_stock_bare.wsdl", "R2204"),
    ("validator_wsdl/hello_world_doc_lit_type.wsdl", "R2204"),
    ("validator_wsdl/hello_world_unbound_porttype_elements.wsdl", "R2204"),
    ("test/wsdl/wsdl_with_restriction_attributes.wsdl", "R2204"),
    // Elements where WSDL has none.
    ("validator/invalid-wsdl.wsdl", "WSDL A.4.1"),
    // Not well-formed.
    ("wsdl11/test100.wsdl", "XML"),
    // The root is no `wsdl:definitions`.
    ("customization/expected/inline_jaxws.wsdl", "WSDL"),
    ("wsdl2java_wsdl/hello_world_jaxws_binding.wsdl", "WSDL"),
    ("wsdl2java_wsdl/mime_binding.wsdl", "WSDL"),
    ("wsdl2java_wsdl/ws_address_binding.wsdl", "WSDL"),
    ("attachments__should_send_binary_data/soap.wsdl", "WSDL"),
    ("test/wsdl/attachments.wsdl", "WSDL"),
    // What they are made of is outside of their folder.
    ("wsdl2/person.wsdl", "import-outside"),
    ("wsdl_systest/e/sayHi.wsdl", "import-outside"),
    ("test/resources/wsdl/foo.wsdl", "WSDL 2.3.1"),
    ("folder with spaces/import_test.wsdl", "src-resolve"),
];

/// Rules that say that a part of the WSDL is missing from the disk, or that it is no XML document at all.
const INCOMPLETE: [&str; 6] = ["import-missing", "import-remote", "import-outside", "XML", "DTD", "s4s-elt-schema"];

/// Files of the disk.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// The corpus, when it is there.
pub(crate) fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/soap");
    if folder.exists() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

/// All WSDLs below a folder, in order.
pub(crate) fn wsdls(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "wsdl") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The first error, if it does not load.
fn refused(path: &Path, reading: Reading) -> Option<Finding> {
    let findings = wsdl::load_as(path, &Disk, reading).err()?;
    let first = findings.into_iter().find(|finding| finding.severity == Severity::Error).expect("an error among them");
    assert!(!first.message.is_empty() && !first.file.is_empty(), "{}: {first:?}", path.display());
    Some(first)
}

/// Path → the first error, loaded by as many threads as there are processors.
fn load_all(folder: &Path) -> BTreeMap<String, Option<Finding>> {
    let paths = wsdls(folder);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let load = |offset: usize| {
        let mine = paths.iter().skip(offset).step_by(threads);
        let name = |path: &Path| path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
        mine.map(|path| (name(path), refused(path, Reading::Lenient))).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|offset| scope.spawn(move || load(offset))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_wsdl_loads_that_another_client_loads_and_most_of_those_it_does_not() {
    let Some(folder) = corpus() else { return };
    let baseline = std::fs::read_to_string(folder.join("zeep-baseline.json")).unwrap();
    let baseline: Value = serde_json::from_str(&baseline).unwrap();
    let outcomes = load_all(&folder);
    let (mut both, mut alone, mut neither, mut incomplete) = (0, 0, 0, 0);
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, outcome) in &outcomes {
        let theirs = baseline[name]["lax"]["ok"] == true;
        match (theirs, outcome) {
            (true, None) => both += 1,
            (false, None) => alone += 1,
            (true, Some(finding)) => {
                let known = BROKEN.iter().find(|(end, _)| name.ends_with(end));
                assert_eq!(known.map(|(_, rule)| *rule), Some(finding.rule.as_str()), "{name}: {finding:?}");
            }
            (false, Some(finding)) if INCOMPLETE.contains(&finding.rule.as_str()) => incomplete += 1,
            (false, Some(_)) => neither += 1,
        }
        if let Some(finding) = outcome {
            *rules.entry(&finding.rule).or_default() += 1;
        }
    }
    println!(
        "{} WSDLs; {both} load here and there, {alone} here alone; of the others {incomplete} are incomplete; {rules:?}",
        outcomes.len()
    );
    assert!(alone * 10 >= (alone + neither) * 6, "only {alone} of {} that others refuse", alone + neither);
}

#[test]
fn what_breaks_the_rules_is_refused_with_its_rule() {
    let Some(folder) = corpus() else { return };
    let mut negatives: Vec<PathBuf> = wsdls(&folder.join("apache+axis-axis1-java/test/badWSDL"));
    negatives.extend(wsdls(&folder.join("php-soap+wsdl/tests/fixtures/validator")));
    for path in &negatives {
        assert!(refused(path, Reading::Lenient).is_some(), "{} was taken", path.display());
    }
    assert!(negatives.len() >= 12, "{}", negatives.len());
    let validator = folder.join("apache+cxf/tools/validator/src/test");
    let (mut by_default, mut strictly) = (0, 0);
    // file | the rule; `-`: it is in order
    for (name, rule) in [
        ("resources/validator_wsdl/doc_lit_bare.wsdl", "R2210"),
        ("resources/validator_wsdl/hello_world_mixed_style.wsdl", "R2701"),
        ("resources/validator_wsdl/hello_world_doc_lit_type.wsdl", "R2204"),
        ("resources/validator_wsdl/hello_world_error_attribute.wsdl", "WSDL A.4.1"),
        ("resources/validator_wsdl/hello_world_error_reference.wsdl", "WSDL 2.5"),
        ("resources/validator_wsdl/bug305872/http.xsd", "WSDL"),
        ("resources/validator_wsdl/soapheader.wsdl", "R2210"),
        ("resources/validator_wsdl/jms_test_R2726.wsdl", "R2726"),
        ("resources/validator_wsdl/jms_test2.wsdl", "R2205"),
        ("resources/validator_wsdl/header_rpc_lit_2203_in.wsdl", "WSDL 3.5"),
        ("resources/validator_wsdl/header_rpc_lit_2203_out.wsdl", "WSDL 3.5"),
        ("resources/validator_wsdl/hello_world_unbound_porttype_elements.wsdl", "R2204"),
        ("resources/validator_wsdl/bp2717.wsdl", "WSDL 2.3.1"),
        ("resources/validator_wsdl/cxf996.wsdl", "R2210"),
        ("resources/validator_wsdl/ftp_import.wsdl", "import-remote"),
        ("java/org/apache/cxf/tools/validator/internal/resources/NoTypeRef.wsdl", "WSDL 2.3.1"),
        ("java/org/apache/cxf/tools/validator/internal/resources/logical.wsdl", "WSDL 2.4"),
        ("java/org/apache/cxf/tools/validator/internal/resources/a.wsdl", "WSDL 2.5"),
        ("java/org/apache/cxf/tools/validator/internal/resources/b.wsdl", "src-import.1.1"),
        ("java/org/apache/cxf/tools/validator/internal/resources/anytype.wsdl", "-"),
        ("java/org/apache/cxf/tools/validator/internal/resources/physicalpt.wsdl", "-"),
        ("java/org/apache/cxf/tools/validator/internal/resources/nobinding.wsdl", "-"),
        ("resources/validator_wsdl/hello_world_import.wsdl", "-"),
        ("resources/validator_wsdl/hello_world_schema_import.wsdl", "-"),
        ("resources/validator_wsdl/header_rpc_lit.wsdl", "-"),
        ("resources/validator_wsdl/cxf6488.wsdl", "-"),
        ("resources/validator_wsdl/defaultOpMessageNames.wsdl", "-"),
    ] {
        let path = validator.join(name);
        by_default += usize::from(refused(&path, Reading::Lenient).is_some());
        let findings = wsdl::load_as(&path, &Disk, Reading::Strict).err().unwrap_or_default();
        strictly += usize::from(!findings.is_empty());
        let named = findings.iter().any(|finding| finding.rule == rule);
        assert!(named || (rule == "-" && findings.is_empty()), "{name}: {findings:?}");
    }
    // The rest leave no request open: what WSDL 1.1 allows and the Basic Profile does not (R2210), what says nothing, or
    // what only answers and faults depend on.
    println!("CXF's validator: {by_default} refused as they are, {strictly} when nothing is assumed");
    assert!(by_default >= 10, "{by_default}");
}

#[test]
fn documents_cut_into_files_mean_what_the_same_in_one_file_means() {
    let Some(folder) = corpus() else { return };
    let folder = folder.join("php-soap+wsdl/tests/fixtures/flattening");
    let mut compared = 0;
    for result in wsdls(&folder.join("result")) {
        let name = result.file_stem().unwrap().to_string_lossy().replace("-result", "");
        let source = folder.join(format!("{name}.wsdl"));
        if !source.exists() {
            println!("{name}: no source of that name");
            continue;
        }
        let canonical = |path: &Path| match wsdl::load(path, &Disk) {
            Ok(model) => model.canonical(),
            Err(findings) => panic!("{}: {findings:?}", path.display()),
        };
        assert_eq!(canonical(&source), canonical(&result), "{name}");
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} were compared");
}
