//! Constants that stay in the model's file: see [`ModelOptions::constants_in_file`](super::ModelOptions).

use super::{
    Model,
    program::{Slots, Step},
};
use crate::{
    engine::{Context, Float, Value, handing_back},
    error::Result,
    graph::ValueId,
    kernels::Backend,
    tensor::{Held, HostTensor},
};
use std::{collections::BTreeMap, sync::Arc};

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// A constant from the same place in the file, if this model holds it.
    pub(super) fn shared(&self, id: ValueId, tensor: &Held) -> Option<Value<E, D>> {
        self.in_file.get(&id).filter(|own| own.is(tensor)).and_then(|_| self.constants.get(&id).cloned())
    }

    /// The inputs of a step that lie in the file, by slot.
    pub(super) fn decoded(
        &self,
        cx: &Context<E, D>,
        step: &Step<E, D>,
        slots: &Slots<E, D>,
    ) -> Result<BTreeMap<usize, Value<E, D>>> {
        let mut decoded = BTreeMap::new();
        if !self.options.constants_in_file || self.in_file.is_empty() {
            return Ok(decoded);
        }
        for (slot, id) in step.node.inputs.iter().enumerate() {
            let Some(held) = id.and_then(|id| self.in_file.get(&id)) else { continue };
            if let Some((rows, numbers)) = (slot == 0).then(|| self.looked_up(step, held, slots)).flatten() {
                decoded.insert(0, value(cx, Arc::new(rows))?);
                decoded.insert(1, Value::Host(numbers));
            } else {
                decoded.insert(slot, handing_back(|| value(cx, held.get()))?);
            }
        }
        Ok(decoded)
    }

    /// Of a table that a Gather takes rows of: those rows alone, and their numbers among them.
    fn looked_up(&self, step: &Step<E, D>, table: &Held, slots: &Slots<E, D>) -> Option<(HostTensor, HostTensor)> {
        let node =
            Some(&step.node).filter(|node| node.is("Gather") && node.int("axis", Some(0)).is_ok_and(|a| a == 0))?;
        let id = node.input(1)?;
        let Value::Host(indices) = slots.get(id.0)?.as_ref().or_else(|| self.constants.get(&id))? else { return None };
        let extent = i64::try_from(*table.dims().first()?).ok()?;
        let wrap = |i: i64| usize::try_from(if i < 0 { i.checked_add(extent)? } else { i }).ok();
        let rows: Vec<usize> = indices.to_i64()?.into_iter().map(wrap).collect::<Option<_>>()?;
        let numbers = HostTensor::new(indices.dims(), (0..rows.len() as i64).collect())?;
        // As many as the table has are no saving.
        if rows.is_empty() || rows.len() as i64 >= extent { None } else { Some((table.rows(&rows)?, numbers)) }
    }
}

/// As the device holds it; of one that nobody else holds, nothing is copied twice.
pub(super) fn value<E: Float, D: Backend<E>>(cx: &Context<E, D>, tensor: Arc<HostTensor>) -> Result<Value<E, D>> {
    Ok(match tensor.dtype().is_float() {
        true => cx.upload_held(tensor)?.into(),
        false => Value::Host(Arc::unwrap_or_clone(tensor)),
    })
}
