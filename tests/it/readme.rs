//! The README's commands, as a newcomer types them, and its size.

use crate::{
    docs::{blocks, missing},
    flow::{program, text},
};
use std::{fs, path::Path};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// `cargo run --release --` runs this very program; `cargo test --release --locked` is what runs this test.
#[test]
fn commands_do_what_the_readme_says() {
    let commands = blocks(&readme(), "sh").concat();
    let commands: Vec<&str> = commands.lines().collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands.contains(&"cargo test --release --locked"));
    let arguments = commands.iter().find_map(|command| command.strip_prefix("cargo run --release -- ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = program().current_dir(&folder).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for file in ["model.forgotten.onnx", "report.json", "report.html"] {
        assert!(folder.path().join("out").join(file).is_file(), "{file}");
    }
    let shown = blocks(&readme(), "text").concat();
    let missing = missing(shown.lines(), &text(&output));
    assert!(missing.is_empty(), "the README shows lines that the demo does not print: {missing:?}");
}

/// What does not fit belongs into `docs`.
#[test]
fn the_readme_stays_short() {
    assert!(readme().len() <= 9 * 1024, "{} bytes", readme().len());
}
