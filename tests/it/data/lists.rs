//! Lists of ids: their formats, several of them, and their columns of ids.

use super::*;
use crate::flow::{Fixture, program};
use arrow_array::Float64Array;
use std::{io::Write, process::Stdio};

fn text(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn open(dir: &TempDir, lists: &[PathBuf]) -> Result<Data, Error> {
    data::open(
        &simple_config(dir),
        &Request { forget: lists.iter().cloned().map(Into::into).collect(), ..Request::default() },
        &simple(),
    )
}

#[test]
fn a_list_is_read_in_every_format_whatever_its_name() {
    let dir = TempDir::new().unwrap();
    let lists = [
        ("ids.csv", "id\n3\n7\n"),
        ("ids.parquet", "id\n3\n7\n"),
        ("bare.csv", "3\n7\n"),
        ("ids.txt", "3\r\n\r\n7\r\n"),
        ("ids.tsv", "id\tlabel\n3\t1\n7\t1\n"),
        ("quoted.csv", "\"id\",\"note\"\n\"3\",\"a, b\"\n\"7\",\"\"\n"),
        ("floats.csv", "id\n3.0\n7.0\n"),
        ("ids.json", "[3, 7]"),
        ("objects.json", "[{\"id\": 3}, {\"id\": 7}]"),
        ("ids.jsonl", "{\"id\": 3, \"x\": \"a\"}\n{\"id\": 7, \"x\": \"b\"}\n"),
        ("bare.jsonl", "\"3\"\n\"7\"\n"),
        ("mark.csv", "\u{feff}id\n3\n7\n"),
    ];
    for (name, content) in lists {
        let data = open(&dir, &[text(&dir, name, content)]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(data.forget.to_vec(), [3, 7], "{name}");
    }
    let batch = id_list(&[3, 7]).batch();
    let path = dir.path().join("ids.feather");
    let mut writer =
        arrow_ipc::writer::FileWriter::try_new(std::fs::File::create(&path).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    assert_eq!(open(&dir, &[path]).unwrap().forget.to_vec(), [3, 7]);
}

#[test]
fn several_lists_are_one() {
    let dir = TempDir::new().unwrap();
    let lists = [
        id_list(&[7, 3, 7]).write(&dir, "a.parquet"),
        text(&dir, "b.csv", "id\n3\n5\n"),
        Table::new().with("id", Float64Array::from(vec![9.0])).write(&dir, "c.parquet"),
    ];
    let data = open(&dir, &lists).unwrap();
    assert_eq!(data.forget.to_vec(), [3, 5, 7, 9]);
    assert_eq!((data.counts.forget_ids, data.counts.duplicate_ids), (4, 2));
    assert_eq!(data.notes.iter().filter(|n| n.what == "forget").count(), 3);
    assert_eq!(
        data.forget_ids_sha256,
        open(&dir, &[id_list(&[9, 7, 5, 3]).write(&dir, "d.parquet")]).unwrap().forget_ids_sha256
    );
}

#[test]
fn the_column_of_ids_has_another_name_or_spelling() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let mut open = |content: &str, id: Option<&str>, forget_id: Option<&str>| {
        config.files.id = id.map(Into::into);
        config.files.forget_id = forget_id.map(Into::into);
        data::open(&config, &request(text(&dir, "list.csv", content)), &simple())
    };
    for id in [None, Some("id")] {
        let data = open("ID,label\n7,1\n", id, None).unwrap();
        assert_eq!(data.forget.to_vec(), [7]);
    }
    assert_eq!(open("label,customer\n1,7\n", None, Some("customer")).unwrap().forget.to_vec(), [7]);
    let data = open("label,Customer ID\n1,7\n", None, Some("customer_id")).unwrap();
    assert_eq!(data.forget.to_vec(), [7]);
    assert!(data.notes.iter().any(|n| n.how.contains("`Customer ID`, taken for `customer_id`")), "{:?}", data.notes);
    let message = refused(open("a,b\n1,7\n", None, None));
    assert!(message.contains("list.csv") && message.contains("--forget-id"), "{message}");
    let message = refused(open("a,b\n1,7\n", None, Some("c")));
    assert!(message.contains("no column `c`"), "{message}");
}

#[test]
fn a_column_that_both_tables_have_is_no_id_if_it_is_the_models_or_repeats() {
    let dir = TempDir::new().unwrap();
    let mut config = simple_config(&dir);
    let ids = Int64Array::from_iter_values((0..20).chain(0..20));
    simple_rows(0, 40).with("Person", ids).with("group", Int64Array::from(vec![3; 40])).write(&dir, "train.parquet");
    let mut open = |content: &str, id: Option<&str>| {
        config.files.id = id.map(Into::into);
        data::open(&config, &request(text(&dir, "list.csv", content)), &simple())
    };
    // The label is in the list, too: not every row of that label is to be forgotten.
    let message = refused(open("label,reason\n1,a\n", None));
    assert!(message.contains("--forget-id"), "{message}");
    let message = refused(open("label\n1\n", None));
    assert!(message.contains("`label`") && message.contains("--id"), "{message}");
    let message = refused(open("group,reason\n3,a\n", None));
    assert!(message.contains("`group`") && message.contains("--id"), "{message}");
    // Several rows of one person are all forgotten, once the column is named.
    assert!(refused(open("person,label\n7,1\n", None)).contains("--id Person"));
    assert_eq!(open("person,label\n7,1\n", Some("Person")).unwrap().forget.to_vec(), [7, 27]);
}

#[test]
fn a_list_that_is_none_is_refused_without_its_values() {
    let dir = TempDir::new().unwrap();
    for content in ["", "secret-7,1\nsecret-8,2\n", "{\"id\": [\"secret\"", "id\nsecret-1\n"] {
        let message = refused(open(&dir, &[text(&dir, "list.csv", content)]));
        assert!(message.contains("list.csv") && !message.contains("secret"), "{message}");
    }
    let twice = open(&dir, &["-".into(), "-".into()]).unwrap_err();
    assert!(twice.exit_code() == 2 && twice.to_string().contains("standard input"), "{twice}");
}

#[test]
fn a_list_comes_from_standard_input() {
    let fixture = Fixture::new("digits-cnn");
    let mut command = program();
    command.arg(fixture.path("model.onnx")).args(["--forget", "-", "--dry-run", "--format", "json"]);
    let list = std::fs::read(fixture.path("forget.parquet")).unwrap();
    for (input, code) in [(list.as_slice(), 0), (b"no id\n".as_slice(), 4)] {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("standard input"), "{said}");
    }
}
