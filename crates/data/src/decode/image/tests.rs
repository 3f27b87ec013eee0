use super::*;
use crate::{Extent, Interpolation};
use arrow_array::{Array, BinaryArray, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage, RgbaImage};
use std::{io::Cursor, sync::Arc};

fn encoded(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn png(image: DynamicImage) -> Vec<u8> {
    encoded(image, ImageFormat::Png)
}

fn pictures(channels: usize, layout: Layout, affine: Vec<(f64, f64)>) -> Pictures {
    let dims = match layout {
        Layout::Nchw => vec![channels, 2, 3],
        Layout::Nhwc => vec![2, 3, channels],
    };
    Pictures {
        column: "image".into(),
        channels,
        order: ChannelOrder::Rgb,
        height: 2,
        width: 3,
        geometry: None,
        deep: false,
        layout,
        dims,
        dtype: DType::F32,
        affine,
    }
}

fn decode(feed: &Pictures, files: &[Vec<u8>]) -> Result<Store, Fault> {
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(files));
    feed.decode(&array, Path::new(""))
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
    let mut nhwc = pictures(3, Layout::Nhwc, affine);
    let store = decode(&nhwc, &[sample()]).unwrap();
    assert_eq!(nhwc.stack(&store, &[0]).unwrap().to_f32()[..6], [0., 0., 100., 10., 0., 100.]);
    // The factors follow the model's order.
    nhwc.order = ChannelOrder::Bgr;
    let store = decode(&nhwc, &[sample()]).unwrap();
    assert_eq!(nhwc.stack(&store, &[0]).unwrap().to_f32()[..6], [200., 0., 0., 200., 0., 5.]);
}

#[test]
fn gray_color_and_alpha_become_what_the_model_takes() {
    let gray = png(DynamicImage::ImageLuma8(GrayImage::from_pixel(3, 2, Luma([7]))));
    let alpha = png(DynamicImage::ImageRgba8(RgbaImage::from_pixel(3, 2, image::Rgba([255, 0, 0, 9]))));
    let three = pictures(3, Layout::Nchw, vec![(1.0, 0.0)]);
    let store = decode(&three, &[gray.clone(), alpha.clone()]).unwrap();
    let values = three.stack(&store, &[0, 1]).unwrap().to_f32();
    assert_eq!(values[..18], [7.0; 18]);
    assert_eq!((values[18], values[24], values[30]), (255.0, 0.0, 0.0));
    let one = pictures(1, Layout::Nchw, vec![(1.0, 0.0)]);
    let store = decode(&one, &[gray.clone(), alpha.clone()]).unwrap();
    let values = one.stack(&store, &[0, 1]).unwrap().to_f32();
    // 0.299 · 255 = 76.2
    assert_eq!((values[0], values[6]), (7.0, 76.0));
    let four = pictures(4, Layout::Nhwc, vec![(1.0, 0.0); 4]);
    let store = decode(&four, &[gray, alpha]).unwrap();
    let values = four.stack(&store, &[0, 1]).unwrap().to_f32();
    assert_eq!((&values[..4], &values[24..28]), (&[7., 7., 7., 255.][..], &[255., 0., 0., 9.][..]));
}

#[test]
fn another_size_is_an_error_unless_resizing_is_asked_for() {
    let large = png(DynamicImage::ImageRgb8(RgbImage::from_pixel(6, 4, Rgb([9, 9, 9]))));
    let mut feed = pictures(3, Layout::Nchw, vec![(1.0, 0.0)]);
    let error = decode(&feed, &[sample(), large.clone()]).unwrap_err();
    assert_eq!(error.row, Some(1));
    assert!(error.problem.contains("4×6") && error.problem.contains("resize = [2, 3]"), "{}", error.problem);
    feed.geometry = Some(Geometry { resize: Some(Extent::Both([2, 3])), antialias: true, ..Geometry::default() });
    let store = decode(&feed, &[large]).unwrap();
    assert_eq!(feed.stack(&store, &[0]).unwrap().to_f32(), [9.0; 18]);
    let error = decode(&feed, &[sample(), b"no image".to_vec(), sample(), Vec::new()]).unwrap_err();
    assert!(error.row == Some(1) && error.problem.contains("no image of a known format"), "{}", error.problem);
    assert!(error.problem.contains("at least 1 other rows"), "{}", error.problem);
}

#[test]
fn every_format_is_read_and_a_truncated_file_is_not() {
    let image = RgbImage::from_fn(3, 2, |x, y| Rgb([if x == 0 { 255 } else { 0 }, 255 * y as u8, 255]));
    let feed = pictures(3, Layout::Nhwc, vec![(1.0, 0.0)]);
    let formats =
        [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Gif, ImageFormat::Jpeg];
    for format in formats {
        let bytes = encoded(DynamicImage::ImageRgb8(image.clone()), format);
        let store = decode(&feed, std::slice::from_ref(&bytes)).unwrap();
        if format != ImageFormat::Jpeg {
            assert_eq!(feed.stack(&store, &[0]).unwrap().to_f32()[..6], [255., 0., 255., 0., 0., 255.], "{format:?}");
        }
        let error = decode(&feed, &[bytes.clone(), bytes[..bytes.len() * 7 / 10].to_vec()]).unwrap_err();
        assert!(error.row == Some(1) && error.problem.contains("truncated"), "{format:?}: {}", error.problem);
    }
    let error = decode(&feed, &[b"\0\0\0\x1cftypheic".to_vec()]).unwrap_err();
    assert!(error.problem.contains("is an HEIC image; PNG, JPEG"), "{}", error.problem);
}

