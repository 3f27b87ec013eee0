//! Roles in elementwise arithmetic, where parameters, masks, statistics and numbers of decomposed functions all look
//! alike.

use super::{
    roles::{Role, Roles, Use},
    values,
};
use crate::graph::{
    Dim, Node, ValueId,
    facts::{self, Layout, Slot},
    gradient,
};

/// How far to look around a node.
const DEPTH: usize = 12;

/// The role of a tensor that an elementwise operator, `Where` or `Concat` takes beside data; `None` for other operators.
pub(super) fn role(roles: &Roles<'_>, at: &Use<'_>) -> Option<Role> {
    let place = format!("{} ({})", at.node.op_type, at.node.name);
    if is_added_to_scores(at.node, at.slot) {
        return Some(score_bias(at, &place));
    }
    if !at.node.domain.is_empty() {
        return None;
    }
    let named = roles.is_named(at.value);
    let by_name = |otherwise: String| match named {
        true => Role::Weight(format!("a named tensor of the module that {place} takes")),
        false => Role::Neutral(otherwise),
    };
    if values::names_statistic(roles.graph.name(at.value)) && at.node.op_type != "Concat" {
        return Some(Role::Never(format!("by its name a statistic, which {place} takes")));
    }
    Some(match (at.node.op_type.as_str(), at.slot) {
        ("Add" | "Sum" | "Mean", _) | ("Sub", 1) => offset(roles, at, &place),
        ("Mul", _) => scale(roles, at, &place),
        ("Div", 1) | ("Sub" | "Div", 0) | ("Pow", 1) => match excluded(roles, at, &place) {
            Some(role) => role,
            None => by_name(format!("a number or divisor in {place}")),
        },
        ("Where" | "Concat" | "ScatterElements" | "ScatterND", _)
            if at.tensor.len() == 1 || at.facts.blocks_attention() =>
        {
            Role::Neutral(format!("a filling value of {place}"))
        }
        ("Where" | "Concat", _) if named || at.facts.different() > 1 => match at.facts.is_sinusoid() {
            true => Role::Never(format!("a table of sines and cosines that {place} takes")),
            false => Role::Weight(format!("a learned part of the data that {place} puts in")),
        },
        ("Where" | "Concat" | "ScatterElements" | "ScatterND", _) => by_name(format!("a filling value of {place}")),
        ("Max" | "Min", _) => by_name(format!("a bound in {place}")),
        _ => return None,
    })
}

/// What is no parameter in any elementwise operator.
fn excluded(roles: &Roles<'_>, at: &Use<'_>, place: &str) -> Option<Role> {
    let others: Vec<ValueId> =
        at.node.inputs.iter().flatten().copied().filter(|value| roles.moving.contains(value)).collect();
    if at.tensor.len() > 1 && is_variance(at.via) {
        return Some(Role::Never(format!("the variance of a normalization that is written out ({place})")));
    }
    if !others.is_empty() && others.iter().all(|&value| roles.nearby.is_input(value)) {
        return Some(Role::Never(format!("standardizes the model's input in {place}")));
    }
    if at.tensor.len() == 1 {
        return match roles.is_named(at.value) {
            true => Some(Role::Weight(format!("a named scalar of the module that {place} takes"))),
            false => Some(Role::Neutral(format!("a single number in {place}, as in an activation or a scaling"))),
        };
    }
    if at.facts.is_sinusoid() {
        return Some(Role::Never(format!("a table of sines and cosines in {place}")));
    }
    None
}

fn offset(roles: &Roles<'_>, at: &Use<'_>, place: &str) -> Role {
    let data = at.node.inputs.iter().flatten().copied().find(|value| roles.moving.contains(value));
    let origin = data.map_or(Origin::Other, |value| origin(roles, value, DEPTH));
    // A layer with one output has a bias of one element.
    if let (Origin::Linear(name, Some(1)), 1, true) = (&origin, at.tensor.len(), !at.tensor.dims().is_empty()) {
        return Role::Weight(format!("bias that {place} adds to the output of {name}"));
    }
    if at.facts.blocks_attention() {
        return Role::Never(format!("a mask that {place} adds"));
    }
    if let Some(role) = excluded(roles, at, place) {
        return role;
    }
    if at.node.op_type == "Sub" && is_scaled_by_variance(roles, at.node) {
        return Role::Never(format!("the mean of a normalization that is written out ({place})"));
    }
    if let (Origin::Product, true) = (&origin, roles.nearby.feeds_softmax(at.node)) {
        return score_bias(at, place);
    }
    Role::Weight(match origin {
        Origin::Linear(name, _) => format!("bias that {place} adds to the output of {name}"),
        Origin::Normalization(name) => format!("bias that {place} adds after {name}"),
        Origin::Embedding(name) => format!("position embedding that {place} adds to {name}"),
        Origin::Product | Origin::Other => format!("offset that {place} adds"),
    })
}

/// Whether an attention operator adds the input to its scores before the softmax.
pub(super) fn is_added_to_scores(node: &Node, slot: usize) -> bool {
    facts::slot(node, slot) == Slot::Scores
}

/// What is added to attention scores: a mask, which has two values or blocks, or a learned bias.
fn score_bias(at: &Use<'_>, place: &str) -> Role {
    match at.facts.different() {
        3.. if !at.facts.blocks_attention() => Role::Weight(format!("bias that {place} adds to attention scores")),
        _ => Role::Never(format!("a mask that {place} adds to attention scores")),
    }
}

