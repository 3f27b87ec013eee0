//! The configuration file: its tables, and what is said of one that is wrong.

use crate::{
    error::{Error, Result},
    run::{
        BatchNorm, Files, Gates, InputConfig, LossKind, ParitySettings, RecipeSettings, Settings, TargetConfig, sibling,
    },
};
use onnx_forget_base::nearest::nearest;
use serde::{
    Deserialize, Deserializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Bytes that a configuration has at most.
const MOST: u64 = 1 << 20;

/// The configuration file. Every table, and every key in it, may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    pub data: Files,
    pub inputs: BTreeMap<String, InputConfig>,
    pub target: Targets,
    pub loss: LossTable,
    pub model: ModelTable,
    pub unlearn: Settings,
    pub train: RecipeSettings,
    pub parity: ParitySettings,
    pub gates: Gates,
    pub report: ReportTable,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossTable {
    pub kind: Option<LossKind>,
    pub graph: Option<PathBuf>,
}

/// `[target]`, or several `[[target]]`.
#[derive(Clone, Debug, Default)]
pub struct Targets(Vec<TargetConfig>);

impl Targets {
    /// The only one, or several.
    pub fn parted(self) -> (TargetConfig, Vec<TargetConfig>) {
        match <[TargetConfig; 1]>::try_from(self.0) {
            Ok([one]) => (one, Vec::new()),
            Err(several) => (TargetConfig::default(), several),
        }
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table `[target]`, or several `[[target]]`")
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> std::result::Result<Targets, A::Error> {
                TargetConfig::deserialize(MapAccessDeserializer::new(table)).map(|one| Targets(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> std::result::Result<Targets, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(tables)).map(Targets)
            }
        }
        from.deserialize_any(Tables)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelTable {
    pub trainable: Vec<String>,
    pub freeze: Vec<String>,
    pub bn: Option<BatchNorm>,
    pub dropout: bool,
    pub checkpoint: Option<PathBuf>,
    pub dims: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportTable {
    pub folder: Option<PathBuf>,
}

/// The configuration: the file that was asked for, or the model's neighbor if there is one.
///
/// # Errors
/// [`Error::Config`] for what cannot be read, or is no configuration. It tells keys, and no other text of the file, which may be
/// any file that a link leads to.
pub fn read(model: &Path, asked: Option<&Path>) -> Result<(Option<PathBuf>, ConfigFile)> {
    let path = match asked {
        Some(path) => path.to_path_buf(),
        None => sibling(model, ".forget.toml"),
    };
    let problem = |problem: String| Error::Config { path: path.clone(), problem };
    match text(&path) {
        Ok(text) => {
            let file = toml::from_str(&text).map_err(|e| problem(explained(&text, &e)))?;
            Ok((Some(path), file))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && asked.is_none() => Ok((None, ConfigFile::default())),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(problem("this is not text in UTF-8".into())),
        Err(e) => Err(problem(e.to_string())),
    }
}

/// The text of a regular file of a moderate size.
fn text(path: &Path) -> io::Result<String> {
    // Not opened unless it is a file: a pipe would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("this is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::other("this is larger than 1 MiB, and no configuration"));
    }
    Ok(text)
}

/// What is wrong, and in which line, without the line itself.
fn explained(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(String::new(), |before| format!("line {}: ", before.matches('\n').count() + 1));
    let message = error.message();
    let Some((what, known)) = message.split_once(", expected ") else { return format!("{line}{message}") };
    if let Some(rest) = what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: ")) {
        // Behind the kind of value comes the value.
        let kind = rest.split([' ', '`', '"']).next().unwrap_or_default();
        return format!("{line}this is of the wrong type ({kind}); expected {known}");
    }
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    match what.split('`').nth(1).and_then(|word| nearest(word, names.iter().copied())) {
        Some(meant) => format!("{line}{what}; did you mean `{meant}`? Known here: {}", names.join(", ")),
        None => format!("{line}{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        explained(text, &toml::from_str::<ConfigFile>(text).unwrap_err())
    }

    #[test]
    fn wrong_keys_are_named_with_their_line_and_what_was_meant() {
        for (text, line, meant) in [
            ("[data]\ntrian = 'a'", "line 2: ", "`train`"),
            ("\n\n[input.x]\ncolumn = 'a'", "line 3: ", "`inputs`"),
            ("[target]\nkind = 'clas'", "line 2: ", "`class`"),
            ("[inputs.x]\ncolum = 'a'", "", "`column`"),
            ("[gates]\nmax_mai_distance = 0.1", "", "`max_mia_distance`"),
        ] {
            let said = said(text);
            assert!(said.starts_with(line) && said.contains(&format!("did you mean {meant}?")), "{said}");
        }
        assert!(!said("[data]\nxyzzy = 'a'").contains("did you mean"));
    }

    #[test]
    fn other_text_of_the_file_is_not_told() {
        for text in
            ["a secret line\nmore", "data = 'secret'", "[unlearn]\nalpha = 'secret'", "secret\u{0}", "x = [secret"]
        {
            let said = said(text);
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_files_of_a_moderate_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        let config = folder.path().join("m.forget.toml");
        std::os::unix::fs::symlink("/dev/zero", &config).unwrap();
        assert!(read(&model, None).unwrap_err().to_string().contains("regular"));
        std::fs::remove_file(&config).unwrap();
        std::fs::write(&config, "#".repeat(MOST as usize + 1)).unwrap();
        assert!(read(&model, None).unwrap_err().to_string().contains("1 MiB"));
    }
}
