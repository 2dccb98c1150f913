//! The integration tests: one binary, one module a subject.

mod checks;
mod config;
mod crash;
mod deliver;
mod demo;
mod envelopes;
mod gateway;
mod harness;
mod readme;
mod replay;
mod send;
mod soap;
mod store;
mod tidy;
mod w3c;
