//! A library that crashes takes the process with it, and nothing is said. Before onnxruntime runs a model here, this
//! program starts itself once more, and there the model runs on some of the same rows: if that process dies, with less of
//! onnxruntime's optimization of the graph, which is where such crashes have been.

use super::{Library, Runner, Search};
use crate::{
    each,
    error::{Error, Result},
    onnx::{
        OnnxFile, ReadOptions,
        proto::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto},
    },
    scratch::Scratch,
    tensor::HostTensor,
};
use half::{bf16, f16};
use ort::session::builder::GraphOptimizationLevel;
use prost::Message;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
};

/// The first argument of the process in which a model is tried out.
const TRY_OUT: &str = "__try-out";
/// What that process says when the library has come back, be it with an error: that is asked for again, and told then.
const CAME_BACK: &[u8] = b"came back";

/// How far onnxruntime optimizes a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimization {
    /// As it does by itself.
    Full,
    /// Redundant nodes alone are taken out.
    Basic,
    /// Not at all.
    Off,
}

impl Optimization {
    const ALL: [Self; 3] = [Self::Full, Self::Basic, Self::Off];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Basic => "basic",
            Self::Off => "off",
        }
    }

    /// As onnxruntime calls it.
    pub(super) fn level(self) -> GraphOptimizationLevel {
        match self {
            Self::Full => GraphOptimizationLevel::All,
            Self::Basic => GraphOptimizationLevel::Level1,
            Self::Off => GraphOptimizationLevel::Disable,
        }
    }
}

/// What trying out showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriedOut {
    /// With which optimization the model runs; `None` if it crashes with any.
    pub runs: Option<Optimization>,
    /// How it ended with the fullest optimization, if it crashed.
    pub crash: Option<String>,
}

/// Tries models out in a process of their own. One model is tried out once, also by clones of this.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    program: Option<PathBuf>,
    found: Arc<OnceLock<TriedOut>>,
}

impl Guard {
    /// With this program, whose `main` asks [`child`] first. [`Guard::default`] tries nothing out.
    pub fn of_this_program() -> Self {
        Self { program: std::env::current_exe().ok(), ..Self::default() }
    }

    /// With another program that does what [`child`] does.
    pub fn with(program: PathBuf) -> Self {
        Self { program: Some(program), ..Self::default() }
    }

    /// What was found; that all is well if nothing was tried out.
    pub fn found(&self) -> TriedOut {
        self.found.get().cloned().unwrap_or(TriedOut { runs: Some(Optimization::Full), crash: None })
    }

    /// Runs the model at `path`, whose external data lie in `data` if not beside it, on `fed` with `library` in a process of its own, unless that was done before.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if that process was; [`Error::Write`] without room for the rows in a temporary folder.
    pub(super) fn try_out(
        &self,
        library: &Library,
        (path, data): (&Path, Option<&Path>),
        fed: &BTreeMap<String, HostTensor>,
        threads: usize,
    ) -> Result<()> {
        let Some(program) = self.program.as_deref().filter(|_| self.found.get().is_none()) else { return Ok(()) };
        let folder = private_folder()?;
        let rows = folder.path().join("rows.onnx");
        let problem = |e: std::io::Error| Error::Write { path: rows.clone(), problem: e.to_string() };
        std::fs::write(&rows, encoded(fed)).map_err(problem)?;
        let mut found = TriedOut { runs: None, crash: None };
        for optimization in Optimization::ALL {
            match command(program, library, (path, data), &rows, (threads, optimization), folder.path()).output() {
                // Without the means to try it out there is nothing to be known.
                Err(e) => {
                    tracing::debug!("{} is not tried out: {e}", path.display());
                    found.runs = Some(optimization);
                    break;
                }
                Ok(output) if output.stdout.ends_with(CAME_BACK) => {
                    found.runs = Some(optimization);
                    break;
                }
                Ok(output) => {
                    let end = ended(output.status).ok_or(Error::Interrupted)?;
                    tracing::debug!("onnxruntime, optimization {}: {end}", optimization.name());
                    found.crash.get_or_insert(end);
                }
            }
        }
        let _ = self.found.set(found);
        Ok(())
    }

    /// Why `library` does not open the model at `path`, tried in a process of its own; `None` if it does, or nothing was
    /// tried out.
    ///
    /// # Errors
    /// As [`try_out`](Guard::try_out).
    pub(super) fn refusal(&self, library: &Library, path: &Path) -> Result<Option<String>> {
        let Some(program) = self.program.as_deref() else { return Ok(None) };
        let folder = private_folder()?;
        let with = (1, self.found().runs.unwrap_or(Optimization::Off));
        let Ok(output) = command(program, library, (path, None), Path::new(""), with, folder.path()).output() else {
            return Ok(None);
        };
        match output.stdout.strip_suffix(CAME_BACK) {
            Some(_) if output.status.success() => Ok(None),
            Some(why) => Ok(Some(String::from_utf8_lossy(why).chars().take(300).collect())),
            None => Ok(Some(format!("it crashes on it ({})", ended(output.status).ok_or(Error::Interrupted)?))),
        }
    }
}

