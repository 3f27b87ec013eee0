//! The README's commands, as a newcomer types them.

use crate::flow::program;
use std::{fs, path::Path};

/// The commands of the README's `sh` blocks.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_string());
    blocks.flat_map(|block| block.lines().map(String::from).collect::<Vec<_>>()).collect()
}

/// `cargo run --release --` runs this very program; `cargo test --release` is what runs this test.
#[test]
fn commands_do_what_the_readme_says() {
    let commands = commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands.contains(&"cargo test --release".to_string()));
    let arguments = commands.iter().find_map(|command| command.strip_prefix("cargo run --release -- ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = program().current_dir(&folder).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["model.forgotten.onnx", "report.json", "report.html"] {
        assert!(folder.path().join("out").join(file).is_file(), "{file}");
    }
}
