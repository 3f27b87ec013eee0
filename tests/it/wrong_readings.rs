//! Rows that are read otherwise than at training: every run stops before it changes anything, and most name the mistake.

use crate::flow::Fixture;
use arrow_array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StructArray,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_select::concat::concat_batches;
use image::{GrayImage, ImageFormat};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{fs, io::Cursor, path::Path, sync::Arc};

const TABLES: [&str; 3] = ["train.parquet", "validation.parquet", "test.parquet"];

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn write(path: &Path, batch: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn replaced(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let columns =
        schema.fields().iter().zip(batch.columns()).map(|(field, old)| {
            (field.name().clone(), if field.name() == name { column.clone() } else { old.clone() })
        });
    RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).unwrap()
}

/// A wrong reading: what is done to a fixture, and a word of the explanation (empty where none names the mistake).
struct Wrong {
    what: &'static str,
    found: &'static str,
    make: Box<dyn Fn(&Fixture)>,
}

fn wrong(what: &'static str, found: &'static str, make: impl Fn(&Fixture) + 'static) -> Wrong {
    Wrong { what, found, make: Box::new(make) }
}

/// Every table with one column rewritten.
pub fn column(name: &'static str, map: impl Fn(&ArrayRef) -> ArrayRef + 'static) -> impl Fn(&Fixture) {
    move |fixture| {
        for table in TABLES {
            let batch = read(&fixture.path(table));
            let new = map(batch.column_by_name(name).unwrap());
            write(&fixture.path(table), &replaced(&batch, name, new));
        }
    }
}

fn label(map: impl Fn(i64) -> i64 + 'static) -> impl Fn(&Fixture) {
    column("label", move |c| {
        Arc::new(c.as_primitive::<Int64Type>().iter().map(|y| y.map(&map)).collect::<Int64Array>())
    })
}

/// One column's values in another order of the rows.
fn shuffled(name: &'static str) -> impl Fn(&Fixture) {
    column(name, |c| {
        let mut order: Vec<u64> = (0..c.len() as u64).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(7));
        arrow_select::take::take(c, &arrow_array::UInt64Array::from(order), None).unwrap()
    })
}

