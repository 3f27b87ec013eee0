//! The documents beside the program: its flags, its configuration, its table of operators.

use super::{args::Cli, config_file::ConfigFile, inspect::operators};
use clap::{Arg, Command, CommandFactory};
use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// README.md and the pages of `docs`.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    docs.filter(|path| path.extension().is_some_and(|e| e == "md")).chain([root().join("README.md")]).collect()
}

/// Holds a page against what it should be; with `UPDATE_DOCS=1`, writes that.
fn generated(name: &str, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(root().join(name), text).unwrap();
    }
    let there = page(name);
    let differs = there.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| there.lines().count().min(text.lines().count()));
    assert!(
        there == text,
        "{name}:{}: there is\n  {:?}\nin place of\n  {:?}\nWrite it anew: UPDATE_DOCS=1 cargo test -p onnx-forget --lib cli::tests",
        line + 1,
        there.lines().nth(line),
        text.lines().nth(line)
    );
}

/// Long flags of a command and its subcommands.
fn flags(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(String::from);
    own.chain(command.get_subcommands().flat_map(flags)).collect()
}

#[test]
fn every_flag_of_the_documents_exists() {
    let known = flags(&Cli::command());
    // Of cargo, clap, and scripts.
    let others = ["release", "features", "help", "version", "locked", "path", "test", "lib", "example", "gib"];
    let mut unknown = Vec::new();
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let named =
            words.filter_map(|w| w.strip_prefix("--")).filter(|w| w.starts_with(|c: char| c.is_ascii_lowercase()));
        let wrong = named.filter(|w| !known.contains(*w) && !others.contains(w));
        unknown.extend(wrong.map(|w| format!("{}: --{w}", path.display())));
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn configurations_in_the_documents_are_some() {
    let mut count = 0;
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("\n```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0) {
            count += 1;
            toml::from_str::<ConfigFile>(block).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            // Keys that are shown as comments, `# key = value`, are keys, too.
            let key =
                |line: &str| line.strip_prefix("# ").filter(|key| key.contains(" = ")).unwrap_or(line).to_string();
            let shown: String = block.lines().map(|line| key(line) + "\n").collect();
            toml::from_str::<ConfigFile>(&shown).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn the_table_of_operators_is_what_the_program_prints() {
    let mark = "<!-- onnx-forget inspect --operators -->\n\n";
    let text = page("docs/operators.md");
    let (before, _) = text.split_once(mark).unwrap();
    generated("docs/operators.md", &format!("{before}{mark}{}", operators()));
}

#[test]
fn the_page_of_commands_is_what_help_says() {
    let mut text = String::from(
        "# Command line\n\n\
         This page is generated from `onnx-forget --help` and the help of each command.\n\n\
         <!-- Generated: UPDATE_DOCS=1 cargo test -p onnx-forget --lib cli::tests -->\n",
    );
    let mut main = Cli::command();
    main.build();
    section(&mut text, &main, "The main job", true);
    for command in main.get_subcommands().filter(|command| command.get_name() != "help") {
        section(&mut text, command, command.get_name(), false);
    }
    generated("docs/cli.md", &text);
}

/// A command, its arguments and its flags. Flags that every command takes are shown with the main job alone.
fn section(text: &mut String, command: &Command, name: &str, global: bool) {
    let usage = command.clone().render_usage().to_string().replace("Usage: ", "");
    let usage: Vec<&str> = usage.lines().map(str::trim).collect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    write!(text, "\n## {name}\n\n{about}.\n\n```text\n{}\n```\n", usage.join("\n")).unwrap();
    let shown = |argument: &&Arg| {
        (global || !argument.is_global_set()) && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let mut headings: Vec<&str> = Vec::new();
    for heading in command.get_arguments().filter(shown).map(group) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        write!(text, "\n**{heading}**\n\n").unwrap();
        command.get_arguments().filter(shown).filter(|a| group(a) == heading).for_each(|a| argument(text, a));
    }
    if let Some(more) = command.get_after_help() {
        write!(text, "\n```text\n{more}\n```\n").unwrap();
    }
}

/// The heading that an argument stands under.
fn group(argument: &Arg) -> &str {
    match argument.get_help_heading() {
        Some(heading) => heading,
        None if argument.is_positional() => "Arguments",
        None if argument.is_global_set() => "Flags that every command takes",
        None => "Flags",
    }
}

/// `- --flag VALUE: what it does`, with its values and its default.
fn argument(text: &mut String, argument: &Arg) {
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('<', "&lt;");
    write!(text, "- `{short}{}`: {help}.", argument.to_string().trim()).unwrap();
    let values: Vec<_> = argument.get_possible_values().into_iter().filter(|v| !v.is_hide_set()).collect();
    if argument.get_action().takes_values() && !argument.is_hide_possible_values_set() && !values.is_empty() {
        let values = values.iter().map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        });
        write!(text, " One of {}.", values.collect::<Vec<_>>().join(", ")).unwrap();
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().to_string()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        write!(text, " Default: `{}`.", defaults.join(" ")).unwrap();
    }
    text.push('\n');
}
