//! The proof that the written files are the input with other weights, and nothing else.
//!
//! It starts from the files as they lie on disk and from the spans of the input, not from what the writer believes.

use super::{
    Pending,
    digests::{self, FileDigest, TensorDigest},
    encode::rounded,
    external::Group,
    patch::{Patch, Why},
};
use crate::{
    error::{Error, Result},
    onnx::{
        Carrier, OnnxFile, ReadOptions, attributes,
        checkpoint::{Checkpoint, Part},
        proto::{GraphProto, ModelProto, TensorProto},
        span::{Spans, Storage},
    },
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::discriminant,
    ops::Range,
};

/// What was proven of the written model.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// Tensors whose bytes differ from the input's.
    pub changed_initializers: Vec<String>,
    /// Whether every byte outside them is the input's, but for those in `rewritten`. A proof with `false` does not exist.
    pub other_bytes_identical: bool,
    /// Other bytes that had to follow, in words; empty in the usual case.
    pub rewritten: Vec<String>,
    /// Bytes that were held against the input, in the model file and external files.
    pub bytes_compared: u64,
    /// Elements that were decoded from the output and held against the weights in memory.
    pub elements_compared: u64,
    /// SHA-256 of the new model file.
    pub sha256: String,
    /// Each changed tensor's stored bytes, before and after.
    pub tensors: Vec<TensorDigest>,
    /// Tensors whose bytes are the input's.
    pub unchanged_tensors: usize,
    /// Every file of the input: the model, its checkpoint, its external data.
    pub input_files: Vec<FileDigest>,
    /// Every file of the output.
    pub output_files: Vec<FileDigest>,
}

/// Proves a pending write-back.
///
/// # Errors
/// [`Error::ParityAfter`] if the new files cannot be read, or anything in them differs from the input except for what
/// had to change, or from the weights in memory; those of
/// [`OnnxFile::require_unchanged`](crate::onnx::OnnxFile::require_unchanged).
pub fn verify(pending: &Pending<'_>) -> Result<Proof> {
    pending.file.require_unchanged()?;
    let out = pending.out.path();
    let fail = |problem: String| Error::ParityAfter(format!("{}: {problem}; nothing is published", out.display()));
    let written =
        pending.file.rewritten(&pending.model_path(), &ReadOptions::default()).map_err(|e| fail(e.to_string()))?;
    let spans = Spans::scan(&written).map_err(|e| fail(e.to_string()))?;
    let mut compared = model_bytes(pending, written.carrier().bytes).map_err(fail)?;
    same_tensors(&pending.spans, &spans).map_err(fail)?;
    if !same_parts(&pending.file.carrier(), &written.carrier()) {
        return Err(fail("the files of the checkpoint are others".to_string()));
    }
    for (index, group) in pending.plan.groups.iter().enumerate() {
        compared += external_bytes(pending, &spans, &written, index, group).map_err(fail)?;
    }
    let elements = elements(pending, &written).map_err(fail)?;
    let sha256 = written.checkpoint().map_or_else(|| written.sha256(), Checkpoint::sha256).to_string();
    Ok(Proof {
        tensors: digests::tensors(pending, &written, &spans).map_err(fail)?,
        unchanged_tensors: spans.iter().count() - pending.plan.changed.len(),
        input_files: digests::inputs(pending),
        output_files: digests::outputs(pending, &written, &sha256).map_err(fail)?,
        changed_initializers: pending.plan.changed.clone(),
        other_bytes_identical: true,
        rewritten: rewritten(&pending.patches),
        bytes_compared: compared,
        elements_compared: elements,
        sha256,
    })
}

/// Ranges of the input's model file that may differ.
fn allowed(pending: &Pending<'_>) -> BTreeMap<(usize, usize), Why> {
    let mut allowed = BTreeMap::new();
    let mut frames = BTreeSet::new();
    let mut allow = |range: Range<usize>, frame: usize, why| {
        allowed.insert((range.start, range.end), why);
        let mut up = Some(frame);
        while let Some(frame) = up.filter(|&f| frames.insert(f)) {
            up = pending.spans.frames().get(frame).and_then(|f| f.parent);
        }
    };
    for name in &pending.plan.changed {
        for chunk in pending.spans.get(name).map(|s| s.chunks()).unwrap_or_default() {
            allow(chunk.bytes(), chunk.frame(), Why::Elements);
        }
    }
    for group in pending.plan.groups.iter().filter(|g| !g.changed.is_empty()) {
        for used in group.uses.iter().filter_map(|&i| pending.spans.external().get(i)) {
            allow(used.location.bytes.clone(), used.location.frame, Why::Location);
            if let Some(sum) = &used.checksum {
                allow(sum.bytes.clone(), sum.frame, Why::Checksum);
            }
        }
    }
    let states = pending.spans.optimizer_states(pending.file);
    let states = states.iter().flat_map(|(_, span)| span.chunks()).map(|chunk| chunk.bytes());
    let momentums = pending.file.checkpoint().into_iter().flat_map(Checkpoint::momentums).cloned();
    for range in momentums.chain(states) {
        allowed.insert((range.start, range.end), Why::Momentum);
    }
    for frame in frames.into_iter().filter_map(|f| pending.spans.frames().get(f)) {
        allowed.insert((frame.prefix.start, frame.prefix.end), Why::Length);
    }
    allowed
}

