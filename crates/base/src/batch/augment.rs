//! Images changed at random, for training: mirrored, and cut out of a padded copy.

use super::Batch;
use crate::tensor::{Element, HostTensor};
use ndarray::{ArrayD, Axis, Slice};
use num_traits::FromPrimitive;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Order of an image's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Row, channel, height, width.
    Nchw,
    /// Row, height, width, channel.
    Nhwc,
}

/// A model input that images feed.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInput {
    /// The input's name.
    pub name: String,
    /// Order of the axes.
    pub layout: Layout,
    /// What a black pixel becomes, a channel.
    pub black: Vec<f64>,
}

/// What is done to images.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Augment {
    /// Whether half of them are mirrored, left to right.
    pub flip: bool,
    /// Black pixels put around each image, out of which its size is cut anywhere.
    pub crop: usize,
    /// The inputs that it is done to.
    #[serde(skip)]
    pub images: Vec<ImageInput>,
}

/// What is done to one image.
#[derive(Clone, Copy, Debug)]
struct Draw {
    flip: bool,
    /// Rows and columns by which the image moves.
    by: [i64; 2],
}

impl Augment {
    /// Whether nothing is done.
    pub fn is_none(&self) -> bool {
        !self.flip && self.crop == 0
    }

    /// Changes the images of a batch; the same seed changes them alike.
    pub fn apply(&self, batch: &mut Batch, seed: u64) {
        if self.is_none() {
            return;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let reach = i64::try_from(self.crop).unwrap_or(i64::MAX);
        let draws: Vec<Draw> = (0..batch.rows())
            .map(|_| Draw {
                flip: self.flip && rng.random_range(0..2u8) == 1,
                by: [rng.random_range(-reach..=reach), rng.random_range(-reach..=reach)],
            })
            .collect();
        for image in &self.images {
            if let Some(tensor) = batch.inputs.get_mut(&image.name) {
                *tensor = match &*tensor {
                    HostTensor::F32(array) => changed(array, image, &draws),
                    HostTensor::F64(array) => changed(array, image, &draws),
                    HostTensor::F16(array) => changed(array, image, &draws),
                    HostTensor::BF16(array) => changed(array, image, &draws),
                    HostTensor::U8(array) => changed(array, image, &draws),
                    // Images are decoded to no other type.
                    other => other.clone(),
                };
            }
        }
    }
}

fn changed<T: Element + FromPrimitive>(array: &ArrayD<T>, image: &ImageInput, draws: &[Draw]) -> HostTensor {
    let mut out = array.clone();
    // Within one row: its axes without the first. A grey image may have no channel axis.
    let (channel, spatial) = match (image.layout, array.ndim()) {
        (_, 3) => (None, [0, 1]),
        (Layout::Nchw, _) => (Some(0), [1, 2]),
        (Layout::Nhwc, _) => (Some(2), [0, 1]),
    };
    for (mut to, (from, draw)) in out.outer_iter_mut().zip(array.outer_iter().zip(draws)) {
        let mut source = from.to_owned();
        if draw.flip {
            source.invert_axis(Axis(spatial[1]));
        }
        if draw.by == [0, 0] {
            to.assign(&source);
            continue;
        }
        match channel {
            None => to.fill(black(image, 0)),
            Some(axis) => to.axis_iter_mut(Axis(axis)).enumerate().for_each(|(c, mut p)| p.fill(black(image, c))),
        }
        let dims = source.shape().to_vec();
        let window = |axis: usize, of_target: bool| window(&dims, spatial, draw.by, axis, of_target);
        let seen = source.slice_each_axis(|a| window(a.axis.index(), false));
        to.slice_each_axis_mut(|a| window(a.axis.index(), true)).assign(&seen);
    }
    T::wrap(out)
}

/// The part of an axis that stays in the image when it moves: in the source, or where it comes to lie.
fn window(dims: &[usize], spatial: [usize; 2], by: [i64; 2], axis: usize, of_target: bool) -> Slice {
    let extent = i64::try_from(dims.get(axis).copied().unwrap_or(0)).unwrap_or(0);
    let moved = spatial.iter().zip(by).find(|(a, _)| **a == axis).map_or(0, |(_, by)| by).clamp(-extent, extent);
    let moved = if of_target { moved } else { -moved };
    let end = |n: i64| isize::try_from(n).unwrap_or(0);
    Slice::new(end(moved.max(0)), Some(end(extent + moved.min(0))), 1)
}

fn black<T: FromPrimitive + Default>(image: &ImageInput, channel: usize) -> T {
    let value = image.black.get(channel).or(image.black.first()).copied().unwrap_or(0.0);
    T::from_f64(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Targets;

    fn batch(rows: usize) -> Batch {
        let values: Vec<f32> = (0..rows).flat_map(|_| [1., 2., 3., 4., 5., 6., 7., 8., 9.]).collect();
        let image = HostTensor::new(&[rows, 1, 3, 3], values).unwrap();
        Batch { inputs: [("x".to_string(), image)].into(), targets: Targets::Classes(vec![0; rows]) }
    }

    fn augment(flip: bool, crop: usize) -> Augment {
        let image = ImageInput { name: "x".into(), layout: Layout::Nchw, black: vec![-1.0] };
        Augment { flip, crop, images: vec![image] }
    }

    #[test]
    fn about_half_of_the_images_are_mirrored() {
        let mut some = batch(400);
        augment(true, 0).apply(&mut some, 3);
        let values = some.inputs["x"].to_f32();
        let plain = [1., 2., 3., 4., 5., 6., 7., 8., 9.];
        let mirrored = [3., 2., 1., 6., 5., 4., 9., 8., 7.];
        let count = values.chunks(9).filter(|image| **image == mirrored).count();
        assert_eq!(values.chunks(9).filter(|image| **image == plain).count(), 400 - count);
        assert!((160..240).contains(&count), "{count}");
    }

    #[test]
    fn images_move_within_their_padding() {
        let mut some = batch(300);
        augment(false, 1).apply(&mut some, 5);
        let values = some.inputs["x"].to_f32();
        let found: std::collections::BTreeSet<Vec<i64>> =
            values.chunks(9).map(|image| image.iter().map(|&x| x as i64).collect()).collect();
        assert_eq!(found.len(), 9);
        assert!(found.contains(&vec![-1, -1, -1, -1, 1, 2, -1, 4, 5]));
        assert!(found.contains(&vec![5, 6, -1, 8, 9, -1, -1, -1, -1]));
        let mut again = batch(300);
        augment(false, 1).apply(&mut again, 5);
        assert_eq!(again.inputs["x"].to_f32(), values);
    }
}
