//! Which stored tensors are trained, and why. The first source that says something decides: `--trainable` and
//! `--freeze`, the checkpoint, the file's training information, the exporter's notes, gradient buffers, then the tensor's role.

mod elementwise;
mod integers;
mod left_out;
mod nearby;
mod roles;
mod values;

use super::{Graph, ValueId, gradient, loss::LossPlan};
use crate::{
    error::{Error, Result},
    tensor::DType,
};
use globset::{Glob, GlobMatcher};
pub use integers::stored_as_integers;
pub use left_out::copies_left_out;
use roles::{Role, Roles};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Where dynamo exports say what a stored tensor was in the PyTorch program.
const INPUT_KIND: &str = "pkg.torch.export.graph_signature.InputSpec.kind";

/// Whether one float tensor is trained.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// The tensor's value in the graph.
    #[serde(skip)]
    pub value: ValueId,
    /// Its name.
    pub name: String,
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its element type.
    pub dtype: DType,
    /// Whether it is trained.
    pub trainable: bool,
    /// Why, in one sentence that names node and role.
    pub reason: String,
    /// What decided: `flag`, `checkpoint`, `training info`, `exporter`, `gradient buffer` or `role`.
    pub source: &'static str,
    /// Nodes that take it.
    pub uses: usize,
    /// Whether a gradient flows from the scores to it.
    pub on_path: bool,
}

impl Decision {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

/// How much of the model is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Trainable tensors.
    pub trainable_tensors: usize,
    /// Their elements.
    pub trainable_elements: usize,
    /// Their bytes in the file.
    pub trainable_bytes: usize,
    /// Bytes of all float tensors that a gradient flows to.
    pub path_bytes: usize,
    /// Float tensors.
    pub float_tensors: usize,
    /// Their elements.
    pub float_elements: usize,
}

impl Totals {
    /// Sums up `decisions`.
    pub fn of(decisions: &[Decision]) -> Self {
        let mut totals = Self::default();
        for decision in decisions {
            let (elements, bytes) = (decision.elements(), decision.elements() * decision.dtype.size());
            totals.float_tensors += 1;
            totals.float_elements += elements;
            if decision.on_path {
                totals.path_bytes += bytes;
            }
            if decision.trainable {
                totals.trainable_tensors += 1;
                totals.trainable_elements += elements;
                totals.trainable_bytes += bytes;
            }
        }
        totals
    }

    /// What to say if less than half of what a gradient flows to is trained: weights may have been taken for constants.
    pub fn warning(&self) -> Option<String> {
        (self.trainable_bytes * 2 < self.path_bytes).then(|| {
            format!(
                "only {:.0} % of the bytes that a gradient flows to are trainable; weights may have been exported as \
                 constants or buffers: see `onnx-forget inspect`, and give --trainable GLOB",
                100.0 * self.trainable_bytes as f64 / self.path_bytes as f64
            )
        })
    }
}

/// A decision for every float tensor that the file holds, in the order of the file.
///
/// # Errors
/// [`Error::Usage`] for a glob that is not one, or that matches no float tensor; [`Error::Untrainable`] if nothing is
/// trainable, or what is trainable is not finite.
pub fn decide(graph: &Graph, plan: &LossPlan, trainable: &[String], freeze: &[String]) -> Result<Vec<Decision>> {
    let decisions = decisions(graph, plan, trainable, freeze)?;
    require(&decisions)?;
    for decision in decisions.iter().filter(|decision| decision.trainable) {
        let tensor = graph.initializers.get(&decision.value).map(|held| held.tensor.get());
        if let Some(at) = tensor.and_then(|tensor| tensor.f64s().position(|x| !x.is_finite())) {
            let problem = "is NaN or infinite, so that the model has no loss and no gradient; give an intact model, or \
                           keep this tensor by --freeze";
            return Err(Error::Untrainable(format!("tensor `{}`: element {at} {problem}", decision.name)));
        }
    }
    left_out::require_none(graph, &decisions)?;
    Ok(decisions)
}

