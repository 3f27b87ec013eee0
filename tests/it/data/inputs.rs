//! Which columns feed which inputs, and how.

use super::*;
use arrow_array::{BinaryArray, Float32Array, Float64Array, ListArray, StructArray, types::Int32Type};
use arrow_schema::{DataType, Field};
use data::{InputConfig, InputKind, Layout, PerChannel};
use onnx_forget::tensor::HostTensor;

/// Opens `columns` (besides `id` and `label`) for a model, and gives the first two rows' inputs.
fn feed(
    columns: impl Fn(Table) -> Table,
    inputs: Vec<InputSpec>,
    config: &[(&str, InputConfig)],
) -> Result<(Data, data::Batch), Error> {
    let dir = TempDir::new().unwrap();
    let rows = |first: i64| {
        let table = Table::new().with("id", Int64Array::from_iter_values(first..first + 3));
        columns(table).with("label", Int64Array::from(vec![0, 1, 0]))
    };
    let mut all = DataConfig::default();
    all.files.train = Some(rows(0).write(&dir, "train.parquet").into());
    all.files.test = Some(rows(100).write(&dir, "test.parquet").into());
    all.inputs = config.iter().map(|(n, c)| ((*n).to_owned(), c.clone())).collect();
    let data = data::open(&all, &request(id_list(&[0]).write(&dir, "forget.parquet")), &signature(inputs, 2))?;
    let batch = data.train.batch(&[0, 1])?;
    Ok((data, batch))
}

fn named(column: &str) -> InputConfig {
    InputConfig { column: Some(column.into()), ..InputConfig::default() }
}

fn tokens(of: [&[i32]; 3]) -> ListArray {
    ListArray::from_iter_primitive::<Int32Type, _, _>(of.iter().map(|row| Some(row.iter().map(|x| Some(*x)))))
}

#[test]
fn a_table_is_as_many_columns_as_the_input_is_wide() {
    let table = |t: Table| {
        t.with("b", Float64Array::from(vec![1.0, 2.0, 3.0]))
            .with("note", words(&["p", "q", "r"]))
            .with("a", Int64Array::from(vec![10, 20, 30]))
    };
    let x = vec![input("features", DType::F32, &[None, Some(2)])];
    let (data, batch) = feed(table, x.clone(), &[]).unwrap();
    assert_eq!(batch.inputs["features"], HostTensor::new(&[2, 2], vec![1f32, 10., 2., 20.]).unwrap());
    assert!(data.notes.iter().any(|n| n.how.contains("`b`, `a`, in this order") && n.inferred), "{:?}", data.notes);
    let mut config = InputConfig { columns: Some(vec!["a".into(), "b".into()]), ..InputConfig::default() };
    config.mean = Some(PerChannel::Each(vec![10.0, 1.0]));
    config.std = Some(PerChannel::Each(vec![5.0, 2.0]));
    let (_, batch) = feed(table, x, &[("features", config)]).unwrap();
    assert_eq!(batch.inputs["features"].to_f32(), [0., 0., 2., 0.5]);
    let message = refused(feed(table, vec![input("features", DType::F32, &[None, Some(3)])], &[]));
    assert!(message.contains("`features`") && message.contains("columns = [...]"), "{message}");
    let message = refused(feed(table, vec![input("features", DType::F32, &[None, None])], &[]));
    assert!(message.contains("`columns = [...]` in the model's order"), "{message}");
}

#[test]
fn a_list_column_fills_the_shape_it_fits() {
    let items = |t: Table| t.with("pixels", tokens([&[1, 2, 3, 4], &[5, 6, 7, 8], &[0, 0, 0, 0]]));
    for dims in [&[None, Some(4)][..], &[None, None], &[None, Some(1), Some(2), Some(2)], &[None, Some(2), None]] {
        let (_, batch) = feed(items, vec![input("x", DType::F32, dims)], &[]).unwrap();
        assert_eq!(batch.inputs["x"].to_f32(), [1., 2., 3., 4., 5., 6., 7., 8.]);
        assert_eq!((batch.inputs["x"].dims()[0], batch.inputs["x"].dims().len()), (2, dims.len()));
    }
    let scale = InputConfig { scale: Some(0.5), ..named("pixels") };
    let (_, batch) = feed(items, vec![input("x", DType::F64, &[None, Some(4)])], &[("x", scale)]).unwrap();
    assert_eq!(batch.inputs["x"], HostTensor::new(&[2, 4], vec![0.5f64, 1., 1.5, 2., 2.5, 3., 3.5, 4.]).unwrap());
    let message = refused(feed(items, vec![input("x", DType::F32, &[None, Some(5)])], &[("x", named("pixels"))]));
    assert!(message.contains("has 4 numbers a row, but the input has shape [?, 5]"), "{message}");
    let ragged = |t: Table| t.with("pixels", tokens([&[1, 2], &[3], &[]]));
    let message = refused(feed(ragged, vec![input("x", DType::F32, &[None, None])], &[]));
    assert!(message.contains("lists of 0 to 2 numbers"), "{message}");
}

