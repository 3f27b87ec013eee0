//! Splicing new weights into a file: what changes, what does not, what is refused, and what is left behind.

use crate::onnx_models::{Form, mlp, open, raw_bytes, tensor, write};
use onnx_forget::{
    Error, Result,
    onnx::{OnnxFile, ReadOptions, proto::StringStringEntryProto, span::Spans},
    tensor::DType,
    writeback::{Change, ExternalData, diff, splice, splice_to_temp},
};
use prost::Message;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];

pub fn change(name: &str, values: &[f32]) -> Change {
    Change { name: name.into(), values: values.to_vec() }
}

/// New weights for `w` and the constant `c`, of no value that the model has.
pub fn changes() -> Vec<Change> {
    let w: Vec<f32> = (0..32).map(|i| 1.0 + (i as f32) / 7.0).collect();
    vec![change("w", &w), change("c", &[-0.3, 1e-3, 7.7])]
}

pub fn stored(file: &OnnxFile, name: &str) -> Vec<f32> {
    let graph = file.proto().graph.as_ref().unwrap();
    let initializer = graph.initializer.iter().find(|t| t.name() == name);
    let constant = || graph.node.iter().find(|n| n.output[0] == name)?.attribute[0].t.as_deref();
    file.tensor(initializer.or_else(constant).unwrap()).unwrap().to_f32()
}

fn rounded(dtype: DType, values: &[f32]) -> Vec<f32> {
    let round = |&x: &f32| match dtype {
        DType::F16 => half::f16::from_f32(x).to_f32(),
        DType::BF16 => half::bf16::from_f32(x).to_f32(),
        _ => x,
    };
    values.iter().map(round).collect()
}

pub fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// All files below a folder with their bytes; for links, where they lead.
pub fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = vec![];
    for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_symlink() {
            files.push((path.clone(), fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()));
        } else if kind.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

#[track_caller]
pub fn refused<T>(result: Result<T>, code: u8, words: &[&str]) -> Error {
    let Err(error) = result else { panic!("not refused; expected {words:?}") };
    assert_eq!(error.exit_code(), code, "{error}");
    words.iter().for_each(|word| assert!(error.to_string().contains(word), "{word:?} is not in: {error}"));
    error
}

#[test]
fn every_type_in_every_form() {
    for dtype in FLOATS {
        for form in [Form::Raw, Form::Typed, Form::External] {
            for other_folder in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let (model, data) = mlp(dtype, form, "mlp.bin");
                let file = write(dir.path(), "in.onnx", &model, "mlp.bin", &data);
                let folder = if other_folder { dir.path().join("other") } else { dir.path().to_path_buf() };
                fs::create_dir_all(&folder).unwrap();
                let (before, out, changes) = (snapshot(dir.path()), folder.join("out.onnx"), changes());
                let pending = splice(&file, &changes, &out, false).unwrap();
                let staged = open(&pending.model_path());
                assert_eq!(stored(&staged, "w"), rounded(dtype, &changes[0].values), "loadable before it is published");
                let proof = pending.verify().unwrap();
                assert_eq!(proof.changed_initializers, ["c", "w"]);
                assert!(proof.other_bytes_identical && proof.bytes_compared >= file.bytes().len() as u64);
                assert_eq!(proof.elements_compared, 35);
                let published = pending.publish().unwrap();
                let what = format!("{dtype} {form:?} other folder: {other_folder}");

                let new = open(&out);
                assert_eq!(published.path, out);
                assert_eq!(proof.sha256, new.sha256());
                for change in &changes {
                    assert_eq!(stored(&new, &change.name), rounded(dtype, &change.values), "{what}");
                }
                for name in ["b", "v"] {
                    assert_eq!(stored(&new, name), stored(&file, name), "{what}");
                }
                let found = diff(&file, &new).unwrap();
                assert_eq!(found.changed.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["c", "w"], "{what}");
                let moved = form == Form::External && !other_folder;
                assert!(found.other.iter().all(|line| line.contains("storage")), "{what}: {:?}", found.other);
                assert_eq!(found.other.len(), if moved { 4 } else { 0 }, "{what}: {:?}", found.other);
                assert!(!found.identical);

                // The input is what it was, and nothing else is left.
                let after = snapshot(dir.path());
                before.iter().for_each(|old| assert!(after.contains(old), "{what}: {} changed", old.0.display()));
                let expected = 1 + usize::from(form == Form::External);
                assert_eq!(after.len() - before.len(), expected, "{what}: {:?}", names(&folder));

                if form == Form::External {
                    let name = if moved { "out.onnx.data" } else { "mlp.bin" };
                    assert_eq!(published.external_files, [folder.join(name)]);
                    let bytes = fs::read(folder.join(name)).unwrap();
                    assert_eq!(bytes.len(), data.len(), "{what}");
                    let old = raw_bytes(dtype, &stored(&file, "w"));
                    assert!(contains(&data, &old) && !contains(&bytes, &old), "{what}");
                }
                if form == Form::External && other_folder {
                    assert_eq!(new.bytes(), file.bytes(), "the model refers to the same names");
                }
            }
        }
    }
}

