//! What the benches share: the messages that they carry, what an operation costs, and how a backlog is measured.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub(crate) mod backlog;
pub(crate) mod callgrind;
pub(crate) mod figures;
pub(crate) mod messages;

/// What a bench comes to.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
