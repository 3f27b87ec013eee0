//! How images become an input: shape, channels, size, scale.

use super::super::{
    ChannelOrder, Channels, Extent, InputConfig, InputSpec, Layout,
    decode::{Encoded, Feed, Geometry, Picture, Pictures, look},
    fault::Fault,
    source::{self, Source},
};
use super::{
    feeds::{affine, wrong},
    say,
};
use crate::{Error, Result, tensor::DType};

/// The axes of an input that takes images.
struct Axes {
    layout: Layout,
    channels: Option<usize>,
    height: Option<usize>,
    width: Option<usize>,
    rank: usize,
}

/// Makes the feed of an input from a column of encoded images, or of their paths.
///
/// # Errors
/// [`Error::Data`] if the input takes no images, or if shape, channels, size or scale stay open or contradict the
/// images; [`Error::ReadData`] if the first row's image cannot be read.
pub fn image(source: &Source, spec: &InputSpec, given: &InputConfig, name: &str) -> Result<(Feed, String)> {
    if !spec.dtype.is_float() && spec.dtype != DType::U8 {
        return Err(wrong(source, spec, name, &format!("holds images, but the input takes {}", spec.dtype)));
    }
    let picture = first(source, name)?;
    let axes = axes(spec, given)?;
    let (channels, order) = channels(spec, given, &axes, &picture)?;
    let geometry = geometry(given);
    let (height, width) = size(spec, given, &axes, &picture, geometry)?;
    let default = if spec.dtype == DType::U8 { 1.0 } else { 1.0 / 255.0 };
    let affine = affine(spec, given, channels, default)?;
    if spec.dtype == DType::U8 && affine.iter().any(|a| *a != (1.0, 0.0)) {
        return Err(ask(spec, "it takes bytes, which are not scaled", "no scale, mean or std"));
    }
    if spec.dtype == DType::U8 && picture.deep {
        return Err(wrong(source, spec, name, "holds images of 16 bits, but the input takes bytes"));
    }
    let layout = axes.layout;
    let dims = match (axes.rank, layout) {
        (2, _) => vec![height, width],
        (_, Layout::Nchw) => vec![channels, height, width],
        (_, Layout::Nhwc) => vec![height, width, channels],
    };
    let feed = Pictures {
        column: name.to_owned(),
        channels,
        order,
        height,
        width,
        geometry,
        deep: picture.deep,
        layout,
        dims,
        dtype: spec.dtype,
        affine,
    };
    let how = described(&feed, given, &picture);
    Ok((Feed::Image(feed), how))
}

fn ask(spec: &InputSpec, problem: &str, entry: &str) -> Error {
    let (shape, hint) = (spec.shape(), say(&spec.name, entry));
    Error::Data(format!("input `{}` has shape {shape}: {problem}; {hint}", spec.name))
}

/// A look at the first row's image.
fn first(source: &Source, name: &str) -> Result<Picture> {
    let none = || Error::Data(format!("{}: no rows", source.path().display()));
    let piece = *source.pieces().iter().find(|p| p.rows > 0).ok_or_else(none)?;
    let batch = source.read(piece, &[name], None, 1)?.next().ok_or_else(none)??;
    let array = batch.columns().first().ok_or_else(none)?;
    let images = Encoded::of(array, &source::folder_of(&batch));
    let seen = images.and_then(|images| images.get(0).and_then(|bytes| look(&bytes)));
    seen.map_err(|problem| source.fault(piece, None, 0, Fault::at(0, format!("column `{name}` {problem}"))))
}

/// Height and width of the first row's image.
///
/// # Errors
/// As [`image`], of an image that cannot be read.
pub fn size_of_first(source: &Source, name: &str) -> Result<(usize, usize)> {
    first(source, name).map(|picture| (picture.height, picture.width))
}

fn axes(spec: &InputSpec, given: &InputConfig) -> Result<Axes> {
    let usual = |d: Option<usize>| matches!(d, Some(1 | 3));
    // Without any shape, images go in as most models have them.
    let open = [None, None, None];
    match *spec.row_dims().unwrap_or(&open) {
        [height, width] => Ok(Axes { layout: Layout::Nchw, channels: Some(1), height, width, rank: 2 }),
        [a, b, c] => {
            let layout = match given.layout {
                Some(layout) => layout,
                None if usual(a) && !usual(c) => Layout::Nchw,
                None if usual(c) && !usual(a) => Layout::Nhwc,
                None if a.is_none() && c.is_none() => Layout::Nchw,
                // Four channels are rarer than images four pixels wide.
                None if a == Some(4) && c != Some(4) && !usual(c) => Layout::Nchw,
                None if c == Some(4) && a != Some(4) && !usual(a) => Layout::Nhwc,
                None => {
                    let problem = "it does not tell which axis is the channel";
                    return Err(ask(spec, problem, "layout = \"nchw\" or \"nhwc\""));
                }
            };
            let (channels, height, width) = match layout {
                Layout::Nchw => (a, b, c),
                Layout::Nhwc => (c, a, b),
            };
            Ok(Axes { layout, channels, height, width, rank: 3 })
        }
        _ => Err(ask(spec, "no images go into it", "column = \"...\" of numbers")),
    }
}

