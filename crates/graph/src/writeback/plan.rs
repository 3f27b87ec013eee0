//! Which bytes change, before it is known where they go.

use super::{
    Change,
    encode::{self, Refusal},
    external::Group,
    patch::{Patch, Why},
};
use crate::{
    error::{Error, Result},
    onnx::{
        OnnxFile,
        checkpoint::Checkpoint,
        span::{Span, Spans, Storage},
    },
};
use std::ops::Range;

/// The changes of a file as bytes.
#[derive(Debug)]
pub struct Plan {
    /// Tensors with bytes that change.
    pub changed: Vec<String>,
    /// Changes in the model file.
    pub patches: Vec<Patch>,
    /// External files, in the order of first use.
    pub groups: Vec<Group>,
}

/// Encodes `changes` in the forms of `file`.
///
/// # Errors
/// [`Error::Internal`] if a change names no float tensor of the file, names one twice, or has another number of
/// elements; [`Error::Unlearning`] if a new element is not finite in the tensor's type; [`Error::Malformed`] for
/// external files that cannot be opened, stored elements that are not of their type, or tensors that share bytes and
/// would no longer agree about them.
pub fn plan(file: &OnnxFile, spans: &Spans, changes: &[Change]) -> Result<Plan> {
    let mut plan = Plan { changed: vec![], patches: vec![], groups: Group::all(file, spans)? };
    let mut seen = std::collections::HashSet::new();
    for change in changes {
        let span = spans.get(&change.name).ok_or_else(|| defect(&change.name, "no such tensor is stored"))?;
        if !seen.insert(change.name.as_str()) {
            return Err(defect(&change.name, "changed twice"));
        }
        if change.values.len() != span.len() {
            let (new, old) = (change.values.len(), span.len());
            return Err(defect(&change.name, &format!("{new} new elements for {old}")));
        }
        if !span.dtype.is_some_and(|dtype| dtype.is_float()) {
            return Err(defect(&change.name, "not a float tensor"));
        }
        if add(file, spans, &mut plan, change, span)? {
            plan.changed.push(change.name.clone());
        }
    }
    plan.changed.sort();
    forget_momentums(file, spans, &mut plan);
    for group in &plan.groups {
        group.require_agreement(file, spans)?;
    }
    Ok(plan)
}

/// Sets the optimizer's momentums to zero: they are sums of gradients, also of the rows to be forgotten.
fn forget_momentums(file: &OnnxFile, spans: &Spans, plan: &mut Plan) {
    let mut forget = |range: Range<usize>, zeros: &dyn Fn(&u8) -> u8, frame: Option<usize>| {
        let old = file.carrier().bytes.get(range.clone()).unwrap_or_default();
        let bytes: Vec<u8> = old.iter().map(zeros).collect();
        // A file may name a state twice.
        plan.patches.retain(|patch| patch.range != range);
        if bytes != old {
            plan.patches.push(Patch { range, bytes, frame, why: Why::Momentum });
        }
    };
    for range in file.checkpoint().into_iter().flat_map(Checkpoint::momentums) {
        forget(range.clone(), &|_| 0, None);
    }
    let states = spans.optimizer_states(file);
    for (_, span) in &states {
        // A varint of as many bytes may be zero, too.
        let varints = matches!(span.storage, Storage::Varint(_));
        for chunk in span.chunks() {
            forget(chunk.bytes(), &|&byte| if varints { byte & 0x80 } else { 0 }, Some(chunk.frame()));
        }
    }
    for (_, span) in states {
        let Storage::External(index) = span.storage else { continue };
        let Some(group) = plan.groups.iter_mut().find(|group| group.uses.contains(&index)) else { continue };
        let len = spans.external().get(index).map_or(0, |used| used.range.len());
        group.changed.insert(index, vec![0; len]);
    }
}

fn defect(name: &str, problem: &str) -> Error {
    Error::Internal(format!("write-back of tensor `{name}`: {problem}"))
}

/// Adds one change; whether any byte differs.
fn add(file: &OnnxFile, spans: &Spans, plan: &mut Plan, change: &Change, span: &Span) -> Result<bool> {
    let dtype = span.dtype.ok_or_else(|| defect(&change.name, "not a float tensor"))?;
    let refused = |refusal, first: usize| match refusal {
        Refusal::NotFinite(i) => Error::Unlearning(format!(
            "tensor `{}`: new element {} is not finite as {dtype}; lower the learning rate",
            change.name,
            first + i
        )),
        // Half floats in `int32_data` may hold numbers that no half float has.
        Refusal::Corrupt => {
            file.malformed(format!("tensor `{}`", change.name), "the stored elements are not those of its type")
        }
    };
    let mut differs = false;
    if let Storage::External(index) = span.storage {
        let used = spans.external().get(index).ok_or_else(|| defect(&change.name, "its external data are lost"))?;
        let group = plan.groups.iter_mut().find(|g| g.uses.contains(&index));
        let group = group.ok_or_else(|| defect(&change.name, "its external file is lost"))?;
        let old = group.file.bytes().get(used.range.clone()).unwrap_or_default();
        let new = encode::fixed(dtype, old, &change.values).map_err(|r| refused(r, 0))?;
        if new != old {
            group.changed.insert(index, new);
            differs = true;
        }
        return Ok(differs);
    }
    let mut first = 0;
    for chunk in span.chunks() {
        let old = file.carrier().bytes.get(chunk.bytes()).unwrap_or_default();
        let values = change.values.get(first..first + chunk.count());
        let values = values.ok_or_else(|| defect(&change.name, "its runs hold more than its shape"))?;
        let new = match span.storage {
            Storage::Varint(_) => encode::varints(dtype, old, values),
            _ => encode::fixed(dtype, old, values),
        };
        let bytes = new.map_err(|r| refused(r, first))?;
        first += chunk.count();
        if bytes != old {
            plan.patches.push(Patch { range: chunk.bytes(), bytes, frame: Some(chunk.frame()), why: Why::Elements });
            differs = true;
        }
    }
    Ok(differs)
}