fn config(from: &'static str, to: &'static str) -> impl Fn(&Fixture) {
    move |fixture| {
        let path = fixture.path("model.forget.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }
}

fn exchanged(a: &'static str, b: &'static str) -> impl Fn(&Fixture) {
    move |fixture| {
        let (a, b) = (fixture.path(a), fixture.path(b));
        let held = fs::read(&a).unwrap();
        fs::copy(&b, &a).unwrap();
        fs::write(&b, held).unwrap();
    }
}

fn pictures(map: impl Fn(&GrayImage) -> GrayImage + 'static) -> impl Fn(&Fixture) {
    column("image", move |c| {
        let images = c.as_struct();
        let bytes = images.column_by_name("bytes").unwrap().as_binary::<i32>();
        let each = bytes.iter().map(|b| {
            let mut out = Cursor::new(Vec::new());
            let image = image::load_from_memory(b.unwrap()).unwrap().to_luma8();
            map(&image).write_to(&mut out, ImageFormat::Png).unwrap();
            Some(out.into_inner())
        });
        let bytes: ArrayRef = Arc::new(each.collect::<BinaryArray>());
        let mut columns = images.columns().to_vec();
        columns[0] = bytes;
        Arc::new(StructArray::new(images.fields().clone(), columns, images.nulls().cloned()))
    })
}

const STD: &str = "std = [0.3549]";
const MEAN: &str = "mean = [0.2877]\n";
const BYTE: &str = "scale = 0.00392156862745098\n";

fn of_digits() -> Vec<Wrong> {
    vec![
        wrong("mean and std forgotten", "mean and std", |f| {
            config(MEAN, "")(f);
            config(STD, "")(f);
        }),
        wrong("pixels from 0 to 255", "mean and std", |f| {
            config(BYTE, "scale = 1.0\n")(f);
            config(MEAN, "")(f);
            config(STD, "")(f);
        }),
        wrong("pixels not divided by 255, but normalized", "mean and std", config(BYTE, "scale = 1.0\n")),
        wrong("pixels divided by 255 twice", "mean and std", config(BYTE, "scale = 0.0000153787\n")),
        wrong("ImageNet's mean and std", "mean and std", |f| {
            config(MEAN, "mean = [0.485]\n")(f);
            config(STD, "std = [0.229]")(f);
        }),
        wrong("mean and std in units of 255", "mean and std", |f| {
            config(MEAN, "mean = [73.4]\n")(f);
            config(STD, "std = [90.5]")(f);
        }),
        wrong("mean and std exchanged in sign", "mean and std", config(MEAN, "mean = [-0.2877]\n")),
        wrong(
            "black and white swapped",
            "black and white",
            pictures(|i| {
                let mut out = i.clone();
                image::imageops::invert(&mut out);
                out
            }),
        ),
        wrong(
            "rows and columns swapped",
            "rows and columns swapped",
            pictures(|i| GrayImage::from_fn(i.height(), i.width(), |x, y| *i.get_pixel(y, x))),
        ),
        wrong("upside down", "upside down", pictures(image::imageops::flip_vertical)),
        wrong("classes from 1, the last one as 0", "numbered", label(|y| (y + 1) % 10)),
        wrong("classes one too low, the first one last", "numbered", label(|y| (y + 9) % 10)),
        wrong("classes in reverse", "numbered in reverse", label(|y| 9 - y)),
        wrong(
            "classes in alphabetical order of their names",
            "numbered in another order",
            label(|y| [9, 4, 8, 7, 3, 2, 6, 5, 0, 1].iter().position(|&c| c == y).unwrap() as i64),
        ),
        wrong("labels of other rows", "", shuffled("label")),
        wrong("images of other rows", "", shuffled("image")),
        wrong("training rows and test rows exchanged", "exchanged", |f| {
            exchanged("train.parquet", "test.parquet")(f);
            let ids = read(&f.path("train.parquet")).project(&[0]).unwrap().slice(0, 60);
            write(&f.path("forget.parquet"), &ids);
        }),
    ]
}

/// The feature columns of every table in another order, and the configuration without a word about them.
fn table_order(order: impl Fn(Vec<String>) -> Vec<String> + 'static) -> impl Fn(&Fixture) {
    move |fixture| {
        let path = fixture.path("model.forget.toml");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("columns = [\n").unwrap();
        let (list, after) = rest.split_once("]\n").unwrap();
        let names = list.lines().map(|l| l.trim().trim_matches([',', '"']).to_string()).filter(|l| !l.is_empty());
        let listed: Vec<String> = order(names.collect()).iter().map(|n| format!("{n:?}")).collect();
        fs::write(path, format!("{before}columns = [{}]\n{after}", listed.join(", "))).unwrap();
    }
}

fn features(map: impl Fn(&str, &[f64]) -> Vec<f64> + 'static) -> impl Fn(&Fixture) {
    move |fixture| {
        let train = read(&fixture.path("train.parquet"));
        let names: Vec<String> = train.schema().fields().iter().map(|f| f.name().clone()).collect();
        for table in TABLES {
            let mut batch = read(&fixture.path(table));
            for name in names.iter().filter(|n| !["id", "label"].contains(&n.as_str())) {
                let values = batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec();
                batch = replaced(&batch, name, Arc::new(Float64Array::from(map(name, &values))));
            }
            write(&fixture.path(table), &batch);
        }
    }
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
}

fn of_cancer() -> Vec<Wrong> {
    vec![
        wrong("0 and 1 swapped", "0 and 1 are swapped", label(|y| 1 - y)),
        wrong("labels of other rows", "", shuffled("label")),
        wrong(
            "columns in alphabetical order",
            "in the order of the file",
            table_order(|mut n| {
                n.sort();
                n
            }),
        ),
        wrong("columns in reverse order", "reverse order", table_order(|n| n.into_iter().rev().collect())),
        wrong(
            "columns shifted by one",
            "in the order of the file",
            table_order(|mut n| {
                n.rotate_left(1);
                n
            }),
        ),
        wrong(
            "columns shuffled",
            "in the order of the file",
            table_order(|mut n| {
                n.shuffle(&mut ChaCha8Rng::seed_from_u64(3));
                n
            }),
        ),
        wrong(
            "columns standardized twice",
            "scaled already",
            features(|_, v| {
                let (mean, deviation) = mean_and_deviation(v);
                v.iter().map(|x| (x - mean) / deviation).collect()
            }),
        ),
        wrong(
            "columns from 0 to 1",
            "",
            features(|_, v| {
                let (low, high) =
                    (v.iter().copied().fold(f64::MAX, f64::min), v.iter().copied().fold(f64::MIN, f64::max));
                v.iter().map(|x| (x - low) / (high - low)).collect()
            }),
        ),
        wrong("all columns ten times too large", "", features(|_, v| v.iter().map(|x| x * 10.0).collect())),
        wrong("all columns a tenth", "", features(|_, v| v.iter().map(|x| x * 0.1).collect())),
        wrong(
            "one column in thousandths",
            "another unit",
            features(|n, v| v.iter().map(|x| if n == "worst area" { x * 1000.0 } else { *x }).collect()),
        ),
        wrong(
            "one column in another temperature",
            "another unit",
            features(|n, v| v.iter().map(|x| if n == "mean texture" { x + 273.15 } else { *x }).collect()),
        ),
        wrong("logarithms of the columns", "", features(|_, v| v.iter().map(|x| x.ln_1p()).collect())),
        wrong(
            "scale in the configuration that the table does not need",
            "without scale, mean and std",
            config("kind = \"numeric\"", "kind = \"numeric\"\nscale = 0.01"),
        ),
        wrong(
            "mean and std in the configuration that the table does not need",
            "without scale, mean and std",
            config("kind = \"numeric\"", "kind = \"numeric\"\nmean = 100.0\nstd = 20.0"),
        ),
    ]
}

fn lists(name: &'static str, map: impl Fn(Vec<i64>) -> Vec<i64> + 'static) -> impl Fn(&Fixture) {
    column(name, move |c| {
        let rows = c.as_list::<i32>().iter();
        let each = rows.map(|row| {
            let values = row.unwrap().as_primitive::<Int64Type>().values().to_vec();
            Some(map(values).into_iter().map(Some))
        });
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(each))
    })
}

fn of_notes() -> Vec<Wrong> {
    let classes = 6;
    vec![
        wrong(
            "token ids one too high",
            "outside the model's table",
            lists("input_ids", |t| t.into_iter().map(|x| if x > 0 { x + 1 } else { x }).collect()),
        ),
        wrong(
            "token ids one too low",
            "one too low",
            lists("input_ids", |t| t.into_iter().map(|x| (x - 1).max(0)).collect()),
        ),
        wrong(
            "token ids of another vocabulary",
            "",
            lists("input_ids", |t| t.into_iter().map(|x| if x > 1 { 2 + (x * 37) % 97 } else { x }).collect()),
        ),
        wrong(
            "a mask that marks padding",
            "1 for padding",
            lists("attention_mask", |t| t.into_iter().map(|x| 1 - x).collect()),
        ),
        wrong("classes one too high, the last one as 0", "numbered", label(move |y| (y + 1) % classes)),
        wrong("classes in reverse", "numbered", label(move |y| classes - 1 - y)),
        wrong("labels of other rows", "", shuffled("label")),
        wrong("texts of other rows", "", |f| {
            ["input_ids", "attention_mask"].iter().for_each(|column| shuffled(column)(f))
        }),
    ]
}

fn all_stop(fixture: &str, cases: Vec<Wrong>) {
    let mut missed = Vec::new();
    for case in &cases {
        let fixture = Fixture::new(fixture);
        (case.make)(&fixture);
        let output = fixture.command(&["--offline"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let stopped = output.status.code() == Some(4);
        let named = said.contains(if case.found.is_empty() { "does not know these rows" } else { case.found });
        if !stopped || !named || fixture.path("model.forgotten.onnx").exists() {
            missed.push(format!("{}: {:?}\n{said}", case.what, output.status.code()));
        }
    }
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), cases.len(), missed.join("\n\n"));
}

#[test]
fn of_images_stop_the_run() {
    all_stop("digits-cnn", of_digits());
}

#[test]
fn of_tables_stop_the_run() {
    all_stop("cancer-mlp", of_cancer());
}

#[test]
fn of_texts_stop_the_run() {
    all_stop("notes-transformer", of_notes());
}

#[test]
fn who_knows_better_goes_on_with_a_warning() {
    let fixture = Fixture::new("cancer-mlp");
    label(|y| 1 - y)(&fixture);
    let output = fixture.command(&["--offline", "--dry-run", "--accept-unknown-rows"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("0 and 1 are swapped"));
}
