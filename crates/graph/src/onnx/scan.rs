//! The walk behind [`Spans::scan`](super::span::Spans::scan).
//!
//! It recurses into nested graphs, which is safe because [`layout`](super::layout) has bounded their depth.

use super::{
    OnnxFile,
    assemble::{self, Entry, TensorFields},
    attributes,
    layout::MAX_DEPTH,
    proto::tensor_proto::DataLocation,
    span::{Chunk, Frame, Origin, Span, Spans, Text},
    wire::{Field, Fields, Value, read_varint},
};
use crate::{error::Result, limits::Budget};
use std::ops::Range;

/// Finds the spans of `file`.
///
/// # Errors
/// Those of [`Spans::scan`].
pub fn scan(file: &OnnxFile) -> Result<Spans> {
    let mut scanner = Scanner { file, spans: Spans::default(), names: Budget::new(file.size()) };
    let mut trainings = 0;
    let whole = 0..file.bytes().len();
    scanner.fields(whole, |s, field| match field {
        (7, Value::Len { prefix, body }) => {
            let frame = s.enter(None, prefix, body);
            s.graph(frame, Some(""), 1)
        }
        (20, Value::Len { prefix, body }) => {
            let frame = s.enter(None, prefix, body.clone());
            let within = training_info(trainings);
            trainings += 1;
            s.fields(body, |s, field| match field {
                (number @ (1 | 2), Value::Len { prefix, body }) => {
                    let frame = s.enter(Some(frame), prefix, body);
                    s.graph(frame, Some(within.as_str()).filter(|_| number == 2), 2)
                }
                _ => Ok(()),
            })
        }
        (25, Value::Len { prefix, body }) => {
            let frame = s.enter(None, prefix, body.clone());
            s.fields(body, |s, field| match field {
                (7, Value::Len { prefix, body }) => {
                    let frame = s.enter(Some(frame), prefix, body);
                    s.node(frame, None, 2)
                }
                (11, Value::Len { prefix, body }) => {
                    let frame = s.enter(Some(frame), prefix, body);
                    s.attribute(frame, None, 2).map(|_| ())
                }
                _ => Ok(()),
            })
        }
        _ => Ok(()),
    })?;
    Ok(scanner.spans)
}

/// What stands before the names of the tensors in the algorithm of the `n`th training information.
pub(super) fn training_info(n: usize) -> String {
    format!("training_info/{n}/")
}

struct Scanner<'a> {
    file: &'a OnnxFile,
    spans: Spans,
    names: Budget,
}

/// An attribute, as far as elements that can be rewritten may lie in it.
struct Attribute {
    name: String,
    tensor: Option<TensorFields>,
    floats: Vec<Chunk>,
    float: Option<Chunk>,
}

