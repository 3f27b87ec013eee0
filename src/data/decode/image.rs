//! Encoded images (PNG, JPEG) as pixels.
//!
//! Alpha is dropped, grey becomes three equal channels, and colour becomes grey by the weights of ITU-R BT.601
//! (0.299, 0.587, 0.114), as most training code has it. 16-bit images are brought to 8 bits. Resizing is bilinear, over
//! the whole source area when it shrinks.

use super::{Store, numbers::from_f32};
use crate::{
    Error, Result,
    data::{Layout, column::blobs},
    tensor::{DType, HostTensor},
};
use arrow_array::{Array, ArrayRef};
use image::{DynamicImage, ImageReader, imageops::FilterType};
use rayon::prelude::*;
use std::io::Cursor;

/// How an input is made from encoded images.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// The column.
    pub column: String,
    /// 1 or 3.
    pub channels: usize,
    /// Height of every image.
    pub height: usize,
    /// Width of every image.
    pub width: usize,
    /// Whether images of another size are brought to this one.
    pub resize: bool,
    /// Order of the axes.
    pub layout: Layout,
    /// Extents behind the row axis (a grey image may have no channel axis).
    pub dims: Vec<usize>,
    /// Element type of the input.
    pub dtype: DType,
    /// Per channel: what a pixel of 0 to 255 is multiplied by, and what is then added.
    pub affine: Vec<(f64, f64)>,
}

/// What one image file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Whether it has colour.
    pub colour: bool,
}

impl Picture {
    /// Looks at an encoded image.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let image = open(bytes)?;
        let colour = image.color().has_color();
        Some(Self { height: image.height() as usize, width: image.width() as usize, colour })
    }
}

fn open(bytes: &[u8]) -> Option<DynamicImage> {
    ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?.decode().ok()
}

/// What kept one image from being used.
enum Bad {
    NotAnImage,
    Size(u32, u32),
}

impl Pictures {
    /// Pixels of a row, channels counted apart.
    pub fn row_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    pub(super) fn decode(&self, array: &ArrayRef) -> Result<Store, String> {
        let fail = |problem: String| format!("column `{}`: {problem}", self.column);
        let blobs = blobs(array).map_err(fail)?;
        let len = self.row_len();
        if len == 0 {
            return Err(fail("the model takes images without pixels".into()));
        }
        let size = blobs.len().checked_mul(len).ok_or("too many pixels")?;
        let mut pixels = vec![0u8; size];
        let bad: Vec<Bad> =
            pixels.par_chunks_mut(len).enumerate().filter_map(|(i, out)| self.one(blobs.value(i), out).err()).collect();
        let sizes = bad.iter().find_map(|b| match b {
            Bad::Size(h, w) => Some((h, w)),
            Bad::NotAnImage => None,
        });
        let unreadable = bad.iter().filter(|b| matches!(b, Bad::NotAnImage)).count();
        if unreadable > 0 {
            return Err(fail(format!("at least {unreadable} rows are not readable PNG or JPEG images")));
        }
        if let Some((h, w)) = sizes {
            let (height, width) = (self.height, self.width);
            return Err(fail(format!(
                "at least {} images are not {height}×{width}, such as one of {h}×{w} (height × width); \
                 `resize = [{height}, {width}]` under `[inputs]` brings them to that size",
                bad.len()
            )));
        }
        Ok(Store::U8(len, pixels))
    }

    fn one(&self, bytes: &[u8], out: &mut [u8]) -> Result<(), Bad> {
        let mut image = open(bytes).ok_or(Bad::NotAnImage)?;
        let fits =
            |image: &DynamicImage| (image.height() as usize, image.width() as usize) == (self.height, self.width);
        if !fits(&image) {
            if !self.resize {
                return Err(Bad::Size(image.height(), image.width()));
            }
            let (h, w) = (u32::try_from(self.height), u32::try_from(self.width));
            let (Ok(h), Ok(w)) = (h, w) else { return Err(Bad::NotAnImage) };
            image = image.resize_exact(w, h, FilterType::Triangle);
        }
        self.put(&image, out);
        Ok(())
    }

