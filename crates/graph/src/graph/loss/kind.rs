//! Which loss fits an output and its labels.

use super::{
    LabelKind, LossKind,
    heads::{Ending, Head},
};
use crate::{
    error::{Error, Result},
    graph::Graph,
};

/// The loss: the one `asked` for, else the one that labels and output tell; and why.
///
/// # Errors
/// [`Error::Untrainable`] if none fits, with what to do.
pub(super) fn choose(
    graph: &Graph,
    asked: Option<LossKind>,
    label: LabelKind,
    head: &Head,
) -> Result<(LossKind, String)> {
    use LabelKind::*;
    use LossKind::*;
    let output = graph.name(head.output);
    let refuse = |problem: String| Err(Error::Untrainable(format!("output `{output}`: {problem}")));
    // Cross-entropies are computed on logits, of one answer a row unless the labels have a class for each position.
    let on_logits = |kind: LossKind, because: String| match (&head.several_a_row, &head.bounded) {
        (Some(several), _) if matches!(label, Class | Binary) => refuse(positions(&several.problem)),
        (_, Some(by)) => refuse(format!(
            "its values are made of probabilities ({by}), and which logits they come from is not told: cross-entropy \
             would take them for logits. Export the model with its logits as an output, or give --loss mse if the labels \
             are values to fit"
        )),
        _ => Ok((kind, because)),
    };
    if let Some(kind) = asked {
        return explicit(head, kind, &refuse, &on_logits);
    }
    match (label, head.ending, head.width) {
        (Value, Ending::Softmax | Ending::Shares | Ending::Labels, _) => refuse(
            "the labels are real values, but it shows classes; store the labels as integers, or give --loss".into(),
        ),
        (Value, Ending::Sigmoid, _) if head.scaled => {
            Ok((Mse, "the labels are real values, and the output is a Sigmoid that is scaled".into()))
        }
        (Value, Ending::Sigmoid, _) => on_logits(Bce, "the output is a Sigmoid".into()),
        (Value, Ending::Plain, _) => Ok((Mse, "the labels are real values".into())),
        (MultiLabel, Ending::Softmax, _) => {
            refuse("the labels hold several values a row, but it is a Softmax, which tells one class".into())
        }
        (MultiLabel, Ending::Shares, _) => {
            refuse("the labels hold several values a row, but its probabilities add up to 1, which tells one class".into())
        }
        (MultiLabel, ..) => on_logits(Bce, "the labels hold several 0 or 1 a row".into()),
        (Unknown, Ending::Plain, _) if head.bounded.is_some() => {
            Ok((Mse, "the output lies between 0 and 1, and which logits are behind it is not told".into()))
        }
        (Unknown, ending, _) if head.several_a_row.as_ref().is_some_and(|s| ending == Ending::Plain || s.classes.is_none()) => {
            Ok((Mse, "the output holds several answers a row, and nothing tells what the labels are".into()))
        }
        (Positions, ..) => on_logits(CrossEntropy, "the labels hold a class for each position".into()),
        (_, Ending::Shares, _) => on_logits(
            CrossEntropy,
            "each class has a Sigmoid, and the output is its share in their sum (one-vs-rest); the logits of that are the \
             logarithms of the Sigmoids"
                .into(),
        ),
        (_, Ending::Softmax, _) => on_logits(CrossEntropy, "the output is a Softmax".into()),
        (_, Ending::Labels, _) => on_logits(CrossEntropy, "the output is the class with the highest score".into()),
        (Class | Binary, Ending::Sigmoid, Some(1)) => on_logits(Bce, "the output is a Sigmoid of one logit".into()),
        (Binary, Ending::Sigmoid, None) => on_logits(Bce, "the output is a Sigmoid and the labels are 0 or 1".into()),
        (Class | Binary, Ending::Sigmoid, _) => on_logits(
            CrossEntropy,
            "the labels tell one class a row, and the output has a Sigmoid for each class".into(),
        ),
        (Unknown, Ending::Sigmoid, _) => Ok((Bce, "the output is a Sigmoid".into())),
        (Class | Binary, Ending::Plain, Some(1)) => on_logits(Bce, "one value a row, and labels of two classes".into()),
        (Class, Ending::Plain, _) => {
            on_logits(CrossEntropy, format!("the labels are classes and the output has {}", values(head)))
        }
        (Binary, Ending::Plain, Some(_)) => {
            on_logits(CrossEntropy, format!("the labels are two classes and the output has {}", values(head)))
        }
        (Binary, Ending::Plain, None) => refuse(
            "the file does not tell how many values a row it has; give --loss bce (one) or cross-entropy (two)".into(),
        ),
        (Unknown, Ending::Plain, Some(width)) if width > 1 => {
            Ok((CrossEntropy, format!("the output has {}, read as logits (give --loss for another)", values(head))))
        }
        (Unknown, Ending::Plain, _) => Ok((
            Mse,
            format!(
                "the output has {}, and nothing tells that they are logits (give --loss for another)",
                values(head)
            ),
        )),
    }
}

type Outcome = Result<(LossKind, String)>;

/// The loss that was asked for, if it fits.
fn explicit(
    head: &Head,
    kind: LossKind,
    refuse: &dyn Fn(String) -> Outcome,
    on_logits: &dyn Fn(LossKind, String) -> Outcome,
) -> Outcome {
    use LossKind::*;
    let asked = "asked for".to_string();
    match (kind, head.ending, head.width) {
        (CrossEntropy, _, Some(1)) => {
            refuse("it has one value a row, and cross-entropy needs two or more; give --loss bce".into())
        }
        (CrossEntropy, ..) => on_logits(CrossEntropy, asked),
        (Bce, Ending::Softmax, Some(2) | None) => on_logits(
            CrossEntropy,
            "two logits under a Softmax: their cross-entropy is the binary one that is asked for".into(),
        ),
        (Bce, Ending::Shares, _) => {
            refuse("its probabilities add up to 1 over the classes; give --loss cross-entropy".into())
        }
        (Bce, Ending::Softmax, _) => {
            refuse("it is a Softmax over more than two classes; give --loss cross-entropy".into())
        }
        (Bce, ..) => on_logits(Bce, asked),
        (kind, ..) => Ok((kind, asked)),
    }
}

/// What to say where an output holds several classifications a row, and the labels do not.
pub(super) fn positions(problem: &str) -> String {
    format!(
        "{problem} (tags of tokens, masks, next words), but the labels hold one value a row: name a column with a list of classes, \
         one for each position, by --target; write `kind = \"next\"` under `[target]` for a language model; or name another output \
         by --output"
    )
}

fn values(head: &Head) -> String {
    match head.width {
        Some(1) => "one value a row".into(),
        Some(width) => format!("{width} values a row"),
        None => "an undeclared number of values a row".into(),
    }
}