impl Scanner<'_> {
    /// Calls `each` for all fields of the message in `body`.
    fn fields(
        &mut self,
        body: Range<usize>,
        mut each: impl FnMut(&mut Self, (u32, Value)) -> Result<()>,
    ) -> Result<()> {
        let file = self.file;
        let mut fields = Fields::new(file.bytes(), body);
        while let Some(Field { number, value, .. }) =
            fields.next_field().map_err(|e| file.malformed("model", e.to_string()))?
        {
            each(self, (number, value))?;
        }
        Ok(())
    }

    fn enter(&mut self, parent: Option<usize>, prefix: Range<usize>, body: Range<usize>) -> usize {
        self.spans.frames.push(Frame { parent, prefix, body });
        self.spans.frames.len() - 1
    }

    fn body(&self, frame: usize) -> Range<usize> {
        self.spans.frames.get(frame).map(|f| f.body.clone()).unwrap_or_default()
    }

    fn text(&self, range: &Range<usize>) -> String {
        String::from_utf8_lossy(self.file.bytes().get(range.clone()).unwrap_or_default()).into_owned()
    }

    /// Walks a graph whose tensors get the names that they have after `within`, or none.
    fn graph(&mut self, frame: usize, within: Option<&str>, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.file.malformed("model", "graphs nest too deep"));
        }
        self.fields(self.body(frame), |s, field| match field {
            (1, Value::Len { prefix, body }) => {
                let node = s.enter(Some(frame), prefix, body);
                s.node(node, within, depth + 1)
            }
            (5, Value::Len { prefix, body }) => {
                let tensor = s.enter(Some(frame), prefix, body);
                let found = s.tensor(tensor)?;
                let Some(within) = within else { return s.nested(found) };
                if found.name.is_empty() {
                    return Err(s.file.malformed("graph", "an initializer has no name"));
                }
                let name = format!("{within}{}", found.name);
                let span = s.finish(found, &name, Origin::Initializer)?;
                s.keep(name, span)
            }
            (15, Value::Len { prefix, body }) => {
                let sparse = s.enter(Some(frame), prefix, body);
                s.sparse(sparse)
            }
            _ => Ok(()),
        })
    }

    fn keep(&mut self, name: String, span: Span) -> Result<()> {
        // Tensors of bodies are named after the nodes around them, whose names may be long.
        self.names.hold(name.len(), "finding stored tensors", &name)?;
        if self.spans.tensors.contains_key(&name) {
            return Err(self.file.malformed(format!("tensor `{name}`"), "two stored tensors have this name"));
        }
        self.spans.tensors.insert(name, span);
        Ok(())
    }

    /// A tensor that cannot be changed: only its use of external data is kept.
    fn nested(&mut self, found: TensorFields) -> Result<()> {
        if found.external {
            let name = found.name.clone();
            self.finish(found, &name, Origin::Constant)?;
        }
        Ok(())
    }

    fn sparse(&mut self, frame: usize) -> Result<()> {
        let mut seen = [false; 3];
        self.fields(self.body(frame), |s, field| match field {
            (number @ (1 | 2), Value::Len { prefix, body }) => {
                if seen.get_mut(number as usize).is_some_and(|seen| std::mem::replace(seen, true)) {
                    return Err(s.file.malformed("sparse tensor", "its values or indices appear twice"));
                }
                let tensor = s.enter(Some(frame), prefix, body);
                let found = s.tensor(tensor)?;
                s.nested(found)
            }
            _ => Ok(()),
        })
    }

    /// The strings of field `number` of a message, as many as it has.
    fn strings(&mut self, frame: usize, number: u32) -> Result<Vec<String>> {
        let mut found = vec![];
        self.fields(self.body(frame), |s, field| {
            match field {
                (n, Value::Len { body, .. }) if n == number => found.push(s.text(&body)),
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn node(&mut self, frame: usize, within: Option<&str>, depth: usize) -> Result<()> {
        let (mut name, mut op, mut domain) = (String::new(), String::new(), String::new());
        let mut held = vec![];
        // Outputs are known before attributes, whichever comes first in the file.
        let outputs = self.strings(frame, 2)?;
        let named = outputs.iter().find(|name| !name.is_empty());
        let inner = within.zip(named).map(|(within, output)| format!("{within}{output}/"));
        self.fields(self.body(frame), |s, field| {
            match field {
                (3, Value::Len { body, .. }) => name = s.text(&body),
                (4, Value::Len { body, .. }) => op = s.text(&body),
                (7, Value::Len { body, .. }) => domain = s.text(&body),
                (5, Value::Len { prefix, body }) => {
                    let attribute = s.enter(Some(frame), prefix, body);
                    held.push(s.attribute(attribute, inner.as_deref(), depth + 1)?);
                }
                _ => {}
            }
            Ok(())
        })?;
        let constant = op == "Constant" && matches!(domain.as_str(), "" | "ai.onnx");
        let output = outputs.first().filter(|name| constant && !name.is_empty());
        let output = within.zip(output).map(|(within, output)| format!("{within}{output}"));
        let linear = within.filter(|_| attributes::is_linear(&domain, &op));
        let label = linear.map(|within| format!("{within}{}", attributes::label(&name, &op, &outputs)));
        for Attribute { name, tensor, floats, float } in held {
            let kept = match (name.as_str(), &output, &label) {
                ("value", Some(output), _) => match tensor {
                    Some(found) => Some((output.clone(), self.finish(found, output, Origin::Constant)?)),
                    None => None,
                },
                ("value_floats", Some(output), _) => {
                    Some((output.clone(), assemble::float_span(Origin::Constant, true, floats)))
                }
                ("value_float", Some(output), _) => {
                    float.map(|chunk| (output.clone(), assemble::float_span(Origin::Constant, false, vec![chunk])))
                }
                (name, _, Some(label)) if attributes::WEIGHTS.contains(&name) && !floats.is_empty() => {
                    Some((format!("{label}/{name}"), assemble::float_span(Origin::Attribute, true, floats)))
                }
                _ => {
                    tensor.map_or(Ok(()), |found| self.nested(found))?;
                    None
                }
            };
            if let Some((name, span)) = kept {
                self.keep(name, span)?;
            }
        }
        Ok(())
    }

    /// An attribute. `within` stands before the names of the bodies of its node.
    #[allow(clippy::collapsible_match)] // what the inner `if` asks changes `float`, which no guard should
    fn attribute(&mut self, frame: usize, within: Option<&str>, depth: usize) -> Result<Attribute> {
        let name = self.strings(frame, 1)?.pop().unwrap_or_default();
        let (mut found, mut float, mut floats) = (None, None, vec![]);
        self.fields(self.body(frame), |s, field| {
            match field {
                (2, Value::Fixed32(bytes)) => {
                    let before = float.replace(Chunk::new(bytes, 1, frame));
                    if before.is_some() {
                        return Err(s.file.malformed(format!("attribute `{name}`"), "its value appears twice"));
                    }
                }
                (5, Value::Len { prefix, body }) => {
                    let tensor = s.enter(Some(frame), prefix, body);
                    let tensor = s.tensor(tensor)?;
                    if found.replace(tensor).is_some() {
                        return Err(s.file.malformed(format!("attribute `{name}`"), "its tensor appears twice"));
                    }
                }
                (7, value) if within.is_some() => s.numbers(&mut floats, value, frame),
                (number @ (6 | 11), Value::Len { prefix, body }) => {
                    let graph = s.enter(Some(frame), prefix, body);
                    let inner = within.filter(|_| number == 6).map(|within| format!("{within}{name}/"));
                    s.graph(graph, inner.as_deref(), depth + 1)?;
                }
                (10, Value::Len { prefix, body }) => {
                    let tensor = s.enter(Some(frame), prefix, body);
                    let tensor = s.tensor(tensor)?;
                    s.nested(tensor)?;
                }
                (22 | 23, Value::Len { prefix, body }) => {
                    let sparse = s.enter(Some(frame), prefix, body);
                    s.sparse(sparse)?;
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(Attribute { name, tensor: found, floats, float })
    }

    /// Adds a repeated number, packed or not.
    fn numbers(&mut self, chunks: &mut Vec<Chunk>, value: Value, frame: usize) {
        match value {
            Value::Len { prefix, body } if !body.is_empty() => {
                // How many numbers: for varints, the bytes that end one. Widths of fixed numbers are told apart later.
                let payload = self.file.bytes().get(body.clone()).unwrap_or_default();
                let ends = payload.iter().filter(|&&b| b < 0x80).count();
                let packed = self.enter(Some(frame), prefix, body.clone());
                chunks.push(Chunk::new(body, ends, packed));
            }
            Value::Varint(_, bytes) | Value::Fixed32(bytes) | Value::Fixed64(bytes) => {
                chunks.push(Chunk::new(bytes, 1, frame));
            }
            Value::Len { .. } | Value::Group => {}
        }
    }

    fn tensor(&mut self, frame: usize) -> Result<TensorFields> {
        let mut found = TensorFields::default();
        self.fields(self.body(frame), |s, field| {
            match field {
                (1, Value::Varint(dim, _)) => found.dims.push(dim as i64),
                (1, Value::Len { body, .. }) => {
                    let bytes = s.file.bytes().get(..body.end).unwrap_or_default();
                    let mut at = body.start;
                    while at < body.end {
                        let (dim, end) = read_varint(bytes, at).map_err(|e| s.file.malformed("dims", e.to_string()))?;
                        found.dims.push(dim as i64);
                        at = end;
                    }
                }
                (2, Value::Varint(code, _)) => found.data_type = code as i32,
                (3, _) => found.segment = true,
                (8, Value::Len { body, .. }) => found.name = s.text(&body),
                (9, Value::Len { prefix, body }) => {
                    let raw = s.enter(Some(frame), prefix, body.clone());
                    if found.raw.replace(Chunk::new(body.clone(), body.len(), raw)).is_some() {
                        return Err(s.file.malformed(format!("tensor `{}`", found.name), "raw_data appears twice"));
                    }
                }
                (number @ (4 | 5 | 7 | 10 | 11), value) => {
                    s.numbers(found.typed.entry(number).or_default(), value, frame);
                }
                // Strings: their number is all that matters.
                (6, Value::Len { body, .. }) => {
                    found.typed.entry(6).or_default().push(Chunk::new(body, 1, frame));
                }
                (13, Value::Len { prefix, body }) => {
                    let entry = s.enter(Some(frame), prefix, body);
                    let entry = s.entry(entry)?;
                    found.entries.push(entry);
                }
                (14, Value::Varint(code, _)) => found.external = code as i32 == DataLocation::External as i32,
                _ => {}
            }
            Ok(())
        })?;
        found.typed.retain(|_, chunks| !chunks.is_empty());
        Ok(found)
    }

    fn entry(&mut self, frame: usize) -> Result<Entry> {
        let mut entry = Entry { key: String::new(), value: None };
        let (mut keys, mut values) = (0, 0);
        self.fields(self.body(frame), |s, field| {
            match field {
                (1, Value::Len { body, .. }) => {
                    keys += 1;
                    entry.key = s.text(&body);
                }
                (2, Value::Len { prefix, body }) => {
                    values += 1;
                    let frame = s.enter(Some(frame), prefix, body.clone());
                    entry.value = Some(Text { bytes: body, frame });
                }
                _ => {}
            }
            Ok(())
        })?;
        let twice = keys > 1 || values > 1;
        if twice { Err(self.file.malformed("external_data", "an entry has two keys or values")) } else { Ok(entry) }
    }

    /// Holds the parts of a tensor against each other.
    fn finish(&mut self, found: TensorFields, name: &str, origin: Origin) -> Result<Span> {
        let file = self.file;
        let spans = &mut self.spans;
        assemble::finish(file, spans, found, name, origin)
            .map_err(|problem| file.malformed(format!("tensor `{name}`"), problem))
    }
}
