//! Runs that are killed, asked to end, limited, or get in each other's way, at moments spread over a job's whole length.
//!
//! After each: the files of the job are as they were; OUT is whole or absent, and byte for byte what an undisturbed run
//! writes; nothing else is left, except by SIGKILL and SIGABRT, and what these leave the next run removes.

use crate::{
    flow::{Fixture, json, text},
    processes::{signal, under},
};
use onnx_forget::{
    data::digest,
    onnx::proto::{ModelProto, StringStringEntryProto, tensor_proto::DataLocation},
};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const OUT: &str = "model.forgotten.onnx";
const REPORT: &str = "model.forgotten.report";

/// Where the weights of the model are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// In the model's file: one file is published.
    Inside,
    /// In a second file: two files are published, which have to appear together.
    External,
}

/// A job in a folder of its own, with a folder of its own for temporary files.
struct Job {
    fixture: Fixture,
    temporary: tempfile::TempDir,
    seed: String,
    /// The files that were there at first.
    before: BTreeMap<String, Vec<u8>>,
}

impl Job {
    fn new(form: Form, seed: usize) -> Self {
        let fixture = Fixture::new("cancer-mlp");
        if form == Form::External {
            put_outside(&fixture.path("model.onnx"), &fixture.path("weights.data"));
        }
        let before = files(&fixture.path(""));
        Self { fixture, temporary: tempfile::tempdir().unwrap(), seed: seed.to_string(), before }
    }

    fn command(&self, more: &[&str]) -> Command {
        self.seeded(&self.seed, more)
    }

    fn seeded(&self, seed: &str, more: &[&str]) -> Command {
        let mut command = self.fixture.command(&["--threads", "1", "--format", "json", "--seed", seed]);
        command.args(more).env("TMPDIR", self.temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Everything that was published, of whatever name.
    fn published(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.fixture.path("")).into_iter().filter(|(name, _)| name.starts_with(OUT)).collect()
    }

    /// An undisturbed run: what it publishes, and when it wrote its lines, the last of which is its end.
    fn undisturbed(&self) -> (BTreeMap<String, Vec<u8>>, Vec<(Duration, String)>) {
        let start = Instant::now();
        let mut child = self.command(&[]).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines: Vec<_> = out.map(|line| (start.elapsed(), line.unwrap())).collect();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        lines.push((start.elapsed(), "the end".into()));
        (self.published(), lines)
    }

    /// Runs until a number of lines was written and for some time more, sends a signal, and waits; the exit code.
    fn disturbed(&self, name: &str, (lines, delay): Moment) -> Option<i32> {
        let mut child = self.command(&[]).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        out.by_ref().take(lines).for_each(drop);
        thread::sleep(delay);
        signal(&child, name);
        out.for_each(drop);
        child.wait().unwrap().code()
    }

    /// Asserts what has to hold after a run that ended by itself.
    fn is_clean(&self, code: Option<i32>, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
        let mut now = files(&self.fixture.path(""));
        for (name, bytes) in &self.before {
            assert!(now.remove(name).as_ref() == Some(bytes), "{what}: {name} was changed");
        }
        let report = self.fixture.path(REPORT).exists();
        if code == Some(0) {
            assert!(&now == expected, "{what}: published {:?}", now.keys());
            assert!(report, "{what}: no report");
        } else {
            assert!(now.is_empty() && !report, "{what}: exit code {code:?} left {:?}, report {report}", now.keys());
        }
        assert_eq!(self.temporaries(), Vec::<String>::new(), "{what}");
    }

    /// Folders for temporary files: those beside OUT, and those in the system's folder.
    fn temporaries(&self) -> Vec<String> {
        [self.fixture.path(""), self.temporary.path().to_path_buf()]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("onnx-forget") || name.ends_with(".partial"))
            .collect()
    }

    /// Removes what was published.
    fn clear(&self) {
        for name in self.published().into_keys() {
            fs::remove_file(self.fixture.path(&name)).unwrap();
        }
        let _ = fs::remove_dir_all(self.fixture.path(REPORT));
    }
}

/// The files in a folder, with their bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Moves the weights of a model to a second file.
fn put_outside(model: &Path, data: &Path) {
    let mut proto = ModelProto::decode(fs::read(model).unwrap().as_slice()).unwrap();
    let mut bytes = Vec::new();
    for tensor in proto.graph.as_mut().unwrap().initializer.iter_mut().filter(|tensor| tensor.raw_data.is_some()) {
        let raw = tensor.raw_data.take().unwrap();
        let name = data.file_name().unwrap().to_str().unwrap();
        let places =
            [("location", name.into()), ("offset", bytes.len().to_string()), ("length", raw.len().to_string())];
        let entry = |(key, value): (&str, String)| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.external_data = places.into_iter().map(entry).collect();
        tensor.data_location = Some(DataLocation::External.into());
        bytes.extend(raw);
    }
    assert!(!bytes.is_empty());
    fs::write(data, bytes).unwrap();
    fs::write(model, proto.encode_to_vec()).unwrap();
}

