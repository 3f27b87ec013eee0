//! The words that choose between the library's values, and what the help says of each.

use crate::run::{
    BatchNorm, KernelChoice, LossKind, MethodName, OptimizerName, Precision, RateSchedule, Runtimes, StepSize,
};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Takes one of the words, each with the value that it stands for and its help.
fn words<T: Clone + Send + Sync + 'static>(
    all: &'static [(T, &'static str, &'static str)],
) -> impl TypedValueParser<Value = T> {
    let shown = all.iter().map(|(_, word, help)| PossibleValue::new(*word).help(*help));
    let value = |typed: String| all.iter().find(|(_, word, _)| *word == typed).map(|(value, ..)| value.clone());
    PossibleValuesParser::new(shown).try_map(move |typed| value(typed).ok_or("this word means nothing"))
}

/// The words of [`KernelChoice`].
pub fn kernels() -> impl TypedValueParser<Value = KernelChoice> {
    words(&[
        (KernelChoice::Fast, "fast", "The device's own kernels, and definitions where there are none"),
        (KernelChoice::Definition, "definition", "Only the definitions, which are composed of dfdx operations"),
    ])
}

/// The words of [`LossKind`].
pub fn losses() -> impl TypedValueParser<Value = LossKind> {
    words(&[
        (LossKind::CrossEntropy, "cross-entropy", "Cross-entropy of logits and one class per row"),
        (LossKind::Bce, "bce", "Binary cross-entropy of each logit and a 0 or 1"),
        (LossKind::Mse, "mse", "Mean squared error"),
        (LossKind::Graph, "graph", "The loss in the graph"),
    ])
}

/// The words of [`BatchNorm`].
pub fn batch_norms() -> impl TypedValueParser<Value = BatchNorm> {
    words(&[
        (BatchNorm::Frozen, "frozen", "The file's running statistics, as in the paper's reference code"),
        (BatchNorm::Batch, "batch", "The batch's statistics, in every BatchNormalization node"),
    ])
}

/// The words of [`Runtimes`].
pub fn runtimes() -> impl TypedValueParser<Value = Runtimes> {
    words(&[
        (Runtimes::Both, "both", "onnxruntime, which must be present, and also tract if it supports the model"),
        (Runtimes::Ort, "ort", "onnxruntime only"),
        (Runtimes::Tract, "tract", "tract only; onnxruntime may be absent"),
    ])
}

/// The words of [`MethodName`].
pub fn methods() -> impl TypedValueParser<Value = MethodName> {
    words(&[
        (
            MethodName::NablaTau,
            "nabla-tau",
            "Raises the loss of the rows to forget to that of unseen rows, and keeps the loss of the others low",
        ),
        (
            MethodName::NablaTauPaper,
            "nabla-tau-paper",
            "The published form of ∇τ: depends on the unit of the loss and on how the exporter scaled the weights",
        ),
        (MethodName::FineTune, "fine-tune", "Trains further on the retained rows only"),
        (MethodName::NegGrad, "neggrad", "Raises the loss of the rows to forget"),
        (MethodName::NegGradPlus, "neggrad+", "As neggrad, but keeps the loss of the retained rows low"),
        (
            MethodName::Scrub,
            "scrub",
            "Moves away from the trained model's answers on the rows to forget, and stays close to them on the others",
        ),
        (
            MethodName::ScrubR,
            "scrub+r",
            "As scrub, then returns to the epoch in which the rows to forget are answered as well as unseen rows",
        ),
        (MethodName::Ssd, "ssd", "Shrinks the weights that matter more for the rows to forget than for all rows"),
        (MethodName::Amnesiac, "amnesiac", "Trains on all rows, with one wrong class for each row to forget"),
        (
            MethodName::SalUn,
            "salun",
            "As random-labels, but changes only the half of the weights that matters most for the rows to forget",
        ),
        (
            MethodName::RandomLabels,
            "random-labels",
            "Trains in turn on the rows to forget with random classes and on the retained rows",
        ),
        (MethodName::Retrain, "retrain", "Trains from the beginning on the retained rows only"),
    ])
}

/// The words of [`StepSize`].
pub fn step_sizes() -> impl TypedValueParser<Value = StepSize> {
    words(&[
        (StepSize::Fitted, "fitted", "Proportional to the norm of each output channel's weights"),
        (StepSize::Published, "published", "As published: the same for all weights"),
    ])
}

/// The words of [`OptimizerName`].
pub fn optimizers() -> impl TypedValueParser<Value = OptimizerName> {
    words(&[
        (OptimizerName::AdamW, "adamw", "AdamW with betas 0.9 and 0.999"),
        (OptimizerName::Sgd, "sgd", "SGD with momentum"),
    ])
}

/// The words of [`RateSchedule`].
pub fn schedules() -> impl TypedValueParser<Value = RateSchedule> {
    words(&[
        (RateSchedule::Constant, "constant", "No change"),
        (RateSchedule::Linear, "linear", "Falls linearly to 0"),
        (RateSchedule::Cosine, "cosine", "Falls to 0 along half a cosine"),
        (
            RateSchedule::Step,
            "step",
            "Falls to a tenth after half of the steps, and to a hundredth after three quarters",
        ),
        (
            RateSchedule::OneCycle,
            "one-cycle",
            "Rises from 1/25 over three tenths of the steps, then falls to 0, both along half a cosine",
        ),
    ])
}

/// The words of [`Precision`].
pub fn precisions() -> impl TypedValueParser<Value = Precision> {
    words(&[
        (Precision::F32, "f32", "32-bit floats"),
        (Precision::Tf32, "tf32", "Factors rounded to TF32 (10 bits of mantissa): several times faster"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn words_are_those_of_the_configuration() {
        let command = clap::Command::new("test");
        for method in MethodName::all() {
            let typed = methods().parse_ref(&command, None, OsStr::new(method.as_str()));
            assert_eq!(typed.unwrap(), *method);
        }
        assert!(methods().parse_ref(&command, None, OsStr::new("neggrad-")).is_err());
    }
}
