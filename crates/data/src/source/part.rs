//! Which part of the rows a file holds, by its name.

use std::path::Path;

/// What rows are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The model was trained on them.
    Train,
    /// τ comes from them.
    Validation,
    /// The audit compares with them.
    Test,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

impl Part {
    /// The part that a word stands for, in a name or in a column.
    pub fn of_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "validation" | "valid" | "val" | "dev" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// The part that a path speaks of, such as `data/train-00000-of-00002.parquet` or `test/a.parquet`: the outermost
    /// name that has one such word, between signs that are no letters.
    pub fn of(path: &Path) -> Option<Self> {
        path.iter().find_map(|name| {
            let name = name.to_string_lossy();
            let mut parts = name.split(|c: char| !c.is_ascii_alphabetic()).filter_map(Self::of_word);
            let first = parts.next()?;
            parts.all(|other| other == first).then_some(first)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_parts() {
        let of = |path: &str| Part::of(Path::new(path));
        assert_eq!(of("train-00000-of-00002.parquet"), Some(Part::Train));
        assert_eq!(of("data/val.parquet"), Some(Part::Validation));
        assert_eq!(of("test/train_7.parquet"), Some(Part::Test));
        assert_eq!(of("cifar_test.parquet"), Some(Part::Test));
        assert_eq!(of("split=validation/0.parquet"), Some(Part::Validation));
        assert_eq!(of("latest/trained-1.parquet"), None);
        assert_eq!(of("train_test.parquet"), None);
    }
}