    /// Lays the pixels out in the model's order.
    fn put(&self, image: &DynamicImage, out: &mut [u8]) {
        match (self.channels, image.color().has_color()) {
            (1, false) => copy(out, image.to_luma8().as_raw()),
            (1, true) => {
                for (to, p) in out.iter_mut().zip(image.to_rgb8().pixels()) {
                    let [r, g, b] = p.0.map(u32::from);
                    *to = ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8;
                }
            }
            (_, false) => {
                let grey = image.to_luma8();
                match self.layout {
                    Layout::Nchw => {
                        out.chunks_exact_mut(grey.as_raw().len()).for_each(|plane| copy(plane, grey.as_raw()))
                    }
                    Layout::Nhwc => out.chunks_exact_mut(3).zip(grey.as_raw()).for_each(|(to, &p)| to.fill(p)),
                }
            }
            (_, true) => {
                let owned;
                let rgb = match image {
                    DynamicImage::ImageRgb8(rgb) => rgb,
                    other => {
                        owned = other.to_rgb8();
                        &owned
                    }
                };
                match self.layout {
                    Layout::Nhwc => copy(out, rgb.as_raw()),
                    Layout::Nchw => {
                        for (c, plane) in out.chunks_exact_mut(self.height * self.width).enumerate() {
                            for (to, from) in plane.iter_mut().zip(rgb.as_raw().iter().skip(c).step_by(3)) {
                                *to = *from;
                            }
                        }
                    }
                }
            }
        }
    }

    pub(super) fn stack(&self, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let wrong = || Error::Internal("a row beyond the decoded images".into());
        let Store::U8(len, pixels) = store else { return Err(wrong()) };
        let dims: Vec<usize> = std::iter::once(rows.len()).chain(self.dims.iter().copied()).collect();
        if self.dtype == DType::U8 {
            let values = super::store::gather(pixels, *len, rows).ok_or_else(wrong)?;
            return HostTensor::new(&dims, values).ok_or_else(wrong);
        }
        let tables: Vec<[f32; 256]> = self
            .affine
            .iter()
            .map(|(scale, shift)| std::array::from_fn(|p| (p as f64 * scale + shift) as f32))
            .collect();
        let mut values = Vec::with_capacity(rows.len() * len);
        for &row in rows {
            let start = row.checked_mul(*len).ok_or_else(wrong)?;
            let image = pixels.get(start..start + len).ok_or_else(wrong)?;
            match (self.layout, tables.as_slice()) {
                (_, [one]) => values.extend(image.iter().map(|&p| look(one, p))),
                (Layout::Nchw, tables) => {
                    for (plane, table) in image.chunks_exact(self.height * self.width).zip(tables) {
                        values.extend(plane.iter().map(|&p| look(table, p)));
                    }
                }
                (Layout::Nhwc, tables) => {
                    for pixel in image.chunks_exact(self.channels) {
                        values.extend(pixel.iter().zip(tables).map(|(&p, table)| look(table, p)));
                    }
                }
            }
        }
        let tensor = match self.dtype {
            DType::F64 => HostTensor::new(&dims, values.into_iter().map(f64::from).collect()),
            _ => from_f32(&dims, values, self.dtype),
        };
        tensor.ok_or_else(wrong)
    }
}

/// A table of 256 entries has one for every byte.
#[allow(clippy::indexing_slicing)]
fn look(table: &[f32; 256], pixel: u8) -> f32 {
    table[usize::from(pixel)]
}

