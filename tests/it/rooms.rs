//! Imports point one way, files stay short, and only named rooms hold what is dangerous.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each room that shares a crate with others, and which of these it may use. Between crates the compiler keeps the walls.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("scratch", &[]),
    ("onnx", &[]),
    ("graph", &["scratch", "onnx"]),
    ("writeback", &["scratch", "onnx", "graph"]),
    ("engine", &[]),
    ("kernels", &["engine"]),
    ("ops", &[]),
    ("model", &["ops"]),
    ("audit", &[]),
    ("plausibility", &["audit"]),
    ("report", &["plausibility", "audit"]),
    ("run", &["plausibility", "audit", "report"]),
    ("face", &["run", "report"]),
    ("cli", &["run", "report"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the workspace, by its path from the root.
fn all() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    sources(&root.join("crates"), &mut found);
    let name = |p: &PathBuf| p.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    found.iter().map(|p| (name(p), fs::read_to_string(p).unwrap())).collect()
}

/// The code of a file in front of its unit tests, without comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first segment behind every `crate::`, those in braces included.
fn used(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            rooms.push(rest.to_string());
            continue;
        };
        let (mut depth, mut item) = (0, String::new());
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => rooms.push(std::mem::take(&mut item)),
                _ if depth == 0 => item.push(c),
                _ => {}
            }
        }
        rooms.push(item);
    }
    let first = |r: &String| r.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    rooms.iter().map(first).filter(|room: &String| !room.is_empty()).collect()
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (file, text) in all() {
        let shared = ["src/", "crates/graph/src/", "crates/kernels/src/", "crates/model/src/"];
        let Some(root) = shared.iter().find(|root| file.starts_with(**root)) else { continue };
        let Some((room, _)) = file[root.len()..].split_once('/') else { continue };
        let Some((_, may)) = MAY_USE.iter().find(|(r, _)| *r == room) else {
            wrong.push(format!("{file}: no such room"));
            continue;
        };
        if file.ends_with("tests.rs") {
            continue;
        }
        for other in used(&code(&text)) {
            // A room of another crate goes by its name here, too, and is none of those that share this one.
            let beside = MAY_USE.iter().any(|(r, _)| *r == other)
                && Path::new(env!("CARGO_MANIFEST_DIR")).join(root).join(&other).is_dir();
            if beside && other != room && !may.contains(&other.as_str()) {
                wrong.push(format!("{file} uses {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_command_line_knows_of_one() {
    let words = ["clap", "indicatif", "console", "ctrlc"].map(|name| format!("{name}::"));
    let outside = |file: &String| !file.starts_with("src/cli/");
    let knows = |text: &str| words.iter().any(|word| code(text).contains(word.as_str()));
    let others: Vec<_> = all().into_iter().filter(|(f, t)| outside(f) && knows(t)).map(|(f, _)| f).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<_> = all().into_iter().map(|(f, t)| (f, t.lines().count())).filter(|(_, n)| *n > 400).collect();
    assert!(long.is_empty(), "over 400 lines: {long:?}");
}

#[test]
fn the_tape_has_one_owner() {
    let calls = |t: &str| code(t).contains(".add_backward_op(");
    let others: Vec<_> = all()
        .into_iter()
        .filter(|(f, t)| calls(t) && !f.starts_with("crates/kernels/src/engine/"))
        .map(|(f, _)| f)
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn unsafe_code_is_listed_with_its_reason() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/unsafe.md");
    let listed: BTreeMap<String, usize> = fs::read_to_string(document)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let [_, file, places, why, _] = line.split('|').collect::<Vec<_>>().try_into().ok()?;
            let file = file.trim().strip_prefix('`')?.strip_suffix(".rs`")?.to_string() + ".rs";
            assert!(why.trim().len() > 20, "{file}: no reason");
            Some((file, places.trim().parse().unwrap()))
        })
        .collect();
    let words = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| *w == "unsafe").count();
    let places = |text: &str| text.lines().map(|l| words(l.split("//").next().unwrap_or_default())).sum();
    let found: BTreeMap<String, usize> =
        all().into_iter().map(|(file, text)| (file, places(&text))).filter(|(_, n)| *n > 0).collect();
    assert_eq!(found, listed, "docs/unsafe.md does not list what is in the source");
}
