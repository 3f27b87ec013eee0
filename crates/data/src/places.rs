//! Where the rows of one table are: a file, folder or glob, several, or memory.

use super::MemoryTable;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Files, folders and globs that are one table, in the order given; or rows that are in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Places {
    /// A single one.
    One(PathBuf),
    /// Several, which must not be empty.
    Several(Vec<PathBuf>),
    /// Rows in memory.
    #[serde(skip_deserializing)]
    Memory(MemoryTable),
}

impl Places {
    /// What a flag names that may be given several times; `None` without any.
    pub fn of(paths: &[String]) -> Option<Self> {
        match paths {
            [] => None,
            [path] => Some(Self::One(path.into())),
            several => Some(Self::Several(several.iter().map(PathBuf::from).collect())),
        }
    }

    /// The paths as they were given; none for rows in memory.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
            Self::Memory(_) => &[],
        }
    }

    /// Puts `base` before those that are relative.
    pub fn resolve(&mut self, base: &Path) {
        let paths = match self {
            Self::One(path) => std::slice::from_mut(path),
            Self::Several(paths) => paths.as_mut_slice(),
            Self::Memory(_) => &mut [],
        };
        for path in paths {
            if !super::source::absolute(path) {
                *path = base.join(&*path);
            }
        }
    }
}

impl<P: Into<PathBuf>> From<P> for Places {
    fn from(path: P) -> Self {
        Self::One(path.into())
    }
}

impl From<MemoryTable> for Places {
    fn from(table: MemoryTable) -> Self {
        Self::Memory(table)
    }
}

impl std::fmt::Display for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Self::Memory(table) = self {
            return f.write_str(table.name());
        }
        let shown: Vec<String> = self.paths().iter().map(|path| path.display().to_string()).collect();
        f.write_str(&shown.join(", "))
    }
}
