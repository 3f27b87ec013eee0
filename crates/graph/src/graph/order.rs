//! Order of execution.

use super::Graph;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

/// Sorts the nodes so that each comes after those whose outputs it takes, otherwise in the order they have.
///
/// # Errors
/// The names of some nodes that wait for each other.
pub(super) fn sort(graph: &mut Graph) -> Result<(), String> {
    let mut maker = HashMap::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        maker.extend(node.outputs.iter().flatten().map(|&value| (value, n)));
    }
    let count = graph.nodes.len();
    let (mut waits, mut wakes) = (vec![0usize; count], vec![Vec::new(); count]);
    for (n, node) in graph.nodes.iter().enumerate() {
        for before in node.dependencies().flatten().filter_map(|value| maker.get(&value)) {
            if let (Some(wait), Some(wake)) = (waits.get_mut(n), wakes.get_mut(*before)) {
                *wait += 1;
                wake.push(n);
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        waits.iter().enumerate().filter(|(_, wait)| **wait == 0).map(|(n, _)| Reverse(n)).collect();
    let mut place = vec![None; count];
    let mut done = 0;
    while let Some(Reverse(n)) = ready.pop() {
        if let Some(slot) = place.get_mut(n) {
            *slot = Some(done);
        }
        done += 1;
        for &next in wakes.get(n).map_or(&[][..], Vec::as_slice) {
            if let Some(wait) = waits.get_mut(next) {
                *wait -= 1;
                if *wait == 0 {
                    ready.push(Reverse(next));
                }
            }
        }
    }
    if done < count {
        let stuck =
            graph.nodes.iter().zip(&place).filter(|(_, place)| place.is_none()).map(|(node, _)| node.name.as_str());
        let names: Vec<&str> = stuck.take(5).collect();
        return Err(format!("nodes wait for each other's outputs (a cycle): {}", names.join(", ")));
    }
    let mut nodes: Vec<_> = std::mem::take(&mut graph.nodes).into_iter().zip(place).collect();
    nodes.sort_by_key(|(_, place)| *place);
    graph.nodes = nodes.into_iter().map(|(node, _)| node).collect();
    Ok(())
}
