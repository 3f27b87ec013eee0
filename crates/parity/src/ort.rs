//! onnxruntime, through `ort`: one library and one environment a process, a session a model.

use super::{
    Runner,
    compare::Outputs,
    guard::Optimization,
    ort_library::{Search, Step, version_of},
};
use crate::{
    each,
    engine::handing_back,
    error::Result,
    quiet,
    tensor::{DType, Element, HostTensor},
};
use ndarray::ArrayD;
use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{Session, SessionInputValue},
    value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType, ValueType},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The loaded library.
#[derive(Debug)]
pub struct Library {
    environment: Environment,
    /// The version that its file name or its package tells, else what it says of its build.
    pub version: String,
    /// How it was found.
    pub step: Step,
    /// Its file.
    pub path: PathBuf,
}

impl Library {
    /// Finds and loads the library, once a process: later calls return the same one.
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`](crate::Error::RuntimeMissing) if none can be loaded.
    pub fn get(search: &Search) -> Result<&'static Self> {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        static LOADING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        let (environment, step, path) = search.find(load)?;
        let version = version_of(&path).unwrap_or_else(|| ort::info().to_string());
        tracing::debug!("onnxruntime {version} {step}: {}", path.display());
        Ok(LIBRARY.get_or_init(|| Library { environment, version, step, path }))
    }

    /// Makes a session of the model at `path` with `threads` threads (0: as many as onnxruntime likes). Its external data lie
    /// beside it, or in the folder `data`.
    ///
    /// # Errors
    /// A sentence: what onnxruntime says against the model.
    pub fn session(
        &'static self,
        (path, data): (&Path, Option<&Path>),
        threads: usize,
        optimization: Optimization,
    ) -> Result<OrtRunner, String> {
        let open = || -> Result<Session, String> {
            let text = |e: ort::Error<_>| e.message().to_string();
            let builder = Session::builder(&self.environment).map_err(|e| e.to_string())?;
            let builder = builder.with_intra_threads(threads).map_err(text)?;
            let builder = builder.with_optimization_level(optimization.level()).map_err(text)?;
            let builder = builder.with_log_level(LogLevel::Error).map_err(text)?;
            // Waiting threads would take the time of ours.
            let mut builder = builder.with_config_entry("session.intra_op.allow_spinning", "0").map_err(text)?;
            let Some(data) = data else { return builder.commit_from_file(path).map_err(|e| e.to_string()) };
            let data = named(data).ok_or("the path of the model's folder is not UTF-8")?;
            let mut builder = builder
                .with_config_entry("session.model_external_initializers_file_folder_path", data)
                .map_err(text)?;
            // Of a model in memory alone the folder may be another one.
            let model = std::fs::read(path).map_err(|e| e.to_string())?;
            builder.commit_from_memory(&model).map_err(|e| e.to_string())
        };
        let session = handing_back(|| quiet::catch(open)).and_then(|r| r)?;
        Ok(OrtRunner { version: self.version.clone(), session: Mutex::new(session) })
    }
}

/// The folder as onnxruntime takes it for external data; `None` if its path is not UTF-8, so that data there cannot be named.
pub(super) fn named(folder: &Path) -> Option<String> {
    std::path::absolute(folder).ok()?.into_os_string().into_string().ok()
}

/// Loads the library at `path` into this process.
fn load(path: &Path) -> Result<Environment, String> {
    // An absolute path: `ort` looks up a relative one beside the executable, and panics where there is none.
    let path = std::fs::canonicalize(path).map_err(|e| e.to_string())?;
    let version = || version_of(&path).map(|v| format!(" (version {v})")).unwrap_or_default();
    let load = || {
        let builder = ort::init_from(&path).map_err(|e| match e {
            ort::LoadDynamicError::BadVersion { version_str, .. } => {
                format!("version {version_str} is too old, 1.{} or later is needed", ort::MINOR_VERSION)
            }
            other => format!("{other}{}", version()),
        })?;
        let log = |level, category: &str, _: &str, _: &str, message: &str| {
            tracing::debug!("onnxruntime {level:?} {category}: {message}");
        };
        let builder = builder.with_name("onnx-forget").with_telemetry(false).with_logger(Arc::new(log));
        let environment = builder.build().map_err(|e| e.to_string())?;
        environment.set_log_level(LogLevel::Error);
        Ok(environment)
    };
    quiet::catch(load).and_then(|r| r)
}

/// A model in onnxruntime.
pub struct OrtRunner {
    version: String,
    session: Mutex<Session>,
}

impl OrtRunner {
    /// Names of the inputs that must be fed.
    pub fn inputs(&self) -> Vec<String> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.inputs().iter().map(|i| i.name().to_string()).collect()
    }
}

impl Runner for OrtRunner {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn run(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs, String> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let run = || -> Result<Outputs, String> {
            let mut fed: Vec<(String, SessionInputValue<'static>)> = Vec::new();
            for (name, tensor) in inputs {
                fed.push((name.clone(), each!(tensor, a => feed(a))?));
            }
            let outputs = session.run(fed).map_err(|e| e.to_string())?;
            outputs.iter().map(|(name, value)| Ok((name.to_string(), fetch(name, &value)?))).collect()
        };
        quiet::catch(run).and_then(|r| r)
    }
}

fn feed<T>(array: &ArrayD<T>) -> Result<SessionInputValue<'static>, String>
where
    T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
{
    let values: Vec<T> = array.iter().cloned().collect();
    let tensor = Tensor::from_array((array.shape().to_vec(), values)).map_err(|e| e.to_string())?;
    Ok(tensor.into())
}

fn fetch(name: &str, value: &DynValue) -> Result<HostTensor, String> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(format!("output {name} is no tensor"));
    };
    use TensorElementType as T;
    match dtype(*ty) {
        Some(DType::F32) => take::<f32>(value),
        Some(DType::F64) => take::<f64>(value),
        Some(DType::F16) => take::<half::f16>(value),
        Some(DType::BF16) => take::<half::bf16>(value),
        Some(DType::I8) => take::<i8>(value),
        Some(DType::I16) => take::<i16>(value),
        Some(DType::I32) => take::<i32>(value),
        Some(DType::I64) => take::<i64>(value),
        Some(DType::U8) => take::<u8>(value),
        Some(DType::U16) => take::<u16>(value),
        Some(DType::U32) => take::<u32>(value),
        Some(DType::U64) => take::<u64>(value),
        Some(DType::Bool) => take::<bool>(value),
        None if *ty == T::String => Err(format!("output {name} holds strings")),
        None => Err(format!("output {name} has element type {ty}")),
    }
}

fn dtype(ty: TensorElementType) -> Option<DType> {
    use TensorElementType as T;
    Some(match ty {
        T::Float32 => DType::F32,
        T::Float64 => DType::F64,
        T::Float16 => DType::F16,
        T::Bfloat16 => DType::BF16,
        T::Int8 => DType::I8,
        T::Int16 => DType::I16,
        T::Int32 => DType::I32,
        T::Int64 => DType::I64,
        T::Uint8 => DType::U8,
        T::Uint16 => DType::U16,
        T::Uint32 => DType::U32,
        T::Uint64 => DType::U64,
        T::Bool => DType::Bool,
        _ => return None,
    })
}

fn take<T: PrimitiveTensorElementType + Element>(value: &DynValue) -> Result<HostTensor, String> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|e| e.to_string())?;
    let dims: Vec<usize> = shape.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    HostTensor::new(&dims, values.to_vec())
        .ok_or_else(|| format!("an output of shape {dims:?} with {} values", values.len()))
}
