//! The running statistics of BatchNormalization, measured anew for weights that were trained on batch statistics.
//!
//! Frameworks average the statistics of the last batches while the weights still move. Here they are measured when the weights
//! are done: each mean and variance over all rows of some batches, each of which is run on its own statistics as in training
//! (arXiv 2105.07576, section 3, "precise" statistics). Only tensors that the file stores can be written back.

use super::Model;
use crate::{
    batch::Batch,
    engine::{Context, Float, Tensor, Value},
    error::{Error, Result},
    graph::{Graph, ValueId},
    kernels::{Backend, Binary, Reduce, Unary},
    ops::{DropoutMode, Mode, Statistics},
    tensor::DType,
};

/// The statistics of one BatchNormalization node.
#[derive(Clone, Debug)]
pub(super) struct Running {
    node: String,
    /// What is normalized.
    input: ValueId,
    /// Mean and variance: the value, and the name under which the file's bytes are found.
    stored: [(ValueId, Option<String>); 2],
    /// Their element types in the file.
    dtypes: [Option<DType>; 2],
}

/// Of every BatchNormalization node of the graph.
pub(super) fn running(graph: &Graph) -> Vec<Running> {
    let nodes = graph.nodes.iter().filter(|node| node.is("BatchNormalization"));
    let stored = |id: ValueId| (id, graph.initializers.get(&id).and_then(|held| held.stored_as.clone()));
    nodes
        .filter_map(|node| {
            let [input, mean, variance] = [node.input(0)?, node.input(3)?, node.input(4)?];
            let dtype = |id: ValueId| graph.initializers.get(&id).map(|held| held.tensor.dtype());
            let dtypes = [dtype(mean), dtype(variance)];
            Some(Running { node: node.name.clone(), input, stored: [stored(mean), stored(variance)], dtypes })
        })
        .collect()
}

/// Sums over rows and places of one channel each.
#[derive(Clone, Default)]
struct Sums {
    count: f64,
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// Measures every running mean and variance over `batches`, and uses them from now on.
    ///
    /// # Errors
    /// [`Error::Untrainable`] if one cannot be written back; what the batches report.
    pub fn measure_statistics(&mut self, batches: impl Iterator<Item = Result<Batch>>) -> Result<()> {
        let mut names = Vec::new();
        for running in &self.running {
            for (_, name) in &running.stored {
                names.push(name.clone().ok_or_else(|| {
                    Error::Untrainable(format!(
                        "node {} (BatchNormalization): its running statistics are no tensors of the file, so that new ones cannot be \
                         written; export the model with them as initializers",
                        running.node
                    ))
                })?);
            }
        }
        let wanted: Vec<ValueId> = self.running.iter().map(|r| r.input).collect();
        let program = self.section(&wanted, &|_| false);
        let mode = Mode { statistics: Statistics::Batch, dropout: DropoutMode::Off };
        let mut sums = vec![Sums::default(); wanted.len()];
        for batch in batches {
            let batch = batch?;
            for (piece, _) in self.pieces(&batch) {
                let mut cx = Context::inference(self.dev.clone(), self.options.kernels);
                for (value, sums) in self.run(&mut cx, &program, &piece.inputs, mode)?.into_iter().zip(&mut sums) {
                    if let Value::Float(x) = value {
                        sums.add(&mut cx, &x)?;
                    }
                }
            }
        }
        if sums.iter().any(|s| s.count == 0.0) {
            return Err(Error::Data("no rows to measure the statistics of BatchNormalization on".into()));
        }
        let cx = Context::inference(self.dev.clone(), self.options.kernels);
        let mut measured = Vec::new();
        for (running, sums) in self.running.iter().zip(&sums) {
            for (((id, name), dtype), values) in running.stored.iter().zip(running.dtypes).zip(sums.moments()) {
                let values: Vec<E> = values.into_iter().map(E::of).collect();
                let values = match dtype {
                    Some(dtype) => super::nearest(name.as_deref().unwrap_or(&running.node), dtype, values)?,
                    None => values,
                };
                self.constants.insert(*id, cx.upload(vec![values.len()], values.clone())?.into());
                measured.push(values);
            }
        }
        self.measured = names.into_iter().zip(measured).collect();
        Ok(())
    }
}

impl Sums {
    /// Adds the rows of one batch, (n, c, places…).
    fn add<E: Float, D: Backend<E>>(&mut self, cx: &mut Context<E, D>, x: &Tensor<E, D>) -> Result<()> {
        let axes: Vec<usize> = (0..x.rank()).filter(|&axis| axis != 1).collect();
        let mean = D::reduce(cx, Reduce::Mean, x, &axes, true)?;
        let off = D::binary(cx, Binary::Sub, x, &mean)?;
        let squares = D::unary(cx, Unary::PowScalar(2.0), &off)?;
        let variance = D::reduce(cx, Reduce::Mean, &squares, &axes, false)?;
        let channels = variance.len();
        self.values.resize(channels, 0.0);
        self.squares.resize(channels, 0.0);
        let count = (x.len() / channels.max(1)) as f64;
        self.count += count;
        let sums = self.values.iter_mut().zip(&mut self.squares);
        for ((sum, square), (mean, variance)) in sums.zip(mean.to_vec().into_iter().zip(variance.to_vec())) {
            let (mean, variance) = (mean.f64(), variance.f64());
            *sum += count * mean;
            *square += count * (variance + mean * mean);
        }
        Ok(())
    }

    /// Mean and variance of each channel.
    fn moments(&self) -> [Vec<f64>; 2] {
        let means: Vec<f64> = self.values.iter().map(|sum| sum / self.count).collect();
        let variance = |(square, mean): (&f64, &f64)| (square / self.count - mean * mean).max(0.0);
        [means.clone(), self.squares.iter().zip(&means).map(variance).collect()]
    }
}
