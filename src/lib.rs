//! omgate receives Salesforce Outbound Messages, keeps them safe, and carries each one to where it belongs.
//!
//! The modules stand in the order of a message's path: the values that travel, the edge to Salesforce,
//! the pure stages, the store, the way out, the two drivers, and what people see. `ARCHITECTURE.md` is the map.

pub mod account;
pub mod certificate;
pub mod cipher;
pub mod clock;
pub mod crash;
pub mod disk;
pub mod facts;
pub mod fields;
pub mod pretty;
pub mod login;
pub mod mutation;
pub mod person;
pub mod secret;
pub mod signing;

pub mod envelope;
pub mod delivery;
pub mod call;
pub mod outcome;
pub mod stale;

pub mod receive;
pub mod parse;
pub mod route;
pub mod store;

pub mod expression;
pub mod wsdl;
pub mod soap;
pub mod map;
pub mod deliver;
pub mod settle;
pub mod why;
pub mod issue;
pub mod masking;

pub mod intake;
pub mod dispatch;

pub mod telemetry;
pub mod config;
pub mod preview;
pub mod admin;
pub mod gateway;
pub mod cli;
