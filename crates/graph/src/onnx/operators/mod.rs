//! What an operator's inputs are for, a line an operator: where its weights are, what a gradient flows through, what it
//! hands on unchanged. Whoever asks about an operator by its name reads it here; a graph's nodes ask through
//! `graph::facts`.

mod table;

use std::{collections::HashMap, sync::LazyLock};

/// What an input of an operator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Data.
    Data,
    /// A shape, index, axis, type or condition, or a table that is made and not learned: no gradient is owed.
    Control,
    /// A number on which the result depends in proportion, where nothing learned is put: no gradient is implemented.
    Bound,
    /// Data, to which no gradient is implemented.
    Open,
    /// What is added to attention scores: a mask, or a learned bias.
    Scores,
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
    /// A part of its elements, next to each other.
    Part,
    /// Elements that other inputs pick, perhaps several times.
    Pick,
    /// Its elements, repeated.
    Repeat,
    /// Its elements, and those of all other inputs.
    Join,
}

impl Passes {
    /// Whether the elements are all there, in their order.
    pub fn keeps_order(self) -> bool {
        matches!(self, Self::Same | Self::Shape)
    }

    /// Whether the elements are all there, each once.
    pub fn keeps_all(self) -> bool {
        matches!(self, Self::Same | Self::Order | Self::Shape)
    }

    /// Whether a tensor is seen in what comes out: it, or a part of it.
    pub fn shows(self) -> bool {
        matches!(self, Self::Same | Self::Order | Self::Shape | Self::Part)
    }

    /// Whether nothing comes out but elements of the input.
    pub fn keeps_values(self) -> bool {
        !matches!(self, Self::Nothing | Self::Join)
    }
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
    /// Its name.
    pub name: &'static str,
    /// Its domain; empty for ONNX's own.
    pub domain: &'static str,
    /// The inputs in order; those beyond are as the last.
    slots: &'static [Slot],
    /// Whether the outputs are integers or booleans, or change in steps only.
    pub steps: bool,
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
            Self::Data | Self::Control | Self::Bound | Self::Open | Self::Scores | Self::Mean | Self::Variance => {
                return None;
            }
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

/// An operator by its domain and name, if it is known.
pub fn named(domain: &str, name: &str) -> Option<&'static Facts> {
    static ALL: LazyLock<HashMap<&str, Vec<Facts>>> = LazyLock::new(|| {
        let mut all: HashMap<&str, Vec<Facts>> = HashMap::new();
        for facts in table::OPERATORS.iter().chain(table::OTHERS) {
            all.entry(facts.name).or_default().push(*facts);
        }
        all
    });
    ALL.get(name)?.iter().find(|facts| facts.domain == domain)
}

/// The domain of what surrounds a network: labels, texts, columns.
pub const LEARNERS: &str = "ai.onnx.ml";

/// The operators that are computed, and those that are not.
pub fn all() -> [&'static [Facts]; 2] {
    [table::OPERATORS, table::OTHERS]
}
