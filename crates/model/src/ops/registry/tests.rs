//! The registry and what is known of operators' inputs, held together.

use super::*;
use std::collections::BTreeSet;

#[test]
fn the_operators_that_are_computed_are_those_with_a_line() {
    let computed: BTreeSet<_> = specs().iter().map(|spec| (spec.domain, spec.name)).collect();
    let [lines, others] = facts::all().map(|lines| {
        let named: BTreeSet<_> = lines.iter().map(|facts| (facts.domain, facts.name)).collect();
        assert_eq!(lines.len(), named.len(), "an operator has two lines");
        named
    });
    assert_eq!(computed, lines);
    let both: Vec<_> = others.intersection(&computed).collect();
    assert!(both.is_empty(), "listed as not computed: {both:?}");
}

#[test]
fn gradients_follow_from_the_inputs() {
    let gradient = |name| facts::named("", name).unwrap().gradient();
    assert_eq!(gradient("Conv"), Gradient::All);
    assert_eq!(gradient("Gather"), Gradient::All);
    assert_eq!(gradient("BatchNormalization"), Gradient::Only(&[0, 1, 2]));
    assert_eq!(gradient("SoftmaxCrossEntropyLoss"), Gradient::Only(&[0]));
    assert_eq!(gradient("ArgMax"), Gradient::Flat);
    // A remainder has a gradient, a choice of two numbers too: neither is implemented, and both say so.
    assert_eq!((gradient("Mod"), gradient("OneHot")), (Gradient::None, Gradient::None));
    assert!(!facts::named("", "OneHot").unwrap().reaches(2) && facts::named("", "OneHot").unwrap().reaches(0));
}