/// Fails if nothing is trainable.
///
/// # Errors
/// [`Error::Untrainable`] with the reasons.
pub fn require(decisions: &[Decision]) -> Result<()> {
    if decisions.iter().any(|decision| decision.trainable) {
        return Ok(());
    }
    if decisions.is_empty() {
        return Err(Error::Untrainable(
            "the model holds no float tensors, so it has no trainable parameter; if its weights are graph inputs or \
             quantized, export it again with float initializers"
                .into(),
        ));
    }
    const SHOWN: usize = 8;
    let mut message = format!("none of the {} float tensors is trainable:", decisions.len());
    let mut by_size: Vec<&Decision> = decisions.iter().collect();
    by_size.sort_by_key(|decision| std::cmp::Reverse(decision.elements()));
    for decision in by_size.iter().take(SHOWN) {
        message += &format!("\n  {} {:?}: {}", decision.name, decision.dims, decision.reason);
    }
    if decisions.len() > SHOWN {
        message += &format!("\n  and {} more", decisions.len() - SHOWN);
    }
    message += "\ngive --trainable GLOB to choose by name";
    Err(Error::Untrainable(message))
}

/// [`decide`], also where nothing is trainable.
///
/// # Errors
/// [`Error::Usage`] for a glob that is not one, or that matches no float tensor.
pub fn decisions(graph: &Graph, plan: &LossPlan, trainable: &[String], freeze: &[String]) -> Result<Vec<Decision>> {
    let trainable = Globs::new("--trainable", trainable)?;
    let freeze = Globs::new("--freeze", freeze)?;
    let path = gradient::path_to(graph, &[plan.scores]);
    let links = graph.links();
    let roles = Roles::new(graph, &links, &path);
    let facts = Facts::of(graph);
    let statistics = statistics(graph);
    let mut decisions = Vec::new();
    let in_file = graph.initializers.iter().filter(|(value, _)| !graph.fixed.contains(value));
    let floats = in_file.filter(|(_, stored)| stored.tensor.dtype().is_float());
    for (&value, stored) in floats {
        let name = graph.name(value).to_string();
        let (wanted, frozen) = (trainable.matches(&name), freeze.matches(&name));
        let on_path = path.contains(&value);
        let mut users: Vec<usize> = links.users(value).iter().map(|(node, _)| *node).collect();
        users.dedup();
        let uses = users.len();
        let (mut yes, mut reason, mut source) = match facts.decide(graph, value, &roles) {
            Some(decision) => decision,
            None => by_role(&roles.of(value), uses),
        };
        if let Some(from) = values::folded_from(graph, value).filter(|_| source == "role" && yes) {
            reason += &format!(", computed by the exporter from {from}");
        }
        if let Some(glob) = frozen {
            (yes, reason, source) = (false, format!("frozen by --freeze {glob}"), "flag");
        } else if let Some(glob) = wanted {
            (yes, reason, source) = (true, format!("chosen by --trainable {glob}"), "flag");
        } else if !trainable.is_empty() && yes {
            (yes, reason, source) = (false, "not matched by --trainable".into(), "flag");
        }
        if yes && let Some(obstacle) = obstacle(graph, plan, (value, statistics.get(&value)), on_path, uses) {
            (yes, reason, source) = (false, obstacle, "role");
        }
        let (dims, dtype) = (stored.tensor.dims().to_vec(), stored.tensor.dtype());
        decisions.push(Decision { value, name, dims, dtype, trainable: yes, reason, source, uses, on_path });
    }
    roles.require_followed()?;
    trainable.require_used()?;
    freeze.require_used()?;
    Ok(decisions)
}

/// The first BatchNormalization that takes a tensor as a statistic, and as which.
type Statistic<'a> = (&'a str, &'static str);

