//! Other ways in which inputs may have been meant: pixels on another scale, columns in another order, padding on the other side.

use crate::{
    data::{Batch, Feed, Layout, Numbers, Pictures, Plan, Rule, Tokens},
    graph::input_scale::Affine,
    tensor::HostTensor,
};
use std::{collections::BTreeMap, sync::Arc};

/// Another reading of an input.
#[derive(Clone)]
pub struct Alternative {
    /// What the rows seem to be.
    pub what: String,
    /// What to do.
    pub mend: String,
    change: Arc<dyn Fn(&Batch) -> Option<Batch>>,
}

impl Alternative {
    /// The rows of `batch` in this reading; none where it does not apply to them.
    pub fn apply(&self, batch: &Batch) -> Option<Batch> {
        (self.change)(batch)
    }
}

/// What a model does to the scale of its inputs by itself, by name.
pub type OwnScales = BTreeMap<String, Affine>;

/// All that is tried for rows that were decoded by `plan`. `sample` are training rows; `order` are the table's columns as they stand
/// in the file; `own` says what the model does to its inputs by itself.
pub fn alternatives(plan: &Plan, sample: &Batch, order: &[String], own: &OwnScales) -> Vec<Alternative> {
    let mut all = Vec::new();
    for (index, (name, feed)) in plan.feeds.iter().enumerate() {
        match feed {
            Feed::Image(pictures) => images(name, pictures, &mut all),
            Feed::Numbers(numbers) => {
                if let Some(range) = Range::of(sample, name, numbers) {
                    lists(name, numbers, &range, &mut all);
                    all.extend(own.get(name).map(|affine| scaled_twice(name, numbers, affine)));
                    columns(name, numbers, &range, order, &mut all);
                }
            }
            Feed::Tokens(tokens) => token_lists(plan, index, name, tokens, &mut all),
            Feed::Derived(_) => {}
        }
        masks(name, feed, sample, &mut all);
    }
    swapped(plan, sample, &mut all);
    all
}

/// The `[inputs.NAME]` table in which an entry is to be written.
fn table(name: &str) -> String {
    format!("`[inputs.{name}]`")
}

/// The numbers of one input changed by `map`, which gets the position in the row and the value.
fn mapped(batch: &Batch, name: &str, map: impl Fn(usize, f64) -> f64) -> Option<Batch> {
    rows_changed(batch, name, |row, out| {
        out.extend(row.iter().enumerate().map(|(i, &x)| map(i, x)));
    })
}

/// One input with each row's elements rewritten.
fn rows_changed(batch: &Batch, name: &str, change: impl Fn(&[f64], &mut Vec<f64>)) -> Option<Batch> {
    let tensor = batch.inputs.get(name)?;
    let (dims, values) = (tensor.dims().to_vec(), tensor.to_f64());
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks_exact(values.len().checked_div(*dims.first()?)?.max(1)) {
        change(row, &mut out);
    }
    replaced(batch, name, HostTensor::of_type(&dims, out, tensor.dtype())?)
}

fn replaced(batch: &Batch, name: &str, tensor: HostTensor) -> Option<Batch> {
    let mut batch = batch.clone();
    *batch.inputs.get_mut(name)? = tensor;
    Some(batch)
}

/// A way of scaling pixels of 0 to 255, with the mean and standard deviation of each channel.
struct Scaling {
    what: &'static str,
    scale: f64,
    mean: &'static [f64],
    std: &'static [f64],
}

const fn scaling(what: &'static str, scale: f64, mean: &'static [f64], std: &'static [f64]) -> Scaling {
    Scaling { what, scale, mean, std }
}

