//! Writes what fuzzing begins with, a folder for each target, from the files under `fixtures/`: `seeds FOLDER`.

mod tables;

// It holds what the compiler's instrumentation calls.
use libfuzzer_sys as _;
use onnx_forget_fuzz::{
    joined,
    protobuf::{self, Field, Message, Value},
};
use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

/// Bytes of a seed, at most.
const MOST: usize = 1 << 16;

/// Where the seeds of all targets go.
pub struct Corpora(PathBuf);

impl Corpora {
    /// Keeps a seed, under a name that its content tells.
    pub fn add(&self, target: &str, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > MOST {
            return Ok(());
        }
        let folder = self.0.join(target);
        fs::create_dir_all(&folder)?;
        let name =
            bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |n, b| (n ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
        fs::write(folder.join(format!("{name:016x}")), bytes)
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let corpora = Corpora(std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?.into());
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let mut found = Vec::new();
    files(&fixtures, &mut found)?;
    for path in found {
        let bytes = fs::read(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match path.extension().map(|e| e.to_string_lossy()).as_deref() {
            Some("onnx") => model(&corpora, &path, &bytes)?,
            Some("parquet") if name == "cases.parquet" || name == "refusals.parquet" => {
                tables::models(&bytes)?.iter().try_for_each(|model| self::model(&corpora, &path, model))?;
            }
            Some("parquet") => tables::rows(&corpora, &bytes).unwrap_or_else(|e| eprintln!("{}: {e}", path.display())),
            Some("png") => corpora.add("image", &bytes)?,
            Some("toml") if name.ends_with(".forget.toml") => corpora.add("config", &bytes)?,
            None if name.ends_with("checkpoint") => corpora.add("checkpoint", &[&[0], bytes.as_slice()].concat())?,
            _ => {}
        }
    }
    let (mut parts, mut folder) = (Vec::new(), vec![1]);
    files(&fixtures.join("artifacts/legacy/checkpoint"), &mut parts)?;
    for part in parts {
        // Of each kind of file one that is short enough.
        let bytes = fs::read(part)?;
        folder.extend(joined(bytes.get(..bytes.len().min(MOST / 8)).unwrap_or(&bytes), &[]));
    }
    corpora.add("checkpoint", &folder)?;
    tables::texts(&corpora)?;
    tables::images(&corpora)?;
    corpora.add("config", include_bytes!("all.toml"))?;
    Ok(())
}

/// A model, for all targets that take one.
fn model(corpora: &Corpora, path: &Path, bytes: &[u8]) -> io::Result<()> {
    corpora.add("model", bytes)?;
    let Some(mut message) = protobuf::parse(bytes) else { return Ok(()) };
    if stores(&message) {
        corpora.add("splice", bytes)?;
    }
    for other in [path.with_extension("bin"), path.with_extension("data"), path.with_extension("onnx.data")] {
        if let (Ok(data), Some(name)) = (fs::read(&other), other.file_name()) {
            rename(&mut message, name.to_string_lossy().as_bytes());
            return corpora.add("external", &joined(&protobuf::encode(&message), &data));
        }
    }
    let mut data = Vec::new();
    if bytes.len() < MOST / 8 {
        move_out(&mut message, &mut data);
    }
    if data.is_empty() { Ok(()) } else { corpora.add("external", &joined(&protobuf::encode(&message), &data)) }
}

/// Whether the model has an initializer.
fn stores(model: &Message) -> bool {
    let graphs = model.iter().filter(|field| field.number == 7);
    graphs.into_iter().any(|graph| matches!(&graph.value, Value::Message(graph) if graph.iter().any(|f| f.number == 5)))
}

/// Calls the external data file `data`.
fn rename(message: &mut Message, name: &[u8]) {
    for field in message {
        match &mut field.value {
            Value::Bytes(bytes) if bytes == name => *bytes = b"data".to_vec(),
            Value::Message(inner) => rename(inner, name),
            _ => {}
        }
    }
}

/// Moves raw data of the initializers to external data.
fn move_out(model: &mut Message, data: &mut Vec<u8>) {
    let of = |field: &mut Field| match &mut field.value {
        Value::Message(inner) => Some(std::mem::take(inner)).map(|taken| (taken, field.number)),
        _ => None,
    };
    for graph in model.iter_mut().filter(|field| field.number == 7) {
        let Some((mut fields, _)) = of(graph) else { continue };
        for tensor in fields.iter_mut().filter(|field| field.number == 5) {
            let Some((mut tensor_fields, _)) = of(tensor) else { continue };
            if let Some(at) = tensor_fields.iter().position(|field| field.number == 9) {
                let raw = match tensor_fields.remove(at).value {
                    Value::Message(inner) => protobuf::encode(&inner),
                    Value::Bytes(bytes) => bytes,
                    _ => Vec::new(),
                };
                let entry = |key: &str, value: String| Field {
                    number: 13,
                    value: Value::Message(vec![
                        Field { number: 1, value: Value::Bytes(key.into()) },
                        Field { number: 2, value: Value::Bytes(value.into_bytes()) },
                    ]),
                };
                tensor_fields.extend([
                    entry("location", "data".into()),
                    entry("offset", data.len().to_string()),
                    entry("length", raw.len().to_string()),
                    Field { number: 14, value: Value::Varint(1) },
                ]);
                data.extend(raw);
            }
            tensor.value = Value::Message(tensor_fields);
        }
        graph.value = Value::Message(fields);
    }
}