#[test]
fn only_the_elements_differ_byte_by_byte() {
    // A model with unknown fields, odd order and padded varints, which no encoder would write again.
    for dtype in FLOATS {
        let dir = tempfile::tempdir().unwrap();
        let (model, _) = mlp(dtype, Form::Raw, "");
        let mut bytes = vec![0xc8, 0x3e, 0x85, 0x80, 0x00]; // field 1001: 5, padded
        bytes.extend(model.encode_to_vec());
        bytes.extend([0xd2, 0x3e, 0x03, b'a', b'b', b'c']); // field 1002: "abc"
        fs::write(dir.path().join("in.onnx"), &bytes).unwrap();
        let file = open(&dir.path().join("in.onnx"));
        let (changes, out) = (changes(), dir.path().join("out.onnx"));
        splice(&file, &changes, &out, false).unwrap().publish().unwrap();
        let mut expected = bytes;
        for change in &changes {
            let old = raw_bytes(dtype, &stored(&file, &change.name));
            let at = expected.windows(old.len()).position(|w| w == old).unwrap();
            expected[at..at + old.len()].copy_from_slice(&raw_bytes(dtype, &change.values));
        }
        assert_eq!(fs::read(&out).unwrap(), expected, "{dtype}");
    }
}

#[test]
fn typed_halves_grow_only_where_they_must_and_lengths_follow() {
    for n in [1usize, 5, 40, 42, 43, 60, 63, 64, 65, 120, 127, 128, 5460, 5461, 8191, 8192] {
        let dir = tempfile::tempdir().unwrap();
        let (mut model, _) = mlp(DType::F32, Form::Raw, "");
        let h = tensor("h", DType::F16, &[n as i64], &vec![0.0; n], Form::Typed, "", &mut vec![]);
        model.graph.as_mut().unwrap().initializer.insert(1, h);
        let file = write(dir.path(), "in.onnx", &model, "", &[]);
        // Zeros take one byte each, these two or three.
        let values: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let (grow, out) = ([change("h", &values)], dir.path().join("out.onnx"));
        let pending = splice(&file, &grow, &out, false).unwrap();
        let proof = pending.verify().unwrap();
        assert_eq!(proof.rewritten, ["3 lengths of fields around changed bytes"], "{n}: list, tensor, graph");
        pending.publish().unwrap();
        let new = open(&out);
        assert_eq!(stored(&new, "h"), values);
        // As if another encoder had written the model with these values.
        let mut expected = model.clone();
        expected.graph.as_mut().unwrap().initializer[1].int32_data =
            values.iter().map(|&x| half::f16::from_f32(x).to_bits().into()).collect();
        assert_eq!(new.bytes(), expected.encode_to_vec(), "{n}");
        assert!(diff(&file, &new).unwrap().other.is_empty());
        // The other way there is room: the length stays.
        let (shrink, back) = ([change("h", &vec![0.0; n])], dir.path().join("back.onnx"));
        splice(&new, &shrink, &back, false).unwrap().publish().unwrap();
        assert_eq!(open(&back).bytes().len(), new.bytes().len());
        assert_eq!(stored(&open(&back), "h"), vec![0.0; n]);
    }
}

