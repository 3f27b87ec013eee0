//! Encoded images (PNG, JPEG, WebP, GIF, BMP, TIFF) as pixels.
//!
//! An image stands upright, as its EXIF orientation says. Alpha is dropped unless the model takes four channels, gray
//! becomes equal channels, and color becomes gray by the weights of ITU-R BT.601 (0.299, 0.587, 0.114), as Pillow has it.
//! Of an animation, the first frame is taken. Pixels count from 0 to 255; those of 16 bits are divided by 257 and keep their
//! fractions.

mod encoded;
mod geometry;
mod mask;
mod open;

pub use encoded::Encoded;
pub use geometry::Geometry;
pub use mask::open as open_mask;
#[cfg(feature = "fuzzing")]
pub use open::open as open_image;
pub use open::{Picture, look};

use super::{Store, numbers::from_f32};
use crate::{
    ChannelOrder, Error, Layout, Result,
    fault::Fault,
    tensor::{DType, HostTensor},
};
use arrow_array::ArrayRef;
use geometry::{Raster, Sample};
use image::DynamicImage;
use onnx_forget_base::scope::install;
use rayon::prelude::*;
use std::path::Path;

/// How an input is made from encoded images.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// The column.
    pub column: String,
    /// 1, 3 or 4.
    pub channels: usize,
    /// Order of three or four channels.
    pub order: ChannelOrder,
    /// Height of every image.
    pub height: usize,
    /// Width of every image.
    pub width: usize,
    /// How images are brought to this size; without it, one of another size is an error.
    pub geometry: Option<Geometry>,
    /// Whether pixels have 16 bits.
    pub deep: bool,
    /// Order of the axes.
    pub layout: Layout,
    /// Extents behind the row axis (a gray image may have no channel axis).
    pub dims: Vec<usize>,
    /// Element type of the input.
    pub dtype: DType,
    /// Per channel, in the model's order: what a pixel of 0 to 255 is multiplied by, and what is then added.
    pub affine: Vec<(f64, f64)>,
}

/// What kept one image from being used.
enum Bad {
    /// What it is instead.
    Other(String),
    /// It has this size, where another one is needed.
    Size(usize, usize),
}

impl Pictures {
    /// Pixels of a row, channels counted apart.
    pub fn row_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Bytes of a row that is kept.
    pub fn row_bytes(&self) -> usize {
        self.row_len() * if self.deep { 4 } else { 1 }
    }

    /// Decodes the images of a column; paths are relative to `folder`.
    pub(super) fn decode(&self, array: &ArrayRef, folder: &Path) -> Result<Store, Fault> {
        let fail = |problem: String| format!("column `{}`: {problem}", self.column);
        let images = Encoded::of(array, folder).map_err(fail)?;
        let len = self.row_len();
        if len == 0 {
            return Err(fail("the model takes images without pixels".into()).into());
        }
        Ok(match self.deep {
            false => Store::U8(len, self.all(&images, |image| self.pixels::<u8>(image))?),
            true => {
                let pixels = self.all(&images, |image| {
                    Some(self.pixels::<u16>(image)?.into_iter().map(|p| f32::from(p) / 257.0).collect())
                })?;
                Store::F32(len, pixels)
            }
        })
    }

    /// The pixels of all rows, laid out as the model has them.
    fn all<T: Copy + Default + Send>(
        &self,
        images: &Encoded,
        pixels: impl Fn(DynamicImage) -> Option<Vec<T>> + Sync,
    ) -> Result<Vec<T>, Fault> {
        let len = self.row_len();
        let size = images.len().checked_mul(len).ok_or("too many pixels")?;
        let mut all = vec![T::default(); size];
        let found = all.par_chunks_mut(len).enumerate().filter_map(|(i, out)| {
            let found = self.one(images, i).and_then(|image| {
                let found = pixels(image).filter(|found| found.len() == out.len());
                found.ok_or_else(|| Bad::Other("cannot be brought to the model's size".into()))
            });
            match found {
                Ok(found) => {
                    out.copy_from_slice(&found);
                    None
                }
                Err(bad) => Some((i, bad)),
            }
        });
        let bad: Vec<(usize, Bad)> = install(|| found.collect());
        let Some((row, first)) = bad.iter().min_by_key(|(i, _)| i) else { return Ok(all) };
        let more = match bad.len() {
            1 => String::new(),
            n => format!(" (and at least {} other rows are not as they have to be)", n - 1),
        };
        let (height, width) = (self.height, self.width);
        let problem = match first {
            Bad::Other(problem) => format!("column `{}` {problem}{more}", self.column),
            Bad::Size(h, w) if self.geometry.is_some() => {
                format!(
                    "column `{}` has an image of {h}×{w} (height × width) after `resize`, too small for `crop`{more}",
                    self.column
                )
            }
            Bad::Size(h, w) => format!(
                "column `{}` has an image of {h}×{w} (height × width), not {height}×{width}{more}; \
                 `resize = [{height}, {width}]` under `[inputs]` brings images to that size",
                self.column
            ),
        };
        Err(Fault::at(*row, problem))
    }

    fn one(&self, images: &Encoded, row: usize) -> Result<DynamicImage, Bad> {
        let bytes = images.get(row).map_err(Bad::Other)?;
        let mut size = None;
        let opened = open::open(&bytes, |picture| {
            if picture.deep && !self.deep {
                return Err("is an image of 16 bits, but the first one has 8: bring all to one depth".into());
            }
            let (h, w) = (picture.height, picture.width);
            let fits = self.geometry.unwrap_or_default().size(h, w) == Some((self.height, self.width));
            if !fits {
                size = Some((h, w));
                return Err(String::new());
            }
            Ok(())
        });
        opened.map_err(|problem| match size {
            Some((h, w)) => Bad::Size(h, w),
            None => Bad::Other(problem),
        })
    }

