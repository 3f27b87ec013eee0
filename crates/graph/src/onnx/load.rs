//! Opening a model file.

use super::{
    artifacts,
    checkpoint::{Checkpoint, Part},
    external_data::{self, ExternalFile},
    layout, open_beneath, proto, recognize, tensor,
};
use crate::{
    error::{Error, Result},
    tensor::{Held, HostTensor},
};
use prost::{Message, bytes::Bytes};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What reading a model may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Follow symbolic links to external data, as long as they stay inside the model's folder.
    pub allow_symlink_inside: bool,
}

/// Protobuf's limit on a message, and so on a model file; larger models keep their tensors in external data.
pub(super) const MAX_FILE: u64 = i32::MAX as u64;

/// Which file this is and whether it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// Device and inode.
    pub file: (u64, u64),
    /// Bytes.
    pub len: u64,
    /// When it was last written, and when anything about it was last changed: the first can be set at will.
    changed: (Option<std::time::SystemTime>, (i64, i64)),
    /// Permission bits.
    pub mode: u32,
    /// Names that the file has.
    pub links: u64,
}

impl FileIdentity {
    /// The identity that `meta` tells.
    pub fn of(meta: &Metadata) -> Self {
        #[cfg(unix)]
        let (file, status, mode, links) = {
            use std::os::unix::fs::MetadataExt;
            ((meta.dev(), meta.ino()), (meta.ctime(), meta.ctime_nsec()), meta.mode() & 0o777, meta.nlink())
        };
        #[cfg(not(unix))]
        let (file, status, mode, links) = ((0, 0), (0, 0), 0o644, 1);
        Self { file, len: meta.len(), changed: (meta.modified().ok(), status), mode, links }
    }
}

/// A file of the input, or a folder.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'a> {
    /// The path as given.
    pub path: &'a Path,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Which file it is.
    pub identity: &'a FileIdentity,
    /// If it is a folder, the files in it.
    pub parts: &'a [Part],
}

/// An ONNX model file: its bytes, and its decoded messages.
///
/// Raw tensor data in [`proto`](OnnxFile::proto) are slices of these bytes, not copies; so are those of external files.
#[derive(Debug)]
pub struct OnnxFile {
    path: PathBuf,
    folder: PathBuf,
    options: ReadOptions,
    bytes: Bytes,
    identity: FileIdentity,
    proto: proto::ModelProto,
    checkpoint: Option<Checkpoint>,
    external: Mutex<HashMap<String, Arc<ExternalFile>>>,
    sha256: OnceLock<String>,
    size: Arc<AtomicU64>,
}