#[test]
fn unpacked_elements_stay_unpacked() {
    // h: two halves, each with its own tag; f: three floats, one of them packed.
    let h = [&[0x08, 2, 0x10, 10, 0x42, 1, b'h'][..], &[0x28, 0x00], &[0x28, 0x80, 0x78]].concat();
    let one = 1f32.to_le_bytes();
    let f = [&[0x08, 3, 0x10, 1, 0x42, 1, b'f', 0x25][..], &one, &[0x25], &one, &[0x22, 4], &one].concat();
    let graph: Vec<u8> = [&h, &f].iter().flat_map(|t| [&[0x2a, t.len() as u8][..], t].concat()).collect();
    let bytes = [&[0x3a, graph.len() as u8][..], &graph].concat();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.onnx"), &bytes).unwrap();
    let file = open(&dir.path().join("in.onnx"));
    let (changes, out) = ([change("h", &[1.0, 0.0]), change("f", &[2.0, 3.0, 4.0])], dir.path().join("out.onnx"));
    splice(&file, &changes, &out, false).unwrap().publish().unwrap();
    let new = open(&out);
    assert_eq!(stored(&new, "h"), [1.0, 0.0]);
    assert_eq!(stored(&new, "f"), [2.0, 3.0, 4.0]);
    // The first half grows by a byte, the second is padded: 0x00 becomes two bytes for 1.0, 0x8078 becomes 0x8000.
    assert_eq!(new.bytes().len(), bytes.len() + 1);
    assert!(contains(new.bytes(), &[0x28, 0x80, 0x78, 0x28, 0x80, 0x00]));
}

#[test]
fn equal_weights_give_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    // Doubles that a float does not hold stay exact.
    let (mut model, _) = mlp(DType::F64, Form::Typed, "");
    model.graph.as_mut().unwrap().initializer[1].double_data = vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    let file = write(dir.path(), "in.onnx", &model, "", &[]);
    let (same, out) = ([change("b", &stored(&file, "b"))], dir.path().join("out.onnx"));
    let pending = splice(&file, &same, &out, false).unwrap();
    assert!(pending.verify().unwrap().changed_initializers.is_empty());
    pending.publish().unwrap();
    assert_eq!(fs::read(&out).unwrap(), file.bytes());
    assert!(diff(&file, &open(&out)).unwrap().identical);
}

#[test]
fn a_new_external_file_has_no_bytes_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut model, data) = mlp(DType::F32, Form::External, "d/w.bin");
    // Older weights before, between and after what the model refers to.
    let (front, back) = ([0xaa; 12], [0xbb; 64]);
    let shifted: Vec<u8> = [&front[..], &data, &back].concat();
    for t in &mut model.graph.as_mut().unwrap().initializer {
        if let Some(offset) = t.external_data.iter_mut().find(|e| e.key() == "offset") {
            offset.value = Some((offset.value().parse::<usize>().unwrap() + front.len()).to_string());
        }
    }
    // The constant `c` still refers to its old place, which is now the end of `v`.
    let file = write(dir.path(), "in.onnx", &model, "d/w.bin", &shifted);
    let (w, out) = (changes(), dir.path().join("out.onnx"));
    let pending = splice(&file, &w[..1], &out, false).unwrap();
    let proof = pending.verify().unwrap();
    assert_eq!(proof.changed_initializers, ["w"]);
    assert!(proof.rewritten.iter().any(|line| line == "4 locations of external data"), "{:?}", proof.rewritten);
    pending.publish().unwrap();
    let new = fs::read(dir.path().join("out.onnx.data")).unwrap();
    assert_eq!(new.len(), front.len() + data.len() - 12, "up to the end of `v`");
    assert_eq!(new[..12], [0; 12]);
    assert!(!contains(&new, &[0xbb; 4]));
    assert_eq!(fs::read(dir.path().join("d/w.bin")).unwrap(), shifted, "the old file is never touched");
    let after = open(&out);
    assert_eq!(stored(&after, "w"), w[0].values);
    assert_eq!(stored(&after, "c"), stored(&file, "c"));
    for used in Spans::scan(&after).unwrap().external() {
        assert_eq!(used.reference.location, "out.onnx.data");
    }
}