    /// An image's pixels, laid out as the model has them.
    fn pixels<T: Depth>(&self, image: DynamicImage) -> Option<Vec<T>> {
        let mut raster = T::raster(image, self.channels);
        if let Some(geometry) = &self.geometry {
            raster = geometry.apply(raster);
        }
        let Raster { channels, mut pixels, .. } = raster;
        if self.order == ChannelOrder::Bgr {
            pixels.chunks_exact_mut(channels).filter(|p| p.len() > 2).for_each(|p| p.swap(0, 2));
        }
        if self.layout == Layout::Nhwc || channels == 1 {
            return Some(pixels);
        }
        let plane = self.height * self.width;
        let mut planes = vec![T::default(); pixels.len()];
        for (c, plane) in planes.chunks_exact_mut(plane).enumerate() {
            plane.iter_mut().zip(pixels.iter().skip(c).step_by(channels)).for_each(|(to, from)| *to = *from);
        }
        Some(planes)
    }

    pub(super) fn stack(&self, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let wrong = || Error::Internal("a row beyond the decoded images".into());
        let dims: Vec<usize> = std::iter::once(rows.len()).chain(self.dims.iter().copied()).collect();
        let values = match store {
            Store::U8(len, pixels) if self.dtype == DType::U8 => {
                let values = super::store::gather(pixels, *len, rows).ok_or_else(wrong)?;
                return HostTensor::new(&dims, values).ok_or_else(wrong);
            }
            Store::U8(len, pixels) => {
                let table = |(scale, shift): &(f64, f64)| std::array::from_fn(|p| (p as f64 * scale + shift) as f32);
                let tables: Vec<[f32; 256]> = self.affine.iter().map(table).collect();
                let pixels = super::store::gather(pixels, *len, rows).ok_or_else(wrong)?;
                self.changed(pixels, |channel, p| tables.get(channel).map_or(0.0, |table| value(table, p)))
            }
            Store::F32(len, pixels) => {
                let pixels = super::store::gather(pixels, *len, rows).ok_or_else(wrong)?;
                let changed = |(scale, shift): &(f64, f64), p: f32| (f64::from(p) * scale + shift) as f32;
                self.changed(pixels, |channel, p| self.affine.get(channel).map_or(0.0, |a| changed(a, p)))
            }
            _ => return Err(wrong()),
        };
        let tensor = match self.dtype {
            DType::F64 => HostTensor::new(&dims, values.into_iter().map(f64::from).collect()),
            _ => from_f32(&dims, values, self.dtype),
        };
        tensor.ok_or_else(wrong)
    }

    /// Every pixel, by its channel, as the model takes it.
    fn changed<T: Copy>(&self, pixels: Vec<T>, of: impl Fn(usize, T) -> f32) -> Vec<f32> {
        let (run, channels) = match (self.affine.len(), self.layout) {
            (0 | 1, _) => (usize::MAX, 1),
            (n, Layout::Nchw) => (self.height * self.width, n),
            (n, Layout::Nhwc) => (1, n),
        };
        let mut values = Vec::with_capacity(pixels.len());
        for (i, run) in pixels.chunks(run.clamp(1, pixels.len().max(1))).enumerate() {
            values.extend(run.iter().map(|&p| of(i % channels, p)));
        }
        values
    }
}

/// A pixel's depth.
trait Depth: Sample {
    /// The image's pixels as that many channels.
    fn raster(image: DynamicImage, channels: usize) -> Raster<Self>;
}

impl Depth for u8 {
    fn raster(image: DynamicImage, channels: usize) -> Raster<u8> {
        let (height, width) = (image.height() as usize, image.width() as usize);
        let pixels = match (channels, image.color().has_color()) {
            (1, false) => image.into_luma8().into_raw(),
            (1, true) => gray(image.into_rgb8().as_raw()),
            (4, _) => image.into_rgba8().into_raw(),
            _ => image.into_rgb8().into_raw(),
        };
        Raster { height, width, channels, pixels }
    }
}

impl Depth for u16 {
    fn raster(image: DynamicImage, channels: usize) -> Raster<u16> {
        let (height, width) = (image.height() as usize, image.width() as usize);
        let pixels = match (channels, image.color().has_color()) {
            (1, false) => image.into_luma16().into_raw(),
            (1, true) => gray(image.into_rgb16().as_raw()),
            (4, _) => image.into_rgba16().into_raw(),
            _ => image.into_rgb16().into_raw(),
        };
        Raster { height, width, channels, pixels }
    }
}

/// The brightness of every pixel.
fn gray<T: Sample>(rgb: &[T]) -> Vec<T> {
    let one = |p: &[T]| {
        let weighted = p.iter().zip([19595, 38470, 7471]).map(|(v, weight)| v.wide() * weight);
        T::narrow((weighted.sum::<i64>() + 0x8000) >> 16)
    };
    rgb.chunks_exact(3).map(one).collect()
}

/// A table of 256 entries has one for every byte.
#[allow(clippy::indexing_slicing)]
fn value(table: &[f32; 256], pixel: u8) -> f32 {
    table[usize::from(pixel)]
}

#[cfg(test)]
mod tests;
