//! External data: the rules by which a model may refer to another file.
//!
//! The strings are the file author's, so each rule is checked before the file system is asked, and again by the way the
//! file is opened:
//! - the location is a relative path below the model's folder: not empty, not absolute, no `..`, no NUL, no backslash,
//!   no drive letter, not onnxruntime's mark for memory;
//! - no component is a symbolic link (with `--allow-symlink-inside`: none that leaves the folder), the file is a
//!   regular file with one name (a hard link could be any file of the same disk);
//! - only the keys `location`, `offset`, `length`, `checksum` and `basepath` (which is ignored) appear, each once;
//! - offset and length are whole numbers, the length is what the shape takes, and both lie inside the file;
//! - a `checksum` is the SHA-1 of the whole file, and is verified.

use super::{
    OnnxFile,
    load::{FileIdentity, bytes_of, hex},
    proto::StringStringEntryProto,
};
use prost::bytes::Bytes;
use sha1::{Digest, Sha1};
use std::{
    fs::File,
    ops::Range,
    sync::{Arc, OnceLock},
};

/// The location by which onnxruntime marks tensors that lie in its own memory; `offset` is then an address.
const ORT_MEMORY: &str = "*/_ORT_MEM_ADDR_/*";

/// The components of `location` below the model's folder.
///
/// # Errors
/// The rule that it breaks.
pub fn components(location: &str) -> Result<Vec<&str>, String> {
    let refuse = |rule: &str| Err(format!("the external data location {location:?} {rule}"));
    let mut letters = location.chars();
    let drive = letters.next().is_some_and(|c| c.is_ascii_alphabetic()) && letters.next() == Some(':');
    if location.is_empty() {
        return refuse("is empty");
    }
    if location.contains(ORT_MEMORY) {
        return refuse(
            "is an address in the memory of the program that wrote the file; save the model again with its data",
        );
    }
    if location.contains('\0') {
        return refuse("contains a NUL");
    }
    if location.contains('\\') || drive {
        return refuse("contains a backslash or a drive letter; write it with `/`, relative to the model's folder");
    }
    if location.starts_with('/') {
        return refuse("is an absolute path; it must be relative to the model's folder");
    }
    if location.ends_with('/') {
        return refuse("names a folder");
    }
    let parts: Vec<&str> = location.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return refuse("contains `..`; external data must lie inside the model's folder");
    }
    if parts.is_empty() { refuse("names no file") } else { Ok(parts) }
}

/// A tensor's `external_data` entries, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Path relative to the model's folder.
    pub location: String,
    /// First byte.
    pub offset: u64,
    /// Bytes; absent means as many as the tensor's shape takes.
    pub length: Option<u64>,
    /// SHA-1 of the whole file, as the file has it.
    pub checksum: Option<String>,
}

impl Reference {
    /// Reads the entries.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn parse(entries: &[StringStringEntryProto]) -> Result<Self, String> {
        let mut found: [(&str, Option<&str>); 5] =
            [("location", None), ("offset", None), ("length", None), ("checksum", None), ("basepath", None)];
        for entry in entries {
            let slot = found.iter_mut().find(|(key, _)| *key == entry.key());
            let Some((key, value)) = slot else {
                if entry.key().starts_with("prepacked") {
                    return Err(
                        "beside it lie packed copies of the weights, which onnxruntime would go on using; give the \
                                model that this one was saved from, or save it without \
                                session.save_external_prepacked_constant_initializers"
                            .into(),
                    );
                }
                return Err(format!("the external data entry {:?} is not one of the format's", entry.key()));
            };
            if value.replace(entry.value()).is_some() {
                return Err(format!("the external data entry `{key}` appears twice"));
            }
        }
        let [(_, location), (_, offset), (_, length), (_, checksum), _] = found;
        let location = location.ok_or("the external data have no `location`")?.to_string();
        components(&location)?;
        Ok(Self {
            location,
            offset: offset.map_or(Ok(0), |text| number("offset", text))?,
            length: length.map(|text| number("length", text)).transpose()?,
            checksum: checksum.map(str::to_string),
        })
    }

    /// The file and the bytes in it, for a tensor that takes `needed` bytes. Nothing is allocated.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn resolve(&self, model: &OnnxFile, needed: usize) -> Result<(Arc<ExternalFile>, Range<usize>), String> {
        if let Some(length) = self.length
            && length != needed as u64
        {
            return Err(format!("its external data have {length} bytes, but its shape and type take {needed}"));
        }
        let file = model.external(&self.location)?;
        let size = file.bytes().len() as u64;
        let end = self.offset.checked_add(needed as u64).filter(|&end| end <= size).ok_or_else(|| {
            let Self { location, offset, .. } = self;
            format!("external data file `{location}` has {size} bytes, too few for {needed} from byte {offset}")
        })?;
        if let Some(checksum) = &self.checksum
            && !checksum.eq_ignore_ascii_case(file.sha1())
        {
            let location = &self.location;
            return Err(format!(
                "external data file `{location}` does not have the checksum that the model gives; it is damaged or another version"
            ));
        }
        Ok((file, self.offset as usize..end as usize))
    }
}

fn number(key: &str, text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = if digits { text.parse().ok() } else { None };
    value.filter(|&n: &u64| i64::try_from(n).is_ok()).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("the external data entry `{key}` is {shown:?}, not a whole number from 0")
    })
}

/// An external file and its bytes.
#[derive(Debug)]
pub struct ExternalFile {
    bytes: Bytes,
    identity: FileIdentity,
    sha1: OnceLock<String>,
}

impl ExternalFile {
    /// Reads an open file, or maps a large one into memory.
    ///
    /// # Errors
    /// The rule that the file breaks, or the operating system's answer.
    pub fn read(file: &File) -> Result<Self, String> {
        let meta = file.metadata().map_err(|e| e.to_string())?;
        if meta.is_dir() {
            return Err("this is a folder".to_string());
        }
        if !meta.is_file() {
            return Err("this is not a regular file".to_string());
        }
        let identity = FileIdentity::of(&meta);
        if identity.links > 1 {
            return Err(
                "this file has several names (hard links), so it may be a file from elsewhere; copy it".to_string()
            );
        }
        let bytes = bytes_of(file, identity.len).map_err(|e| e.to_string())?;
        Ok(Self { bytes, identity, sha1: OnceLock::new() })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Some of them, which keep the file's alive.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        (range.start <= range.end && range.end <= self.bytes.len()).then(|| self.bytes.slice(range))
    }

    /// Which file this is.
    pub fn identity(&self) -> &FileIdentity {
        &self.identity
    }

    /// SHA-1 of the file in lower-case hexadecimal, computed once.
    pub fn sha1(&self) -> &str {
        self.sha1.get_or_init(|| hex(&Sha1::digest(&self.bytes)))
    }
}