/// A model with `w` in `a.bin` and everything else in `sub/b.bin`.
pub fn two_files(dir: &Path) -> OnnxFile {
    let (mut model, mut data) = mlp(DType::F32, Form::External, "sub/b.bin");
    let w_bytes: Vec<u8> = data[..128].to_vec();
    data[..128].fill(0xcc);
    model.graph.as_mut().unwrap().initializer[0].external_data[0].value = Some("./a.bin".into());
    fs::write(dir.join("a.bin"), w_bytes).unwrap();
    write(dir, "in.onnx", &model, "sub/b.bin", &data)
}

#[test]
fn several_external_files() {
    let w = [changes().remove(0)];
    let dir = tempfile::tempdir().unwrap();
    let file = two_files(dir.path());
    let out = dir.path().join("out.onnx");
    let published = splice(&file, &w, &out, false).unwrap().publish().unwrap();
    assert_eq!(published.external_files, [dir.path().join("out.onnx.data")]);
    let new = open(&out);
    let locations: BTreeSet<_> =
        Spans::scan(&new).unwrap().external().iter().map(|u| u.reference.location.clone()).collect();
    assert_eq!(locations, BTreeSet::from(["out.onnx.data".to_string(), "sub/b.bin".into()]));
    assert_eq!((stored(&new, "w"), stored(&new, "v")), (w[0].values.clone(), stored(&file, "v")));

    // Elsewhere, everything that OUT needs comes along, under the same names.
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let published = splice(&file, &w, &other.join("out.onnx"), false).unwrap().publish().unwrap();
    assert_eq!(published.external_files, [other.join("sub/b.bin"), other.join("a.bin")]);
    let new = open(&other.join("out.onnx"));
    assert_eq!(new.bytes(), file.bytes());
    assert_eq!((stored(&new, "w"), stored(&new, "v")), (w[0].values.clone(), stored(&file, "v")));
    assert_eq!(fs::read(other.join("sub/b.bin")).unwrap(), fs::read(dir.path().join("sub/b.bin")).unwrap());

    // Both change: two new files.
    let both = changes();
    let published = splice(&file, &both, &dir.path().join("two.onnx"), false).unwrap().publish().unwrap();
    let names: Vec<_> = published.external_files.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["two.onnx.data", "two.onnx.1.data"]);
    assert_eq!(stored(&open(&published.path), "c"), both[1].values);
}

#[test]
fn checksums_are_computed_again() {
    use sha1::{Digest, Sha1};
    let hex = |bytes: &[u8]| Sha1::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let dir = tempfile::tempdir().unwrap();
    let (mut model, data) = mlp(DType::F32, Form::External, "w.bin");
    for t in &mut model.graph.as_mut().unwrap().initializer {
        if !t.external_data.is_empty() {
            t.external_data.push(StringStringEntryProto { key: Some("checksum".into()), value: Some(hex(&data)) });
        }
    }
    let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    for (out, name) in [(dir.path().join("out.onnx"), "out.onnx.data"), (other.join("out.onnx"), "w.bin")] {
        let changes = changes();
        let pending = splice(&file, &changes, &out, false).unwrap();
        let proof = pending.verify().unwrap();
        assert!(proof.rewritten.contains(&"3 checksums of external data".to_string()), "{:?}", proof.rewritten);
        pending.publish().unwrap();
        // Reading verifies the checksum.
        assert_eq!(stored(&open(&out), "w"), changes[0].values);
        let new = fs::read(out.with_file_name(name)).unwrap();
        assert!(contains(&fs::read(&out).unwrap(), hex(&new).as_bytes()));
    }
}