/// The process in which the model at `path` is opened, and run where there are `rows`.
fn command(
    program: &Path,
    library: &Library,
    (path, data): (&Path, Option<&Path>),
    rows: &Path,
    (threads, optimization): (usize, Optimization),
    folder: &Path,
) -> Command {
    let mut child = Command::new(program);
    let absolute = |path: &Path| OsString::from(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
    child.args([TRY_OUT.into(), absolute(path), data.map(absolute).unwrap_or_default(), rows.into()]);
    child.args([threads.to_string(), optimization.name().to_string()]);
    // What the system writes of a crash goes with the folder.
    child.env("ORT_DYLIB_PATH", &library.path).current_dir(folder);
    child.stdin(Stdio::null()).stderr(Stdio::null());
    child
}

/// How a process ended that did not come back; `None` if it was asked to end.
fn ended(status: ExitStatus) -> Option<String> {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            1 | 2 | 3 | 15 => None,
            4 => Some("signal 4, illegal instruction".into()),
            6 => Some("signal 6, aborted".into()),
            7 => Some("signal 7, bus error".into()),
            8 => Some("signal 8, arithmetic".into()),
            9 => Some("signal 9, killed, perhaps for want of memory".into()),
            11 => Some("signal 11, segmentation fault".into()),
            other => Some(format!("signal {other}")),
        };
    }
    Some(status.to_string())
}

/// A temporary folder that nobody else may look into.
///
/// # Errors
/// [`Error::Write`].
pub(super) fn private_folder() -> Result<Scratch> {
    Scratch::in_temp().map_err(|e| Error::Write {
        path: std::env::temp_dir(),
        problem: format!("{e}; set TMPDIR to a folder with room for a copy of the model"),
    })
}

/// The process in which a model is tried out, if this is it: `main` asks before anything else.
pub fn child() -> Option<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let [_, first, path, data, rows, threads, optimization] = arguments.as_slice() else { return None };
    if first != TRY_OUT {
        return None;
    }
    let threads = threads.to_str().and_then(|n| n.parse().ok()).unwrap_or(0);
    let optimization = Optimization::ALL.into_iter().find(|o| *optimization == *o.name());
    let run = || -> Result<(), String> {
        let library = Library::get(&Search::from_environment(true)).map_err(|e| e.to_string())?;
        let source = (Path::new(path), Some(Path::new(data)).filter(|_| !data.is_empty()));
        let session = library.session(source, threads, optimization.unwrap_or(Optimization::Full))?;
        if rows.is_empty() {
            return Ok(());
        }
        session.run(&decoded(Path::new(rows)).map_err(|e| e.to_string())?).map(|_| ())
    };
    let outcome = run();
    let said = [outcome.as_ref().err().map_or("", String::as_str).as_bytes(), CAME_BACK].concat();
    // The process that started this one has ended if nobody listens.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &said);
    let _ = std::io::Write::flush(&mut std::io::stdout());
    Some(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An element's bytes, little-endian.
trait Raw {
    fn raw(&self, to: &mut Vec<u8>);
}

macro_rules! raw {
    ($($ty:ty)*) => {$(
        impl Raw for $ty {
            fn raw(&self, to: &mut Vec<u8>) {
                to.extend(self.to_le_bytes());
            }
        }
    )*};
}
raw!(f16 bf16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64);

impl Raw for bool {
    fn raw(&self, to: &mut Vec<u8>) {
        to.push(u8::from(*self));
    }
}

/// The rows as the initializers of a model, which has no nodes.
fn encoded(fed: &BTreeMap<String, HostTensor>) -> Vec<u8> {
    let tensor = |(name, tensor): (&String, &HostTensor)| {
        let mut raw = Vec::new();
        each!(tensor, a => a.iter().for_each(|x| x.raw(&mut raw)));
        TensorProto {
            name: Some(name.clone()),
            dims: tensor.dims().iter().map(|&n| n as i64).collect(),
            data_type: Some(tensor.dtype() as i32),
            raw_data: Some(raw.into()),
            ..Default::default()
        }
    };
    let graph = GraphProto { initializer: fed.iter().map(tensor).collect(), ..Default::default() };
    let opset = OperatorSetIdProto { domain: None, version: Some(17) };
    let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset], ..Default::default() };
    model.encode_to_vec()
}

fn decoded(path: &Path) -> Result<BTreeMap<String, HostTensor>> {
    let file = OnnxFile::open(path, &ReadOptions::default())?;
    let tensors = file.proto().graph.iter().flat_map(|graph| &graph.initializer);
    tensors.map(|tensor| Ok((tensor.name().to_string(), file.tensor(tensor)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_type_come_back_as_they_were() {
        let folder = private_folder().unwrap();
        let path = folder.path().join("rows.onnx");
        let fed = BTreeMap::from([
            ("a".to_string(), HostTensor::new(&[2, 2], vec![0.1f32, -1.0, f32::INFINITY, 0.0]).unwrap()),
            ("b".to_string(), HostTensor::vector(vec![i64::MIN, 3])),
            ("c".to_string(), HostTensor::vector(vec![true, false])),
            ("d".to_string(), HostTensor::vector(vec![f16::from_f32(0.1)])),
            ("e".to_string(), HostTensor::vector(vec![u8::MAX])),
            ("f".to_string(), HostTensor::vector(vec![bf16::from_f32(0.1)])),
        ]);
        std::fs::write(&path, encoded(&fed)).unwrap();
        assert_eq!(decoded(&path).unwrap(), fed);
    }

    #[cfg(unix)]
    #[test]
    fn temporary_folders_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = private_folder().unwrap();
        assert_eq!(std::fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
