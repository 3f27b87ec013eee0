//! `onnx-forget verify`: parity of a model with other runtimes, or what differs between two models.

use super::{
    args::{Format, SourceArgs, TestArgs},
    config::options,
    out,
    progress::Printer,
    signals,
};
use crate::{
    error::{Error, Result},
    run::{
        Places, Runtimes,
        verify::{Checks, ModelDiff, Verification, diff, verify},
    },
};
use clap::Args;
use std::path::{Path, PathBuf};

/// `verify`: check forward pass and gradient against onnxruntime and tract, or list what differs between two models.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The model
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Another model: list what differs, and check nothing else
    #[arg(value_name = "OTHER")]
    pub other: Option<PathBuf>,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Rows to compare on
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub samples: usize,
    /// Allowed absolute difference; 1e-4 or the configuration's value if not given
    #[arg(long, value_name = "X")]
    pub atol: Option<f64>,
    /// Allowed difference relative to the runtime's value; 1e-3 or the configuration's value if not given
    #[arg(long, value_name = "X")]
    pub rtol: Option<f64>,
    /// Runtimes to compare with
    #[arg(long, value_parser = super::values::runtimes(), default_value = "both", value_name = "RUNTIME")]
    pub parity: Runtimes,
    /// Name the first node whose result differs from onnxruntime's, even if the outputs agree
    #[arg(long)]
    pub locate: bool,
}

/// Verifies one model, or compares two.
pub fn run(args: VerifyArgs) -> Result<()> {
    if args.locate && args.parity == Runtimes::Tract {
        return Err(Error::Usage("--locate asks onnxruntime: leave out --parity tract".into()));
    }
    if let Some(other) = &args.other {
        let diff = diff(&args.model, other, args.source.allow_symlink_inside)?;
        show_diff(&diff, &args.model, other, args.source.format);
        return Ok(());
    }
    let json = args.source.format == Format::Json;
    let result = checked(&args);
    match &result {
        Ok(found) if json => out::json_line(found),
        Ok(found) => show(found),
        Err(e) if json && e.exit_code() == 3 => out::json_line(&Verification::unsupported(e)),
        Err(_) => {}
    }
    result?.require()
}

fn checked(args: &VerifyArgs) -> Result<Verification> {
    // The neighboring configuration is for the main job's data; here only flags count, but its columns are of use.
    let mut options = options(&args.model, &args.source, &TestArgs::default())?;
    options.runtime = args.parity;
    options.parity.atol = args.atol.unwrap_or(options.parity.atol);
    options.parity.rtol = args.rtol.unwrap_or(options.parity.rtol);
    let checks = Checks { rows: Places::of(&args.source.data), samples: args.samples, locate: args.locate };
    verify(&options, &checks, &signals::stop(), &mut Printer::of_one_result(args.source.format))
}

/// Prints a line of the result.
macro_rules! say {
    ($($text:tt)*) => { out::line(&format!($($text)*)) };
}

fn show(found: &Verification) {
    if let Some(checkpoint) = &found.checkpoint {
        say!("parameters from {}", checkpoint.display());
    }
    if let Some(loss) = &found.loss {
        say!("loss      {loss}");
    }
    say!("trainable {} tensors", found.trainable);
    if let Some(forward) = &found.forward {
        say!("forward   {}", forward.verdict);
        for missing in &forward.not_available {
            say!("          {} took no part: {}", missing.name, missing.why);
        }
    }
    if let Some(gradient) = &found.gradient {
        say!("gradient  {}", gradient.verdict());
    }
    if let Some(located) = &found.locate {
        say!("nodes     {}", located.verdict());
    }
    let open = found.gradient.iter().any(|g| g.not_shown.is_some()) && found.forward.iter().all(|f| f.passed);
    say!(
        "{}",
        if found.passed {
            "passed"
        } else if open {
            "NOT SHOWN"
        } else {
            "FAILED"
        }
    );
}

fn show_diff(diff: &ModelDiff, a: &Path, b: &Path, format: Format) {
    if format == Format::Json {
        return out::json_line(diff);
    }
    say!("{} → {}", a.display(), b.display());
    if diff.identical {
        say!("identical");
    }
    for tensor in &diff.changed {
        say!(
            "changed   {} {:?} {}: norm {:.6}, of the difference {:.3e}, largest {:.3e}, {} elements",
            tensor.name,
            tensor.dims,
            tensor.dtype,
            tensor.norm,
            tensor.norm_difference,
            tensor.max_abs_difference,
            tensor.elements
        );
    }
    for line in &diff.other {
        say!("other     {line}");
    }
    say!("{} tensors changed, {} the same, {} other differences", diff.changed.len(), diff.unchanged, diff.other.len());
}
