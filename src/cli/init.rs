//! `onnx-forget init`: a configuration file to begin with.

use super::{
    args::{SourceArgs, TestArgs},
    config::options,
    out,
};
use crate::{
    error::{Error, Result},
    run::{init::configuration, sibling},
};
use clap::Args;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// `init`: write a configuration that says how the program reads the rows.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The model
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
    /// File to write, or - for standard output; <stem>.forget.toml next to MODEL if not given
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// Writes the file, or prints it.
///
/// # Errors
/// Those of reading model and rows; [`Error::Write`] for a file that exists or cannot be written.
pub fn run(args: InitArgs) -> Result<()> {
    let path = args.out.clone().unwrap_or_else(|| sibling(&args.model, ".forget.toml"));
    let printed = path == Path::new("-");
    let failed = |problem: String| Error::Write { path: path.clone(), problem };
    if !printed && !args.force && path.symlink_metadata().is_ok() {
        return Err(failed("it exists; --force replaces it, --out names another file".into()));
    }
    let folder = match path.parent() {
        Some(folder) if !printed && !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let text = configuration(&options(&args.model, &args.source, &TestArgs::default())?, &folder)?;
    if printed {
        out::result(&text);
        return Ok(());
    }
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(|e| failed(e.to_string()))?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(|e| failed(e.to_string()))?;
    let placed = if args.force { file.persist(&path) } else { file.persist_noclobber(&path) };
    placed.map_err(|e| failed(e.error.to_string()))?;
    out::result(&format!(
        "written    {}\nnext       onnx-forget {} --forget IDS --dry-run\n",
        path.display(),
        args.model.display()
    ));
    Ok(())
}
