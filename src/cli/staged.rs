//! The report's files, which get their names together with the model, or not at all.

use crate::{
    data::digest,
    error::{Error, Result},
    report::{self, Report, Status},
};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The report's files under temporary names, which are removed on drop.
pub struct StagedReport {
    files: Vec<(NamedTempFile, PathBuf)>,
    /// Files of an earlier run that would contradict these.
    outdated: Vec<PathBuf>,
}

impl StagedReport {
    /// Writes the report; where a model is published, also the statement about it and the tags for its registry.
    pub fn write(report: &Report, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| cannot_write(folder, &e))?;
        let internal = |e: serde_json::Error| Error::Internal(e.to_string());
        let json = serde_json::to_string_pretty(report).map_err(internal)? + "\n";
        let digest = digest::bytes(json.as_bytes());
        let mut texts = vec![("report.json", json), ("report.html", report::html(report))];
        let about_the_model = ["attestation.intoto.json", "tags.json"];
        let mut outdated = Vec::new();
        if report.status == Status::Published {
            let [statement, tags] = [
                serde_json::to_string_pretty(&report::statement(report)).map_err(internal)? + "\n",
                serde_json::to_string_pretty(&report::tags(report, &digest)).map_err(internal)? + "\n",
            ];
            texts.extend(about_the_model.into_iter().zip([statement, tags]));
        } else {
            outdated.extend(about_the_model.map(|name| folder.join(name)));
        }
        Ok(Self { files: staged(folder, texts)?, outdated })
    }

    /// Gives the files their names.
    pub fn place(self) -> Result<()> {
        for path in self.outdated.iter().filter(|path| path.is_file()) {
            std::fs::remove_file(path).map_err(|e| cannot_write(path, &e))?;
        }
        for (file, path) in self.files {
            file.persist(&path).map_err(|e| cannot_write(&path, &e.error))?;
        }
        Ok(())
    }
}

/// Writes texts under temporary names in `folder`, which exists.
fn staged(folder: &Path, texts: Vec<(&str, String)>) -> Result<Vec<(NamedTempFile, PathBuf)>> {
    let mut files = Vec::new();
    for (name, text) in texts {
        let path = folder.join(name);
        if path.is_dir() {
            return Err(Error::Write { path, problem: "this is a folder; give another one for the report".into() });
        }
        let mut builder = tempfile::Builder::new();
        // For auditors to read, as far as the umask allows.
        #[cfg(unix)]
        builder.permissions(<std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|e| cannot_write(&path, &e))?;
        std::fs::write(file.path(), text).map_err(|e| cannot_write(&path, &e))?;
        files.push((file, path));
    }
    Ok(files)
}

/// Writes texts to files in `folder`: all of them, or none.
pub fn place_texts(folder: &Path, texts: Vec<(&str, String)>) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| cannot_write(folder, &e))?;
    StagedReport { files: staged(folder, texts)?, outdated: Vec::new() }.place()
}

/// A failure to write `path`.
pub fn cannot_write(path: &Path, e: &std::io::Error) -> Error {
    Error::Write { path: path.to_path_buf(), problem: e.to_string() }
}