/// Lines that a run has written, and the time since the last of them.
type Moment = (usize, Duration);

/// Moments of a run: half of them over its whole time, half from the line on that says that results are written.
fn moments(lines: &[(Duration, String)], count: usize, seed: u64) -> Vec<Moment> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let times: Vec<Duration> = [Duration::ZERO].into_iter().chain(lines.iter().map(|(time, _)| *time)).collect();
    let end = *times.last().unwrap();
    let writing = 1 + lines.iter().position(|(_, line)| line.contains("\"writing back\"")).expect("such a stage");
    let mut moment = |k: usize| {
        let time = if k.is_multiple_of(2) {
            end.mul_f64((k as f64 + random.random::<f64>()) / (count + 1) as f64)
        } else {
            times[writing] + (end - times[writing]).mul_f64(random.random())
        };
        let line = times.iter().rposition(|&at| at <= time).unwrap().min(lines.len() - 1);
        (line, time - times[line])
    };
    (0..count).map(&mut moment).collect()
}

/// Ends a job at many moments by a signal that leaves it no time. Returns how often the next run had to clear up.
fn killed(form: Form, name: &str, count: usize) -> usize {
    let job = Job::new(form, 1);
    let (expected, lines) = job.undisturbed();
    assert_eq!(expected.len(), if form == Form::External { 2 } else { 1 });
    job.is_clean(Some(0), &expected, "undisturbed");
    let mut left = 0;
    for moment in moments(&lines, count, 11) {
        job.clear();
        let code = job.disturbed(name, moment);
        let what = format!("{form:?}, SIG{name} at {moment:?}, exit code {code:?}");
        let now = files(&job.fixture.path(""));
        assert!(job.before.iter().all(|(name, bytes)| now.get(name) == Some(bytes)), "{what}: the input was changed");
        let whole = now.contains_key(OUT);
        assert!(!whole || job.published() == expected, "{what}: OUT is not whole");
        left += usize::from(!job.temporaries().is_empty());
        if code == Some(0) {
            job.is_clean(code, &expected, &what);
            continue;
        }
        let next = job.command(if whole { &["--force"] } else { &[] }).output().unwrap();
        assert_eq!(next.status.code(), Some(0), "{what}, next run: {}", text(&next));
        job.is_clean(Some(0), &expected, &format!("{what}, next run"));
    }
    left
}

#[test]
fn a_killed_job_leaves_a_whole_result_or_none_and_the_next_run_clears_up() {
    let left = [Form::Inside, Form::External].map(|form| killed(form, "KILL", 14));
    // Otherwise the moments would prove little.
    assert!(left.iter().all(|&left| left > 2), "kills that left something: {left:?}");
}

/// It removes what is temporary, unless it is about to give files their names.
#[test]
fn so_does_a_job_that_aborts() {
    for form in [Form::Inside, Form::External] {
        killed(form, "ABRT", 5);
    }
}

#[test]
fn a_job_that_is_asked_to_end_publishes_whole_or_leaves_nothing() {
    for form in [Form::Inside, Form::External] {
        let job = Job::new(form, 1);
        let (expected, lines) = job.undisturbed();
        for (k, name) in ["INT", "TERM", "HUP", "QUIT", "PIPE"].into_iter().enumerate() {
            for moment in moments(&lines, 4, 20 + k as u64) {
                job.clear();
                let code = job.disturbed(name, moment);
                let what = format!("{form:?}, SIG{name} at {moment:?}");
                // SIGPIPE is ignored: who writes to a closed pipe gets an error.
                let ends = code == Some(0) || (name != "PIPE" && code == Some(130));
                assert!(ends, "{what}: exit code {code:?}");
                job.is_clean(code, &expected, &what);
            }
        }
    }
}

#[test]
fn files_larger_than_the_limit_leave_nothing() {
    for form in [Form::Inside, Form::External] {
        let job = Job::new(form, 1);
        let (expected, _) = job.undisturbed();
        // In blocks of 512 bytes, 1 KiB in some shells. The model has 83,506 bytes.
        let codes = [4, 64, 162, 163, 164, 400, 100_000].map(|blocks| {
            job.clear();
            let output = under(&format!("-f {blocks}"), &job.command(&[])).output().unwrap();
            let what = format!("{form:?}, ulimit -f {blocks}: {}", text(&output));
            job.is_clean(output.status.code(), &expected, &what);
            output.status.code()
        });
        assert_eq!((codes[0], codes[6]), (Some(2), Some(0)), "{codes:?}");
    }
}

