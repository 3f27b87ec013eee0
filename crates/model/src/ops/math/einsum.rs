//! Einsum-12/28: sums of products by labeled axes, of floats, with ellipsis and repeated labels.
//!
//! Operands are taken in from left to right. Of each pair, labels that end there are summed; the shared ones are batch axes of
//! one matrix product, the others its rows and columns.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Reduce},
    ops::{Built, NodeContext, one, problem, shapes},
};
use std::collections::BTreeMap;

/// A label; the axes of an ellipsis are labeled 0, 1, … from the last one, letters by their code.
type Label = u32;

#[derive(Clone, Debug)]
struct Equation {
    operands: Vec<Term>,
    output: Option<Term>,
}

/// Labels before and after an ellipsis, if there is one.
#[derive(Clone, Debug, Default)]
struct Term {
    before: Vec<Label>,
    after: Option<Vec<Label>>,
}

impl Term {
    fn parse(text: &str) -> Result<Self> {
        let labels = |part: &str| -> Result<Vec<Label>> {
            let bad = || problem(format!("{part:?} in the equation is not made of letters"));
            part.chars().map(|c| c.is_ascii_alphabetic().then_some(c.into()).ok_or_else(bad)).collect()
        };
        match text.split_once("...") {
            None => Ok(Self { before: labels(text)?, after: None }),
            Some((before, after)) => Ok(Self { before: labels(before)?, after: Some(labels(after)?) }),
        }
    }

    /// The labels with `wide` axes in place of the ellipsis.
    fn labels(&self, wide: usize) -> Vec<Label> {
        let Some(after) = &self.after else { return self.before.clone() };
        let ellipsis = (0..wide as Label).rev();
        self.before.iter().copied().chain(ellipsis).chain(after.iter().copied()).collect()
    }

    fn named(&self) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, Vec::len)
    }
}

fn parse(equation: &str) -> Result<Equation> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(Term::parse(right)?)),
        None => (text.as_str(), None),
    };
    Ok(Equation { operands: left.split(',').map(Term::parse).collect::<Result<_>>()?, output: right })
}

/// A tensor whose axes have labels, each once.
struct Labeled<E: Float, D: Backend<E>> {
    tensor: Tensor<E, D>,
    labels: Vec<Label>,
}

/// Builds Einsum.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let equation = parse(node.string("equation", "")?)?;
    if equation.operands.len() != node.node().inputs.len() {
        return Err(problem("the equation has not as many terms as there are inputs"));
    }
    one(move |cx, inputs| {
        let tensors = inputs.floats()?;
        let mut operands = Vec::new();
        let mut widest = 0;
        for (term, tensor) in equation.operands.iter().zip(&tensors) {
            let wide = tensor.rank().checked_sub(term.named()).filter(|&w| w == 0 || term.after.is_some());
            let wide =
                wide.ok_or_else(|| problem(format!("a term does not fit an input of shape {:?}", tensor.dims())))?;
            widest = widest.max(wide);
            operands.push(diagonal(cx, tensor, &term.labels(wide))?);
        }
        let output = match &equation.output {
            Some(term) => term.labels(widest),
            None => implied(&equation, widest),
        };
        let mut operands = operands.into_iter();
        let mut left = operands.next().ok_or_else(|| problem("no input"))?;
        let rest: Vec<_> = operands.collect();
        for (i, right) in rest.iter().enumerate() {
            let later = rest.get(i + 1..).unwrap_or_default();
            let needed = |l: &Label| output.contains(l) || later.iter().any(|t| t.labels.contains(l));
            left = product(cx, left, right, &needed)?;
        }
        left = sum_out(cx, left, &|l| output.contains(l))?;
        let order = places(&left.labels, &output)?;
        D::permute(cx, &left.tensor, &order)
    })
}

/// Without an arrow: the ellipsis, then the labels that occur once, by letter.
fn implied(equation: &Equation, widest: usize) -> Vec<Label> {
    let mut count: BTreeMap<Label, usize> = BTreeMap::new();
    for term in &equation.operands {
        term.labels(0).into_iter().for_each(|l| *count.entry(l).or_default() += 1);
    }
    let once = count.into_iter().filter(|&(_, n)| n == 1).map(|(l, _)| l);
    (0..widest as Label).rev().chain(once).collect()
}

fn places(labels: &[Label], wanted: &[Label]) -> Result<Vec<usize>> {
    let place = |l: &Label| {
        labels.iter().position(|x| x == l).ok_or_else(|| problem("the result has a label that no input has"))
    };
    wanted.iter().map(place).collect()
}

