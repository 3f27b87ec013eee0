//! What a graph itself does to the scale of an input, before anything else.

use super::{Graph, Links, Node, ValueId, fold};
use std::collections::BTreeMap;

/// `value · factor + offset`, element by element of a row.
pub type Affine = Vec<(f64, f64)>;

/// Factors and offsets that the graph applies to its inputs before their first other operation: scalers that were exported with the
/// model. `widths` are the elements of a row by input; inputs without a scaler are left out.
pub fn find(graph: &Graph, widths: &BTreeMap<String, usize>) -> BTreeMap<String, Affine> {
    let (constants, links) = (fold::constants(graph), graph.links());
    let of = |(name, &width): (&String, &usize)| Some((name.clone(), of(graph, &links, &constants, name, width)?));
    widths.iter().filter_map(of).collect()
}

fn of(graph: &Graph, links: &Links, constants: &fold::Known, input: &str, width: usize) -> Option<Affine> {
    let mut at = *graph.inputs.iter().find(|id| graph.name(**id) == input)?;
    let mut all: Affine = vec![(1.0, 0.0); width];
    let mut scaled = false;
    while let [(n, place)] = links.users(at) {
        let Some(node) = graph.nodes.get(*n) else { break };
        let Some(step) = step(node, *place, constants, width) else { break };
        for ((factor, offset), (a, b)) in all.iter_mut().zip(step) {
            (*factor, *offset) = (*factor * a, *offset * a + b);
            scaled |= (a, b) != (1.0, 0.0);
        }
        let Some(next) = node.output(0) else { break };
        at = next;
    }
    scaled.then_some(all)
}

/// What one node does to an element; none for a node that is no scaling by constants.
fn step(node: &Node, place: usize, constants: &fold::Known, width: usize) -> Option<Affine> {
    let constant = |id: ValueId| {
        let values = constants.get(&id)?;
        match values.len() {
            1 => Some(vec![values.f64_at(0)?; width]),
            several => (several == width).then(|| values.to_f64()),
        }
    };
    let other = || constant(node.input(1 - place.min(1))?);
    let each = |of: &dyn Fn(f64) -> (f64, f64)| Some(other()?.into_iter().map(of).collect());
    match (node.op_type.as_str(), place) {
        ("Identity" | "Cast", 0) => Some(vec![(1.0, 0.0); width]),
        ("Add", _) => each(&|c| (1.0, c)),
        ("Sub", 0) => each(&|c| (1.0, -c)),
        ("Mul", _) => each(&|c| (c, 0.0)),
        ("Div", 0) => each(&|c| (1.0 / c, 0.0)),
        ("Scaler", 0) => {
            let floats = |name: &str, default: f64| match node.attrs.get(name) {
                Some(super::Attr::Floats(all)) if all.len() == 1 => {
                    vec![f64::from(*all.first().unwrap_or(&0.0)); width]
                }
                Some(super::Attr::Floats(all)) => all.iter().map(|&x| x.into()).collect(),
                _ => vec![default; width],
            };
            let (offset, scale) = (floats("offset", 0.0), floats("scale", 1.0));
            (offset.len() == width && scale.len() == width)
                .then(|| offset.iter().zip(&scale).map(|(o, s)| (*s, -o * s)).collect())
        }
        _ => None,
    }
}
