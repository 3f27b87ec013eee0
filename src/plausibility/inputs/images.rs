//! Images, and lists of numbers that may be images.

use super::{
    Alternative, mapped, rows_changed, table,
    tables::{Range, affine_at},
};
use crate::data::{Batch, Layout, Numbers, Pictures};
use std::rc::Rc;

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

/// Images on other scales and in other orders.
pub(super) fn images(name: &str, pictures: &Pictures, all: &mut Vec<Alternative>) {
    let shape =
        Shape { channels: pictures.channels, height: pictures.height, width: pictures.width, layout: pictures.layout };
    if pictures.dtype.is_float() {
        pixel_scales(name, shape, &pictures.affine, 1.0, all);
    }
    orders(name, shape, ["images with rows and columns swapped", "images upside down"], all);
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
            let write = if flipped { " and `channels = \"bgr\"`" } else { "" };
            all.push(Alternative {
                what: format!("input `{name}`: {}{order}", scaling.what),
                mend: format!("write {}{write} under {}", scaling.entries(), table(name)),
                change: Rc::new(change),
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
        change: Rc::new(standardized),
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
        change: Rc::new(negative),
    });
}

/// Rows and columns of pixels swapped; images stored with the channel on the other side.
fn orders(name: &str, shape: Shape, words: [&str; 2], all: &mut Vec<Alternative>) {
    let [swapped, reversed] = words;
    let mut push = |what: String, mend: &str, from: Box<dyn Fn(usize) -> usize>| {
        let own = name.to_string();
        let change = move |batch: &Batch| {
            rows_changed(batch, &own, |row, out| {
                out.extend((0..row.len()).map(|i| row.get(from(i)).copied().unwrap_or(0.0)));
            })
        };
        all.push(Alternative { what, mend: mend.into(), change: Rc::new(change) });
    };
    if shape.height == shape.width {
        push(
            format!("input `{name}`: {swapped}"),
            "store them transposed, as at training",
            Box::new(move |i| {
                let (c, y, x) = shape.place(i);
                shape.index((c, x, y))
            }),
        );
    }
    push(
        format!("input `{name}`: {reversed}"),
        "store them in the order of training: the first row first",
        Box::new(move |i| {
            let (c, y, x) = shape.place(i);
            shape.index((c, shape.height.saturating_sub(1).saturating_sub(y), x))
        }),
    );
}

/// Numbers a row from which on lists may be pixels.
const PIXELS: usize = 64;

/// Lists of numbers that may be images.
pub(super) fn lists(name: &str, numbers: &Numbers, range: &Range, all: &mut Vec<Alternative>) {
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
    if numbers.dtype.is_float() && range.low >= 0.0 && range.high <= 255.0 {
        let unit = if range.high > 1.5 { 1.0 } else { BYTE };
        let affine: Vec<(f64, f64)> = (0..shape.channels).map(|c| affine_at(numbers, shape.index((c, 0, 0)))).collect();
        pixel_scales(name, shape, &affine, unit, all);
    }
    if numbers.dims.len() > 1 {
        orders(name, shape, ["lists with their last two axes swapped", "lists with their steps in reverse order"], all);
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
            change: Rc::new(change),
        });
    }
}
