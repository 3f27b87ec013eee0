//! The documents: their commands run and print what is shown, their links lead somewhere, and every page is in the book.

use crate::flow::{Fixture, program, text};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Commands that are shown and not run here, by how they begin, each with the reason.
const NOT_RUN: [(&str, &str); 19] = [
    ("cargo install", "builds the program anew"),
    ("cargo build --release --features cuda", "needs the CUDA toolkit"),
    ("eval \"$(scripts/cuda-toolkit)\"", "downloads the CUDA toolkit"),
    ("cargo build --release --locked", "builds the program anew"),
    ("cargo run --release --example", "is a step of .ci/run"),
    ("cargo fmt", "is a step of .ci/run"),
    ("cargo clippy", "is a step of .ci/run"),
    ("cargo test", "runs this test"),
    ("UPDATE_DOCS=1", "changes the documents"),
    (".ci/run", "runs this test"),
    ("scripts/fuzz", "builds another program, and runs for minutes"),
    ("target/release/table", "needs what scripts/fuzz builds"),
    ("TMPDIR=/dev/shm target/release/table", "needs what scripts/fuzz builds"),
    ("psql", "needs a database"),
    ("onnx-forget completions bash > /etc", "writes to the system's folders"),
    ("onnx-forget completions zsh", "writes to the user's folders"),
    ("onnx-forget completions fish", "writes to the user's folders"),
    ("onnx-forget man > /usr", "writes to the system's folders"),
    ("onnx-forget compare model.onnx --forget ids.parquet\n", "takes long; with fewer methods it is run"),
];

/// Pages whose blocks go on in the folder that the blocks before them left.
const IN_SEQUENCE: [&str; 1] = ["docs/tutorial.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Markdown files of the repository's folder and of `docs`, relative to the former.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}{name}"));
            }
        }
    }
    pages.sort();
    pages
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// The bodies of the fenced blocks of a language.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let mark = format!("\n```{language}\n");
    text.split(&mark).skip(1).map(|rest| rest.split_once("```").unwrap().0.to_string()).collect()
}

/// A page without its fenced blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The commands of a `console` block, each with the output that is shown below it.
fn commands(block: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    let mut open = false;
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((format!("{command}\n"), Vec::new()));
        } else if let Some((command, shown)) = commands.last_mut() {
            if open {
                command.push_str(&format!("{line}\n"));
            } else {
                shown.push(line.to_string());
            }
        }
        open = line.ends_with('\\') && commands.last().is_some_and(|(_, shown)| shown.is_empty());
    }
    commands
}

/// A line without what differs between machines: digits, and how columns are aligned.
fn masked(line: &str) -> String {
    let mut masked = String::new();
    for c in line.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }) {
        if !(c == '#' && masked.ends_with('#')) {
            masked.push(c);
        }
    }
    masked.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines that are shown and that a program did not print, whatever their digits.
pub fn missing<'a>(shown: impl IntoIterator<Item = &'a str>, printed: &str) -> Vec<&'a str> {
    let printed: BTreeSet<String> = printed.lines().map(masked).collect();
    shown.into_iter().filter(|line| *line != "..." && !printed.contains(&masked(line))).collect()
}

/// A folder as a page's commands expect it.
fn folder_for(page: &str, command: &str) -> Fixture {
    if command.contains("eval_model.onnx") {
        let fixture = Fixture::new("artifacts/mlp");
        fs::copy(fixture.path("forget.parquet"), fixture.path("ids.parquet")).unwrap();
        return fixture;
    }
    let fixture = Fixture::new("cancer-mlp");
    for name in ["ids.parquet", "ids.csv", "january.csv", "february.parquet"] {
        fs::copy(fixture.path("forget.parquet"), fixture.path(name)).unwrap();
    }
    fs::copy(root().join("fixtures/loss-graphs/logit.onnx"), fixture.path("loss.onnx")).unwrap();
    // The README's flags must do without a configuration, and so must what excludes it.
    if page == "README.md" || [" init ", "--loss-graph"].iter().any(|words| command.contains(words)) {
        fs::remove_file(fixture.path("model.forget.toml")).unwrap();
    }
    fixture
}

fn run(command: &str, fixture: &Fixture) -> (bool, String) {
    let binary = PathBuf::from(program().get_program());
    let path = std::env::join_paths(
        std::iter::once(binary.parent().unwrap().to_path_buf())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("PATH", path.unwrap())
        .current_dir(fixture.path(""))
        .stdin(std::process::Stdio::null());
    let output = shell.output().unwrap();
    (output.status.success(), text(&output))
}

#[cfg(unix)]
#[test]
fn commands_run_and_print_what_is_shown() {
    let (mut failures, mut excused, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for page in pages() {
        let mut kept: Option<Fixture> = None;
        for block in blocks(&read(&page), "console") {
            let folder = match kept.take() {
                Some(folder) if IN_SEQUENCE.contains(&page.as_str()) => folder,
                _ => folder_for(&page, &block),
            };
            for (command, shown) in commands(&block) {
                if let Some((start, _)) = NOT_RUN.iter().find(|(start, _)| command.starts_with(start)) {
                    excused.insert(*start);
                    continue;
                }
                count += 1;
                let (success, printed) = run(&command, &folder);
                if !success {
                    failures.push(format!("{page}: $ {command}fails:\n{printed}"));
                }
                for line in missing(shown.iter().map(String::as_str), &printed) {
                    failures.push(format!("{page}: $ {command}does not print `{line}`"));
                }
            }
            kept = Some(folder);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 20, "only {count} commands were found");
    let stale: Vec<_> = NOT_RUN.iter().filter(|(start, _)| !excused.contains(start)).collect();
    assert!(stale.is_empty(), "no document shows these commands any more: {stale:?}");
}

/// The anchor that renderers give a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text = prose(&fs::read_to_string(page).unwrap());
    text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// The targets of a page's links, without those to other hosts.
fn links(page: &str) -> Vec<String> {
    let text = prose(&read(page));
    let targets = text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0.to_string());
    targets.filter(|target| !target.contains("://")).collect()
}

/// READMEs and results below a folder.
fn below(folder: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let name = format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap());
        if root().join(&name).is_dir() {
            below(&name, found);
        } else if name.ends_with(".md") {
            found.push(name);
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let (mut wrong, mut all) = (Vec::new(), pages());
    for folder in ["benches", "experiments", "fixtures", "tests"] {
        below(folder, &mut all);
    }
    for page in all {
        for link in links(&page) {
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let here = root().join(&page);
            let target = if path.is_empty() { here.clone() } else { here.parent().unwrap().join(path) };
            if !target.exists() || (!fragment.is_empty() && !anchors(&target).contains(fragment)) {
                wrong.push(format!("{page}: {link}"));
            } else if page.starts_with("docs/") && (path.contains('/') || target.is_dir()) {
                wrong.push(format!("{page}: {link} leads out of the book"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_book_lists_every_page_once() {
    let mut listed = links("docs/SUMMARY.md");
    listed.push("SUMMARY.md".into());
    listed.sort();
    let there: Vec<String> = pages().iter().filter_map(|page| page.strip_prefix("docs/")).map(String::from).collect();
    assert_eq!(listed, there);
}
