//! An encoded image as pixels: upright, whole, and of no more pixels than it may have.

use crate::quiet;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, metadata::Orientation};
use std::io::Cursor;

/// Pixels of an image, at most.
const PIXELS: u64 = 1 << 27;

/// What one image file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Rows of pixels, when it stands upright.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Whether it has color.
    pub color: bool,
    /// Whether it has an alpha channel.
    pub alpha: bool,
    /// Whether its pixels have 16 bits.
    pub deep: bool,
}

/// Looks at an encoded image without decoding its pixels.
///
/// # Errors
/// What the bytes are instead of an image, or what is wrong with it.
pub fn look(bytes: &[u8]) -> Result<Picture, String> {
    quiet::catch(|| header(bytes).map(|h| h.picture)).unwrap_or_else(|_| Err(DAMAGED.into()))
}

/// Decodes an image and turns it as its EXIF orientation says. `fits` is asked before its pixels are decoded.
///
/// # Errors
/// As [`look`]; what `fits` says.
pub fn open(bytes: &[u8], fits: impl FnOnce(Picture) -> Result<(), String>) -> Result<DynamicImage, String> {
    quiet::catch(|| decoded(bytes, fits)).unwrap_or_else(|_| Err(DAMAGED.into()))
}

const DAMAGED: &str = "is a damaged or truncated image";

struct Header<D> {
    decoder: D,
    picture: Picture,
    orientation: Orientation,
    jpeg: bool,
}

fn problem(e: image::ImageError) -> String {
    match e {
        image::ImageError::Unsupported(_) => "is an image of a kind that is not read".into(),
        image::ImageError::Limits(_) => "is an image that takes too much memory".into(),
        _ => DAMAGED.into(),
    }
}

fn header(bytes: &[u8]) -> Result<Header<impl ImageDecoder + '_>, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| problem(e.into()))?;
    let Some(format) = reader.format() else { return Err(other(bytes)) };
    reader.limits(Limits::default());
    let mut decoder = reader.into_decoder().map_err(|e| match e {
        image::ImageError::Unsupported(_) if !format.reading_enabled() => {
            format!("is an image of the format {format:?}; PNG, JPEG, WebP, GIF, BMP and TIFF are read")
        }
        e => problem(e),
    })?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS {
        return Err(format!("is an image of {height}×{width} pixels, which is more than is decoded"));
    }
    let orientation = orientation(&mut decoder);
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let (height, width) = match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (width as usize, height as usize),
        _ => (height as usize, width as usize),
    };
    let ty = decoder.color_type();
    let deep = ty.bytes_per_pixel() > ty.channel_count();
    let picture = Picture { height, width, color: ty.has_color(), alpha: ty.has_alpha(), deep };
    Ok(Header { decoder, picture, orientation, jpeg: format == image::ImageFormat::Jpeg })
}

fn decoded(bytes: &[u8], fits: impl FnOnce(Picture) -> Result<(), String>) -> Result<DynamicImage, String> {
    let Header { decoder, picture, orientation, jpeg } = header(bytes)?;
    fits(picture)?;
    if jpeg && !whole(bytes) {
        return Err("is a truncated JPEG image".into());
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(problem)?;
    if matches!(image, DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)) {
        return Err("is an image whose pixels are floats".into());
    }
    image.apply_orientation(orientation);
    Ok(image)
}

/// How the image is to be turned: by EXIF, as Pillow reads it.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    let exif = decoder.exif_metadata().ok().flatten();
    let exif = exif.as_deref().map(|e| e.strip_prefix(b"Exif\0\0").unwrap_or(e));
    exif.and_then(Orientation::from_exif_chunk)
        .or_else(|| decoder.orientation().ok())
        .unwrap_or(Orientation::NoTransforms)
}

/// Whether a JPEG file has its end. The decoder fills what is missing with gray.
fn whole(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        // Of coded pixels, 0xFF 0x00 is one byte, and 0xD0 to 0xD7 only mark places.
        let (0xFF, Some(&marker)) = (first, behind.first()) else { continue };
        match marker {
            0xFF | 0x00 | 0x01 | 0xD0..=0xD8 => {}
            0xD9 => return true,
            _ => {
                let length = behind.get(1..3).and_then(|l| <[u8; 2]>::try_from(l).ok()).map(u16::from_be_bytes);
                rest = length.and_then(|n| behind.get(1 + usize::from(n)..)).unwrap_or(&[]);
            }
        }
    }
    false
}

/// What bytes are that are no image of a format that is read.
fn other(bytes: &[u8]) -> String {
    let kinds: [(usize, &[u8], &str); 12] = [
        (4, b"ftypheic", "an HEIC image"),
        (4, b"ftypheix", "an HEIC image"),
        (4, b"ftypmif1", "an HEIF image"),
        (4, b"ftypavif", "an AVIF image"),
        (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
        (0, b"\xff\x0a", "a JPEG XL image"),
        (4, b"jP  ", "a JPEG 2000 image"),
        (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (0, b"8BPS", "a Photoshop file"),
        (0, b"<svg", "an SVG drawing"),
        (0, b"%PDF", "a PDF document"),
        (0, b"\x93NUMPY", "a NumPy array"),
    ];
    let starts = |(at, magic, _): &&(usize, &[u8], &str)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic));
    match kinds.iter().find(starts) {
        Some((.., kind)) => format!("is {kind}; PNG, JPEG, WebP, GIF, BMP and TIFF are read"),
        None if bytes.is_empty() => "is empty".into(),
        None => "is no image of a known format; PNG, JPEG, WebP, GIF, BMP and TIFF are read".into(),
    }
}