#[test]
fn tokens_are_padded_and_their_mask_follows() {
    let ragged = |t: Table| t.with("input_ids", tokens([&[4, 5, 6], &[7], &[8, 9]]));
    let inputs = |length: Option<usize>| {
        vec![
            input("input_ids", DType::I64, &[None, length]),
            input("attention_mask", DType::I64, &[None, length]),
            input("token_type_ids", DType::I32, &[None, length]),
        ]
    };
    let (_, batch) = feed(ragged, inputs(None), &[]).unwrap();
    assert_eq!(batch.inputs["input_ids"], HostTensor::new(&[2, 3], vec![4i64, 5, 6, 7, 0, 0]).unwrap());
    assert_eq!(batch.inputs["attention_mask"], HostTensor::new(&[2, 3], vec![1i64, 1, 1, 1, 0, 0]).unwrap());
    assert_eq!(batch.inputs["token_type_ids"], HostTensor::new(&[2, 3], vec![0i32; 6]).unwrap());
    let (_, batch) = feed(ragged, inputs(Some(2)), &[]).unwrap();
    assert_eq!(batch.inputs["input_ids"].to_i64().unwrap(), [4, 5, 7, 0]);
    let config = InputConfig { padding: Some(1), length: Some(4), ..named("input_ids") };
    let (_, batch) = feed(ragged, inputs(None), &[("input_ids", config.clone())]).unwrap();
    assert_eq!(batch.inputs["input_ids"].to_i64().unwrap(), [4, 5, 6, 1, 7, 1, 1, 1]);
    assert_eq!(batch.inputs["attention_mask"].to_i64().unwrap(), [1, 1, 1, 0, 1, 0, 0, 0]);
    let message = refused(feed(ragged, inputs(Some(2)), &[("input_ids", config)]));
    assert!(message.contains("`length = 4`, but the model takes rows of 2"), "{message}");
}

#[test]
fn a_mask_column_and_filled_tokens_are_taken_as_they_are() {
    let filled = |t: Table| {
        t.with("tokens", tokens([&[4, 5, 0], &[7, 0, 0], &[8, 9, 1]]))
            .with("mask", tokens([&[1, 0, 0], &[1, 0, 0], &[1, 1, 1]]))
    };
    let inputs = vec![input("input_ids", DType::I64, &[None, Some(3)]), input("mask", DType::F32, &[None, Some(3)])];
    let (_, batch) = feed(filled, inputs.clone(), &[]).unwrap();
    assert_eq!(batch.inputs["mask"], HostTensor::new(&[2, 3], vec![1f32, 0., 0., 1., 0., 0.]).unwrap());
    let no_mask = |t: Table| t.with("tokens", tokens([&[4, 5, 0], &[7, 0, 0], &[8, 9, 1]]));
    let (_, batch) = feed(no_mask, inputs, &[]).unwrap();
    assert_eq!(batch.inputs["mask"].to_f32(), [1., 1., 0., 1., 0., 0.], "zeros that end a filled row are padding");
}

fn pngs() -> Vec<Vec<u8>> {
    let png = |value: u8| {
        let mut out = std::io::Cursor::new(Vec::new());
        let image = image::RgbImage::from_fn(5, 4, |x, _| image::Rgb([value, x as u8, 255]));
        image.write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    };
    vec![png(0), png(100), png(200)]
}

