//! Inlining of local functions.

use super::{Attr, Builder, LINK, MAX_DEPTH, OperatorSets, operator_sets, scope::Scope};
use crate::{
    error::Result,
    graph::{Graph, Node, ValueId},
    onnx::proto::FunctionProto,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A node that calls a function.
pub(super) struct Call {
    pub(super) name: String,
    pub(super) inputs: Vec<Option<ValueId>>,
    pub(super) outputs: Vec<Option<ValueId>>,
    pub(super) attrs: BTreeMap<String, Attr>,
}

impl<'a> Builder<'a> {
    /// Adds the nodes of `function` to `graph`. Formal names become the caller's values, other names get the call's
    /// name as a prefix.
    pub(super) fn call(
        &mut self,
        graph: &mut Graph,
        function: &'a FunctionProto,
        caller: &Scope<'a>,
        call: Call,
    ) -> Result<()> {
        let place = format!("node {} (function {}::{})", call.name, function.domain(), function.name());
        if caller.calls.iter().any(|outer| std::ptr::eq(*outer, function)) {
            return Err(self.malformed(place, "the function calls itself"));
        }
        if caller.depth >= MAX_DEPTH {
            return Err(self.malformed(place, format!("functions are nested deeper than {MAX_DEPTH}")));
        }
        if call.inputs.len() > function.input.len() || call.outputs.len() > function.output.len() {
            return Err(self.malformed(place, "it has more inputs or outputs than the function"));
        }
        let formal = function.input.iter().chain(&function.output).chain(&function.attribute);
        self.spend(caller.depth + 1, formal.map(|name| LINK + name.len()).sum(), &place)?;
        let mut scope = caller.function(&call.name, &self.imports(function, &caller.opsets)?);
        scope.calls.push(function);
        scope.arguments = Arc::new(self.arguments(graph, function, caller, call.attrs, &place)?);
        for (i, formal) in function.input.iter().enumerate() {
            if formal.is_empty() || scope.local(formal.as_str()).is_some() {
                return Err(self.malformed(place, format!("the function's input `{formal}` is empty or listed twice")));
            }
            scope.bind(formal, call.inputs.get(i).copied().flatten());
        }
        let mut passed_through = Vec::new();
        for (i, formal) in function.output.iter().enumerate() {
            let Some(actual) = call.outputs.get(i).copied().flatten() else { continue };
            match scope.local(formal.as_str()) {
                Some(input) => passed_through.push((i, input, actual)),
                None if scope.bound.insert(formal, actual).is_some() => {
                    return Err(self.malformed(place, format!("the function's output `{formal}` is listed twice")));
                }
                None => {}
            }
        }
        self.body(graph, &function.node, &mut scope)?;
        if let Some(name) = scope.bound.keys().min() {
            return Err(self.malformed(place, format!("no node of the function makes its output `{name}`")));
        }
        for (i, input, output) in passed_through {
            let Some(input) = input else {
                return Err(self.malformed(place, format!("output {i} is an input that the caller leaves out")));
            };
            let opset = scope.opsets.get("").copied().unwrap_or(1);
            graph.nodes.push(Node {
                name: format!("{}/output {i}", call.name),
                domain: String::new(),
                op_type: "Identity".into(),
                opset,
                inputs: vec![Some(input)],
                outputs: vec![Some(output)],
                attrs: BTreeMap::new(),
            });
        }
        Ok(())
    }

    /// The operator sets that a function's nodes mean: it imports its own, and what it leaves out is the caller's.
    fn imports(&mut self, function: &'a FunctionProto, caller: &Arc<OperatorSets>) -> Result<Arc<OperatorSets>> {
        let key = (std::ptr::from_ref(function), Arc::as_ptr(caller));
        if let Some((_, opsets)) = self.imported.get(&key) {
            return Ok(Arc::clone(opsets));
        }
        let mut opsets = operator_sets(self.path, &function.opset_import, i64::MAX)?;
        for (name, version) in caller.iter() {
            opsets.entry(name.clone()).or_insert(*version);
        }
        let bytes = opsets.keys().map(|domain| LINK + size_of::<String>() + domain.len()).sum();
        self.spend(1, bytes, function.name())?;
        // Functions that import the same as their caller share the caller's sets.
        let opsets = if opsets == **caller { Arc::clone(caller) } else { Arc::new(opsets) };
        // The caller's sets are held, so that no others come to lie where they are.
        self.imported.insert(key, (Arc::clone(caller), Arc::clone(&opsets)));
        Ok(opsets)
    }

    /// What the function's body finds under its attributes' names: what the caller gives, else the default.
    fn arguments(
        &mut self,
        graph: &mut Graph,
        function: &'a FunctionProto,
        caller: &Scope<'a>,
        given: BTreeMap<String, Attr>,
        place: &str,
    ) -> Result<BTreeMap<String, Attr>> {
        let mut arguments = given;
        let defaults = function.attribute_proto.iter().map(|attr| attr.name());
        let declared: BTreeSet<&str> = function.attribute.iter().map(String::as_str).chain(defaults).collect();
        if let Some(name) = arguments.keys().find(|name| !declared.contains(name.as_str())) {
            return Err(self.malformed(place, format!("the function has no attribute `{name}`")));
        }
        let mut defaults = caller.function("", &caller.opsets);
        for default in &function.attribute_proto {
            if !arguments.contains_key(default.name())
                && let Some(value) = self.attribute(graph, default, &mut defaults, place)?
            {
                arguments.insert(default.name().to_string(), value);
            }
        }
        Ok(arguments)
    }
}
