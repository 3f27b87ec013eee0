use super::*;

/// Nodes that each add 1 to the sum of their inputs, but for a wrong one; value 0 is the input.
struct Chain {
    nodes: Vec<Node>,
    wrong: Option<usize>,
}

impl Chain {
    fn new(nodes: &[(&[usize], usize)], wrong: Option<usize>) -> Self {
        let node = |(inputs, output): &(&[usize], usize)| Node {
            name: format!("node {output}"),
            domain: String::new(),
            op_type: "Plus".into(),
            opset: 17,
            inputs: inputs.iter().map(|&i| Some(ValueId(i))).collect(),
            outputs: vec![Some(ValueId(*output))],
            attrs: BTreeMap::new(),
        };
        Self { nodes: nodes.iter().map(node).collect(), wrong }
    }

    fn value(&self, id: ValueId, given: &BTreeMap<ValueId, HostTensor>, wrong: Option<usize>) -> f32 {
        if let Some(tensor) = given.get(&id) {
            return tensor.to_f64()[0] as f32;
        }
        let node = self.nodes.iter().find(|n| n.outputs[0] == Some(id)).unwrap();
        let sum: f32 = node.inputs.iter().flatten().map(|&v| self.value(v, given, wrong)).sum();
        sum + if wrong == Some(id.0) { 2.0 } else { 1.0 }
    }

    /// What a right runtime shows.
    fn reference(&self) -> BTreeMap<ValueId, HostTensor> {
        let start = BTreeMap::from([(ValueId(0), HostTensor::vector(vec![1f32]))]);
        let one = |id| (id, HostTensor::vector(vec![self.value(id, &start, None)]));
        start.keys().copied().chain(self.nodes.iter().filter_map(|n| n.outputs[0])).map(one).collect()
    }

    fn locate(&self, hidden: &[usize], at_once: usize) -> (Located, usize) {
        let (values, mut turns) = (self.reference(), 0);
        let mut reference = |asked: &BTreeSet<ValueId>| {
            turns += 1;
            assert!(asked.iter().all(|v| !hidden.contains(&v.0)), "{asked:?}");
            Ok(asked.iter().map(|v| (*v, values[v].clone())).collect())
        };
        let visible = |id: ValueId| id.0 != 0 && !hidden.contains(&id.0);
        let found = first_wrong(self, &visible, &mut reference, Tolerance::RUNTIMES, at_once).unwrap();
        (found, turns)
    }
}

impl ByNode for Chain {
    fn nodes(&self) -> Vec<&Node> {
        self.nodes.iter().collect()
    }

    fn sources(&self, wanted: &[ValueId], given: &dyn Fn(ValueId) -> bool) -> Vec<ValueId> {
        let (mut open, mut found) = (wanted.to_vec(), Vec::new());
        while let Some(id) = open.pop() {
            match self.nodes.iter().find(|n| n.outputs[0] == Some(id) && !given(id)) {
                Some(node) => open.extend(node.inputs.iter().flatten()),
                None => found.push(id),
            }
        }
        found
    }

    fn compute(&self, wanted: &[ValueId], given: &BTreeMap<ValueId, HostTensor>) -> Result<Vec<HostTensor>> {
        Ok(wanted.iter().map(|&id| HostTensor::vector(vec![self.value(id, given, self.wrong)])).collect())
    }
}

/// 0 → 1 → 2 → 3 → 4, with 1 also taken by 4.
const NODES: &[(&[usize], usize)] = &[(&[0], 1), (&[1], 2), (&[2], 3), (&[3, 1], 4)];

#[test]
fn the_wrong_node_is_named_and_not_those_after_it() {
    for at_once in [1, 2, 100] {
        for wrong in 1..=4 {
            let (found, turns) = Chain::new(NODES, Some(wrong)).locate(&[], at_once);
            let first = found.first.unwrap();
            assert_eq!((first.node, first.max_abs_diff), (format!("node {wrong}"), Some(1.0)));
            assert_eq!((found.nodes, turns), (wrong, wrong.div_ceil(at_once)));
        }
    }
}

#[test]
fn a_right_model_agrees_everywhere() {
    let (found, turns) = Chain::new(NODES, None).locate(&[], 3);
    assert_eq!((found.nodes, found.hidden, turns), (4, 0, 2));
    assert!(found.first.is_none() && found.verdict().starts_with("every node agrees"), "{}", found.verdict());
}

#[test]
fn hidden_values_are_judged_by_the_next_ones_shown() {
    let (found, _) = Chain::new(NODES, Some(2)).locate(&[2], 100);
    assert_eq!((found.hidden, found.first.unwrap().node.as_str()), (1, "node 3"));
    let (found, _) = Chain::new(NODES, None).locate(&[2, 3], 100);
    assert_eq!((found.nodes, found.hidden, found.first.is_none()), (2, 2, true));
}

#[test]
fn a_node_that_cannot_run_is_the_one() {
    struct Broken(Chain);
    impl ByNode for Broken {
        fn nodes(&self) -> Vec<&Node> {
            self.0.nodes()
        }
        fn sources(&self, wanted: &[ValueId], given: &dyn Fn(ValueId) -> bool) -> Vec<ValueId> {
            self.0.sources(wanted, given)
        }
        fn compute(&self, wanted: &[ValueId], given: &BTreeMap<ValueId, HostTensor>) -> Result<Vec<HostTensor>> {
            if wanted == [ValueId(3)] {
                Err(self.0.nodes[2].error("no such shape"))
            } else {
                self.0.compute(wanted, given)
            }
        }
    }
    let chain = Broken(Chain::new(NODES, None));
    let values = chain.0.reference();
    let found = first_wrong(&chain, &|id| id.0 != 0, &mut |_| Ok(values.clone()), Tolerance::RUNTIMES, 9).unwrap();
    let first = found.first.unwrap();
    assert_eq!((first.node.as_str(), first.max_abs_diff), ("node 3", None));
    assert!(first.why.contains("no such shape"));
}