#[test]
fn images_are_found_and_laid_out_by_the_models_shape() {
    let bytes = BinaryArray::from_iter_values(pngs());
    let path: ArrayRef = Arc::new(StringArray::new_null(3));
    let fields = [("bytes", DataType::Binary), ("path", DataType::Utf8)].map(|(n, t)| Arc::new(Field::new(n, t, true)));
    let column = StructArray::new(fields.to_vec().into(), vec![Arc::new(bytes), path], None);
    let images = move |t: Table| t.with("img", column.clone());
    let rgb = vec![input("pixel_values", DType::F32, &[None, Some(3), Some(4), Some(5)])];
    let (data, batch) = feed(&images, rgb, &[]).unwrap();
    let x = batch.inputs["pixel_values"].to_f32();
    assert_eq!((x[0], x[20 + 1], x[40]), (0.0, 1.0 / 255.0, 1.0));
    assert_eq!(x[60], (100.0f64 / 255.0) as f32);
    assert!(data.notes.iter().any(|n| n.how.contains("3×4×5 as Nchw, pixels / 255")), "{:?}", data.notes);
    let bytes_in = vec![input("image", DType::U8, &[None, Some(4), Some(5), Some(3)])];
    let (_, batch) = feed(&images, bytes_in, &[]).unwrap();
    assert_eq!(batch.inputs["image"].dims(), [2, 4, 5, 3]);
    assert_eq!(batch.inputs["image"].to_f64()[..6], [0., 0., 255., 0., 1., 255.]);
    let open = vec![input("x", DType::F32, &[None, None, None, None])];
    let config = InputConfig {
        layout: Some(Layout::Nhwc),
        scale: Some(1.0),
        mean: Some(PerChannel::One(1.0)),
        std: Some(PerChannel::Each(vec![1.0, 2.0, 4.0])),
        resize: Some(data::Extent::Both([2, 2])),
        ..named("img")
    };
    let (_, batch) = feed(&images, open, &[("x", config)]).unwrap();
    assert_eq!(batch.inputs["x"].dims(), [2, 2, 2, 3]);
    assert_eq!((batch.inputs["x"].to_f32()[0], batch.inputs["x"].to_f32()[2]), (-1.0, 63.5));
    let small = vec![input("x", DType::F32, &[None, Some(3), Some(2), Some(2)])];
    let message = refused(feed(&images, small, &[]));
    assert!(message.contains("an image of 4×5") && message.contains("resize = [2, 2]"), "{message}");
    let odd = vec![input("x", DType::F32, &[None, Some(3), Some(4), Some(3)])];
    let message = refused(feed(&images, odd, &[]));
    assert!(message.contains("layout ="), "{message}");
}

#[test]
fn what_cannot_be_inferred_is_asked_for_by_name() {
    let two = |t: Table| {
        t.with("left", tokens([&[1, 2], &[3, 4], &[5, 6]])).with("right", tokens([&[1, 2], &[3, 4], &[5, 6]]))
    };
    let inputs = vec![input("a", DType::F32, &[None, Some(2)]), input("b.1", DType::F32, &[None, Some(2)])];
    let message = refused(feed(two, inputs.clone(), &[]));
    assert!(
        message.contains("input `a`") && message.contains("under `[inputs.a]`") && message.contains("`left`"),
        "{message}"
    );
    let (_, batch) = feed(two, inputs.clone(), &[("b.1", named("left"))]).unwrap();
    assert_eq!(batch.inputs.len(), 2);
    let error = feed(two, inputs.clone(), &[("c", named("left"))]).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("the model has no such input; its inputs are `a`, `b.1`"), "{message}");
    assert_eq!(error.exit_code(), 2, "a name in the configuration, not the data");
    let message = refused(feed(two, inputs.clone(), &[("a", named("id"))]));
    assert!(message.contains("cannot feed the model"), "{message}");
    let wrong = InputConfig { kind: Some(InputKind::Image), ..named("left") };
    let message = refused(feed(two, inputs.clone(), &[("a", wrong)]));
    assert!(message.contains("from which no image input is made"), "{message}");
    let useless = InputConfig { length: Some(3), ..named("left") };
    let message = refused(feed(two, inputs, &[("a", useless)]));
    assert!(message.contains("`length` means nothing"), "{message}");
}

#[test]
fn values_that_are_no_numbers_are_refused_with_their_place() {
    let gaps = |t: Table| t.with("x", Float32Array::from(vec![Some(1.0), None, None]));
    let x = vec![input("x", DType::F32, &[None, Some(1)])];
    let message = refused(feed(gaps, x.clone(), &[]));
    assert!(message.contains("train.parquet") && message.contains("column `x`: 2 rows have no value"), "{message}");
    let nan = |t: Table| t.with("x", Float32Array::from(vec![1.0, f32::NAN, 2.0]));
    let message = refused(feed(nan, x, &[]));
    assert!(message.contains("row 1 (counted from 0): column `x` is NaN or infinite"), "{message}");
    let ragged = |t: Table| t.with("x", tokens([&[1, 2], &[3], &[4, 5]]));
    let message = refused(feed(ragged, vec![input("x", DType::F32, &[None, Some(2)])], &[("x", named("x"))]));
    assert!(message.contains("column `x` has lists of 1 to 2 numbers (row 1, counted from 0"), "{message}");
    let float = |t: Table| t.with("x", Float32Array::from(vec![1.0, 2.5, 2.0]));
    let message = refused(feed(float, vec![input("x", DType::I64, &[None, Some(1)])], &[]));
    assert!(message.contains("holds floats, but the input takes i64"), "{message}");
}