/// Holds the new model file against the old one; how many bytes were held.
fn model_bytes(pending: &Pending<'_>, new: &[u8]) -> Result<u64, String> {
    let (old, allowed) = (pending.file.carrier().bytes, allowed(pending));
    let (mut at, mut new_at) = (0, 0);
    for patch in &pending.patches {
        let Patch { range, bytes, why, .. } = patch;
        if allowed.get(&(range.start, range.end)) != Some(why) {
            return Err(format!("bytes {}..{} changed, which hold nothing that may", range.start, range.end));
        }
        let kept = old.get(at..range.start).ok_or("the changes are out of order")?;
        let after = new_at + kept.len();
        if new.get(new_at..after) != Some(kept) {
            return Err(format!("a byte in {at}..{} changed, outside of the changed tensors", range.start));
        }
        if new.get(after..after + bytes.len()) != Some(bytes) {
            return Err(format!("the bytes in place of {}..{} are not those to be written", range.start, range.end));
        }
        (at, new_at) = (range.end, after + bytes.len());
    }
    if new.get(new_at..) != old.get(at..) {
        return Err(format!("a byte after {at} changed, outside of the changed tensors"));
    }
    Ok(new.len() as u64)
}

/// Both files store the same tensors in the same forms.
fn same_tensors(old: &Spans, new: &Spans) -> Result<(), String> {
    if old.iter().count() != new.iter().count() || old.external().len() != new.external().len() {
        return Err("the number of stored tensors changed".to_string());
    }
    for ((name, a), (other, b)) in old.iter().zip(new.iter()) {
        let form = discriminant(&a.storage) == discriminant(&b.storage);
        if name != other || a.data_type != b.data_type || a.dims != b.dims || a.origin != b.origin || !form {
            return Err(format!("tensor `{name}` changed its name, type, shape or form"));
        }
    }
    Ok(())
}

/// Whether both are one file, or folders of the same files.
fn same_parts(old: &Carrier<'_>, new: &Carrier<'_>) -> bool {
    let same = |(a, b): (&Part, &Part)| a.name == b.name && a.range == b.range;
    old.parts.len() == new.parts.len() && old.parts.iter().zip(new.parts).all(same)
}

/// Holds an external file against the old one; how many bytes were held.
fn external_bytes(
    pending: &Pending<'_>,
    spans: &Spans,
    written: &OnnxFile,
    index: usize,
    group: &Group,
) -> Result<u64, String> {
    let path = pending.moved.get(index).and_then(Option::as_deref).unwrap_or(&group.path);
    let file = written.external(path)?;
    let new = file.bytes();
    if group.changed.is_empty() {
        let same = new == group.file.bytes();
        return if same { Ok(new.len() as u64) } else { Err(format!("external data file `{path}` changed")) };
    }
    for &i in &group.uses {
        let (old_use, new_use) = match (pending.spans.external().get(i), spans.external().get(i)) {
            (Some(old), Some(new)) => (old, new),
            _ => return Err("a use of external data is lost".to_string()),
        };
        if old_use.range != new_use.range || new.get(new_use.range.clone()) != Some(group.expected(i, old_use)) {
            return Err(format!("{} in external data file `{path}` is not as it should be", old_use.place));
        }
        // The entry `location` may spell the path with `.` components where it is kept.
        let moved = pending.moved.get(index).and_then(Option::as_deref);
        if new_use.reference.location != moved.unwrap_or(&old_use.reference.location) {
            return Err(format!("{} does not refer to external data file `{path}`", old_use.place));
        }
    }
    let mut at = 0;
    for range in group.referenced(&pending.spans) {
        if new.get(at..range.start).is_none_or(|gap| !all_zero(gap)) {
            return Err(format!("external data file `{path}` has bytes that belong to no tensor"));
        }
        at = range.end;
    }
    if new.len() == group.extent(&pending.spans) && new.get(at..).is_some_and(all_zero) {
        Ok(new.len() as u64)
    } else {
        Err(format!("external data file `{path}` has bytes at its end that belong to no tensor"))
    }
}

