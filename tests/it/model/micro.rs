//! Micro-batches: the batch's losses and gradients to rounding, in the memory of a part of it.

use super::{Fixture, fixture};
use crate::mutation::peak;
use dfdx::prelude::Cpu;
use onnx_forget::{
    data::Batch,
    model::{Model, ModelOptions},
};
use serde_json::Value as Json;

/// Sums in another order.
const ROUNDING: f32 = 1e-5;

fn rows(fixture: &Fixture, n: usize) -> Batch {
    fixture.batch("train.parquet", &Json::from((0..n).collect::<Vec<_>>()))
}

fn model(fixture: &Fixture, micro_batch: Option<usize>) -> Model<f32, Cpu> {
    fixture.model(ModelOptions { micro_batch, ..ModelOptions::default() })
}

#[test]
fn losses_and_gradients_are_the_batchs() {
    for name in ["digits-cnn", "cancer-mlp", "notes-transformer", "tags-lstm", "words-decoder"] {
        let fixture = fixture(name, "model.onnx");
        let batch = rows(&fixture, 14);
        let whole = model(&fixture, None);
        let (mean, gradients) = whole.gradient_wrt_parameters(&batch).unwrap();
        let scores = whole.scores(&batch).unwrap();
        // A last part of one row, of four, the whole batch, more than it has.
        for size in [1, 5, 13, 14, 100] {
            let parts = model(&fixture, Some(size));
            let (mean_of_parts, gradients_of_parts) = parts.gradient_wrt_parameters(&batch).unwrap();
            assert!((mean - mean_of_parts).abs() <= f64::from(ROUNDING) * mean, "{name}, parts of {size}");
            let largest = gradients.iter().flatten().fold(0f32, |most, g| most.max(g.abs()));
            for (a, b) in gradients.iter().flatten().zip(gradients_of_parts.iter().flatten()) {
                assert!((a - b).abs() <= ROUNDING * largest, "{name}, parts of {size}: {a} and {b}");
            }
            let of_parts = parts.scores(&batch).unwrap();
            assert_eq!((of_parts.width, of_parts.weights), (scores.width, scores.weights.clone()));
            for (a, b) in scores.losses.iter().zip(&of_parts.losses).chain(scores.logits.iter().zip(&of_parts.logits)) {
                assert!((a - b).abs() <= ROUNDING * (1.0 + b.abs()), "{name}, parts of {size}: {a} and {b}");
            }
        }
    }
}

#[test]
fn a_step_takes_the_memory_of_a_part() {
    let fixture = fixture("digits-cnn", "model.onnx");
    let batch = rows(&fixture, 128);
    let step = |micro_batch| {
        let model = model(&fixture, micro_batch);
        peak(|| model.forward(&batch, None).unwrap().backward(1.0).unwrap()).0
    };
    let (whole, parts) = (step(None), step(Some(16)));
    assert!(parts < whole / 3, "{parts} bytes with micro-batches, {whole} without");
}