impl OnnxFile {
    /// Reads the file at `path`, or maps a large one into memory, and decodes it.
    ///
    /// # Errors
    /// [`Error::ReadModel`] if the file cannot be opened, [`Error::Malformed`] if it is not a well-formed ONNX model.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let (bytes, identity) = read_file(path)?;
        let head = bytes.get(..bytes.len().min(512)).unwrap_or_default();
        let malformed = |place: &str, problem: String| Error::Malformed {
            path: path.to_path_buf(),
            place: place.to_string(),
            problem,
        };
        if let Some(say) = recognize::foreign(head) {
            return Err(malformed("start of the file", say.to_string()));
        }
        if identity.len > MAX_FILE {
            let problem =
                "the file is larger than 2 GiB, which protobuf does not allow; save the tensors as external data";
            return Err(malformed("model", problem.to_string()));
        }
        layout::check(&bytes).map_err(|refusal| malformed(&refusal.place, refusal.problem))?;
        let proto = proto::ModelProto::decode(bytes.clone()).map_err(|e| malformed("model", e.to_string()))?;
        if proto.graph.is_none() {
            return Err(malformed("model", "there is no graph; this is not an ONNX model".to_string()));
        }
        Ok(Self {
            path: path.to_path_buf(),
            folder: folder_of(path),
            options: *options,
            size: Arc::new(AtomicU64::new(bytes.len() as u64)),
            bytes,
            identity,
            proto,
            checkpoint: None,
            external: Mutex::default(),
            sha256: OnceLock::new(),
        })
    }

    /// The same model with the tensors of `checkpoint` as initializers, in the place of inputs of their names. If it
    /// has a backward pass, that is gone from [`proto`](Self::proto).
    ///
    /// # Errors
    /// [`Error::Malformed`] if they do not belong together: no input has the name of a tensor, a type or shape is
    /// another one, a parameter is not in the checkpoint.
    pub fn bind(mut self, checkpoint: Checkpoint) -> Result<Self> {
        self.proto = artifacts::bound(&self, &checkpoint)?;
        self.size.fetch_add(checkpoint.bytes().len() as u64, Relaxed);
        self.checkpoint = Some(checkpoint);
        Ok(self)
    }

    /// Opens the file at `path`, which was written in the place of this one's [`carrier`](Self::carrier).
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`bind`](Self::bind).
    pub fn rewritten(&self, path: &Path, options: &ReadOptions) -> Result<Self> {
        match self.checkpoint {
            None => Self::open(path, options),
            Some(_) => Self::open(&self.path, &self.options)?.bind(Checkpoint::open(path)?),
        }
    }

    /// With the external data of `other`, of which this is a copy elsewhere.
    pub fn with_data_of(mut self, other: &Self) -> Self {
        let open = other.external.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.folder, self.external) = (other.folder.clone(), Mutex::new(open));
        self
    }

    /// The path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint that the parameters are from, if they are not in the model file.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// The file that write-back copies: the one that holds the parameters.
    pub fn carrier(&self) -> Carrier<'_> {
        match &self.checkpoint {
            None => Carrier { path: &self.path, bytes: &self.bytes, identity: &self.identity, parts: &[] },
            Some(c) => Carrier { path: c.path(), bytes: c.bytes(), identity: c.identity(), parts: c.parts() },
        }
    }

    /// The folder that external data is looked for in; `.` for a bare file name.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How the file was opened.
    pub fn options(&self) -> &ReadOptions {
        &self.options
    }

    /// The decoded messages.
    pub fn proto(&self) -> &proto::ModelProto {
        &self.proto
    }

    /// The bytes of the model file, without external data.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the file, the checkpoint, and the external files that have been opened; it grows as more are.
    pub fn size(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.size)
    }

    /// Which file this is.
    pub fn identity(&self) -> &FileIdentity {
        &self.identity
    }

    /// SHA-256 of the model file (without external data) in hexadecimal; computed once.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| hex(&Sha256::digest(&self.bytes)))
    }

    /// The elements of a tensor of this file, in whatever form it is stored.
    ///
    /// # Errors
    /// [`Error::Malformed`] names the tensor: an unknown type, a negative extent, a number of elements that is not the
    /// product of the extents, several storage forms at once, external data that breaks a rule.
    pub fn tensor(&self, tensor: &proto::TensorProto) -> Result<HostTensor> {
        tensor::decode(self, tensor)
    }

    /// The same; a large tensor is decoded when it is asked for, and its bytes stay in the file until then.
    ///
    /// # Errors
    /// As [`tensor`](OnnxFile::tensor).
    pub fn held(&self, tensor: &proto::TensorProto) -> Result<Held> {
        tensor::hold(self, tensor)
    }

    /// The external file at `location`, opened by the rules of [`external_data`]; opened once.
    ///
    /// # Errors
    /// The broken rule, in words that follow the tensor's name.
    pub fn external(&self, location: &str) -> Result<Arc<ExternalFile>, String> {
        let parts = external_data::components(location)?;
        // However the location is spelled, a file is opened once.
        let plain = parts.join("/");
        let mut open = self.external.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&plain) {
            return Ok(Arc::clone(file));
        }
        let file = open_beneath::open(&self.folder, &parts, self.options.allow_symlink_inside)
            .map_err(|problem| format!("external data file `{location}`: {problem}"))?;
        let file =
            ExternalFile::read(&file).map_err(|problem| format!("external data file `{location}`: {problem}"))?;
        let file = Arc::new(file);
        self.size.fetch_add(file.bytes().len() as u64, Relaxed);
        open.insert(plain, Arc::clone(&file));
        Ok(file)
    }

    /// [`Error::Malformed`] for this file.
    pub fn malformed(&self, place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Malformed { path: self.path.clone(), place: place.into(), problem: problem.into() }
    }

    /// Checks that the model file, its checkpoint and the external files that were opened are those that were opened.
    ///
    /// # Errors
    /// [`Error::Malformed`] names the file that has changed; [`Error::ReadModel`] if a file can no longer be found.
    pub fn require_unchanged(&self) -> Result<()> {
        let changed = |what: &str| self.malformed(what, "the file was changed while it was being used; run again");
        let same = |path: &Path, identity: &FileIdentity| {
            let now = fs::metadata(path).map_err(|source| Error::ReadModel { path: path.into(), source })?;
            Ok::<_, Error>(FileIdentity::of(&now) == *identity)
        };
        if !same(&self.path, &self.identity)? {
            return Err(changed("model"));
        }
        for (path, identity) in self.checkpoint.iter().flat_map(Checkpoint::files) {
            if !same(&path, identity)? {
                return Err(changed("checkpoint"));
            }
        }
        let open = self.external.lock().unwrap_or_else(PoisonError::into_inner);
        for (location, file) in open.iter() {
            let now = fs::metadata(self.folder.join(location)).ok().map(|meta| FileIdentity::of(&meta));
            if now != Some(*file.identity()) {
                return Err(changed(&format!("external data file `{location}`")));
            }
        }
        Ok(())
    }
}