/// Whether all bytes are zero. Gaps may be gigabytes of a sparse file, so they are compared in blocks.
fn all_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 1 << 12] = [0; 1 << 12];
    bytes.chunks(ZEROS.len()).all(|block| ZEROS.starts_with(block))
}

/// Decodes every changed tensor from the new file and holds it against the weights; how many elements were held.
fn elements(pending: &Pending<'_>, written: &OnnxFile) -> Result<u64, String> {
    let stored = stored_floats(written.proto());
    let mut compared = 0;
    for change in pending.changes {
        let name = &change.name;
        let span = pending.spans.get(name).ok_or_else(|| format!("tensor `{name}` is lost"))?;
        let dtype = span.dtype.ok_or_else(|| format!("tensor `{name}` lost its type"))?;
        let values = match stored.get(name.as_str()) {
            Some(Stored::Tensor(tensor)) => written.tensor(tensor).map_err(|e| e.to_string())?.to_f32(),
            Some(Stored::Floats(values)) => values.to_vec(),
            None => return Err(format!("tensor `{name}` is lost")),
        };
        let same =
            |stored: f32, wanted: f32| stored.to_bits() == wanted.to_bits() || (stored.is_nan() && wanted.is_nan());
        let wanted = change.values.iter().map(|&x| rounded(dtype, x));
        if values.len() != change.values.len() || !values.iter().zip(wanted).all(|(&a, b)| same(a, b)) {
            return Err(format!("tensor `{name}` does not decode to the weights in memory"));
        }
        if matches!(span.storage, Storage::Opaque(_)) {
            return Err(format!("tensor `{name}` is of a type that cannot be written"));
        }
        compared += values.len() as u64;
    }
    Ok(compared)
}

/// What a stored name holds.
pub enum Stored<'a> {
    /// A tensor.
    Tensor(&'a TensorProto),
    /// The floats of a `Constant` node.
    Floats(&'a [f32]),
}

/// The tensors of the main graph and its bodies under the names that [`Spans`] gives them, found through the decoded
/// messages.
pub fn stored_floats(model: &ModelProto) -> BTreeMap<String, Stored<'_>> {
    let mut stored = BTreeMap::new();
    if let Some(graph) = &model.graph {
        stored_in(graph, "", &mut stored);
    }
    stored
}

fn stored_in<'a>(graph: &'a GraphProto, within: &str, stored: &mut BTreeMap<String, Stored<'a>>) {
    stored.extend(graph.initializer.iter().map(|t| (format!("{within}{}", t.name()), Stored::Tensor(t))));
    for node in &graph.node {
        let constant = node.op_type() == "Constant" && matches!(node.domain(), "" | "ai.onnx");
        let linear = attributes::is_linear(node.domain(), node.op_type());
        let label = attributes::label(node.name(), node.op_type(), &node.output);
        let Some(output) = node.output.iter().find(|name| !name.is_empty()) else { continue };
        for attribute in &node.attribute {
            if let Some(body) = &attribute.g {
                stored_in(body, &format!("{within}{output}/{}/", attribute.name()), stored);
            }
            let name = attribute.name();
            if linear && attributes::WEIGHTS.contains(&name) && !attribute.floats.is_empty() {
                stored.insert(format!("{within}{label}/{name}"), Stored::Floats(&attribute.floats));
            }
            let value = match (attribute.name(), &attribute.t, &attribute.f) {
                _ if !constant => continue,
                ("value", Some(t), _) => Stored::Tensor(t),
                ("value_floats", None, _) => Stored::Floats(&attribute.floats),
                ("value_float", None, Some(f)) => Stored::Floats(std::slice::from_ref(f)),
                _ => continue,
            };
            stored.insert(format!("{within}{output}"), value);
        }
    }
}

fn rewritten(patches: &[Patch]) -> Vec<String> {
    let mut lines = vec![];
    for (why, what) in [
        (Why::Length, "lengths of fields around changed bytes"),
        (Why::Location, "locations of external data"),
        (Why::Checksum, "checksums of external data"),
        (Why::Momentum, "momentums of the optimizer, set to zero"),
    ] {
        let count = patches.iter().filter(|p| p.why == why).count();
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    }
    lines
}
