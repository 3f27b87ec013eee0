//! EmbedLayerNormalization (com.microsoft): word, position and segment embeddings are added and normalized over the last
//! axis. The second output counts each sample's mask, the third is the sum.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::add, host, many, nn::layer_norm::normalized, problem, shape::gather::rows},
    tensor::HostTensor,
};

/// Builds EmbedLayerNormalization.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let epsilon = node.float("epsilon", 1e-12)?;
    // It says that the second output is a vector, which it always is.
    node.ignore(&["mask_index_type"]);
    if node.has(1) != node.has(4) {
        return Err(problem("segment_ids and segment_embedding come together"));
    }
    many(move |cx, inputs| {
        let &[batch, sequence] = inputs.host(0)?.dims() else {
            return Err(problem(format!("input_ids have shape {:?}", inputs.host(0)?.dims())));
        };
        let dims = [batch, sequence];
        let words = rows(cx, inputs.float(2)?, &inputs.ints(0)?, &dims)?;
        let places = match inputs.opt_ints(8)? {
            Some(places) => rows(cx, inputs.float(3)?, &places, inputs.host(8)?.dims())?,
            None => first_rows(cx, inputs.float(3)?, sequence)?,
        };
        let mut sum = add(cx, &words, &places)?;
        if let Some(segments) = inputs.opt_ints(1)? {
            let segments = rows(cx, inputs.float(4)?, &segments, inputs.host(1)?.dims())?;
            sum = add(cx, &sum, &segments)?;
        }
        if sum.dims() != words.dims() {
            return Err(problem(format!("embeddings of shape {:?} for words of {:?}", sum.dims(), words.dims())));
        }
        let y = normalized(cx, &sum, inputs.float(5)?, inputs.opt_float(6)?, 2, epsilon)?;
        let counts = match inputs.opt_ints(7)? {
            None => vec![0; batch],
            Some(mask) if mask.len() == batch * sequence => {
                let row = |b: usize| mask.iter().skip(b * sequence).take(sequence).filter(|&&m| m == 1).count() as i32;
                (0..batch).map(row).collect()
            }
            Some(mask) => return Err(problem(format!("a mask of {} elements for ids of {dims:?}", mask.len()))),
        };
        let counts = HostTensor::I32(host::array(&[batch], counts)?);
        Ok(vec![y.into(), Value::Host(counts), sum.into()])
    })
}

/// Rows 0, 1, … of a table.
fn first_rows<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    table: &Tensor<E, D>,
    count: usize,
) -> Result<Tensor<E, D>> {
    match *table.dims() {
        [extent, width] if count <= extent => D::slice(cx, table, &[0, 0], &[1, 1], &[count, width]),
        _ => Err(problem(format!("{count} positions of a table of shape {:?}", table.dims()))),
    }
}
