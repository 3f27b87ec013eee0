//! Machines and files that fail under the program: no memory, files that shrink or change, names that would steer a terminal.

#[cfg(unix)]
use crate::processes::{begun, signal, under};
use crate::{
    flow::{Fixture, json, program, text},
    onnx_models::node,
};
use onnx_forget::onnx::proto::{ModelProto, OperatorSetIdProto, ValueInfoProto};
use prost::Message;
use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A job that has begun to unlearn and is stopped there, until [`go_on`].
#[cfg(unix)]
fn stopped(command: &mut Command, temporary: &Path) -> Child {
    let command = command.args(["--epochs", "300"]).env("TMPDIR", temporary).stderr(Stdio::piped());
    let (child, lines) = begun(command);
    signal(&child, "STOP");
    // Whoever writes to a closed pipe ends.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[cfg(unix)]
fn go_on(child: Child) -> (Option<i32>, String) {
    signal(&child, "CONT");
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output))
}

/// What the program has left in a folder.
fn left(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("onnx-forget") || name.contains("forgotten")).collect()
}

#[cfg(unix)]
#[test]
fn a_mapped_file_that_shrinks_ends_with_a_word() {
    let f = Fixture::new("digits-cnn");
    let temporary = tempfile::tempdir().unwrap();
    let variants = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits-cnn/variants");
    fs::copy(variants.join("dynamo-external.onnx"), f.path("model.onnx")).unwrap();
    let data = f.path("dynamo-external.onnx.data");
    fs::copy(variants.join("dynamo-external.onnx.data"), &data).unwrap();
    // Large enough to be mapped, and sparse.
    OpenOptions::new().write(true).open(&data).unwrap().set_len(257 << 20).unwrap();
    let child = stopped(&mut f.command(&[]), temporary.path());
    OpenOptions::new().write(true).open(&data).unwrap().set_len(0).unwrap();
    let (code, said) = go_on(child);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("became shorter") || said.contains("was changed"), "{said}");
    assert_eq!((left(&f.path("")), left(temporary.path())), (vec![], vec![]), "{said}");
}

#[cfg(unix)]
#[test]
fn a_file_that_changes_stops_the_run_even_with_its_time_put_back() {
    let f = Fixture::new("cancer-mlp");
    let temporary = tempfile::tempdir().unwrap();
    let child = stopped(&mut f.command(&[]), temporary.path());
    let path = f.path("model.onnx");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let (code, said) = go_on(child);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("was changed while it was being used"), "{said}");
    assert_eq!((left(&f.path("")), left(temporary.path())), (vec![], vec![]), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_ends_with_a_word() {
    let f = Fixture::new("digits-cnn");
    let temporary = tempfile::tempdir().unwrap();
    let limited = |kibi: u64, arguments: &[&str]| {
        let mut plain = program();
        plain.args(arguments).args(["--threads", "1"]).env("TMPDIR", temporary.path());
        under(&format!("-v {kibi}"), &plain).output().unwrap()
    };
    // A file that has no room beside the program.
    let path = f.path("large.onnx");
    fs::copy(f.path("model.onnx"), &path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(250 << 20).unwrap();
    let output = limited(300 << 10, &["inspect", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("error: not enough memory: "), "{}", text(&output));
    assert_eq!(left(temporary.path()), Vec::<String>::new());
}

const MORE: &str = "\u{1b}[31m\u{202e}\nPUBLISHED (exit code 0)<script>&\"";

/// The model with a line end, an escape sequence, a mark that reverses text, and HTML in every name.
fn rename(path: &Path) {
    let mut model = ModelProto::decode(fs::read(path).unwrap().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let nodes = graph.node.iter_mut().flat_map(|node| {
        let (name, inputs, outputs) = (&mut node.name, &mut node.input, &mut node.output);
        name.iter_mut().chain(inputs.iter_mut()).chain(outputs.iter_mut())
    });
    let ports = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    let tensors = graph.initializer.iter_mut().flat_map(|tensor| &mut tensor.name);
    for name in nodes.chain(ports.flat_map(|port| &mut port.name)).chain(tensors).filter(|name| !name.is_empty()) {
        name.push_str(MORE);
    }
    fs::write(path, model.encode_to_vec()).unwrap();
}

#[test]
fn names_neither_steer_the_terminal_nor_pass_for_lines_of_the_program() {
    let f = Fixture::new("cancer-mlp");
    rename(&f.path("model.onnx"));
    let (toml, key) = (f.path("model.forget.toml"), format!("[inputs.{:?}]", format!("features{MORE}")));
    let key = key.replace("\\u{1b}", "\\u001b").replace("\\u{202e}", "\\u202e");
    fs::write(&toml, fs::read_to_string(&toml).unwrap().replace("[inputs.features]", &key)).unwrap();
    let commands: [&[&str]; 5] =
        [&["inspect"], &["verify"], &["inspect", "--format", "json"], &["--dry-run"], &["--unlearn-anyway"]];
    for words in commands {
        let mut command = match words.first() {
            Some(word) if !word.starts_with('-') => {
                let mut command = program();
                command.arg(word).arg(f.path("model.onnx")).args(&words[1..]);
                command
            }
            _ => f.command(words),
        };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output));
        let said = text(&output);
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{words:?}");
        let forged = said.lines().filter(|line| line.starts_with("PUBLISHED (exit code 0)")).count();
        // The job itself says so once.
        assert_eq!(forged, usize::from(words == ["--unlearn-anyway"]), "{words:?}: {said}");
    }
    let report = f.path("model.forgotten.report");
    assert_eq!(json(&report.join("report.json"))["status"], "published");
    for entry in fs::read_dir(report).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{}", path.display());
        assert!(!text.contains("<script") || path.extension().is_none_or(|end| end != "html"), "{}", path.display());
    }
    let mut compare = program();
    compare.arg("compare").arg(f.path("model.onnx")).arg("--forget").arg(f.path("forget.parquet"));
    let output = compare.args(["--methods", "ssd", "--epochs", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let page = fs::read_to_string(f.path("model.compare/compare.html")).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    assert!(!page.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn a_file_that_onnxruntime_opens_only_in_part_is_told() {
    let f = Fixture::new("cancer-mlp");
    let path = f.path("model.onnx");
    let mut model = ModelProto::decode(fs::read(&path).unwrap().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let logit = graph.output[0].name().to_string();
    let mut unknown = node("Unheard", &[&logit], &["more"], vec![]);
    unknown.domain = Some("of.nobody".into());
    graph.node.push(unknown);
    graph.output.push(ValueInfoProto { name: Some("more".into()), ..Default::default() });
    let domain = OperatorSetIdProto { domain: Some("of.nobody".into()), version: Some(1) };
    model.opset_import.push(domain);
    fs::write(&path, model.encode_to_vec()).unwrap();
    let output = f.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for when in ["before", "after"] {
        let verdict = f.report()["parity"][when]["verdict"].as_str().unwrap().to_string();
        assert!(verdict.contains("does not open the file as it is"), "{verdict}");
    }
}

#[cfg(unix)]
#[test]
fn a_report_is_not_put_where_everybody_may_write() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new("cancer-mlp");
    let folder = f.path("open");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let output = f.command(&["--report", folder.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("can be written by everybody") && !f.path("model.forgotten.onnx").exists());
}
