//! Whether a model has an axis of rows: as far as declared shapes tell, before any row is read.

use super::{
    Dim, Graph, ValueId,
    loss::{LossPlan, listed, narrowed},
};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// What to do about a model without a row axis.
pub const EXPORT: &str = "export the model with a first axis of free extent for the rows of a batch in every input and output (torch.onnx.export: \
     dynamic_axes, or dynamic_shapes); or, if the rows lie along another axis, write `batch_axis = ...` under `[inputs.NAME]`";

/// Fails for a model that has no axis of rows, or not one that inputs and scores have in common.
///
/// # Errors
/// [`Error::Untrainable`] names input and output, and says what to do.
pub fn require(graph: &Graph, plan: &LossPlan) -> Result<()> {
    require_any(graph, plan)?;
    require_common(&narrowed(graph.clone(), plan), plan.scores)
}

/// Fails for a model that takes a single row without an axis for rows: inputs of one axis of fixed extent, and an output
/// whose first axis has another; or a state of one axis of fixed extent beside inputs that have rows.
///
/// # Errors
/// [`Error::Untrainable`] naming input and output.
fn require_any(graph: &Graph, plan: &LossPlan) -> Result<()> {
    let fed = graph.inputs.iter().filter(|id| Some(**id) != plan.label_input);
    let fed: Vec<(ValueId, &[Dim])> = fed.filter_map(|&id| Some((id, graph.declared_dims(id)?))).collect();
    let Some(scores) = graph.declared_dims(plan.scores).or_else(|| graph.declared_dims(plan.output?)) else {
        return Ok(());
    };
    let lone = |dims: &[Dim]| match dims {
        [] => true,
        [Dim::Fixed(n)] => *n > 1 && !matches!(scores.first(), Some(Dim::Fixed(m)) if m == n),
        _ => false,
    };
    // Of inputs with rows one of each first extent is enough, and one of another.
    let wide = || fed.iter().filter(|(_, dims)| dims.len() > 1);
    let second = wide().find(|(_, dims)| wide().next().is_some_and(|(_, other)| other.first() != dims.first()));
    let others: Vec<&(ValueId, &[Dim])> = wide().take(1).chain(second).collect();
    let state = fed.iter().find_map(|(id, dims)| match dims {
        [Dim::Fixed(n)] if *n > 1 => {
            let other = |(_, dims): &&&(ValueId, &[Dim])| !matches!(dims.first(), Some(Dim::Fixed(m)) if m == n);
            Some((*id, *others.iter().find(other)?))
        }
        _ => None,
    });
    if let Some((id, (other, _))) = state {
        return Err(Error::Untrainable(format!(
            "the model has no batch axis: its input {} has none beside {}, so that it runs through one sequence; {EXPORT}",
            listed(graph, &[id]),
            listed(graph, &[*other])
        )));
    }
    let fixed = matches!(scores, [] | [Dim::Fixed(_)]);
    match fed.first() {
        Some((id, _)) if fixed && fed.iter().all(|(_, dims)| lone(dims)) => Err(Error::Untrainable(format!(
            "the model has no batch axis: it takes one row as its input {} and gives {}; {EXPORT}",
            listed(graph, &[*id]),
            listed(graph, &[plan.scores])
        ))),
        _ => Ok(()),
    }
}