const BYTE: f64 = 1.0 / 255.0;
const SCALINGS: [Scaling; 11] = [
    scaling("pixels / 255", BYTE, &[0.0], &[1.0]),
    scaling("pixels from 0 to 255", 1.0, &[0.0], &[1.0]),
    scaling("pixels from −1 to 1", BYTE, &[0.5], &[0.5]),
    scaling("ImageNet's mean and std", BYTE, &[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
    scaling("CIFAR-10's mean and std", BYTE, &[0.4914, 0.4822, 0.4465], &[0.247, 0.2435, 0.2616]),
    scaling("CIFAR-10's mean and an std of 0.2", BYTE, &[0.4914, 0.4822, 0.4465], &[0.2023, 0.1994, 0.201]),
    scaling("CIFAR-100's mean and std", BYTE, &[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]),
    scaling("CLIP's mean and std", BYTE, &[0.4815, 0.4578, 0.4082], &[0.2686, 0.2613, 0.2758]),
    scaling("ImageNet's mean of pixels from 0 to 255", 1.0, &[123.68, 116.779, 103.939], &[1.0]),
    scaling("MNIST's mean and std", BYTE, &[0.1307], &[0.3081]),
    scaling("Fashion-MNIST's mean and std", BYTE, &[0.286], &[0.353]),
];

impl Scaling {
    /// Factor and term of a channel; none where the scaling is for another number of channels.
    fn affine(&self, channels: usize) -> Option<Vec<(f64, f64)>> {
        if self.mean.len() > 1 && self.mean.len() != channels {
            return None;
        }
        let at = |list: &[f64], c: usize| list.get(c).or(list.first()).copied().unwrap_or(0.0);
        let one = |c: usize| (self.scale / at(self.std, c), -at(self.mean, c) / at(self.std, c));
        Some((0..channels).map(one).collect())
    }

    /// What to write in the configuration.
    fn entries(&self) -> String {
        let mut entries =
            vec![if self.scale == 1.0 { "scale = 1.0".into() } else { "scale = 0.00392156862745098".to_string() }];
        if self.mean != [0.0] {
            entries.push(format!("mean = {:?}", self.mean));
        }
        if self.std != [1.0] {
            entries.push(format!("std = {:?}", self.std));
        }
        entries.iter().map(|e| format!("`{e}`")).collect::<Vec<_>>().join(", ")
    }
}

/// How the elements of a row are an image.
#[derive(Clone, Copy)]
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
    layout: Layout,
}

impl Shape {
    /// Channel, row and column of an element.
    fn place(self, i: usize) -> (usize, usize, usize) {
        let plane = (self.height * self.width).max(1);
        match self.layout {
            Layout::Nchw => (i / plane, i % plane / self.width.max(1), i % self.width.max(1)),
            Layout::Nhwc => {
                let (pixel, c) = (i / self.channels.max(1), i % self.channels.max(1));
                (c, pixel / self.width.max(1), pixel % self.width.max(1))
            }
        }
    }

    /// Where an element is.
    fn index(self, (c, y, x): (usize, usize, usize)) -> usize {
        match self.layout {
            Layout::Nchw => (c * self.height + y) * self.width + x,
            Layout::Nhwc => (y * self.width + x) * self.channels + c,
        }
    }
}

fn images(name: &str, pictures: &Pictures, all: &mut Vec<Alternative>) {
    let shape =
        Shape { channels: pictures.channels, height: pictures.height, width: pictures.width, layout: pictures.layout };
    if pictures.dtype.is_float() {
        pixel_scales(name, shape, &pictures.affine, 1.0, all);
    }
    orders(name, shape, all);
}

/// Pixels on each of the usual scales. `affine` is what was made of them, channel by channel, and `unit` what a pixel's 255 was read as,
/// divided by 255.
fn pixel_scales(name: &str, shape: Shape, affine: &[(f64, f64)], unit: f64, all: &mut Vec<Alternative>) {
    let undo = move |affine: &[(f64, f64)], c: usize, x: f64| {
        let (factor, term) = affine.get(c).copied().unwrap_or((1.0, 0.0));
        (x - term) / factor / unit
    };
    for flipped in [false, true] {
        if flipped && shape.channels != 3 {
            continue;
        }
        for scaling in &SCALINGS {
            let Some(new) = scaling.affine(shape.channels) else { continue };
            let same =
                new.iter().zip(affine).all(|((a, b), (c, d))| (a - c / unit).abs() < 1e-9 && (b - d).abs() < 1e-6);
            if same && !flipped && affine.len() == new.len() {
                continue;
            }
            let (owned, own) = (affine.to_vec(), name.to_string());
            let change = move |batch: &Batch| {
                rows_changed(batch, &own, |row, out| {
                    out.extend((0..row.len()).map(|i| {
                        let (c, y, x) = shape.place(i);
                        let from = if flipped { shape.index((2 - c.min(2), y, x)) } else { i };
                        let raw = undo(&owned, shape.place(from).0, row.get(from).copied().unwrap_or(0.0));
                        let (factor, term) = new.get(c).copied().unwrap_or((1.0, 0.0));
                        raw * factor + term
                    }));
                })
            };
            let order = if flipped { ", channels as BGR" } else { "" };
            let write = if flipped { " and `channel_order = \"bgr\"`" } else { "" };
            all.push(Alternative {
                what: format!("input `{name}`: {}{order}", scaling.what),
                mend: format!("write {}{write} under {}", scaling.entries(), table(name)),
                change: Arc::new(change),
            });
        }
    }
    let (owned, own) = (affine.to_vec(), name.to_string());
    let standardized = move |batch: &Batch| {
        let values = batch.inputs.get(&own)?.to_f64();
        let mut sums = vec![(0.0, 0.0, 0.0); shape.channels];
        let row = (shape.channels * shape.height * shape.width).max(1);
        for (i, x) in values.iter().enumerate() {
            let c = shape.place(i % row).0;
            let raw = undo(&owned, c, *x);
            if let Some((n, sum, squares)) = sums.get_mut(c) {
                (*n, *sum, *squares) = (*n + 1.0, *sum + raw, *squares + raw * raw);
            }
        }
        mapped(batch, &own, |i, x| {
            let c = shape.place(i).0;
            let (n, sum, squares) = sums.get(c).copied().unwrap_or((1.0, 0.0, 1.0));
            let (mean, variance) = (sum / n, squares / n - (sum / n).powi(2));
            (undo(&owned, c, x) - mean) / variance.max(1e-12).sqrt()
        })
    };
    all.push(Alternative {
        what: format!("input `{name}`: pixels with the mean and std of the images themselves"),
        mend: format!("write the mean and std of training under {}", table(name)),
        change: Arc::new(standardized),
    });
    let (owned, own) = (affine.to_vec(), name.to_string());
    let negative = move |batch: &Batch| {
        mapped(batch, &own, |i, x| {
            let c = shape.place(i).0;
            let (factor, term) = owned.get(c).copied().unwrap_or((1.0, 0.0));
            (255.0 * unit - (x - term) / factor) * factor + term
        })
    };
    all.push(Alternative {
        what: format!("input `{name}`: images with black and white swapped"),
        mend: "store the images as at training (255 − pixel)".into(),
        change: Arc::new(negative),
    });
}

/// Rows and columns of pixels swapped; images stored with the channel on the other side.
fn orders(name: &str, shape: Shape, all: &mut Vec<Alternative>) {
    let mut push = |what: String, mend: &str, from: Box<dyn Fn(usize) -> usize>| {
        let own = name.to_string();
        let change = move |batch: &Batch| {
            rows_changed(batch, &own, |row, out| {
                out.extend((0..row.len()).map(|i| row.get(from(i)).copied().unwrap_or(0.0)));
            })
        };
        all.push(Alternative { what, mend: mend.into(), change: Arc::new(change) });
    };
    if shape.height == shape.width {
        push(
            format!("input `{name}`: images with rows and columns swapped"),
            "store the images transposed, as at training",
            Box::new(move |i| {
                let (c, y, x) = shape.place(i);
                shape.index((c, x, y))
            }),
        );
    }
    push(
        format!("input `{name}`: images upside down"),
        "store the images as at training: the first row at the top",
        Box::new(move |i| {
            let (c, y, x) = shape.place(i);
            shape.index((c, shape.height.saturating_sub(1).saturating_sub(y), x))
        }),
    );
}

/// What the numbers of an input look like.
struct Range {
    low: f64,
    high: f64,
    /// Mean, standard deviation, least and largest value at each position of a row.
    each: Vec<Position>,
}

#[derive(Clone, Copy)]
struct Position {
    mean: f64,
    deviation: f64,
    low: f64,
    high: f64,
}

impl Range {
    /// Of the values as they stand in the table: what the configuration made of them is undone.
    fn of(sample: &Batch, name: &str, numbers: &Numbers) -> Option<Self> {
        let tensor = sample.inputs.get(name).filter(|t| t.dtype().is_float())?;
        let (values, width) = (tensor.to_f64(), numbers.row_len().max(1));
        let position = |k: usize| {
            let (factor, term) = affine_at(numbers, k);
            let column: Vec<f64> = values.iter().skip(k).step_by(width).map(|x| (x - term) / factor).collect();
            let n = column.len().max(1) as f64;
            let mean = column.iter().sum::<f64>() / n;
            let deviation = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            let low = column.iter().copied().fold(f64::INFINITY, f64::min);
            Position { mean, deviation, low, high: column.iter().copied().fold(f64::NEG_INFINITY, f64::max) }
        };
        let each: Vec<Position> = (0..width).map(position).collect();
        let low = each.iter().map(|p| p.low).fold(f64::INFINITY, f64::min);
        let high = each.iter().map(|p| p.high).fold(f64::NEG_INFINITY, f64::max);
        Some(Self { low, high, each })
    }
}

fn affine_at(numbers: &Numbers, k: usize) -> (f64, f64) {
    numbers.affine.as_ref().and_then(|a| a.get(k).copied()).unwrap_or((1.0, 0.0))
}

/// Numbers a row from which on lists may be pixels.
const PIXELS: usize = 64;

/// Lists of numbers that may be images.
fn lists(name: &str, numbers: &Numbers, range: &Range, all: &mut Vec<Alternative>) {
    let shape = match *numbers.dims.as_slice() {
        [h, w] => Shape { channels: 1, height: h, width: w, layout: Layout::Nchw },
        [c @ (1 | 3), h, w] => Shape { channels: c, height: h, width: w, layout: Layout::Nchw },
        [h, w, c @ (1 | 3)] => Shape { channels: c, height: h, width: w, layout: Layout::Nhwc },
        [n] => Shape { channels: 1, height: 1, width: n, layout: Layout::Nchw },
        _ => return,
    };
    if numbers.columns.len() > 1 || numbers.row_len() < PIXELS {
        return;
    }
    if range.low >= 0.0 && range.high <= 255.0 {
        let unit = if range.high > 1.5 { 1.0 } else { BYTE };
        let affine: Vec<(f64, f64)> = (0..shape.channels).map(|c| affine_at(numbers, shape.index((c, 0, 0)))).collect();
        pixel_scales(name, shape, &affine, unit, all);
    }
    if numbers.dims.len() > 1 {
        orders(name, shape, all);
    }
    if shape.channels > 1 {
        let other = Shape { layout: if shape.layout == Layout::Nchw { Layout::Nhwc } else { Layout::Nchw }, ..shape };
        let own = name.to_string();
        let change = move |batch: &Batch| {
            rows_changed(batch, &own, |row, out| {
                out.extend((0..row.len()).map(|i| row.get(other.index(shape.place(i))).copied().unwrap_or(0.0)));
            })
        };
        let stored = if shape.layout == Layout::Nchw { "height, width, channel" } else { "channel, height, width" };
        all.push(Alternative {
            what: format!("input `{name}`: lists stored in the order {stored}"),
            mend: "store each image's numbers in the order of the model's input".into(),
            change: Arc::new(change),
        });
    }
}

/// Values that were scaled before, where the model scales them by itself.
fn scaled_twice(name: &str, numbers: &Numbers, own: &Affine) -> Alternative {
    let (own, input) = (own.clone(), name.to_string());
    let affine: Affine = (0..numbers.row_len()).map(|k| affine_at(numbers, k)).collect();
    let change = move |batch: &Batch| {
        mapped(batch, &input, |i, x| {
            let (factor, term) = affine.get(i).copied().unwrap_or((1.0, 0.0));
            let (by, plus) = own.get(i).copied().unwrap_or((1.0, 0.0));
            let raw = (x - term) / factor;
            if by == 0.0 { raw } else { (raw - plus) / by }
        })
    };
    Alternative {
        what: format!("input `{name}`: values that are scaled already, as the model scales them by itself"),
        mend: "store the values as they were before scaling: the scaler is part of the model".into(),
        change: Arc::new(change),
    }
}

/// Columns of a table: on another scale, in another order, one of them in another unit.
fn columns(name: &str, numbers: &Numbers, range: &Range, order: &[String], all: &mut Vec<Alternative>) {
    let width = numbers.row_len();
    let natural: Vec<usize> = (0..width).collect();
    let mut ways: Vec<(String, String, Vec<usize>)> = vec![(String::new(), String::new(), natural.clone())];
    if numbers.columns.len() > 1 && numbers.columns.len() == width {
        let mut by_file: Vec<&String> = order.iter().filter(|c| numbers.columns.contains(c)).collect();
        by_file.dedup();
        let mut by_name: Vec<&String> = numbers.columns.iter().collect();
        by_name.sort();
        let reverse: Vec<&String> = numbers.columns.iter().rev().collect();
        for (what, listed) in [
            ("columns in the order of the file", by_file),
            ("columns in alphabetical order", by_name),
            ("columns in reverse order", reverse),
        ] {
            let places: Option<Vec<usize>> =
                listed.iter().map(|c| numbers.columns.iter().position(|own| own == *c)).collect();
            if let Some(places) = places.filter(|p| p.len() == width && *p != natural) {
                let mend = format!("list the columns in that order by `columns = [...]` under {}", table(name));
                ways.push((what.into(), mend, places));
            }
        }
    }
    type Scale = (&'static str, &'static str, fn(Position, f64) -> f64);
    let scales: [Scale; 5] = [
        ("", "", |_, x| x),
        (
            "standardized columns (mean 0, deviation 1)",
            "write `mean = [...]` and `std = [...]` of the training columns",
            |p, x| (x - p.mean) / if p.deviation > 0.0 { p.deviation } else { 1.0 },
        ),
        (
            "columns scaled to 0 to 1",
            "write `mean = [...]` (each column's least value) and `std = [...]` (largest less least)",
            |p, x| (x - p.low) / if p.high > p.low { p.high - p.low } else { 1.0 },
        ),
        (
            "columns scaled to −1 to 1",
            "write `mean = [...]` (each column's middle) and `std = [...]` (half of its range)",
            |p, x| 2.0 * (x - p.low) / if p.high > p.low { p.high - p.low } else { 1.0 } - 1.0,
        ),
        ("logarithms of 1 + value", "store ln(1 + value) in the table", |_, x| x.max(-0.999_999).ln_1p()),
    ];
    for (order_what, order_mend, places) in &ways {
        for (scale_what, scale_mend, scale) in scales {
            if order_what.is_empty() && scale_what.is_empty() && numbers.affine.is_none() {
                continue;
            }
            let scale_what = if scale_what.is_empty() && numbers.affine.is_some() {
                "values without scale, mean and std"
            } else {
                scale_what
            };
            let scale_mend =
                if scale_mend.is_empty() && numbers.affine.is_some() { "leave them out" } else { scale_mend };
            let join = |a: &str, b: &str, between: &str| match (a.is_empty(), b.is_empty()) {
                (false, false) => format!("{a}{between}{b}"),
                _ => format!("{a}{b}"),
            };
            let scale_mend = match scale_mend {
                "" => String::new(),
                mend => format!("{mend} under {}", table(name)),
            };
            let each = range.each.clone();
            let affine: Vec<(f64, f64)> = (0..width).map(|k| affine_at(numbers, k)).collect();
            let (places, own) = (places.clone(), name.to_string());
            let change = move |batch: &Batch| {
                rows_changed(batch, &own, |row, out| {
                    out.extend(places.iter().map(|&k| {
                        let (factor, term) = affine.get(k).copied().unwrap_or((1.0, 0.0));
                        let raw = (row.get(k).copied().unwrap_or(0.0) - term) / factor;
                        each.get(k).map_or(raw, |&p| scale(p, raw))
                    }));
                })
            };
            all.push(Alternative {
                what: format!("input `{name}`: {}", join(order_what, scale_what, ", ")),
                mend: join(order_mend, &scale_mend, "; "),
                change: Arc::new(change),
            });
        }
    }
    units(name, numbers, width, all);
}

/// Columns for which other units are tried, at most.
const UNITS: usize = 32;

/// One column in another unit.
fn units(name: &str, numbers: &Numbers, width: usize, all: &mut Vec<Alternative>) {
    if width > UNITS {
        return;
    }
    let factors = [1e3, 100.0, 10.0, 0.1, 0.01, 1e-3, 2.54, 1.0 / 2.54, 0.453_592_37, 1.0 / 0.453_592_37, -1.0];
    let mut maps: Vec<(String, f64, f64)> =
        factors.iter().map(|f| (format!("{f:.4} times the value"), *f, 0.0)).collect();
    maps.extend([
        ("degrees Celsius, not Fahrenheit".into(), 5.0 / 9.0, -160.0 / 9.0),
        ("degrees Fahrenheit, not Celsius".into(), 1.8, 32.0),
        ("kelvins, not degrees Celsius".into(), 1.0, 273.15),
        ("degrees Celsius, not kelvins".into(), 1.0, -273.15),
    ]);
    for k in 0..width {
        let column = match numbers.columns.as_slice() {
            [_] if width > 1 => format!("number {} of each list", k + 1),
            several => several.get(k).map_or(String::new(), |c| format!("column `{c}`")),
        };
        let (factor, term) = affine_at(numbers, k);
        for (what, by, plus) in &maps {
            let (by, plus, own) = (*by, *plus, name.to_string());
            let change = move |batch: &Batch| {
                mapped(batch, &own, |i, x| if i == k { ((x - term) / factor * by + plus) * factor + term } else { x })
            };
            all.push(Alternative {
                what: format!("input `{name}`: {column} in another unit: {what}"),
                mend: "store the column in the unit that the model was trained on".into(),
                change: Arc::new(change),
            });
        }
    }
}

/// The integers of one input changed row by row.
fn integers_changed(batch: &Batch, name: &str, change: impl Fn(&[i64]) -> Option<Vec<i64>>) -> Option<Batch> {
    let tensor = batch.inputs.get(name)?;
    let (dims, values) = (tensor.dims().to_vec(), tensor.to_i64()?);
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks_exact(values.len().checked_div(*dims.first()?)?.max(1)) {
        out.extend(change(row)?);
    }
    let out = out.into_iter().map(|x| x as f64).collect();
    replaced(batch, name, HostTensor::of_type(&dims, out, tensor.dtype())?)
}

fn token_lists(plan: &Plan, index: usize, name: &str, tokens: &Tokens, all: &mut Vec<Alternative>) {
    let padding = tokens.padding;
    for (what, by) in [("one too high", -1), ("one too low", 1)] {
        let own = name.to_string();
        let change = move |batch: &Batch| {
            integers_changed(batch, &own, |row| {
                row.iter().map(|&t| Some(if t == padding { t } else { t + by }).filter(|t| *t >= 0)).collect()
            })
        };
        all.push(Alternative {
            what: format!("input `{name}`: token ids that are {what}"),
            mend: "tokenize with the tokenizer of the model".into(),
            change: Arc::new(change),
        });
    }
    let masks: Vec<String> = plan
        .feeds
        .iter()
        .filter(|(_, feed)| matches!(feed, Feed::Derived(d) if d.of == index && d.rule == Rule::Mask))
        .map(|(name, _)| name.clone())
        .collect();
    let own = name.to_string();
    let left = move |batch: &Batch| {
        let shift = |row: &[i64], by: usize| [row.get(row.len() - by..)?, row.get(..row.len() - by)?].concat().into();
        let trailing = |row: &[i64], fill: i64| row.iter().rev().take_while(|&&t| t == fill).count();
        let mut batch = integers_changed(batch, &own, |row| shift(row, trailing(row, padding)))?;
        for mask in &masks {
            batch = integers_changed(&batch, mask, |row| shift(row, trailing(row, 0)))?;
        }
        Some(batch)
    };
    all.push(Alternative {
        what: format!("input `{name}`: padding in front of the tokens"),
        mend: "store lists of one length, padded in front as at training".into(),
        change: Arc::new(left),
    });
}

/// Inputs of 0 and 1 that mark tokens: everything marked, or the other way round.
fn masks(name: &str, feed: &Feed, sample: &Batch, all: &mut Vec<Alternative>) {
    let derived = matches!(feed, Feed::Derived(d) if d.rule == Rule::Mask);
    let values = sample.inputs.get(name).and_then(HostTensor::to_i64).unwrap_or_default();
    if !(derived
        || matches!(feed, Feed::Numbers(n) if n.row_len() > 1 || n.dims.len() > 1)
        || matches!(feed, Feed::Tokens(_)))
        || values.is_empty()
        || values.iter().any(|x| !(0..=1).contains(x))
    {
        return;
    }
    for (what, map) in [("1 for padding, 0 for tokens", (|x| 1 - x) as fn(i64) -> i64), ("1 everywhere", |_| 1)] {
        let own = name.to_string();
        let change =
            move |batch: &Batch| integers_changed(batch, &own, |row| Some(row.iter().map(|&x| map(x)).collect()));
        all.push(Alternative {
            what: format!("input `{name}`: a mask with {what}"),
            mend: format!(
                "store the mask of training in a column, and name it by `column = \"...\"` under {}",
                table(name)
            ),
            change: Arc::new(change),
        });
    }
}

/// Two inputs of one type and shape exchanged.
fn swapped(plan: &Plan, sample: &Batch, all: &mut Vec<Alternative>) {
    let fed: Vec<&String> =
        plan.feeds.iter().filter(|(_, f)| !matches!(f, Feed::Derived(_))).map(|(name, _)| name).collect();
    for (i, one) in fed.iter().enumerate() {
        for other in fed.iter().skip(i + 1) {
            let of = |name: &str| sample.inputs.get(name).map(|t| (t.dtype(), t.dims().to_vec()));
            if of(one).is_none() || of(one) != of(other) {
                continue;
            }
            let (a, b) = (one.to_string(), other.to_string());
            let change = move |batch: &Batch| {
                let mut batch = batch.clone();
                let (x, y) = (batch.inputs.remove(&a)?, batch.inputs.remove(&b)?);
                batch.inputs.extend([(a.clone(), y), (b.clone(), x)]);
                Some(batch)
            };
            all.push(Alternative {
                what: format!("inputs `{one}` and `{other}` exchanged"),
                mend: format!("exchange their columns under {} and {}", table(one), table(other)),
                change: Arc::new(change),
            });
        }
    }
}
