//! README.md beside the program: its flags, its configuration, its table of operators.

use super::{args::Cli, config_file::ConfigFile, inspect::operators};
use clap::CommandFactory;
use std::{collections::BTreeSet, fs, path::Path};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// What stands between two marks of the README.
fn between(start: &str, end: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(start).unwrap();
    rest.split_once(end).unwrap().0.to_string()
}

/// Long flags of a command and its subcommands.
fn flags(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(String::from);
    own.chain(command.get_subcommands().flat_map(flags)).collect()
}

#[test]
fn every_flag_of_the_readme_exists() {
    let known = flags(&Cli::command());
    let readme = readme();
    let words = readme.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let named: BTreeSet<&str> = words
        .filter_map(|w| w.strip_prefix("--"))
        .filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let others = ["release", "features", "help"];
    let unknown: Vec<_> = named.iter().filter(|w| !known.contains(**w) && !others.contains(w)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for flag in ["forget", "validation", "seed", "step-size", "trainable"] {
        assert!(named.contains(flag), "README does not name --{flag}");
    }
}

#[test]
fn the_configuration_of_the_readme_is_one() {
    let block = between("```toml\n", "```");
    toml::from_str::<ConfigFile>(&block).unwrap();
    // Keys that are shown as comments, `# key = value`, are keys, too.
    let shown: String = block
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|key| key.contains(" = ")).unwrap_or(line).to_string() + "\n")
        .collect();
    assert_ne!(shown, block);
    toml::from_str::<ConfigFile>(&shown).unwrap();
}

#[test]
fn the_table_of_operators_is_what_the_program_prints() {
    let table = between("<!-- onnx-forget inspect --operators -->\n\n", "\n</details>");
    assert_eq!(table, operators(), "put what `onnx-forget inspect --operators` prints into README.md");
}
