//! The main job: forget the rows, publish the new model if everything held, and leave a report.

use super::{
    args::{Cli, ForgetArgs, Format},
    config, out,
    progress::Printer,
    signals,
};
use crate::{
    error::{Error, Result},
    report,
    run::{Destination, Job, Options, check_device, forget::forget},
};
use clap::CommandFactory;
use onnx_forget_base::nearest::nearest;
use serde_json::Value;
use std::path::Path;

/// Forgets the rows, or shows what would be done.
pub fn run(args: ForgetArgs) -> Result<()> {
    let model = args.model.as_deref().ok_or_else(|| Error::Usage("which MODEL?".into()))?;
    require_model(model)?;
    let (options, format) = (config::for_forgetting(model, &args)?, args.source.format);
    check_device(options.device)?;
    let mut printer = if args.dry_run { Printer::of_one_result(format) } else { Printer::new(format) };
    let destination = |options: &Options| Destination::new(options, args.out.as_deref(), args.force);
    let job = Job::prepare(options, &signals::stop(), &mut printer, |options, file| {
        destination(options).check(file, args.dry_run)
    })?;
    let to = destination(&job.options);
    to.require_apart(&job)?;
    if args.dry_run {
        return describe(job.dry_run(&mut printer)?, format);
    }
    let what = if job.model.file.checkpoint().is_some() { "checkpoint" } else { "model " };
    let report = forget(job, &to, &mut printer)?;
    let lines = format!("{}\nnew {what} {}", report::status(&report), to.out.display());
    printer.report(&report, &lines, &to.folder);
    out::check()
}

/// # Errors
/// [`Error::Usage`] for a MODEL that is no file, and looks like a command that is written wrong.
fn require_model(model: &Path) -> Result<()> {
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
    let word = model.to_str().filter(|word| !word.contains(['/', '\\', '.']) && !model.exists());
    match word.and_then(|word| nearest(word, names)) {
        Some(meant) => Err(Error::Usage(format!(
            "there is no file {}, and no such command; did you mean the command `{meant}`?",
            model.display()
        ))),
        None => Ok(()),
    }
}

/// Prints what would be done.
fn describe(plan: Value, format: Format) -> Result<()> {
    match format {
        Format::Json => out::json_line(&plan),
        Format::Pretty => {
            let text = toml::to_string_pretty(&for_toml(plan)).map_err(|e| Error::Internal(e.to_string()))?;
            out::result(&(text + "\n"));
        }
    }
    Ok(())
}

fn for_toml(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, for_toml(v))).collect(),
        Value::Array(items) => items.into_iter().map(for_toml).collect(),
        // For people: a name that holds a line end cannot pass for a line of the text.
        Value::String(text) => text.replace('\n', "\n  ").into(),
        other => other,
    }
}
