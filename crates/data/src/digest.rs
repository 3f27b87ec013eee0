//! SHA-256 of files, and salted ones of ids and rows.

use crate::{Error, MemoryTable, Result};
use sha2::{Digest, Sha256};
use std::{fs::File, io::Read, path::Path};

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What makes digests of ids and rows useless to whoever does not have the data: without it, somebody who knows what ids
/// look like could try them all.
///
/// It is made of the bytes of the training data and of the seed, and it is written nowhere. So a run with the same inputs
/// gives the same digests; whoever holds the data can make them again and compare; and a reader of the report cannot. It
/// does not follow from the files' published digests, since it is hashed from their bytes.
#[derive(Clone)]
pub struct Salt([u8; 32]);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt")
    }
}

impl Salt {
    /// For a run over these `files` with this seed. The files' plain SHA-256 come from the same pass.
    ///
    /// # Errors
    /// [`Error::ReadData`] for a file that cannot be read.
    pub fn new<'a>(files: impl IntoIterator<Item = Content<'a>>, seed: u64) -> Result<(Self, Vec<String>)> {
        let mut salt = Sha256::new();
        salt.update(b"onnx-forget/salt/v1");
        salt.update(seed.to_le_bytes());
        let mut digests = Vec::new();
        for content in files {
            let mut bytes = 0u64;
            let sha256 = content.read(|piece| {
                salt.update(piece);
                bytes += piece.len() as u64;
            })?;
            salt.update(bytes.to_le_bytes());
            digests.push(sha256);
        }
        Ok((Self(salt.finalize().into()), digests))
    }

    /// As bytes, to be hashed in front of what is to be hidden.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of rows that serve `purpose`, by their numbers in their set, ascending.
    pub fn rows(&self, purpose: &str, rows: impl IntoIterator<Item = usize>) -> String {
        let mut sha = Sha256::new();
        sha.update(self.0);
        sha.update((purpose.len() as u64).to_le_bytes());
        sha.update(purpose);
        rows.into_iter().for_each(|row| sha.update((row as u64).to_le_bytes()));
        hex(&sha.finalize())
    }
}

/// What a digest is of.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// A file's bytes.
    File(&'a Path),
    /// Rows in memory.
    Memory(&'a MemoryTable),
}

impl<'a> Content<'a> {
    /// The file, or what the table in memory is called.
    pub fn path(self) -> &'a Path {
        match self {
            Self::File(path) => path,
            Self::Memory(table) => table.as_path(),
        }
    }

    /// SHA-256 of it.
    ///
    /// # Errors
    /// [`Error::ReadData`] for a file that cannot be read.
    pub fn sha256(self) -> Result<String> {
        self.read(|_| ())
    }

    fn read(self, each: impl FnMut(&[u8])) -> Result<String> {
        match self {
            Self::File(path) => read(path, each),
            Self::Memory(table) => table.each_piece(each),
        }
    }
}

/// A SHA-256 that is not at its end.
#[derive(Default)]
pub(crate) struct Running(Sha256);

impl Running {
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// SHA-256 of these bytes.
pub fn bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file's bytes, read piece by piece.
///
/// # Errors
/// [`Error::ReadData`] if the file cannot be opened or read.
pub fn file(path: &Path) -> Result<String> {
    read(path, |_| ())
}

fn read(path: &Path, mut each: impl FnMut(&[u8])) -> Result<String> {
    let fail = |e: std::io::Error| Error::ReadData { path: path.into(), problem: format!("cannot be read ({e})") };
    let mut file = File::open(path).map_err(fail)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            return Ok(hex(&sha.finalize()));
        }
        let piece = buffer.get(..n).unwrap_or(&[]);
        sha.update(piece);
        each(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_follows_the_bytes_and_the_seed_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        std::fs::write(&path, b"some rows").unwrap();
        let of = |seed| Salt::new([Content::File(&path)], seed).unwrap();
        let (salt, digests) = of(3);
        assert_eq!(digests, [file(&path).unwrap()]);
        assert_eq!(salt.rows("test", [1, 2]), of(3).0.rows("test", [1, 2]));
        assert_ne!(salt.rows("test", [1, 2]), of(4).0.rows("test", [1, 2]));
        assert_ne!(salt.rows("test", [1, 2]), salt.rows("test", [1, 3]));
        assert_ne!(salt.rows("test", [1, 2]), salt.rows("validation", [1, 2]));
        assert_eq!(format!("{salt:?}"), "Salt");
        std::fs::write(&path, b"other rows").unwrap();
        assert_ne!(salt.rows("test", [1, 2]), of(3).0.rows("test", [1, 2]));
        assert_eq!(Salt::new([Content::File(&folder.path().join("none"))], 0).unwrap_err().exit_code(), 4);
    }
}