/// The tensors that are statistics.
fn statistics(graph: &Graph) -> BTreeMap<ValueId, Statistic<'_>> {
    let mut found = BTreeMap::new();
    for node in graph.nodes.iter().filter(|node| node.is("BatchNormalization")) {
        for (slot, part) in [(3, "mean"), (4, "variance")] {
            if let Some(value) = node.input(slot) {
                found.entry(value).or_insert((node.name.as_str(), part));
            }
        }
    }
    found
}

/// Why a tensor cannot be trained whoever asks for it.
fn obstacle(
    graph: &Graph,
    plan: &LossPlan,
    (value, statistic): (ValueId, Option<&Statistic<'_>>),
    on_path: bool,
    uses: usize,
) -> Option<String> {
    let stored = graph.initializers.get(&value)?;
    if graph.sparse.contains(&value) {
        return Some("it is stored as a sparse tensor, which is not rewritten: export it dense".into());
    }
    if let Some((node, part)) = statistic {
        return Some(format!(
            "it is also the running {part} of BatchNormalization ({node}): the exporter stored equal tensors once, and a step \
             would move the statistic; export the model after some training, or without merging equal initializers"
        ));
    }
    if stored.stored_as.is_none() {
        return Some("it lies inside a function or an attribute, where it cannot be rewritten".into());
    }
    if !graph.checkpoint.is_empty() && !graph.checkpoint.contains_key(graph.name(value)) {
        return Some("it lies in the model, and only the checkpoint is rewritten".into());
    }
    if stored.tensor.is_empty() {
        return Some("it has no elements".into());
    }
    if uses == 0 {
        return Some("no node uses it".into());
    }
    (!on_path).then(|| format!("no gradient flows from the scores `{}` to it", graph.name(plan.scores)))
}

fn by_role(roles: &[Role], uses: usize) -> (bool, String, &'static str) {
    let never = roles.iter().find_map(|role| if let Role::Never(why) = role { Some(why) } else { None });
    let weight = roles.iter().find_map(|role| if let Role::Weight(why) = role { Some(why) } else { None });
    let neutral = roles.iter().find_map(|role| if let Role::Neutral(why) = role { Some(why) } else { None });
    let with_uses = |why: &String| if uses > 1 { format!("{why} ({uses} uses)") } else { why.clone() };
    match (never, weight, neutral) {
        (Some(why), _, _) => (false, with_uses(why), "role"),
        (_, Some(why), _) => (true, with_uses(why), "role"),
        (_, _, Some(why)) => (false, with_uses(why), "role"),
        _ if uses == 0 => (false, "no node uses it".into(), "role"),
        _ => (false, "no gradient flows from the scores to where it is used".into(), "role"),
    }
}

/// What the file itself says of its parameters.
struct Facts {
    updated: BTreeSet<String>,
    has_buffers: bool,
    buffers: BTreeSet<String>,
    dynamo: bool,
}

impl Facts {
    fn of(graph: &Graph) -> Self {
        let stored: BTreeSet<&str> = graph.initializers.keys().map(|&value| graph.name(value)).collect();
        let updated = graph.trained_names.iter().filter(|name| stored.contains(name.as_str())).cloned().collect();
        let buffers: BTreeSet<String> = graph
            .inputs
            .iter()
            .filter_map(|&input| graph.name(input).strip_suffix("_grad.accumulation.buffer"))
            .filter(|name| stored.contains(name))
            .map(str::to_string)
            .collect();
        let dynamo = graph.values.iter().any(|info| info.metadata.contains_key(INPUT_KIND));
        Self { updated, has_buffers: !buffers.is_empty(), buffers, dynamo }
    }

    /// What is said of `value`, if anything is.
    fn decide(&self, graph: &Graph, value: ValueId, roles: &Roles<'_>) -> Option<(bool, String, &'static str)> {
        let name = graph.name(value);
        if let Some(&trained) = graph.checkpoint.get(name) {
            let kind = if trained { "trained" } else { "frozen" };
            return Some((trained, format!("a {kind} parameter of the checkpoint"), "checkpoint"));
        }
        if !graph.checkpoint.is_empty() {
            return Some((false, "a constant of the graph, not in the checkpoint".into(), "checkpoint"));
        }
        if !self.updated.is_empty() {
            let yes = self.updated.contains(name);
            let reason = if yes { "updated by" } else { "not among what is updated by" };
            return Some((yes, format!("{reason} the file's training information"), "training info"));
        }
        if let Some(decision) = self.exporter(graph, value, roles).filter(|_| self.dynamo) {
            return Some(decision);
        }
        if self.has_buffers {
            let yes = self.buffers.contains(name);
            let reason = if yes { "the graph has" } else { "the graph has no" };
            return Some((yes, format!("{reason} gradient buffer for it"), "gradient buffer"));
        }
        None
    }

    /// The notes that PyTorch's dynamo exporter leaves with a tensor.
    fn exporter(&self, graph: &Graph, value: ValueId, roles: &Roles<'_>) -> Option<(bool, String, &'static str)> {
        let metadata = &graph.values.get(value.0)?.metadata;
        let source = "exporter";
        if let Some(kind) = metadata.get(INPUT_KIND) {
            let role = roles.of(value);
            let place = role.iter().find_map(|role| if let Role::Weight(why) = role { Some(why) } else { None });
            let place = place.map_or(String::new(), |why| format!(": {why}"));
            return Some(match kind.contains("PARAMETER") {
                true => (true, format!("a parameter of the PyTorch module{place}"), source),
                false => (false, format!("a {} of the PyTorch module", kind.to_lowercase().replace('_', " ")), source),
            });
        }
        // What the exporter computed from constants of its own was no parameter; what it computed from parameters has
        // the role that it is used in.
        let from = metadata.iter().any(|(key, _)| key.ends_with(values::FOLDED_FROM));
        let own = from && values::folded_from(graph, value).is_none();
        own.then(|| (false, "computed by the exporter from its own constants".into(), source))
    }
}

const MOST_GLOBS: usize = 10_000;
const MOST_OF_GLOBS: usize = 1 << 16;

/// Globs of one flag, and which of them matched.
struct Globs {
    flag: &'static str,
    globs: Vec<(String, GlobMatcher)>,
    used: std::cell::RefCell<BTreeSet<String>>,
}

impl Globs {
    fn new(flag: &'static str, globs: &[String]) -> Result<Self> {
        // Beyond this, compiling them takes long, or more than the compiler allows.
        let length: usize = globs.iter().map(String::len).sum();
        if globs.len() > MOST_GLOBS || length > MOST_OF_GLOBS {
            let problem =
                format!("{} globs of {length} bytes; at most {MOST_GLOBS} and {MOST_OF_GLOBS} are taken", globs.len());
            return Err(Error::Usage(format!("{flag}: {problem}. Write them shorter: `*` stands for any characters")));
        }
        let compile = |glob: &String| match Glob::new(glob) {
            Ok(compiled) => crate::quiet::catch(|| (glob.clone(), compiled.compile_matcher()))
                .map_err(|why| Error::Usage(format!("{flag} {glob}: {why}"))),
            Err(e) => Err(Error::Usage(format!("{flag} {glob}: {}", e.kind()))),
        };
        Ok(Self { flag, globs: globs.iter().map(compile).collect::<Result<_>>()?, used: Default::default() })
    }

    fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// The first glob that matches `name`, or is the name itself.
    fn matches(&self, name: &str) -> Option<&str> {
        let mut matching = self.globs.iter().filter(|(text, glob)| text == name || glob.is_match(name));
        let first = matching.next().map(|(text, _)| text.as_str());
        let mut used = self.used.borrow_mut();
        used.extend(first.map(str::to_string));
        used.extend(matching.map(|(text, _)| text.clone()));
        first
    }

    fn require_used(&self) -> Result<()> {
        let used = self.used.borrow();
        match self.globs.iter().find(|(text, _)| !used.contains(text)) {
            None => Ok(()),
            Some((text, _)) => Err(Error::Usage(format!(
                "{} {text} matches no float initializer; `onnx-forget inspect` lists their names",
                self.flag
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