/// The folder of a file; `.` where the path is a bare name, so that no check of it is ever empty.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of the file at `path`.
pub(super) fn read_file(path: &Path) -> Result<(Bytes, FileIdentity)> {
    let read_error = |source| Error::ReadModel { path: path.to_path_buf(), source };
    let refuse = |problem: &str| Error::Malformed {
        path: path.to_path_buf(),
        place: "path".to_string(),
        problem: problem.to_string(),
    };
    // Asked before opening: opening a named pipe would wait for its writer.
    let meta = fs::metadata(path).map_err(read_error)?;
    if meta.is_dir() {
        return Err(refuse("this is a folder; give the .onnx file inside it"));
    }
    if !meta.is_file() {
        return Err(refuse("this is not a regular file"));
    }
    let file = File::open(path).map_err(read_error)?;
    let identity = FileIdentity::of(&file.metadata().map_err(read_error)?);
    Ok((bytes_of(&file, identity.len).map_err(read_error)?, identity))
}

/// Files up to this size are read, larger ones mapped into memory.
const READ: u64 = 256 << 20;

/// The bytes of a regular file of `len` bytes: a copy, or where that would take much memory the file itself, mapped.
///
/// # Errors
/// The file cannot be read, or is shorter by now.
pub fn bytes_of(file: &File, len: u64) -> io::Result<Bytes> {
    let size = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    if len <= READ {
        let mut bytes = Vec::with_capacity(size);
        file.take(len).read_to_end(&mut bytes)?;
        return match bytes.len() == size {
            true => Ok(bytes.into()),
            false => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short while it was being read"))
            }
        };
    }
    // SAFETY: the mapping is read-only and private, and `Bytes` keeps it alive as long as any slice of it. What remains
    // is another process writing to the file meanwhile, which no mapping can rule out. This program never writes to a
    // file it reads (write-back refuses the input's own files and replaces others by renaming), all bytes are treated as
    // untrusted plain data (no references or enums are made of them; offsets found in them are checked at each use),
    // `require_unchanged` stops a run whose input was touched before anything is published, and the program takes SIGBUS,
    // which reading beyond a new end raises, as a request to stop.
    let map = unsafe { memmap2::MmapOptions::new().len(size).map(file)? };
    Ok(Bytes::from_owner(map))
}