#[test]
fn sixteen_bits_keep_their_fractions() {
    let image = image::ImageBuffer::from_fn(3, 2, |x, _| Luma([1000u16 * x as u16 + 1]));
    let bytes = png(DynamicImage::ImageLuma16(image));
    assert!(look(&bytes).unwrap().deep);
    let mut feed = pictures(1, Layout::Nchw, vec![(1.0 / 255.0, 0.0)]);
    let error = decode(&feed, std::slice::from_ref(&bytes)).unwrap_err();
    assert!(error.problem.contains("16 bits"), "{}", error.problem);
    feed.deep = true;
    let eight = png(DynamicImage::ImageLuma8(GrayImage::from_pixel(3, 2, Luma([51]))));
    let store = decode(&feed, &[bytes, eight]).unwrap();
    let values = feed.stack(&store, &[0, 1]).unwrap().to_f32();
    assert!((values[1] - 1001.0 / 65535.0).abs() < 1e-7 && (values[6] - 0.2).abs() < 1e-7, "{values:?}");
}

/// A JPEG or PNG image with an EXIF orientation.
fn oriented(image: RgbImage, orientation: u8) -> Vec<u8> {
    let tiff =
        [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0, 0]].concat();
    let bytes = png(DynamicImage::ImageRgb8(image));
    // Behind the header: 8 bytes of signature and 25 of IHDR.
    let chunk = [b"eXIf".as_slice(), &tiff].concat();
    let mut crc = !0u32;
    for byte in &chunk {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()));
    }
    let length = (tiff.len() as u32).to_be_bytes();
    [&bytes[..33], &length, &chunk, &(!crc).to_be_bytes(), &bytes[33..]].concat()
}

#[test]
fn images_stand_upright() {
    // Upright it is 2 high and 3 wide; 6 says that the file has it turned to the left.
    let lying = RgbImage::from_fn(2, 3, |x, y| Rgb([10 * y as u8, 100 * x as u8, 0]));
    let bytes = oriented(lying, 6);
    let seen = look(&bytes).unwrap();
    assert_eq!((seen.height, seen.width), (2, 3));
    let feed = pictures(3, Layout::Nhwc, vec![(1.0, 0.0)]);
    let values = feed.stack(&decode(&feed, &[bytes]).unwrap(), &[0]).unwrap().to_f32();
    let first_row: Vec<_> = values.chunks(3).take(3).map(|p| (p[0], p[1])).collect();
    assert_eq!(first_row, [(20., 0.), (10., 0.), (0., 0.)]);
}

#[test]
fn paths_lead_to_files_below_the_table() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/a.png"), sample()).unwrap();
    let whole = folder.path().join("sub/a.png").display().to_string();
    let feed = pictures(3, Layout::Nhwc, vec![(1.0, 0.0)]);
    let paths: ArrayRef = Arc::new(StringArray::from(vec!["sub/a.png", &whole]));
    let store = feed.decode(&paths, folder.path()).unwrap();
    assert_eq!(feed.stack(&store, &[1]).unwrap().to_f32()[3], 10.0);
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(sample().as_slice()), None]));
    let path: ArrayRef = Arc::new(StringArray::from(vec![None, Some("sub/a.png")]));
    let structs = StructArray::from(vec![
        (Arc::new(Field::new("bytes", DataType::Binary, true)), bytes),
        (Arc::new(Field::new("path", DataType::Utf8, true)), path),
    ]);
    let structs: ArrayRef = Arc::new(structs);
    assert_eq!((crate::column::has_nulls(&structs), structs.len()), (false, 2));
    assert!(feed.decode(&structs, folder.path()).is_ok());
    for (path, said) in
        [("../a.png", "leads out of the table's folder"), ("b.png", "cannot be read"), ("sub", "is no file")]
    {
        let paths: ArrayRef = Arc::new(StringArray::from(vec!["sub/a.png", path]));
        let error = feed.decode(&paths, folder.path()).unwrap_err();
        assert!(error.row == Some(1) && error.problem.contains(said), "{}", error.problem);
    }
}

/// Against Pillow: `fixtures/images/make.py` wrote what it makes of the same image.
#[test]
fn sizes_are_brought_about_as_pillow_and_torchvision_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/images");
    let source = std::fs::read(folder.join("source.png")).unwrap();
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("pillow.json")).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 10);
    for case in cases {
        let pair = |name: &str| -> Option<[u64; 2]> { serde_json::from_value(case[name].clone()).ok() };
        let resize = match (case["short"].as_u64(), pair("resize")) {
            (Some(short), _) => Some(Extent::Short(short as u32)),
            (None, both) => both.map(|b| Extent::Both(b.map(|n| n as u32))),
        };
        let interpolation: Interpolation = serde_json::from_value(case["interpolation"].clone()).unwrap();
        let crop = pair("crop").map(|c| c.map(|n| n as usize));
        let geometry = Geometry { resize, crop, interpolation, antialias: true };
        let image = u8::raster(open::open(&source, |_| Ok(())).unwrap(), 3);
        let (h, w) = geometry.size(image.height, image.width).unwrap();
        let made = geometry.apply(image);
        let expected: Vec<u8> = serde_json::from_value(case["pixels"].clone()).unwrap();
        assert_eq!((made.height, made.width, made.pixels.len()), (h, w, expected.len()), "{case}");
        assert_eq!(made.pixels, expected, "{interpolation:?} {resize:?} {crop:?}");
    }
}