/// Takes the diagonal where a label is repeated.
fn diagonal<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    labels: &[Label],
) -> Result<Labeled<E, D>> {
    let mut unique: Vec<Label> = Vec::new();
    for l in labels {
        if !unique.contains(l) {
            unique.push(*l);
        }
    }
    if unique.len() == labels.len() {
        return Ok(Labeled { tensor: x.clone(), labels: unique });
    }
    let (mut dims, mut steps) = (vec![0; unique.len()], vec![0; unique.len()]);
    for ((l, &d), s) in labels.iter().zip(x.dims()).zip(shapes::strides(x.dims())) {
        for ((u, dim), step) in unique.iter().zip(&mut dims).zip(&mut steps) {
            if u == l {
                if *step > 0 && *dim != d {
                    return Err(problem("axes of one label differ in extent"));
                }
                *dim = d;
                *step += s;
            }
        }
    }
    let mut indices = vec![0];
    for (&d, &s) in dims.iter().zip(&steps) {
        indices = indices.iter().flat_map(|&i| (0..d).map(move |j| i + j * s)).collect();
    }
    Ok(Labeled { tensor: D::gather_flat(cx, x, &indices, &dims)?, labels: unique })
}

/// Sums over the labels that are not kept.
fn sum_out<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: Labeled<E, D>,
    keep: &dyn Fn(&Label) -> bool,
) -> Result<Labeled<E, D>> {
    let gone: Vec<usize> = (0..x.labels.len()).filter(|&a| x.labels.get(a).is_some_and(|l| !keep(l))).collect();
    if gone.is_empty() {
        return Ok(x);
    }
    let tensor = D::reduce(cx, Reduce::Sum, &x.tensor, &gone, false)?;
    Ok(Labeled { tensor, labels: x.labels.into_iter().filter(|l| keep(l)).collect() })
}

fn product<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    a: Labeled<E, D>,
    b: &Labeled<E, D>,
    needed: &dyn Fn(&Label) -> bool,
) -> Result<Labeled<E, D>> {
    let a = {
        let keep = |l: &Label| needed(l) || b.labels.contains(l);
        sum_out(cx, a, &keep)?
    };
    let b = {
        let keep = |l: &Label| needed(l) || a.labels.contains(l);
        sum_out(cx, Labeled { tensor: b.tensor.clone(), labels: b.labels.clone() }, &keep)?
    };
    let pick =
        |from: &[Label], test: &dyn Fn(&Label) -> bool| from.iter().copied().filter(|l| test(l)).collect::<Vec<_>>();
    let batch = pick(&a.labels, &|l| b.labels.contains(l) && needed(l));
    let inner = pick(&a.labels, &|l| b.labels.contains(l) && !needed(l));
    let rows = pick(&a.labels, &|l| !b.labels.contains(l));
    let columns = pick(&b.labels, &|l| !a.labels.contains(l));
    let (x, x_dims) = arranged(cx, &a, [&batch, &rows, &inner])?;
    let (y, y_dims) = arranged(cx, &b, [&batch, &inner, &columns])?;
    let [x_batch, m, k] = x_dims;
    let [y_batch, p, n] = y_dims;
    // An ellipsis axis of extent 1 broadcasts; summed axes must be equal.
    let shared = shapes::broadcast(&x_batch, &y_batch)?;
    if k != p {
        return Err(problem("axes of one label differ in extent"));
    }
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    let x = x.reshaped([x_batch, vec![size(&m), size(&k)]].concat())?;
    let y = y.reshaped([y_batch, vec![size(&p), size(&n)]].concat())?;
    let tensor = D::matmul(cx, &x, &y, false, false)?.reshaped([shared, m, n].concat())?;
    Ok(Labeled { tensor, labels: [batch, rows, columns].concat() })
}

type Arranged<E, D> = (Tensor<E, D>, [Vec<usize>; 3]);

/// Brings the axes into the order of three groups, and tells each group's extents.
fn arranged<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Labeled<E, D>,
    groups: [&[Label]; 3],
) -> Result<Arranged<E, D>> {
    let order = places(&x.labels, &groups.concat())?;
    let tensor = D::permute(cx, &x.tensor, &order)?;
    let mut dims = tensor.dims().iter().copied();
    let extents = groups.map(|g| dims.by_ref().take(g.len()).collect());
    Ok((tensor, extents))
}
