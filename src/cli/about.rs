//! `onnx-forget completions SHELL` and `onnx-forget man`: what a package of this program installs beside it.

use super::{args::Cli, out};
use crate::error::{Error, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// `completions`: a script for a shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the script.
pub fn completions(args: CompletionsArgs) -> Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_string();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    out::result(&String::from_utf8_lossy(&script));
    Ok(())
}

/// Prints the manual page: the main job and its flags, then each command with its own.
pub fn man_page() -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let failed = |e: std::io::Error| Error::Internal(format!("manual page: {e}"));
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let man = clap_mangen::Man::new(sub.clone());
        page.extend(format!(".SH \"COMMAND {}\"\n", sub.get_name().to_uppercase()).into_bytes());
        man.render_description_section(&mut page).map_err(failed)?;
        man.render_options_section(&mut page).map_err(failed)?;
    }
    out::result(&String::from_utf8_lossy(&page));
    Ok(())
}
