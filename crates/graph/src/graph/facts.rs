//! What an operator's inputs are for, a line an operator: where its weights are, what a gradient flows through, what it
//! hands on unchanged. Everything that asks about operators by name reads it here.

mod table;

use super::Node;
use std::{collections::HashMap, sync::LazyLock};

/// What an input of an operator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Data.
    Data,
    /// A shape, index, axis, type or condition, or a table that is made and not learnt: no gradient is owed.
    Control,
    /// A number on which the result depends in proportion, where nothing learned is put: no gradient is implemented.
    Bound,
    /// Data, to which no gradient is implemented.
    Open,
    /// Weights of a linear layer or convolution.
    Weight(Layout),
    /// What is added channel by channel.
    Bias,
    /// What a normalization multiplies channels by.
    Scale,
    /// Slopes of PRelu.
    Slope,
    /// Rows that are looked up.
    Table,
    /// Weights of a recurrent layer: what they are called.
    Recurrent(&'static str),
    /// Running mean.
    Mean,
    /// Running variance.
    Variance,
}

/// Which axes of weights are what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// (out, in, window).
    Convolution,
    /// (in, out, window).
    Transposed,
    /// The left factor of a product: (out, in), or by `transA` (in, out).
    Left,
    /// The right factor of a product: (in, out), or by `transB` (out, in).
    Right,
    /// A factor of Einsum: the equation tells.
    Factor,
}

/// What an operator's first output has of its first input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// Something else.
    Nothing,
    /// Its elements as they are, perhaps of another type.
    Same,
    /// Its elements with the axes in another order.
    Order,
    /// Its elements under other extents.
    Shape,
    /// A part of its elements.
    Part,
}

/// Which inputs a gradient can flow into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Gradient {
    /// All float inputs.
    All,
    /// These float inputs.
    Only(&'static [usize]),
    /// None is owed: the outputs are shapes, integers or booleans, or change in steps only, where PyTorch's gradient is 0.
    Flat,
    /// None is implemented.
    None,
}

/// What is known of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    name: &'static str,
    domain: &'static str,
    /// The inputs in order; those beyond are as the last.
    slots: &'static [Slot],
    /// Whether the outputs are integers or booleans, or change in steps only.
    steps: bool,
    /// What of the first input is handed on.
    pub passes: Passes,
}

impl Slot {
    /// Whether a small change of the input changes the outputs in proportion, and it is none of the numbers that are never
    /// learned.
    pub fn carries(self) -> bool {
        !matches!(self, Self::Control | Self::Bound | Self::Mean | Self::Variance)
    }

    /// Whether an input that depends on a parameter is no error.
    fn may_be_tracked(self) -> bool {
        !matches!(self, Self::Bound | Self::Open | Self::Mean | Self::Variance)
    }

    /// What an input that only parameters are given to is called.
    pub fn part(self) -> Option<&'static str> {
        Some(match self {
            Self::Weight(Layout::Factor) => "factor",
            Self::Weight(_) => "weight",
            Self::Bias => "bias",
            Self::Scale => "scale",
            Self::Slope => "slope",
            Self::Table => "embedding table",
            Self::Recurrent(part) => part,
            Self::Data | Self::Control | Self::Bound | Self::Open | Self::Mean | Self::Variance => return None,
        })
    }
}

impl Facts {
    /// What input `slot` is.
    pub fn slot(&self, slot: usize) -> Slot {
        self.slots.get(slot).or(self.slots.last()).copied().unwrap_or(Slot::Control)
    }

    /// The first input that is of a kind.
    pub fn first(&self, is: impl Fn(Slot) -> bool) -> Option<usize> {
        self.slots.iter().position(|&slot| is(slot))
    }

    /// Whether input `slot` may depend on a parameter.
    pub fn reaches(&self, slot: usize) -> bool {
        self.slot(slot).may_be_tracked()
    }

    /// Where gradients flow.
    pub fn gradient(&self) -> Gradient {
        const SLOTS: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
        if self.steps {
            return Gradient::Flat;
        }
        let open = self.slots.iter().position(|slot| !slot.may_be_tracked());
        match open.map(|open| SLOTS.get(..open).unwrap_or_default()) {
            None => Gradient::All,
            Some(before) if before.iter().any(|&slot| self.slot(slot).carries()) => {
                let data = self.slots.iter().take_while(|slot| slot.carries() && slot.may_be_tracked()).count();
                Gradient::Only(SLOTS.get(..data).unwrap_or_default())
            }
            Some(_) => Gradient::None,
        }
    }

    const fn of(self, domain: &'static str) -> Self {
        Self { domain, ..self }
    }

    const fn passing(self, passes: Passes) -> Self {
        Self { passes, ..self }
    }
}

/// The operator of `node`, if it is known.
pub fn facts(node: &Node) -> Option<&'static Facts> {
    named(&node.domain, &node.op_type)
}

/// An operator by its domain and name, if it is known.
pub fn named(domain: &str, name: &str) -> Option<&'static Facts> {
    static ALL: LazyLock<HashMap<&str, Vec<Facts>>> = LazyLock::new(|| {
        let mut all: HashMap<&str, Vec<Facts>> = HashMap::new();
        for facts in table::OPERATORS {
            all.entry(facts.name).or_default().push(*facts);
        }
        all
    });
    ALL.get(name)?.iter().find(|facts| facts.domain == domain)
}

/// What input `slot` of `node` is: data, where the operator is not known, except that the other operators of ai.onnx.ml
/// take labels and texts.
pub fn slot(node: &Node, slot: usize) -> Slot {
    match facts(node) {
        Some(facts) => facts.slot(slot),
        None if node.domain == LEARNERS => Slot::Control,
        None => Slot::Data,
    }
}

/// What of a node's first input its first output has.
pub fn passes(node: &Node) -> Passes {
    facts(node).map_or(Passes::Nothing, |facts| facts.passes)
}

/// Whether the outputs of `node` are integers or booleans, or change in steps only.
pub fn is_stepped(node: &Node) -> bool {
    facts(node).is_some_and(|facts| facts.steps)
}

/// Domain and name of every operator that there are facts of; those that are not computed come last.
pub fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    table::OPERATORS.iter().map(|facts| (facts.domain, facts.name))
}

const LEARNERS: &str = "ai.onnx.ml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_follow_from_the_inputs() {
        let gradient = |name| named("", name).unwrap().gradient();
        assert_eq!(gradient("Conv"), Gradient::All);
        assert_eq!(gradient("Gather"), Gradient::All);
        assert_eq!(gradient("BatchNormalization"), Gradient::Only(&[0, 1, 2]));
        assert_eq!(gradient("SoftmaxCrossEntropyLoss"), Gradient::Only(&[0]));
        assert_eq!(gradient("ArgMax"), Gradient::Flat);
        // A remainder has a gradient, a choice of two numbers too: neither is implemented, and both say so.
        assert_eq!((gradient("Mod"), gradient("OneHot")), (Gradient::None, Gradient::None));
        assert!(!named("", "OneHot").unwrap().reaches(2) && named("", "OneHot").unwrap().reaches(0));
    }
}
