//! What a model asks of the rows.

use crate::{
    data::{InputSpec, Signature, TargetKind},
    graph::{
        Dim, Graph, ValueId,
        loss::{LabelKind, LossKind, LossPlan},
        tables,
    },
    tensor::DType,
};

/// The kind of label that decides the loss.
pub fn label_kind(target: TargetKind) -> LabelKind {
    match target {
        TargetKind::Class => LabelKind::Class,
        TargetKind::Binary => LabelKind::Binary,
        TargetKind::MultiLabel => LabelKind::MultiLabel,
        TargetKind::Next | TargetKind::Masked => LabelKind::Positions,
        TargetKind::Value | TargetKind::Same => LabelKind::Value,
        TargetKind::LossGraph => LabelKind::Unknown,
    }
}

/// What the model asks of the rows.
pub fn signature(graph: &Graph, plan: &LossPlan) -> Signature {
    let links = graph.links();
    let own = plan.loss_graph.as_ref();
    let labels = own.map(|own| own.labels.clone()).unwrap_or_default();
    let spec = |id: ValueId| -> Option<InputSpec> {
        let info = graph.values.get(id.0)?;
        let ty = info.ty.as_ref();
        let dims = ty
            .and_then(|t| t.dims.as_ref())
            .map(|dims| dims.iter().map(|d| if let Dim::Fixed(n) = d { Some(*n) } else { None }).collect());
        let dtype = ty.and_then(|t| t.dtype).unwrap_or(DType::F32);
        let items = own.and_then(|own| own.group).filter(|_| graph.inputs.contains(&id) && !labels.contains(&id));
        Some(InputSpec { name: info.name.clone(), dtype, dims, table: tables::rows(graph, &links, id), items })
    };
    let fed = graph.inputs.iter().filter(|id| Some(**id) != plan.label_input && !labels.contains(id));
    Signature {
        inputs: fed.filter_map(|id| spec(*id)).collect(),
        scores: spec(plan.scores).map(|spec| with_width(spec, plan)),
        label: plan.label_input.and_then(spec),
        class_axis: plan.class_axis,
        independent: plan.kind == LossKind::Bce,
        values: plan.kind == LossKind::Mse,
        classes: plan.head.classes.clone(),
        labels: own.map(|own| own.labels.iter().filter_map(|id| spec(*id)).collect()),
        taken: own.map_or_else(Vec::new, |own| {
            let made = own.taken.iter().filter(|id| !graph.inputs.contains(id));
            made.map(|&id| graph.name(id).to_string()).collect()
        }),
        several: Vec::new(),
    }
}

/// Scores whose shape the file does not declare, as they often lie behind a Softmax, with the width that the graph tells.
fn with_width(spec: InputSpec, plan: &LossPlan) -> InputSpec {
    // With positions, the width is that of one of them.
    match plan.head.width.filter(|_| spec.row_len().is_none() && plan.class_axis.is_none()) {
        Some(width) => InputSpec { dims: Some(vec![None, Some(width)]), ..spec },
        None => spec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        loss::{Ask, plan_for},
        testing::Model,
    };

    #[test]
    fn scores_of_positions_keep_their_axes() {
        let net = Model::new(17, &["x:f32[n,len,6]"], &["y:f32[n,any,5]"]).weight("w", &[6, 5]).floats(
            "b",
            &[5],
            vec![0.0; 5],
        );
        let graph = net.node("MatMul", "x w", "z", &[]).node("Add", "b z", "y", &[]).build().unwrap();
        let plan = plan_for(&graph, &Ask { labels: LabelKind::Positions.into(), ..Ask::default() }).unwrap();
        let found = signature(&graph, &plan);
        assert_eq!((found.class_axis, found.scores.unwrap().dims), (Some(2), Some(vec![None, None, Some(5)])));
    }
}