fn scale(roles: &Roles<'_>, at: &Use<'_>, place: &str) -> Role {
    if let Some(role) = excluded(roles, at, place) {
        return role;
    }
    if at.facts.is_zeros_and_ones() {
        return Role::Never(format!("a mask of zeros and ones in {place}"));
    }
    let data = at.node.inputs.iter().flatten().copied().find(|value| roles.moving.contains(value));
    Role::Weight(match data.map_or(Origin::Other, |value| origin(roles, value, DEPTH)) {
        Origin::Linear(name, _) => format!("scale that {place} applies to the output of {name}"),
        Origin::Normalization(name) => format!("scale that {place} applies after {name}"),
        Origin::Embedding(_) | Origin::Product | Origin::Other => format!("scale that {place} applies"),
    })
}

/// What made the data that a tensor is applied to.
enum Origin {
    /// A layer with weights, and its outputs' number if its weights tell.
    Linear(String, Option<usize>),
    /// A product of data with data, as attention scores are.
    Product,
    Normalization(String),
    Embedding(String),
    Other,
}

fn origin(roles: &Roles<'_>, value: ValueId, depth: usize) -> Origin {
    let Some(node) = roles.node(value).filter(|_| depth > 0) else { return Origin::Other };
    let next = |slot: usize| node.input(slot).map_or(Origin::Other, |value| origin(roles, value, depth - 1));
    let label = format!("{} ({})", node.op_type, node.name);
    // Of an operator that takes one moving operand beside stored ones: where that comes from.
    let moving_only = || {
        let mut moving = node.inputs.iter().enumerate().filter(|(slot, value)| {
            gradient::carries(node, *slot) && value.is_some_and(|value| roles.moving.contains(&value))
        });
        moving.next().filter(|_| moving.next().is_none()).map(|(slot, _)| next(slot))
    };
    match node.op_type.as_str() {
        _ if weights(node).is_some() => match node.inputs.iter().flatten().all(|value| roles.moving.contains(value)) {
            true => Origin::Product,
            false => Origin::Linear(label, outputs(roles, node)),
        },
        _ if facts::slot(node, 0) == Slot::Table
            && node.input(0).is_some_and(|table| !roles.moving.contains(&table)) =>
        {
            Origin::Embedding(label)
        }
        op if op.ends_with("Normalization") => Origin::Normalization(label),
        "Mul" | "Div" | "Where" if matches!(moving_only(), Some(Origin::Product)) => Origin::Product,
        "Div" | "Sqrt" | "Reciprocal" => Origin::Normalization(label),
        "Mul" => match node
            .inputs
            .iter()
            .flatten()
            .any(|&v| roles.node(v).is_some_and(|n| n.is("Reciprocal") || n.is("Div")))
        {
            true => Origin::Normalization(label),
            false => Origin::Other,
        },
        "Dropout" | "Slice" => next(0),
        _ if facts::passes(node).keeps_all() => next(0),
        "Add" => moving_only().unwrap_or(Origin::Other),
        _ => Origin::Other,
    }
}

/// The layout of a layer's weights, if its second input is that.
fn weights(node: &Node) -> Option<Layout> {
    match facts::slot(node, 1) {
        Slot::Weight(layout) => Some(layout),
        _ => None,
    }
}

/// Outputs of a layer (columns, or channels), from the declared shape of its output or from its weights.
fn outputs(roles: &Roles<'_>, node: &Node) -> Option<usize> {
    let layout = weights(node)?;
    let channels = matches!(layout, Layout::Convolution | Layout::Transposed);
    let declared = node.output(0).and_then(|output| roles.graph.declared_dims(output));
    let dim = declared.and_then(|dims| if channels { dims.get(1) } else { dims.last() });
    if let Some(Dim::Fixed(extent)) = dim {
        return Some(*extent);
    }
    if layout == Layout::Transposed {
        return None;
    }
    let (mut weights, mut transposed) = (node.input(1)?, layout == Layout::Convolution);
    transposed |= node.flag("transB", false).unwrap_or(false);
    if let Some(before) = roles.node(weights).filter(|before| before.is("Transpose")) {
        (weights, transposed) = (before.input(0)?, !transposed);
    }
    let dims = roles.constants.get(&weights)?.dims();
    if transposed { dims.first().copied() } else { dims.last().copied() }
}

/// Whether a tensor goes through `sqrt(tensor + epsilon)` before it meets data.
fn is_variance(via: &[&str]) -> bool {
    let moves = |op: &str| facts::named("", op).is_some_and(|facts| facts.passes.keeps_all());
    let mut steps = via.iter().copied().filter(|op| !moves(op));
    match steps.next() {
        Some("Sqrt") => true,
        Some("Add") => steps.next() == Some("Sqrt"),
        _ => false,
    }
}

/// Whether a Sub's result is divided by, or multiplied with, what is computed from a square root of stored tensors.
fn is_scaled_by_variance(roles: &Roles<'_>, sub: &Node) -> bool {
    let Some(output) = sub.output(0) else { return false };
    roles.links.users(output).iter().any(|&(n, slot)| {
        let Some(node) = roles.graph.nodes.get(n).filter(|node| node.is("Div") || node.is("Mul")) else { return false };
        let other = node.input(1 - slot.min(1));
        other.is_some_and(|value| !roles.moving.contains(&value) && roles.nearby.has_root(value))
    })
}
