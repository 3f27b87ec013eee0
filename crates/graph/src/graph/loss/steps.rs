//! Single steps from an output back toward its logits: changes of form, monotone functions, columns, complements.

use super::tracer::{Column, DEPTH, Step, Tracer, label};
use crate::graph::{
    Dim, Node, ValueId,
    facts::{self, Passes},
    fuse::MADE_OF,
    shapes::{Entry, Extent},
};

/// Changes of form, one behind the other, that are looked behind.
const MOST_FORMS: usize = 32;

/// Conditions that are looked at, at most, to find out whether they only ask for what is no number.
const MOST_CONDITIONS: usize = 64;

impl Tracer<'_> {
    /// The step over a node that may lie between a Softmax, Sigmoid or ArgMax and the output.
    pub(super) fn passing(&self, value: ValueId, node: &Node) -> Option<Step> {
        let first = node.input(0)?;
        if node.domain == "ai.onnx.ml" {
            return match node.op_type.as_str() {
                "ArrayFeatureExtractor" => self.extracted(node, first),
                "Normalizer" => matches!(node.string("norm", Some("MAX")), Ok("L1")).then_some(Step::Shared(first)),
                "LabelEncoder" | "ZipMap" | "Binarizer" => Some(Step::Same(first, false)),
                _ => None,
            };
        }
        if !node.domain.is_empty() {
            return None;
        }
        match facts::passes(node) {
            Passes::Same => return Some(Step::Same(first, false)),
            Passes::Shape => return self.keeps_rows(node, first).then_some(Step::Same(first, false)),
            _ => {}
        }
        match node.op_type.as_str() {
            "CastLike" | "Dropout" => Some(Step::Same(first, false)),
            "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceSum" | "ReduceProd" | "GlobalAveragePool"
            | "GlobalMaxPool" | "Transpose" => self.is_form(node, first)?.then_some(Step::Same(first, false)),
            "Exp" | "Log" | "Sqrt" | "Relu" | "Clip" => Some(Step::Same(first, true)),
            "Neg" => Some(Step::Falling(first)),
            "Round" => Some(Step::Decision(first, None)),
            "Add" | "Sum" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Pow" => self.arithmetic(node),
            "Greater" | "GreaterOrEqual" => self.number(node.input(1)?).map(|_| Step::Decision(first, None)),
            "Where" => self.guard(node),
            "Gather" | "Slice" | "Split" => Some(Step::Column(first, self.column(value, node, first, DEPTH)?)),
            "Concat" => match self.opposite(node) {
                Some(logit) => Some(Step::Logit(logit)),
                None => self.complements(node).map(|positive| Step::Same(positive, false)),
            },
            _ => None,
        }
    }

    /// `ArrayFeatureExtractor` picks columns of data, or names of classes by their numbers.
    fn extracted(&self, node: &Node, first: ValueId) -> Option<Step> {
        let index = node.input(1)?;
        let stored = self.constants.contains_key(&first) || self.graph.opaque.contains_key(&first);
        match (stored, self.constants.get(&index)) {
            (true, None) => Some(Step::Same(index, false)),
            (false, Some(index)) if index.len() == 1 => {
                Some(Step::Column(first, (index.to_i64()?.first().copied()?, self.extent(first, -1, DEPTH))))
            }
            _ => None,
        }
    }

    /// Arithmetic of a value with one number.
    fn arithmetic(&self, node: &Node) -> Option<Step> {
        let (a, b) = (node.input(0)?, node.input(1).filter(|_| node.inputs.len() == 2)?);
        let (data, number, first) = match (self.number(a), self.number(b)) {
            (None, Some(number)) => (a, number, true),
            (Some(number), None) => (b, number, false),
            _ => return self.normalized(node).map(Step::Shared),
        };
        match node.op_type.as_str() {
            "Add" | "Sum" | "Max" | "Min" => Some(Step::Same(data, true)),
            "Sub" if first => Some(Step::Same(data, true)),
            "Sub" => Some(Step::Falling(data)),
            "Mul" | "Div" if number == 1.0 && (first || node.is("Mul")) => Some(Step::Same(data, false)),
            "Mul" | "Div" if first || node.is("Mul") => match number {
                0.0 => None,
                n if n > 0.0 => Some(Step::Same(data, true)),
                _ => Some(Step::Falling(data)),
            },
            "Pow" if first && number > 0.0 => Some(Step::Same(data, true)),
            _ => None,
        }
    }

    /// Of `p / sum(p)` over the classes the `p`; scikit-learn's exporter adds a 1 to both where the sum is 0.
    pub(super) fn normalized(&self, node: &Node) -> Option<ValueId> {
        let (p, sum) = (node.input(0)?, node.input(1).filter(|_| node.is("Div"))?);
        let ((p, of_p), (sum, of_sum)) = (self.unguarded(p), self.unguarded(sum));
        let total = self.node(sum).filter(|node| node.is("ReduceSum") && node.input(0) == Some(p))?;
        let axes = self.integers(total, 1, "axes")?;
        let guarded = [of_p, of_sum].into_iter().flatten().all(|of| of == sum);
        (guarded && matches!(axes.as_slice(), [1 | -1])).then_some(p)
    }

    /// Of `x + k·[y is 0]` the `x` and the `y`.
    fn unguarded(&self, value: ValueId) -> (ValueId, Option<ValueId>) {
        let guard = || {
            let add = self.node(value).filter(|node| node.is("Add"))?;
            let mut mask = add.input(1)?;
            if let Some(mul) = self.node(mask).filter(|node| node.is("Mul")) {
                self.number(mul.input(1)?)?;
                mask = mul.input(0)?;
            }
            for op in ["Cast", "Not", "Cast"] {
                mask = self.node(mask).filter(|node| node.is(op))?.input(0)?;
            }
            Some((add.input(0)?, Some(mask)))
        };
        guard().unwrap_or((value, None))
    }

    /// `Where` that puts a number in place of what is not one.
    fn guard(&self, node: &Node) -> Option<Step> {
        let (condition, a, b) = (node.input(0)?, node.input(1)?, node.input(2)?);
        let data = match (self.number(a), self.number(b)) {
            (Some(_), None) => b,
            (None, Some(_)) => a,
            _ => return None,
        };
        let (mut waiting, mut left) = (vec![condition], MOST_CONDITIONS);
        while let Some(at) = waiting.pop() {
            left = left.checked_sub(1)?;
            let node = self.node(at)?;
            match node.op_type.as_str() {
                "IsNaN" | "IsInf" => {}
                "Not" | "Or" | "And" => waiting.extend(node.inputs.iter().flatten()),
                _ => return None,
            }
        }
        Some(Step::Same(data, false))
    }

    /// Whether a change of form keeps the axis of the rows.
    fn keeps_rows(&self, node: &Node, first: ValueId) -> bool {
        self.keeps(node, first).unwrap_or(false)
    }

    /// Whether a reduction goes over axes of extent 1 alone, or a transposition moves only such axes; the rows are left where
    /// they are. Then each element stays what it is.
    fn is_form(&self, node: &Node, first: ValueId) -> Option<bool> {
        let dims = self.shapes.dims(first)?;
        let rank = i64::try_from(dims.len()).ok()?;
        let place = |axis: i64| usize::try_from(if axis < 0 { axis + rank } else { axis }).ok();
        let single = |axis: i64| {
            place(axis).is_some_and(|at| at > 0 && dims.get(at).is_some_and(|extent| *extent == Extent::Fixed(1)))
        };
        if node.is("Transpose") {
            let Ok(Some(perm)) = node.opt_ints("perm") else { return Some(false) };
            let moved: Vec<i64> = perm.iter().copied().filter(|&axis| !single(axis)).collect();
            return Some(perm.first() == Some(&0) && moved.is_sorted());
        }
        let axes = match self.integers(node, 1, "axes") {
            Some(axes) => axes,
            None if node.op_type.starts_with("Global") => return Some((2..rank).all(single)),
            None => Vec::new(),
        };
        // Without axes all of them, the rows too.
        Some(!axes.is_empty() && axes.into_iter().all(single))
    }

    fn keeps(&self, node: &Node, first: ValueId) -> Option<bool> {
        match node.op_type.as_str() {
            "Flatten" => Some(match node.int("axis", Some(1)) {
                Ok(1) => true,
                // Flattened to one axis, where each row has one value.
                Ok(0) => self.width(first, DEPTH) == Some(1),
                _ => false,
            }),
            "Squeeze" | "Unsqueeze" => match self.integers(node, 1, "axes") {
                Some(axes) => Some(!axes.contains(&0)),
                // All axes of extent 1 go: the rows stay unless there is one.
                None => Some(node.is("Squeeze") && self.rows_stay(first)?),
            },
            _ => {
                let shape = self.shapes.vector(node.input(1)?, &self.constants)?;
                let rows = self.shapes.dims(first).and_then(|dims| dims.first());
                let rest = || {
                    shape.iter().skip(1).try_fold(1usize, |n, entry| match entry {
                        Entry::Known(extent) => n.checked_mul(usize::try_from(*extent).ok()?),
                        _ => None,
                    })
                };
                Some(match (shape.first()?, rows) {
                    (Entry::Known(0) | Entry::Rows, _) => true,
                    (Entry::Known(rows), Some(Extent::Fixed(n))) if *rows > 0 => usize::try_from(*rows) == Ok(*n),
                    // -1 first: the rows are what is left, if the other extents are those of a row.
                    (Entry::Known(-1), _) => rest().is_some() && rest() == self.width(first, DEPTH),
                    _ => false,
                })
            }
        }
    }

    /// Whether the first axis is known to have another extent than 1, or to be that of the rows.
    fn rows_stay(&self, value: ValueId) -> Option<bool> {
        match (self.shapes.dims(value).and_then(<[Extent]>::first), self.dims(value).and_then(<[Dim]>::first)) {
            (Some(Extent::Fixed(n)), _) => Some(*n != 1),
            (Some(Extent::Rows), _) => Some(true),
            (_, declared) => Some(!matches!(declared?, Dim::Fixed(1))),
        }
    }

    /// The extent along an axis that is 1 or the last, where the file tells it.
    pub(super) fn extent(&self, value: ValueId, axis: i64, depth: usize) -> Option<usize> {
        let declared = self.dims(value).and_then(|dims| match usize::try_from(axis) {
            Ok(axis) => dims.get(axis),
            Err(_) if dims.len() > 1 => dims.last(),
            Err(_) => None,
        });
        let fixed = declared.and_then(|dim| if let Dim::Fixed(n) = dim { Some(*n) } else { None });
        fixed.or_else(|| self.width(value, depth).filter(|_| axis == 1 || axis == -1))
    }

    /// Which column of how many a Gather, Slice or Split takes, if it takes one and keeps the rows.
    pub(super) fn column(&self, value: ValueId, node: &Node, data: ValueId, depth: usize) -> Option<Column> {
        let only = |list: Vec<i64>| match list.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        let (axis, index) = match node.op_type.as_str() {
            "Gather" => {
                let index = self.constants.get(&node.input(1)?).filter(|index| index.len() == 1)?;
                (node.int("axis", Some(0)).ok()?, only(index.to_i64()?)?)
            }
            "Slice" => {
                let start = only(self.integers(node, 1, "starts")?)?;
                let end = only(self.integers(node, 2, "ends")?)?;
                let axis = only(self.integers(node, 3, "axes").unwrap_or_default()).unwrap_or(0);
                let last = self.extent(data, axis, depth).and_then(|n| i64::try_from(n).ok());
                let ends = start.checked_add(1) == Some(end)
                    || last.is_some_and(|n| start == n - 1 && end >= n)
                    || start == -1 && end > 0;
                (axis, Some(start).filter(|_| ends)?)
            }
            _ => {
                let axis = node.int("axis", Some(0)).ok()?;
                let parts = node.outputs.len();
                let sizes = self.integers(node, 1, "split").unwrap_or_else(|| vec![1; parts]);
                let single = sizes.iter().all(|&size| size == 1)
                    && self.extent(data, axis, depth).is_none_or(|extent| extent == parts);
                let slot = i64::try_from(self.links.producer(value)?.1).ok()?;
                (axis, Some(slot).filter(|_| single)?)
            }
        };
        if axis == 0 || axis < -1 || (axis == -1 && self.dims(data).is_none_or(|dims| dims.len() < 2)) {
            return None;
        }
        let extent = self.extent(data, axis, depth);
        let from_end = |n: usize| i64::try_from(n).map_or(index, |n| if index < 0 { index + n } else { index });
        Some((extent.map_or(index, from_end), extent))
    }

    /// The two parts of a Concat of one column each.
    pub(super) fn parts(&self, node: &Node) -> Option<(ValueId, ValueId)> {
        let [Some(a), Some(b)] = node.inputs.as_slice() else { return None };
        matches!(node.int("axis", None), Ok(1 | -1)).then_some((*a, *b))
    }

    /// What a value is made of, behind changes of form.
    pub(super) fn behind_forms(&self, mut value: ValueId) -> ValueId {
        for _ in 0..MOST_FORMS {
            let Some(node) = self.node(value).filter(|node| node.domain.is_empty()) else { break };
            let form = match facts::passes(node) {
                Passes::Same => true,
                Passes::Shape => node.input(0).is_some_and(|first| self.keeps_rows(node, first)),
                _ => false,
            };
            let Some(next) = node.input(0).filter(|_| form) else { break };
            value = next;
        }
        value
    }

    /// Of `−x` the `x`.
    fn negated(&self, value: ValueId) -> Option<ValueId> {
        let node = self.node(value)?;
        let (a, b) = (node.input(0)?, node.input(1));
        match node.op_type.as_str() {
            "Neg" => Some(a),
            "Mul" if self.number(a) == Some(-1.0) => b,
            "Mul" if self.number(b?) == Some(-1.0) => Some(a),
            _ => None,
        }
    }

    /// Of `1 − p` the `p`.
    pub(super) fn complement(&self, value: ValueId) -> Option<ValueId> {
        let node = self.node(self.behind_forms(value))?;
        let (a, b) = (node.input(0)?, node.input(1)?);
        match node.op_type.as_str() {
            "Sub" if self.is_one(a) => Some(b),
            "Add" if self.is_one(a) => self.negated(b),
            "Add" if self.is_one(b) => self.negated(a),
            _ => None,
        }
    }

    /// Whether a value is the number 1, which gives what it is added to no other shape.
    fn is_one(&self, value: ValueId) -> bool {
        self.constants.get(&value).is_some_and(|one| one.dims().iter().all(|&n| n == 1) && one.dims().len() < 2)
            && self.number(value) == Some(1.0)
    }

    /// Whether `a` is `1 − b`.
    fn is_complement(&self, a: ValueId, b: ValueId) -> bool {
        self.complement(a).is_some_and(|p| self.behind_forms(p) == self.behind_forms(b))
    }

    /// Whether two values are `σ(z)` and `σ(−z)`, which add up to 1, too.
    fn are_opposite(&self, a: ValueId, b: ValueId) -> bool {
        let logits = |value| {
            let node = self.node(self.behind_forms(value)).filter(|node| node.is("Sigmoid"))?;
            node.input(0).map(|logits| self.behind_forms(logits))
        };
        let (Some(a), Some(b)) = (logits(a), logits(b)) else { return false };
        let of = |negative, positive| self.negated(negative).is_some_and(|z| self.behind_forms(z) == positive);
        of(a, b) || of(b, a)
    }

    /// Of the `Concat(−z, z)` of a linear model the `z`.
    fn opposite(&self, node: &Node) -> Option<ValueId> {
        let (negative, positive) = self.parts(node).filter(|_| node.attrs.contains_key(MADE_OF))?;
        let turned = self.node(negative).filter(|node| node.is("Neg"))?;
        (turned.input(0)? == positive).then_some(positive)
    }

    /// Of `Concat(1 − p, p)` the `p`: column 1 tells how likely class 1 is.
    fn complements(&self, node: &Node) -> Option<ValueId> {
        let (negative, positive) = self.parts(node)?;
        (self.is_complement(negative, positive) || self.are_opposite(negative, positive)).then_some(positive)
    }

    /// The node of the `1 − p` of such a Concat, in words.
    pub(super) fn complement_of(&self, node: &Node) -> Option<String> {
        let (negative, _) = self.parts(node)?;
        self.node(negative).map(label)
    }

    /// What column `column` of a Concat of single columns is, and whether it falls while the other column rises.
    pub(super) fn part(&self, value: ValueId, column: Column) -> Option<(ValueId, bool)> {
        let concat = self.node(value).filter(|node| node.is("Concat"))?;
        let (a, b) = self.parts(concat)?;
        let (part, other) = match column {
            (0, Some(2)) => (a, b),
            (1, Some(2)) => (b, a),
            _ => return None,
        };
        match self.complement(part).filter(|_| self.is_complement(part, other)) {
            Some(p) => Some((p, true)),
            None => (self.is_complement(other, part) || self.are_opposite(part, other)).then_some((part, false)),
        }
    }
}
