//! Masks: images whose pixels are numbers of classes. Palette and gray images are read as they are stored; colors are none.

use super::open::{self, look};
use crate::quiet;
use image::DynamicImage;
use std::io::Cursor;

/// The numbers of a mask's pixels, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// `height · width` numbers: of a palette the entry, of gray the level as it is stored.
    pub numbers: Vec<i64>,
}

/// Decodes a mask. `fits` is asked for its height and width before its pixels are decoded.
///
/// # Errors
/// What the bytes are instead; an image of colors, or of a format that does not keep pixels exactly.
pub fn open(bytes: &[u8], fits: impl FnOnce(usize, usize) -> Result<(), String>) -> Result<Mask, String> {
    let seen = look(bytes)?;
    if bytes.starts_with(b"\x89PNG") {
        fits(seen.height, seen.width)?;
        return quiet::catch(|| png(bytes)).unwrap_or_else(|_| Err(DAMAGED.into()));
    }
    if bytes.starts_with(b"\xff\xd8") {
        return Err("is a JPEG image, whose pixels are not exact: masks are PNG images".into());
    }
    if seen.color || seen.alpha {
        return Err(COLORS.into());
    }
    let image = open::open(bytes, |seen| fits(seen.height, seen.width))?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let numbers = match image {
        DynamicImage::ImageLuma8(gray) => gray.into_raw().into_iter().map(i64::from).collect(),
        DynamicImage::ImageLuma16(gray) => gray.into_raw().into_iter().map(i64::from).collect(),
        _ => return Err(COLORS.into()),
    };
    Ok(Mask { height, width, numbers })
}

const DAMAGED: &str = "is a damaged or truncated image";
const COLORS: &str = "is an image of colors, and not of numbers of classes: give a palette or gray image";

/// A PNG image as it is stored: the image library would turn a palette into colors.
fn png(bytes: &[u8]) -> Result<Mask, String> {
    let damaged = |_| DAMAGED.to_string();
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let size = reader.output_buffer_size().ok_or("is an image that takes too much memory")?;
    let mut stored = vec![0; size];
    let frame = reader.next_frame(&mut stored).map_err(damaged)?;
    if !matches!(frame.color_type, png::ColorType::Indexed | png::ColorType::Grayscale) {
        return Err(COLORS.into());
    }
    let (height, width, bits) = (frame.height as usize, frame.width as usize, frame.bit_depth as usize);
    let row = |line: &[u8]| -> Vec<i64> {
        match bits {
            16 => line.chunks_exact(2).map(|pair| pair.iter().fold(0, |n, &b| n << 8 | i64::from(b))).collect(),
            bits => {
                let pixel = |byte: u8, at: usize| i64::from(byte >> (8 - bits * (at + 1)) & (0xff >> (8 - bits)));
                line.iter().flat_map(|&byte| (0..8 / bits).map(move |at| pixel(byte, at))).collect()
            }
        }
    };
    let lines = stored.chunks_exact(frame.line_size).take(height);
    let numbers: Vec<i64> = lines.flat_map(|line| row(line).into_iter().take(width)).collect();
    if numbers.len() != height * width {
        return Err(DAMAGED.into());
    }
    Ok(Mask { height, width, numbers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(color: png::ColorType, depth: png::BitDepth, width: u32, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, 2);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette([[9u8, 9, 9], [200, 0, 0], [0, 200, 0], [1, 2, 3]].concat());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        out
    }

    fn any(_: usize, _: usize) -> Result<(), String> {
        Ok(())
    }

    #[test]
    fn numbers_are_those_that_are_stored() {
        use png::{BitDepth::*, ColorType::*};
        let palette = [0u8, 1, 2, 3, 1, 0];
        let eight = encoded(Indexed, Eight, 3, &palette);
        // Three pixels of two bits a row, the last one of the byte unused.
        let two = encoded(Indexed, Two, 3, &[0b0001_1000, 0b1101_0000]);
        let gray = encoded(Grayscale, Eight, 3, &palette);
        let wide = encoded(Grayscale, Sixteen, 1, &[1, 0, 0, 7]);
        for bytes in [eight, two, gray] {
            let mask = open(&bytes, any).unwrap();
            assert_eq!((mask.height, mask.width), (2, 3));
            assert_eq!(mask.numbers, palette.map(i64::from));
        }
        assert_eq!(open(&wide, any).unwrap().numbers, [256, 7]);
    }

    #[test]
    fn colors_are_no_classes() {
        use png::{BitDepth::Eight, ColorType::*};
        assert!(open(&encoded(Rgb, Eight, 1, &[0; 6]), any).unwrap_err().contains("colors"));
        assert!(open(&encoded(GrayscaleAlpha, Eight, 1, &[0; 4]), any).unwrap_err().contains("colors"));
        let bytes = encoded(Grayscale, Eight, 1, &[1, 2]);
        assert!(open(&bytes[..bytes.len() - 20], any).unwrap_err().contains("damaged"));
        assert_eq!(open(&bytes, |h, w| Err(format!("{h} {w}"))).unwrap_err(), "2 1");
        assert!(open(b"no image", any).is_err());
    }
}
