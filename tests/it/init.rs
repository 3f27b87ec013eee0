//! `init`: a configuration that reads the rows as they are read without it.

use crate::flow::{Fixture, program};
use serde_json::Value;
use std::{fs, process::Output};

const FIXTURES: [&str; 5] = ["digits-cnn", "cancer-mlp", "notes-transformer", "tags-lstm", "words-decoder"];

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a dry run says of the rows.
fn read(fixture: &Fixture, flags: &[&str]) -> Vec<Value> {
    let mut command = fixture.command(&["--dry-run", "--accept-unknown-rows", "--offline", "--format", "json"]);
    let output = command.args(flags).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let words = |loss: &Value| Value::from(loss.as_str().unwrap().split(':').next().unwrap());
    vec![
        last["reading"].clone(),
        words(&last["loss"]),
        last["rows"].clone(),
        last["trainable"].clone(),
        last["settings"].clone(),
    ]
}

#[test]
fn rows_are_read_as_without_the_file_that_it_writes() {
    for name in FIXTURES {
        let fixture = Fixture::new(name);
        let (model, config) = (fixture.path("model.onnx"), fixture.path("model.forget.toml"));
        let files = ["train", "validation", "test"].map(|part| fixture.path(&format!("{part}.parquet")));
        let files = files.map(|path| path.to_str().unwrap().to_string());
        let flags = ["--data", &files[0], "--validation", &files[1], "--test", &files[2]];
        let written = |with: bool, more: &[&str]| {
            let mut init = program();
            init.arg("init").arg(&model).args(more);
            let output = if with { init.args(flags).output() } else { init.output() }.unwrap();
            (output.status.code().unwrap(), text(&output))
        };
        // From the fixture's own configuration, and from its name and types alone.
        let own = read(&fixture, &[]);
        let (code, said) = written(false, &[]);
        assert!(code != 0 && said.contains("--force"), "{name}: {said}");
        assert_eq!(written(false, &["--force"]).0, 0, "{name}");
        assert_eq!(read(&fixture, &[]), own, "{name}: {}", fs::read_to_string(&config).unwrap());
        fs::remove_file(&config).unwrap();
        // That labels are tags, or the words themselves, nobody tells without the configuration.
        if ["tags-lstm", "words-decoder"].contains(&name) {
            continue;
        }
        let bare = read(&fixture, &flags);
        let (code, said) = written(true, &[]);
        assert_eq!(code, 0, "{name}: {said}");
        let file = fs::read_to_string(&config).unwrap();
        assert!(file.contains("train = \"train.parquet\"") && file.contains("[target]\n"), "{name}: {file}");
        assert_eq!(read(&fixture, &[]), bare, "{name}: {file}");
    }
}

#[test]
fn the_model_alone_tells_which_kind_of_label_fits() {
    for (name, kind) in FIXTURES.iter().zip(["class", "value", "class", "class", "next"]) {
        let fixture = Fixture::new(name);
        let output = program().arg("inspect").arg(fixture.path("model.onnx")).output().unwrap();
        assert!(text(&output).contains(&format!("kind = \"{kind}\"")), "{name}: {}", text(&output));
    }
}
