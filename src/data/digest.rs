//! SHA-256 of files.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::{fs::File, io::Read, path::Path};

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 of a file's bytes, read piece by piece.
pub fn file(path: &Path) -> Result<String> {
    let fail = |e: std::io::Error| Error::ReadData { path: path.into(), problem: format!("cannot be read ({e})") };
    let mut file = File::open(path).map_err(fail)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            return Ok(hex(&sha.finalize()));
        }
        sha.update(buffer.get(..n).unwrap_or(&[]));
    }
}
