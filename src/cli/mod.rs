//! The command line: what is typed, and what is shown while the program runs.
//!
//! One file a subcommand. Each turns what was typed into options of [`crate::run`], and what that tells into words.

mod about;
mod args;
mod audit;
mod compare;
mod config;
mod config_file;
mod demo;
mod forget;
mod init;
mod inspect;
mod out;
mod progress;
mod recipe_args;
mod signals;
#[cfg(test)]
mod tests;
mod train;
mod values;
mod verify;
mod version;

pub use args::{Cli, Command};
#[cfg(feature = "fuzzing")]
pub(crate) use inspect::inspected;

use crate::{
    error::Error,
    run::{Limits, keep_memory, scope},
    shown,
};
use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    num::NonZeroUsize,
};

/// A model's configuration, as a run without flags takes it.
#[cfg(feature = "fuzzing")]
pub(crate) fn configured(model: &std::path::Path) -> crate::Result<()> {
    let options = config::options(model, &args::SourceArgs::default(), &args::TestArgs::default())?;
    serde_json::to_string(&options).map(drop).map_err(|e| Error::Internal(e.to_string()))
}

/// Runs the program on the process's arguments and returns its exit code.
pub fn main() -> u8 {
    let given: Vec<OsString> = std::env::args_os().collect();
    let json = json_asked(&given);
    let cli = match parse(&given) {
        Ok(cli) => cli,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // A closed pipe is the only way this fails, and then nobody reads.
            let _ = e.print();
            return 0;
        }
        Err(e) => {
            let text = e.render();
            let shown = if io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
            let _ = io::stderr().lock().write_all(shown::without_secrets(&shown).as_bytes());
            if json {
                error_event(&Error::Usage(text.to_string().trim_end().trim_start_matches("error: ").to_string()));
            }
            return 2;
        }
    };
    signals::watch(json);
    match run(cli).and_then(|()| out::check()) {
        Ok(()) => 0,
        Err(e) => {
            out::error(&e.to_string());
            // What was printed as the one result says what failed.
            if json && !out::shown() {
                error_event(&e);
            }
            e.exit_code()
        }
    }
}

fn error_event(e: &Error) {
    let message = e.to_string();
    out::event(&serde_json::json!({ "event": "error", "exit_code": e.exit_code(), "message": shown::clean(&message) }));
}

/// Whether JSON is asked for, also by arguments that are otherwise wrong.
fn json_asked(arguments: &[OsString]) -> bool {
    let pairs = arguments.windows(2).any(|pair| matches!(pair, [flag, value] if flag == "--format" && value == "json"));
    pairs || arguments.iter().any(|argument| argument == "--format=json")
}

fn parse(given: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    if given.iter().any(|argument| argument == "--version") {
        // It is asked for once, and needed to the end.
        command = command.long_version(&*version::long().leak());
    }
    let mut matches = command.try_get_matches_from(given)?;
    Cli::from_arg_matches_mut(&mut matches)
}

fn run(cli: Cli) -> Result<(), Error> {
    if cli.quiet {
        out::be_quiet();
    }
    let level = match cli.verbose {
        0 if cli.quiet => "error",
        0 => "warn",
        1 => "onnx_forget=info",
        _ => "onnx_forget=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let colors = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).log_internal_errors(false);
    let _ = log.with_writer(|| out::Log).try_init();
    let threads = cli.threads.map(threads).transpose()?;
    let limits = Limits { memory: cli.max_memory, nodes: cli.max_nodes };
    keep_memory(|| scope(threads, limits))?.enter(|| match cli.command {
        Some(Command::Inspect(args)) => inspect::run(args),
        Some(Command::Init(args)) => init::run(args),
        Some(Command::Verify(args)) => verify::run(args),
        Some(Command::Audit(args)) => audit::run(args),
        Some(Command::Compare(args)) => compare::run(args),
        Some(Command::Train(args)) => train::run(args),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Completions(args)) => about::completions(args),
        Some(Command::Man) => about::man_page(),
        None => forget::run(cli.forget),
    })
}

/// # Errors
/// [`Error::Usage`] for more threads than any processor has, of which a system may give none.
fn threads(asked: NonZeroUsize) -> Result<usize, Error> {
    let most = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).max(256);
    match asked.get() {
        n if n > most => {
            Err(Error::Usage(format!("--threads {n}: at most {most} here; leave it out to use every core")))
        }
        n => Ok(n),
    }
}
