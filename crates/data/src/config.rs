//! What a configuration file may say of the data: its `[data]`, `[inputs.NAME]` and `[target]` tables.

use super::{Layout, Places, Reduction, TargetKind};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// The tables of the configuration that speak of the data. Everything is optional: what can be inferred from the
/// model's inputs is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Files, and the columns that are not the model's.
    #[serde(rename = "data")]
    pub files: Files,
    /// How each model input is fed, by the input's name.
    pub inputs: BTreeMap<String, InputConfig>,
    /// What the rows should come out as.
    pub target: TargetConfig,
    /// The same for several outputs at once (`[[target]]`); then `target` says nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetConfig>,
}

/// The `[data]` table. Rows are in a file, a folder or a glob, or in a list of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// The rows that the model was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Places>,
    /// Rows that the model was not trained on: τ is their mean loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Places>,
    /// Rows that the model was not trained on: the audit compares the forgotten ones with them. If only one of
    /// `validation` and `test` is given, it is split in half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Places>,
    /// The column of row ids; `#row` for the training rows' numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The column of ids in the lists of ids to forget, where it has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forget_id: Option<String>,
    /// A column of `train` that says `train`, `validation` or `test`, in place of separate files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Rows whose decoded size is below this many MiB are kept decoded (2048 unless given).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

/// How the values of a column are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// Image files, or paths to them.
    Image,
    /// Lists of token ids, padded and cut to one length.
    Tokens,
    /// Numbers, or lists of as many numbers in every row.
    Numeric,
}

/// Order of a color image's channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as OpenCV reads them.
    Bgr,
}

/// How many channels, or in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Channels {
    /// 1, 3 or 4.
    Count(usize),
    /// Three of them, in this order.
    Order(ChannelOrder),
}

/// A size of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Extent {
    /// The shorter side; the other one follows.
    Short(u32),
    /// Height and width.
    Both([u32; 2]),
}

/// How pixels of a resized image are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// The mean of the pixels covered.
    Box,
    /// Linear in both directions.
    #[default]
    Bilinear,
    /// Cubic, with a = −1/2.
    Bicubic,
    /// Lanczos' filter of three lobes.
    Lanczos,
}

/// One number for all, or one for each channel (or column).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerChannel {
    /// The same for all.
    One(f64),
    /// One each.
    Each(Vec<f64>),
}

impl PerChannel {
    /// `n` numbers; `None` if there is another number of them.
    pub fn expand(&self, n: usize) -> Option<Vec<f64>> {
        match self {
            Self::One(x) => Some(vec![*x; n]),
            Self::Each(xs) => (xs.len() == n).then(|| xs.clone()),
        }
    }
}

/// Elements of an input that is the same in every row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fixed {
    /// `true` or `false`.
    Flag(bool),
    /// One number.
    Number(f64),
    /// As many as there are elements, row-major.
    Numbers(Vec<f64>),
    /// The same of flags.
    Flags(Vec<bool>),
}

impl Fixed {
    /// The elements; one may stand for all.
    pub fn elements(&self) -> Vec<f64> {
        let number = |flag: &bool| f64::from(u8::from(*flag));
        match self {
            Self::Flag(flag) => vec![number(flag)],
            Self::Number(x) => vec![*x],
            Self::Numbers(all) => all.clone(),
            Self::Flags(all) => all.iter().map(number).collect(),
        }
    }
}

/// An `[inputs.NAME]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// The column that feeds this input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Several columns of numbers that feed this input together, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// What the input is in every row: one number or flag, or as many as it has elements. Then no column feeds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Fixed>,
    /// The axis of the model's input along which the rows lie: 0 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_axis: Option<usize>,
    /// How to read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<InputKind>,
    /// A value becomes `(value · scale − mean) / std`. For images 1/255 unless given, otherwise 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Subtracted after scaling; 0 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<PerChannel>,
    /// Divided by after that; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<PerChannel>,
    /// Order of an image's axes, where the model's shape does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Size that images are brought to: height and width, or the shorter side; without it and `crop`, an image of another
    /// size is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Extent>,
    /// Height and width, or both as one number, that are then cut out of the center.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Extent>,
    /// How `resize` makes pixels; bilinear unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// Whether a pixel of a smaller image is made from all those that it covers, as Pillow does; true unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub antialias: Option<bool>,
    /// Channels of an image: how many (1, 3 or 4), where the model's shape does not tell; or their order, `rgb` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// The token that fills short rows; 0 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<i64>,
    /// Tokens a row; else the model's, else the longest of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

/// The `[target]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetConfig {
    /// The label's column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Several columns, one a label or value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// How to read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<TargetKind>,
    /// The names of the classes, as labels have them, in the order of the model's outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// The class of each label: a word or a number, and the place of the class among the model's outputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, i64>,
    /// The model's output that they belong to, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Labels of positions that do not count: −100 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<i64>>,
    /// A column with a number for each position: where it is 0, the position does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// The axis of the classes in the model's output, where a row has several positions and two readings of its shape fit; negative
    /// ones count from the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_axis: Option<i64>,
    /// The model input that labels of the kinds `next` and `same` are taken from, where several fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// How the losses of a row's positions become that of the row: their mean unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduction: Option<Reduction>,
    /// What this target counts for in the loss of a row, where there are several: 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

impl DataConfig {
    /// Makes relative paths relative to `base`, the folder of the configuration file.
    pub fn resolve(&mut self, base: &Path) {
        let places = [&mut self.files.train, &mut self.files.validation, &mut self.files.test];
        places.into_iter().flatten().for_each(|places| places.resolve(base));
    }

    /// A configuration for each of several targets, which says nothing of the others.
    pub fn parts(&self) -> Vec<Self> {
        let part = |target: &TargetConfig| Self { target: target.clone(), targets: Vec::new(), ..self.clone() };
        self.targets.iter().map(part).collect()
    }

    /// Decoded bytes below which a dataset is kept in memory.
    pub fn memory(&self) -> u64 {
        self.files.memory_mib.unwrap_or(2048).saturating_mul(1 << 20)
    }
}