#[test]
fn an_empty_tensor_behind_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut model, mut data) = mlp(DType::F32, Form::External, "w.bin");
    let graph = model.graph.as_mut().unwrap();
    let mut none = graph.initializer[0].clone();
    (none.name, none.dims) = (Some("none".into()), vec![0]);
    data.extend([7; 8]);
    let offset = data.len() - 3;
    for entry in &mut none.external_data {
        match entry.key() {
            "offset" => entry.value = Some(offset.to_string()),
            "length" => entry.value = Some("0".into()),
            _ => {}
        }
    }
    graph.initializer.push(none);
    let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
    let out = dir.path().join("out.onnx");
    splice(&file, &changes(), &out, false).unwrap().publish().unwrap();
    assert_eq!((stored(&open(&out), "none"), stored(&open(&out), "w")), (vec![], changes()[0].values.clone()));
    assert_eq!(fs::read(dir.path().join("out.onnx.data")).unwrap().len(), offset);
}

#[test]
fn tensors_that_share_external_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut model, data) = mlp(DType::F32, Form::External, "w.bin");
    let graph = model.graph.as_mut().unwrap();
    let mut twin = graph.initializer[0].clone();
    twin.name = Some("twin".into());
    graph.initializer.push(twin);
    let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
    let (w, out) = (changes().remove(0), dir.path().join("out.onnx"));
    refused(splice(&file, std::slice::from_ref(&w), &out, false), 3, &["tensor `w`", "tensor `twin`", "shares bytes"]);
    let agreed = [w.clone(), Change { name: "twin".into(), ..w.clone() }];
    splice(&file, &agreed, &out, false).unwrap().publish().unwrap();
    assert_eq!(stored(&open(&out), "twin"), w.values);
}

#[test]
fn permissions_are_the_inputs() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    write(dir.path(), "in.onnx", &model, "w.bin", &data);
    for (name, mode) in [("in.onnx", 0o640), ("w.bin", 0o444)] {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let file = open(&dir.path().join("in.onnx"));
    splice(&file, &changes(), &dir.path().join("out.onnx"), false).unwrap().publish().unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("out.onnx"), mode("out.onnx.data")), (0o640, 0o444));
}

#[test]
fn temporary_copies() {
    for location in ["w.bin", "model0.onnx", "sub/w.bin", "model0.onnx/w.bin", "./model0.onnx/w.bin"] {
        let dir = tempfile::tempdir().unwrap();
        let (model, data) = mlp(DType::F32, Form::External, location);
        let file = write(dir.path(), "in.onnx", &model, location, &data);
        let (temp, changes) = (tempfile::tempdir().unwrap(), changes());
        let copy = splice_to_temp(&file, &changes, temp.path(), ExternalData::Beside).unwrap();
        assert_eq!(stored(&open(&copy.path), "w"), changes[0].values);
        assert_eq!(open(&copy.path).bytes(), file.bytes());
        drop(copy);
        assert!(names(temp.path()).is_empty());
        let copy = splice_to_temp(&file, &changes, temp.path(), ExternalData::InPlace).unwrap();
        assert_eq!(copy.path.parent().map(names).map(|all| all.len()), Some(1), "external data were written");
        assert_eq!(stored(&open(&copy.path).with_data_of(&file), "w"), changes[0].values);
    }
}

#[test]
fn a_link_inside_the_folder_is_followed_only_when_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    write(dir.path(), "in.onnx", &model, "blob", &data);
    std::os::unix::fs::symlink("blob", dir.path().join("w.bin")).unwrap();
    let path = dir.path().join("in.onnx");
    let strict = OnnxFile::open(&path, &ReadOptions::default()).unwrap();
    let (changes, out) = (changes(), dir.path().join("out.onnx"));
    refused(splice(&strict, &changes, &out, false).map(|_| ()), 3, &["symbolic link", "--allow-symlink-inside"]);
    let file = OnnxFile::open(&path, &ReadOptions { allow_symlink_inside: true }).unwrap();
    splice(&file, &changes, &out, false).unwrap().publish().unwrap();
    assert_eq!(stored(&open(&out), "w"), changes[0].values);
    assert_eq!(fs::read(dir.path().join("blob")).unwrap(), data);
    refused(splice(&file, &changes, &dir.path().join("blob"), true).map(|_| ()), 2, &["external data of the input"]);
}
