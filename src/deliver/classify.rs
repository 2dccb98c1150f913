//! What came back → what it came to. Pure.

use crate::expression::Expression;
use crate::outcome::{Exchange, Outcome};
use crate::soap::Reply;

/// A destination's own rules, asked before the defaults.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// True: the answer means "not now".
    pub retry_when: Option<Expression>,
    /// False: the answer means "refused", whatever its status.
    pub success_when: Option<Expression>,
}

/// Classifies an exchange. Precedence: transport, `retry_when`, `success_when`, the defaults.
#[must_use]
pub fn outcome(_exchange: &Exchange, _reply: Option<&Reply>, _rules: &Rules) -> Outcome {
    unimplemented!()
}