#[test]
fn of_two_jobs_at_once_one_result_stands_whole_with_its_report() {
    let results = [1, 2].map(|seed| Job::new(Form::External, seed).undisturbed().0);
    assert!(results[0] != results[1]);
    let job = Job::new(Form::External, 1);
    for (round, more) in [&[][..], &["--force"], &[], &["--force"]].into_iter().enumerate() {
        job.clear();
        let start = |seed: &str| job.seeded(seed, more).spawn().unwrap();
        let outputs = [start("1"), start("2")].map(|child| child.wait_with_output().unwrap());
        let codes = outputs.each_ref().map(|output| output.status.code());
        let what = format!("round {round}, exit codes {codes:?}: {}{}", text(&outputs[0]), text(&outputs[1]));
        let done: Vec<_> = results.iter().zip(codes).filter(|(_, code)| *code == Some(0)).map(|(r, _)| r).collect();
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 2))), "{what}");
        assert!(if more.is_empty() { done.len() == 1 } else { !done.is_empty() }, "{what}");
        let found = job.published();
        assert!(done.contains(&&found), "{what}: none of the results, but {:?}", found.keys());
        job.is_clean(Some(0), &found, &what);
        let report = json(&job.fixture.path(REPORT).join("report.json"));
        let sha256 = digest::file(&job.fixture.path(OUT)).unwrap();
        assert_eq!(report["model"]["output"]["sha256"], *sha256, "{what}: the report of another result");
    }
}

/// A file system in memory, mounted at a folder until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// None where nothing may be mounted.
    fn new(folder: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: nothing may be mounted here");
        }
        mounted.then(|| Self(folder.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    for form in [Form::Inside, Form::External] {
        let job = Job::new(form, 1);
        let (roomy, small) = (job.fixture.path("roomy"), job.fixture.path("small"));
        fs::create_dir(&roomy).unwrap();
        // External data keep their name in another folder.
        let output = job.command(&["-o"]).arg(roomy.join(OUT)).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let (expected, mut codes) = (files(&roomy), Vec::new());
        for kib in [8, 60, 84, 120, 180, 240, 4096] {
            let Some(_mounted) = Mounted::new(&small, &format!("size={kib}k")) else { return };
            let output = job.command(&["-o"]).arg(small.join(OUT)).output().unwrap();
            let what = format!("{form:?}, {kib} KiB for OUT: {}", text(&output));
            let names: Vec<_> = fs::read_dir(&small).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            match output.status.code() {
                Some(0) => assert!(files(&small) == expected && small.join(REPORT).is_dir(), "{what}: {names:?}"),
                Some(2) => assert!(names.is_empty(), "{what}: {names:?}"),
                _ => panic!("{what}"),
            }
            job.is_clean(None, &expected, &what);
            codes.push(output.status.code());
        }
        assert_eq!((codes.first(), codes.last()), (Some(&Some(2)), Some(&Some(0))), "{codes:?}");
    }
    // The folder for temporary files.
    for kib in [4, 60] {
        let job = Job::new(Form::Inside, 1);
        let Some(_mounted) = Mounted::new(job.temporary.path(), &format!("size={kib}k")) else { return };
        let output = job.command(&[]).output().unwrap();
        assert!(!text(&output).contains("panicked"), "{}", text(&output));
        let published = job.published();
        assert_eq!(output.status.success(), !published.is_empty(), "{}", text(&output));
        job.is_clean(output.status.code(), &published, &format!("{kib} KiB for temporary files: {}", text(&output)));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_another_one_taken() {
    let job = Job::new(Form::Inside, 1);
    let (expected, _) = job.undisturbed();
    job.clear();
    let folder = job.fixture.path("read-only");
    let Some(_mounted) = Mounted::new(&folder, "size=4m") else { return };
    for (name, bytes) in &job.before {
        fs::write(folder.join(name), bytes).unwrap();
    }
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&folder).status().unwrap().success());
    let run = |more: &[&str]| {
        let mut command = crate::flow::program();
        command.arg(folder.join("model.onnx")).arg("--forget").arg(folder.join("forget.parquet"));
        command.args(["--threads", "1", "--seed", "1"]).args(more).env("TMPDIR", job.temporary.path());
        command.output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("read-only"), "{}", text(&output));
    let output = run(&["-o", job.fixture.path(OUT).to_str().unwrap()]);
    assert!(files(&folder) == job.before);
    job.is_clean(output.status.code(), &expected, &text(&output));
    assert_eq!(output.status.code(), Some(0));
}
