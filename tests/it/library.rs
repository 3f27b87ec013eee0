//! The library without its command line: builders, rows in memory, a method of one's own, and runs side by side in one process.

use crate::flow::Fixture;
use onnx_forget::{
    Audit, Compare, Forget, Inspect, Result, Train, Verify,
    data::{
        DataConfig, InputConfig, MemoryTable, Places, Targets,
        arrow_array::{Array, Float64Array, Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type},
        column_of,
        ndarray::{Array1, Array2},
    },
    limits::Limits,
    run::MethodName,
    unlearn::{
        Set, Sets,
        own::{Learner, OwnMethod, RowLosses, Steps},
    },
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
};

fn config(fixture: &Fixture) -> DataConfig {
    let table: toml::Table = fs::read_to_string(fixture.path("model.forget.toml")).unwrap().parse().unwrap();
    DataConfig {
        inputs: table["inputs"].clone().try_into().unwrap(),
        target: table["target"].clone().try_into().unwrap(),
        ..DataConfig::default()
    }
}

/// The job of a fixture, with its rows where `rows` says.
fn job(fixture: &Fixture, rows: impl Fn(&str) -> Places) -> Forget {
    Forget::new(fixture.path("model.onnx"))
        .options(|options| options.data = config(fixture))
        .train(rows("train.parquet"))
        .validation(rows("validation.parquet"))
        .test(rows("test.parquet"))
        .ids(rows("forget.parquet"))
        .threads(1)
}

fn on_files(fixture: &Fixture) -> Forget {
    job(fixture, |name| fixture.path(name).into())
}

/// The bytes of the model that a job publishes.
fn published(job: Forget, out: &Path) -> Vec<u8> {
    let report = job.prepare(&mut ()).unwrap().run(&mut ()).unwrap().publish(out, &mut ()).unwrap();
    let bytes = fs::read(out).unwrap();
    assert_eq!(report.model.output.unwrap().sha256, onnx_forget::data::digest::bytes(&bytes));
    bytes
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    reader.with_batch_size(100).build().unwrap().map(Result::unwrap).collect()
}

