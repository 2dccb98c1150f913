//! The integration tests: one binary, one module a subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints what it measured, and is steered by the environment"
)]

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod admin;
mod alarms;
mod asked;
mod at_rest;
mod checks;
mod closed;
mod config;
mod corpus;
mod crash;
mod credentials;
mod deliver;
mod demo;
mod doctor;
mod edge;
mod engineer;
mod envelopes;
mod fuzz;
mod gateway;
#[cfg(feature = "postgres")]
mod gateways;
mod harness;
mod histories;
mod hostile;
mod interop;
mod keep;
#[cfg(feature = "postgres")]
mod line;
mod linear;
mod lists;
mod logs;
mod looks;
mod masking;
mod messages;
mod metrics;
#[cfg(feature = "postgres")]
mod moving;
mod ntlm;
mod openapi;
mod outgoing;
mod pages;
mod planted;
#[cfg(feature = "postgres")]
mod postgres;
mod power;
mod readme;
mod recovery;
mod reload;
mod replay;
mod salesforce;
mod send;
mod signature;
mod simulation;
mod soap;
mod store;
mod stuck;
mod tidy;
mod traces;
mod w3c;
mod what_if;
mod wsdl;