fn channels(spec: &InputSpec, given: &InputConfig, axes: &Axes, picture: &Picture) -> Result<(usize, ChannelOrder)> {
    let (asked, order) = match given.channels {
        None => (None, None),
        Some(Channels::Count(n)) => (Some(n), None),
        Some(Channels::Order(order)) => (axes.channels.filter(|n| *n == 4).or(Some(3)), Some(order)),
    };
    let channels = axes.channels.or(asked).unwrap_or(if picture.color { 3 } else { 1 });
    if !matches!(channels, 1 | 3 | 4) || asked.is_some_and(|c| c != channels) {
        return Err(ask(
            spec,
            &format!("images have 1, 3 or 4 channels, not {}", asked.unwrap_or(channels)),
            "channels = 1, 3 or 4, as the model takes",
        ));
    }
    Ok((channels, order.unwrap_or_default()))
}

fn geometry(given: &InputConfig) -> Option<Geometry> {
    let crop = given.crop.map(|crop| match crop {
        Extent::Short(n) => [n as usize; 2],
        Extent::Both(both) => both.map(|n| n as usize),
    });
    (given.resize.is_some() || crop.is_some()).then(|| Geometry {
        resize: given.resize,
        crop,
        interpolation: given.interpolation.unwrap_or_default(),
        antialias: given.antialias.unwrap_or(true),
    })
}

/// Height and width of every image.
fn size(
    spec: &InputSpec,
    given: &InputConfig,
    axes: &Axes,
    picture: &Picture,
    geometry: Option<Geometry>,
) -> Result<(usize, usize)> {
    if let (None, Some(_)) = (geometry, given.interpolation.map(|_| ()).or(given.antialias.map(|_| ()))) {
        return Err(ask(spec, "`interpolation` and `antialias` say how `resize` works", "resize = [height, width]"));
    }
    let made = match (geometry.and_then(|g| g.crop), given.resize) {
        (Some([h, w]), _) => (Some(h), Some(w)),
        (None, Some(Extent::Both([h, w]))) => (Some(h as usize), Some(w as usize)),
        // Every image has its own size then, unless the model says one.
        (None, Some(Extent::Short(_))) => (None, None),
        (None, None) => (None, None),
    };
    let extent = |model: Option<usize>, made: Option<usize>, seen: usize| match (model, made) {
        (Some(m), Some(a)) if m != a => Err(ask(
            spec,
            &format!("`resize` and `crop` make {a} where the model takes {m}"),
            "resize or crop = [height, width] as the model takes",
        )),
        (Some(m), _) => Ok(m),
        (None, made) => Ok(made.unwrap_or(seen)),
    };
    let seen = geometry.and_then(|g| g.size(picture.height, picture.width)).unwrap_or((picture.height, picture.width));
    let size = (extent(axes.height, made.0, seen.0)?, extent(axes.width, made.1, seen.1)?);
    match size.0 == 0 || size.1 == 0 {
        true => Err(ask(spec, "images without pixels", "resize = [height, width] of at least 1")),
        false => Ok(size),
    }
}

fn described(feed: &Pictures, given: &InputConfig, picture: &Picture) -> String {
    let values = match (given.scale, &given.mean, &given.std) {
        _ if feed.dtype == DType::U8 => "pixels 0 to 255".into(),
        (None, None, None) => "pixels / 255".into(),
        _ => {
            let sign = |b: f64| if b < 0.0 { '−' } else { '+' };
            let of = |(a, b): &(f64, f64)| format!("pixel · {a:.6} {} {:.6}", sign(*b), b.abs());
            feed.affine.iter().map(of).collect::<Vec<_>>().join(", ")
        }
    };
    let mut how = format!(
        "column `{}`, images of {}×{}×{} as {:?}",
        feed.column, feed.channels, feed.height, feed.width, feed.layout
    );
    if let Some(geometry) = feed.geometry {
        match geometry.resize {
            Some(Extent::Short(n)) => how += &format!(", shorter side resized to {n}"),
            Some(Extent::Both(_)) => how += ", resized",
            None => {}
        }
        if geometry.resize.is_some() {
            how += &format!(" ({})", format!("{:?}", geometry.interpolation).to_lowercase());
        }
        if geometry.crop.is_some() {
            how += ", cut to the center";
        }
    }
    if feed.order == ChannelOrder::Bgr {
        how += ", blue first";
    }
    if picture.alpha && feed.channels != 4 {
        how += ", alpha dropped";
    }
    if feed.deep {
        how += ", 16 bits brought to 0 to 255 with their fractions";
    }
    format!("{how}, {values}")
}
