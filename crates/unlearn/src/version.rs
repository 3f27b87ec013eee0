//! The two loops that carry the name ∇τ.

use serde::{Deserialize, Serialize};

/// Which of the two loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// Losses in units of τ, steps in units of the weights; weight and step grow while the goal is not reached.
    #[default]
    #[serde(rename = "nabla-tau")]
    Invariant,
    /// The published loop, exactly.
    #[serde(rename = "nabla-tau-paper")]
    Published,
}

impl Version {
    /// The method's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invariant => "nabla-tau",
            Self::Published => "nabla-tau-paper",
        }
    }
}