/// Fails if the inputs and the scores have no axis of rows in common.
///
/// # Errors
/// [`Error::Untrainable`] with what to do.
fn require_common(graph: &Graph, scores: ValueId) -> Result<()> {
    let first = |value: ValueId| graph.declared_dims(value).and_then(|dims| dims.first().cloned());
    let shown = |value: ValueId| listed(graph, &[value]);
    let single = |value: &ValueId| graph.declared_dims(*value).is_some_and(<[Dim]>::is_empty);
    if let Some(&input) = graph.inputs.iter().find(|value| single(value)) {
        let name = graph.name(input);
        return Err(Error::Untrainable(format!(
            "input `{name}` is a single number, the same for all rows: write `value = ...` under `[inputs.{name}]`"
        )));
    }
    let fixed: BTreeSet<usize> = graph
        .inputs
        .iter()
        .filter_map(|&input| if let Some(Dim::Fixed(n)) = first(input) { Some(n).filter(|&n| n != 1) } else { None })
        .collect();
    let differs = |input: &&ValueId| !matches!(first(**input), Some(Dim::Fixed(n)) if fixed.contains(&n));
    let several = fixed.len() > 1 || !fixed.is_empty() && graph.inputs.iter().any(|input| differs(&input));
    // The answers tell which inputs have the rows; states stand behind the data that they go with.
    let with_rows = |input: &ValueId| first(scores).is_some() && first(*input) == first(scores);
    let set: Vec<ValueId> =
        graph.inputs.iter().copied().filter(|&v| matches!(first(v), Some(Dim::Fixed(n)) if n != 1)).collect();
    let odd = set.iter().rev().find(|input| !with_rows(input)).or(set.last()).copied();
    if let Some(odd) = odd.filter(|_| several) {
        let name = graph.name(odd);
        return Err(Error::Untrainable(format!(
            "the inputs have no axis of rows in common: the first axis of {} is another one than that of the others. If it \
             is the same for all rows, write `value = ...` under `[inputs.{name}]`; else export the model with the batch \
             as the first axis of every input",
            shown(odd)
        )));
    }
    let of_inputs = graph.fixed_rows();
    if let (Some(rows), Some(Dim::Fixed(answers))) = (of_inputs, first(scores))
        && rows != answers
    {
        let inputs: Vec<String> = graph.inputs.iter().map(|&input| shown(input)).collect();
        return Err(Error::Untrainable(format!(
            "the model takes one row at a time: its input {} and its scores {} have no axis of rows in common. Export it \
             with a batch axis in front of both",
            inputs.join(", "),
            shown(scores)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        loss::{self, LabelKind},
        testing::{self, Model, int},
    };

    #[test]
    fn rows_need_an_axis_of_their_own() {
        let refused = |inputs: &[&str], output: &str| {
            let graph =
                Model::new(17, inputs, &[output]).node("Concat", "a b", "y", &[int("axis", 0)]).build().unwrap();
            require_common(&graph, graph.outputs[0]).map_err(|e| e.to_string())
        };
        assert!(refused(&["a:f32[16]", "b:f32[16]"], "y:f32[3]").unwrap_err().contains("one row at a time"));
        assert!(refused(&["a:f32[n,4]", "b:f32[2,n,4]"], "y:f32[n,3]").unwrap_err().contains("[inputs.b]"));
        assert!(refused(&["a:f32[n,4]", "b:f32[]"], "y:f32[n,3]").unwrap_err().contains("single number"));
        let both = refused(&["a:f32[4,8]", "b:f32[2,4,8]"], "y:f32[4,3]").unwrap_err();
        assert!(both.contains("[inputs.b]"), "the data is never the one to fix: {both}");
        for inputs in [["a:f32[n,4]", "b:f32[n,2]"], ["a:f32[1,4]", "b:f32[n,4]"], ["a:f32[2,4]", "b:f32[2,4]"]] {
            refused(&inputs, "y:f32[?,3]").unwrap();
        }
    }

    #[test]
    fn a_model_of_one_row_without_an_axis_for_rows_is_refused() {
        let refused = |inputs: &[&str], output: &str| {
            let net = testing::Model::new(17, inputs, &[output]).weight("w", &[16, 3]).node("MatMul", "x w", "y", &[]);
            let graph = net.build().unwrap();
            let plan = loss::plan(&graph, None, LabelKind::Class).unwrap();
            require_any(&graph, &plan).is_err()
        };
        assert!(refused(&["x:f32[16]"], "y:f32[3]"));
        assert!(refused(&["x:f32[time,16]", "state:f32[25]"], "y:f32[time,3]"));
        assert!(!refused(&["x:f32[n,16]", "rate:i64[]", "one:f32[1]"], "y:f32[n,3]"));
        assert!(!refused(&["x:f32[n,16]"], "y:f32[n,3]"));
        assert!(!refused(&["x:f32[1,16]"], "y:f32[1,3]"));
        assert!(!refused(&["x:f32[n]"], "y:f32[n]"));
        assert!(!refused(&["x:f32[8]"], "y:f32[8]"));
        assert!(!refused(&["x:f32[16]"], "y:f32"));
    }
}