fn copy(to: &mut [u8], from: &[u8]) {
    if to.len() == from.len() {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::BinaryArray;
    use image::{ImageFormat, Luma, Rgb, RgbImage, RgbaImage};
    use std::sync::Arc;

    fn png(image: DynamicImage) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, ImageFormat::Png).unwrap();
        out.into_inner()
    }

    fn pictures(channels: usize, layout: Layout, affine: Vec<(f64, f64)>) -> Pictures {
        let dims = match layout {
            Layout::Nchw => vec![channels, 2, 3],
            Layout::Nhwc => vec![2, 3, channels],
        };
        Pictures {
            column: "image".into(),
            channels,
            height: 2,
            width: 3,
            resize: false,
            layout,
            dims,
            dtype: DType::F32,
            affine,
        }
    }

    fn decode(feed: &Pictures, files: &[Vec<u8>]) -> Result<Store, String> {
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(files));
        feed.decode(&array)
    }

    fn sample() -> Vec<u8> {
        let image = RgbImage::from_fn(3, 2, |x, y| Rgb([10 * x as u8, 100 + y as u8, 200]));
        png(DynamicImage::ImageRgb8(image))
    }

    #[test]
    fn channels_lie_as_the_model_has_them() {
        let affine = vec![(1.0, 0.0), (1.0, -100.0), (0.5, 0.0)];
        let nchw = pictures(3, Layout::Nchw, affine.clone());
        let store = decode(&nchw, &[sample()]).unwrap();
        let batch = nchw.stack(&store, &[0, 0]).unwrap();
        assert_eq!(batch.dims(), [2, 3, 2, 3]);
        let first = [0., 10., 20., 0., 10., 20., 0., 0., 0., 1., 1., 1., 100., 100., 100., 100., 100., 100.];
        assert_eq!(batch.to_f32()[..18], first);
        assert_eq!(batch.to_f32()[18..], first);
        let nhwc = pictures(3, Layout::Nhwc, affine);
        let store = decode(&nhwc, &[sample()]).unwrap();
        assert_eq!(nhwc.stack(&store, &[0]).unwrap().to_f32()[..6], [0., 0., 100., 10., 0., 100.]);
    }

    #[test]
    fn grey_and_colour_become_what_the_model_takes() {
        let grey = png(DynamicImage::ImageLuma8(image::GrayImage::from_pixel(3, 2, Luma([7]))));
        let alpha = png(DynamicImage::ImageRgba8(RgbaImage::from_pixel(3, 2, image::Rgba([255, 0, 0, 9]))));
        let three = pictures(3, Layout::Nchw, vec![(1.0, 0.0)]);
        let store = decode(&three, &[grey.clone(), alpha.clone()]).unwrap();
        let values = three.stack(&store, &[0, 1]).unwrap().to_f32();
        assert_eq!(values[..18], [7.0; 18]);
        assert_eq!((values[18], values[24], values[30]), (255.0, 0.0, 0.0));
        let one = pictures(1, Layout::Nchw, vec![(1.0, 0.0)]);
        let store = decode(&one, &[grey, alpha]).unwrap();
        let values = one.stack(&store, &[0, 1]).unwrap().to_f32();
        // 0.299 · 255 = 76.2
        assert_eq!((values[0], values[6]), (7.0, 76.0));
    }

    #[test]
    fn another_size_is_an_error_unless_resizing_is_asked_for() {
        let large = png(DynamicImage::ImageRgb8(RgbImage::from_pixel(6, 4, Rgb([9, 9, 9]))));
        let mut feed = pictures(3, Layout::Nchw, vec![(1.0, 0.0)]);
        let error = decode(&feed, std::slice::from_ref(&large)).unwrap_err();
        assert!(error.contains("4×6") && error.contains("resize = [2, 3]"), "{error}");
        feed.resize = true;
        let store = decode(&feed, &[large]).unwrap();
        assert_eq!(feed.stack(&store, &[0]).unwrap().to_f32(), [9.0; 18]);
        let error = decode(&feed, &[sample(), b"no image".to_vec()]).unwrap_err();
        assert!(error.contains("at least 1 rows are not readable"), "{error}");
    }
}
