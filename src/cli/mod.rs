//! The command line: what is typed, and what is shown while the program runs.
//!
//! One file a subcommand; `forget` shows the whole flow on one page.

mod args;
mod audit;
mod compare;
mod config;
mod demo;
mod device;
mod forget;
mod inspect;
mod job;
mod known;
mod measuring;
mod methods;
mod plan;
mod progress;
mod recipe_args;
mod rows;
mod staged;
#[cfg(test)]
mod tests;
mod train;
mod verify;

pub use args::{Cli, Command};
pub use config::RunConfig;
pub use job::{label_kind, signature};

use crate::error::Error;
use clap::{Parser, error::ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Fails with [`Error::Interrupted`] after Ctrl-C or SIGTERM.
pub fn check_interrupt() -> Result<(), Error> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

/// Runs the program on the process's arguments and returns its exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // A closed pipe is the only way this fails, and then nobody reads.
            let _ = e.print();
            return if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) { 0 } else { 2 };
        }
    };
    // Without a handler, Ctrl-C ends the process at once, which leaves nothing but temporary files.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed));
    match run(cli) {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("error: {e}");
            e.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let level = match cli.verbose {
        0 => "warn",
        1 => "onnx_forget=info",
        _ => "onnx_forget=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    crate::engine::start_pool(cli.threads.map(|threads| threads.get()))?;
    match cli.command {
        Some(Command::Inspect(args)) => inspect::run(args),
        Some(Command::Verify(args)) => verify::run(args),
        Some(Command::Audit(args)) => audit::run(args),
        Some(Command::Compare(args)) => compare::run(args),
        Some(Command::Train(args)) => train::run(args),
        Some(Command::Demo(args)) => demo::run(args),
        None => forget::run(cli.forget),
    }
}
