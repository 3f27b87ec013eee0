//! Where the elements of stored tensors lie, byte by byte.
//!
//! A span is found by walking the wire format of the file itself, not by searching for values. What protobuf would merge
//! (a message that appears twice in a field that holds one) is refused where it concerns a tensor, so that bytes which a
//! reader ignores never pass for the ones it reads.

use super::{OnnxFile, external_data::Reference, scan};
use crate::{error::Result, tensor::DType};
use std::{collections::BTreeMap, ops::Range};

/// A length-delimited field: the varint of its length, its content, and the field around it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Index of the enclosing frame; `None` for a field of the model itself.
    pub parent: Option<usize>,
    /// Bytes of the length.
    pub prefix: Range<usize>,
    /// Bytes of the content.
    pub body: Range<usize>,
}

/// A run of elements in the model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    start: u32,
    end: u32,
    count: u32,
    frame: u32,
}

impl Chunk {
    /// A run of `count` elements in `bytes`; `frame` is the innermost length-delimited field around it.
    ///
    /// Positions are below 2^31, because [`OnnxFile::open`] refuses larger files.
    pub(super) fn new(bytes: Range<usize>, count: usize, frame: usize) -> Self {
        Self { start: bytes.start as u32, end: bytes.end as u32, count: count as u32, frame: frame as u32 }
    }

    /// The bytes.
    pub fn bytes(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Number of elements; for raw data, of bytes.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The innermost length-delimited field around the elements, whose length changes with them.
    pub fn frame(&self) -> usize {
        self.frame as usize
    }
}

/// In which form elements are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// No element.
    Empty,
    /// Little-endian elements of fixed width: raw data, or `float_data` and `double_data`, packed or not.
    Fixed(Vec<Chunk>),
    /// Varints: the other typed fields.
    Varint(Vec<Chunk>),
    /// In an external file; the index of the [`ExternalUse`].
    External(usize),
    /// Elements of a type that this program does not decode.
    Opaque(Vec<Chunk>),
}

/// What holds a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An initializer of the main graph or of a body.
    Initializer,
    /// A `Constant` node of the main graph or of a body, known by its output.
    Constant,
    /// The coefficients or intercepts that are an attribute of a linear model of ai.onnx.ml, by the node's name, a slash and
    /// the attribute's.
    Attribute,
    /// A checkpoint.
    Checkpoint,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub struct Span {
    /// What holds it.
    pub origin: Origin,
    /// `TensorProto.DataType`.
    pub data_type: i32,
    /// The same, if this program decodes it.
    pub dtype: Option<DType>,
    /// Extents.
    pub dims: Vec<usize>,
    /// Where the elements lie.
    pub storage: Storage,
}

impl Span {
    /// Number of elements.
    pub fn len(&self) -> usize {
        if self.dims.contains(&0) { 0 } else { self.dims.iter().product() }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The runs in the model file, in order; none for external data.
    pub fn chunks(&self) -> &[Chunk] {
        match &self.storage {
            Storage::Fixed(chunks) | Storage::Varint(chunks) | Storage::Opaque(chunks) => chunks,
            Storage::Empty | Storage::External(_) => &[],
        }
    }
}

/// A string in the model file that can be replaced.
#[derive(Clone, Debug)]
pub struct Text {
    /// Its bytes.
    pub bytes: Range<usize>,
    /// The string's own frame.
    pub frame: usize,
}

/// A tensor, anywhere in the model, whose elements lie in an external file.
#[derive(Clone, Debug)]
pub struct ExternalUse {
    /// The tensor, for messages.
    pub place: String,
    /// The entries as read.
    pub reference: Reference,
    /// The bytes in the external file.
    pub range: Range<usize>,
    /// Value of the entry `location`.
    pub location: Text,
    /// Value of the entry `checksum`.
    pub checksum: Option<Text>,
}

/// Where the elements of a file's tensors lie.
#[derive(Debug, Default)]
pub struct Spans {
    pub(super) frames: Vec<Frame>,
    pub(super) tensors: BTreeMap<String, Span>,
    pub(super) external: Vec<ExternalUse>,
}

impl Spans {
    /// Finds every initializer of the main graph, by name, and every tensor of a `Constant` node of the main graph, by
    /// the node's first output; those in a body of control flow by `<output of its node>/<attribute>/<name>`; the
    /// optimizer's states in training information; and every use of external data anywhere in the model. Where the parameters are in a checkpoint, its tensors and nothing else.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed): a name that is given twice, elements stored in two places, a number of elements that is not
    /// the shape's, external data that break a rule.
    pub fn scan(file: &OnnxFile) -> Result<Self> {
        match file.checkpoint() {
            Some(checkpoint) => Ok(checkpoint.spans()),
            None => scan::scan(file),
        }
    }

    /// The tensor that is stored under `name`.
    pub fn get(&self, name: &str) -> Option<&Span> {
        self.tensors.get(name)
    }

    /// All stored tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Span)> {
        self.tensors.iter().map(|(name, span)| (name.as_str(), span))
    }

    /// The length-delimited fields around spans; parents come before their children.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The float tensors among the optimizer's states in the file's training information: what it updates and its own
    /// algorithm holds. They are sums of gradients of past batches.
    pub fn optimizer_states(&self, file: &OnnxFile) -> Vec<(String, &Span)> {
        let updates = file.proto().training_info.iter().enumerate().flat_map(|(n, info)| {
            info.update_binding.iter().map(move |entry| format!("{}{}", scan::training_info(n), entry.key()))
        });
        let states = updates.filter_map(|name| Some((name.clone(), self.get(&name)?)));
        states.filter(|(_, span)| span.dtype.is_some_and(DType::is_float)).collect()
    }

    /// All uses of external data.
    pub fn external(&self) -> &[ExternalUse] {
        &self.external
    }
}