fn ids(path: &Path) -> Vec<i64> {
    batches(path).iter().flat_map(|b| b["id"].as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[test]
fn record_batches_are_rows_as_files_are() {
    let fixture = Fixture::new("digits-cnn");
    let memory = |name: &str| -> Places {
        let table = MemoryTable::new(format!("{name} in memory"), batches(&fixture.path(name))).unwrap();
        if name == "forget.parquet" {
            return MemoryTable::of_ids("requests", ids(&fixture.path(name))).unwrap().into();
        }
        table.into()
    };
    let from_files = published(on_files(&fixture), &fixture.path("files.onnx"));
    let from_memory = published(job(&fixture, memory), &fixture.path("memory.onnx"));
    assert!(from_files == from_memory);
    let report = fs::read_to_string(fixture.path("memory.report/report.json")).unwrap();
    assert!(report.contains("train.parquet in memory") && report.contains("\"requests\""));
}

#[test]
fn arrays_are_rows_as_columns_are() {
    let fixture = Fixture::new("cancer-mlp");
    let InputConfig { columns, .. } = config(&fixture).inputs["features"].clone();
    let columns = columns.unwrap();
    let memory = |name: &str| -> Places {
        let all = arrow_select::concat::concat_batches(
            &batches(&fixture.path(name))[0].schema(),
            batches(&fixture.path(name)).iter(),
        )
        .unwrap();
        let ids: Vec<String> =
            all["id"].as_any().downcast_ref::<StringArray>().unwrap().iter().map(|id| id.unwrap().into()).collect();
        if name == "forget.parquet" {
            return MemoryTable::of_ids("requests", ids).unwrap().into();
        }
        let number = |name: &str, row: usize| all[name].as_any().downcast_ref::<Float64Array>().unwrap().value(row);
        let features = Array2::from_shape_fn((all.num_rows(), columns.len()), |(row, i)| number(&columns[i], row));
        let labels = all["label"].as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
        let columns = [
            ("id", std::sync::Arc::new(StringArray::from(ids)) as _),
            ("features", column_of(&features).unwrap()),
            ("label", column_of(&Array1::from(labels)).unwrap()),
        ];
        MemoryTable::of_columns(name, columns).unwrap().into()
    };
    let arrays = job(&fixture, memory).options(|options| {
        options.data.inputs.get_mut("features").unwrap().columns = Some(vec!["features".into()]);
    });
    let from_files = published(on_files(&fixture), &fixture.path("files.onnx"));
    assert!(from_files == published(arrays, &fixture.path("memory.onnx")));
}

#[test]
fn the_same_rows_twice_are_noticed_in_memory_too() {
    let fixture = Fixture::new("digits-cnn");
    let table = |name: &str, of: &str| MemoryTable::new(name, batches(&fixture.path(of))).unwrap();
    let twice = on_files(&fixture).train(table("a", "test.parquet")).test(table("b", "test.parquet"));
    let twice = twice.options(|options| {
        options.data.files.validation = None;
        options.forget.clear();
    });
    let twice = twice.class(3).options(|options| options.data.files.id = Some("#row".into()));
    let e = twice.prepare(&mut ()).map(drop).unwrap_err();
    assert!(e.exit_code() == 4 && e.to_string().contains("has the content of a"), "{e}");
    let unknown = on_files(&fixture).options(|options| options.forget.clear());
    let unknown = unknown.ids(MemoryTable::of_ids("requests", [-1]).unwrap());
    assert_eq!(unknown.prepare(&mut ()).map(drop).unwrap_err().exit_code(), 4);
}

/// Descends a loss of its own: the squared distance of every score from zero, so that the model answers nothing.
struct Flatten;

impl OwnMethod for Flatten {
    fn name(&self) -> &str {
        "flatten"
    }

    fn run(&self, model: &mut dyn Learner, rows: &mut dyn Sets, steps: &mut Steps<'_>) -> Result<()> {
        let loss = |scores: &[f32], targets: &Targets| -> Result<RowLosses> {
            let width = scores.len() / targets.rows();
            let losses = scores.chunks(width).map(|row| row.iter().map(|s| s * s).sum()).collect();
            Ok(RowLosses { losses, slopes: scores.iter().map(|s| 2.0 * s).collect() })
        };
        let batch = rows.pass(Set::Forget, 0, 32)?.next().unwrap()?;
        // The slope of the mean loss along its gradient is the gradient's square.
        let (before, gradient) = model.gradient_of(&batch, &loss)?;
        let square: f32 = gradient.iter().flatten().map(|g| g * g).sum();
        let step = 1e-3 / square.sqrt();
        for (i, slopes) in gradient.iter().enumerate() {
            let values: Vec<f32> = model.values(i)?.iter().zip(slopes).map(|(w, g)| w - step * g).collect();
            model.set_values(i, &values)?;
        }
        let (after, _) = model.gradient_of(&batch, &loss)?;
        let expected = f64::from(step * square);
        assert!(((before - after) / expected - 1.0).abs() < 0.05, "{before} − {after} is not {expected}");
        assert!(model.set_values(0, &[0.0]).is_err() && model.values(usize::MAX).is_err());
        let wrong = |_: &[f32], _: &Targets| Ok(RowLosses::default());
        assert!(model.gradient_of(&batch, &wrong).unwrap_err().to_string().contains("0 losses"));
        steps.step(step.into(), Some(before), None)
    }
}

/// Makes weights that are no numbers.
struct Breaks;

impl OwnMethod for Breaks {
    fn name(&self) -> &str {
        "breaks"
    }

    fn run(&self, model: &mut dyn Learner, _: &mut dyn Sets, _: &mut Steps<'_>) -> Result<()> {
        let values = vec![f32::NAN; model.values(0)?.len()];
        model.set_values(0, &values)
    }
}

#[test]
fn a_method_of_ones_own_is_run_audited_and_reported() {
    let fixture = Fixture::new("digits-cnn");
    let off =
        |job: Forget| job.options(|options| options.gates = toml::from_str("max_retain_accuracy_drop = 1.0").unwrap());
    let job = off(on_files(&fixture)).method(Flatten).prepare(&mut ()).unwrap();
    let report = job.run(&mut ()).map(|done| done.publish(fixture.path("own.onnx"), &mut ()).unwrap());
    match report {
        Ok(report) => {
            let section = report.unlearn.unwrap();
            assert_eq!((section.method, &section.settings["name"]), (MethodName::Own, &"flatten".into()));
        }
        // One step need not be enough to forget: that is the gates' to say.
        Err(e) => assert!(e.exit_code() == 6 && e.to_string().contains("gate"), "{e}"),
    }
    let e = on_files(&fixture).method(Breaks).prepare(&mut ()).unwrap().run(&mut ()).map(drop).unwrap_err();
    assert!(e.exit_code() == 6 && e.to_string().contains("method breaks: tensor"), "{e}");
    let none = on_files(&fixture).method(MethodName::Own).prepare(&mut ()).unwrap().run(&mut ()).map(drop);
    assert_eq!(none.unwrap_err().exit_code(), 2);
}

#[test]
fn runs_side_by_side_are_as_runs_alone() {
    let (one, two) = (Fixture::new("digits-cnn"), Fixture::new("digits-cnn"));
    let limits = Limits { nodes: Some(100_000), memory: Some(4 << 30) };
    let first = || on_files(&one).threads(1);
    let second = || on_files(&two).threads(2).seed(7).limits(limits);
    let alone = [published(first(), &one.path("alone.onnx")), published(second(), &two.path("alone.onnx"))];
    assert!(alone[0] != alone[1]);
    // The number of threads is the run's own, and changes nothing.
    assert!(alone[0] == published(first().threads(2), &one.path("again.onnx")));
    let tight = Limits { nodes: Some(3), memory: None };
    let start = Barrier::new(3);
    let together = thread::scope(|threads| {
        let go = |job: Forget, out: PathBuf| {
            let start = &start;
            threads.spawn(move || {
                start.wait();
                published(job, &out)
            })
        };
        let runs = [go(first(), one.path("together.onnx")), go(second(), two.path("together.onnx"))];
        start.wait();
        // Another run's limits are not theirs.
        let refused = Inspect::new(one.path("model.onnx")).limits(tight).run().unwrap_err();
        assert!(refused.exit_code() == 3 && refused.to_string().contains("--max-nodes"), "{refused}");
        runs.map(|run| run.join().unwrap())
    });
    assert!(alone == together);
}

#[test]
fn every_command_has_a_builder() {
    let fixture = Fixture::new("digits-cnn");
    let (found, usable) = Inspect::new(fixture.path("model.onnx")).run().unwrap();
    assert!(usable.is_ok() && found.problem.is_none());
    let found = Verify::new(fixture.path("model.onnx"))
        .options(|options| options.data = config(&fixture))
        .rows(fixture.path("test.parquet"))
        .samples(16)
        .threads(1)
        .run(&mut ())
        .unwrap();
    assert!(found.passed);
    let trained = Train::new(fixture.path("model.onnx"))
        .options(|options| {
            options.data = config(&fixture);
            options.train.epochs = Some(1);
        })
        .rows(fixture.path("train.parquet"))
        .exclude(MemoryTable::of_ids("left out", ids(&fixture.path("forget.parquet"))).unwrap())
        .keep_weights()
        .out(fixture.path("trained.onnx"))
        .run(&mut ())
        .unwrap();
    assert_eq!((trained.rows, trained.excluded), (765, 135));
    let audited = Audit::new(fixture.path("model.onnx"))
        .options(|options| options.data = config(&fixture))
        .train(fixture.path("train.parquet"))
        .validation(fixture.path("validation.parquet"))
        .test(fixture.path("test.parquet"))
        .ids(fixture.path("forget.parquet"))
        .reference(fixture.path("trained.onnx"))
        .threads(2)
        .prepare(&mut ())
        .and_then(|job| job.run(&mut ()))
        .unwrap();
    assert!(audited.reference.is_some());
    let job = Compare::new(fixture.path("model.onnx"))
        .options(|options| options.data = config(&fixture))
        .train(fixture.path("train.parquet"))
        .validation(fixture.path("validation.parquet"))
        .test(fixture.path("test.parquet"))
        .class(3)
        .methods([MethodName::Ssd])
        .folder(fixture.path("compared"))
        .prepare(&mut ())
        .unwrap();
    assert!(job.counts().forget_rows > 50);
    let (report, folder) = job.run(&mut ()).unwrap();
    assert!(report.finished && folder.join("compare.json").exists());
}
