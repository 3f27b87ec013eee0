//! Every type that a column may have, and every way that files may lie.

use super::*;
use ::arrow_array::{
    builder::{FixedSizeListBuilder, Int16Builder, ListBuilder},
    *,
};
use arrow_schema::{DataType, Field};
use half::f16;
use onnx_forget::data::Rows;

fn read(column: impl Array + 'static, width: usize) -> Result<Vec<f32>, Error> {
    let dir = TempDir::new().unwrap();
    let rows = column.len() as i64;
    let column: ArrayRef = Arc::new(column);
    let table = |first: i64| {
        let mut table = Table::new()
            .with("id", Int64Array::from_iter_values(first..first + rows))
            .with("label", Int64Array::from_iter_values((0..rows).map(|i| i & 1)));
        table.0.push(("x".into(), column.clone()));
        table
    };
    let mut config = DataConfig::default();
    config.files.train = Some(table(0).write(&dir, "train.parquet").into());
    config.files.test = Some(table(100).write(&dir, "test.parquet").into());
    let signature = signature(vec![input("x", DType::F32, &[None, Some(width)])], 2);
    let data = data::open(&config, &request(id_list(&[0]).write(&dir, "forget.parquet")), &signature)?;
    let all: Vec<usize> = (0..data.train.len()).collect();
    Ok(data.train.batch(&all)?.inputs["x"].to_f32())
}

#[test]
fn numbers_of_every_type() {
    let expected = [1.0, 0.0, 7.0, 100.0, 5.0];
    macro_rules! numbers {
        ($($array:ident: $type:ty),*) => {$(
            let column = $array::from(vec![1 as $type, 0 as $type, 7 as $type, 100 as $type, 5 as $type]);
            assert_eq!(read(column, 1).unwrap(), expected, stringify!($array));
        )*};
    }
    numbers!(Int8Array: i8, Int16Array: i16, Int32Array: i32, Int64Array: i64, UInt8Array: u8, UInt16Array: u16,
        UInt32Array: u32, UInt64Array: u64, Float32Array: f32, Float64Array: f64);
    let halves = expected.map(f16::from_f32).to_vec();
    assert_eq!(read(Float16Array::from(halves), 1).unwrap(), expected);
    assert_eq!(read(BooleanArray::from(vec![true, false, true, true, false]), 1).unwrap(), [1., 0., 1., 1., 0.]);
    let dictionary =
        DictionaryArray::new(Int8Array::from(vec![0, 1, 2, 3, 4]), Arc::new(Float32Array::from(expected.to_vec())));
    assert_eq!(read(dictionary, 1).unwrap(), expected);
    let decimal = Decimal128Array::from(vec![1, 2, 3]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(read(decimal, 1).unwrap(), [0.01, 0.02, 0.03]);
}

#[test]
fn lists_of_every_type() {
    let values: ArrayRef = Arc::new(Int16Array::from(vec![1, 2, 3, 4, 5, 6]));
    let expected = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let item = || Arc::new(Field::new("item", DataType::Int16, true));
    let rows = || [[1i16, 2], [3, 4], [5, 6]].map(|row| Some(row.map(Some)));
    assert_eq!(read(ListArray::from_iter_primitive::<types::Int16Type, _, _>(rows()), 2).unwrap(), expected);
    assert_eq!(read(LargeListArray::from_iter_primitive::<types::Int16Type, _, _>(rows()), 2).unwrap(), expected);
    assert_eq!(read(FixedSizeListArray::new(item(), 2, values.clone(), None), 2).unwrap(), expected);
    let view = ListViewArray::new(item(), vec![0, 2, 4].into(), vec![2, 2, 2].into(), values.clone(), None);
    assert_eq!(read(view, 2).unwrap(), expected);
    let mut nested = ListBuilder::new(FixedSizeListBuilder::new(Int16Builder::new(), 1));
    for (i, value) in (1..=6i16).enumerate() {
        nested.values().values().append_value(value);
        nested.values().append(true);
        if i % 3 == 2 {
            nested.append(true);
        }
    }
    assert_eq!(read(nested.finish(), 3).unwrap(), expected);
    let gap = ListArray::from_iter_primitive::<types::Int32Type, _, _>(vec![
        Some(vec![Some(1), Some(2)]),
        Some(vec![Some(1), None]),
        Some(vec![Some(3), Some(4)]),
    ]);
    assert!(refused(read(gap, 2)).contains("1 rows have no value, or one inside their list"));
}

#[test]
fn ids_of_every_text_type() {
    let dir = TempDir::new().unwrap();
    let names = ["row a", "row b", "row c"];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(names.to_vec())),
        Arc::new(LargeStringArray::from(names.to_vec())),
        Arc::new(StringViewArray::from(names.to_vec())),
        Arc::new(BinaryArray::from_iter_values(names)),
        Arc::new(LargeBinaryArray::from_iter_values(names)),
        Arc::new(BinaryViewArray::from_iter_values(names)),
        Arc::new(names.into_iter().collect::<DictionaryArray<types::Int32Type>>()),
    ];
    for column in columns {
        let mut config = simple_config(&dir);
        let mut train =
            Table::new().with("x", Int64Array::from(vec![0, 1, 2])).with("label", Int64Array::from(vec![0, 1, 0]));
        train.0.push(("key".into(), column.clone()));
        config.files.train = Some(train.write(&dir, "keys.parquet").into());
        let list = Table::new().with("key", words(&["row c"])).write(&dir, "forget.parquet");
        let data = data::open(&config, &request(list), &simple()).unwrap();
        assert_eq!(data.forget.to_vec(), [2], "{}", column.data_type());
    }
}

#[test]
fn folders_globs_and_compressions_are_one_table() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("parts");
    std::fs::create_dir(&folder).unwrap();
    let compressions = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::BROTLI(Default::default()),
    ];
    for (i, compression) in compressions.into_iter().enumerate() {
        simple_rows(5 * i as i64, 5).write_as(&folder.join(format!("part-{i}.parquet")), 2, compression);
    }
    std::fs::write(folder.join("README.txt"), "not data").unwrap();
    let mut config = simple_config(&dir);
    let list = id_list(&[34, 2]).write(&dir, "forget.parquet");
    for path in [folder.clone(), folder.join("*.parquet"), folder.join("part-?.parquet")] {
        config.files.train = Some(path.into());
        let data = data::open(&config, &request(list.clone()), &simple()).unwrap();
        assert_eq!((data.train.len(), data.forget.to_vec()), (35, vec![2, 34]));
        assert_eq!(data.train.batch(&[29, 7]).unwrap().inputs["x"].to_f32(), [29.0, 7.0]);
        assert_eq!(data.files.len(), 9);
        assert_eq!(data.train.targets(&Rows::listed(35, vec![7, 8])).unwrap(), data::Targets::Classes(vec![1, 0]));
    }
}

#[test]
fn files_that_are_not_one_table_are_refused() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("parts");
    std::fs::create_dir(&folder).unwrap();
    let mut config = simple_config(&dir);
    config.files.train = Some(folder.clone().into());
    let list = id_list(&[2]).write(&dir, "forget.parquet");
    let open = |config: &DataConfig| refused(data::open(config, &request(list.clone()), &simple()));
    assert!(open(&config).contains("no Parquet, CSV, JSON or Arrow file there"));
    let a = folder.join("a.parquet");
    simple_rows(0, 5).write_as(&a, 2, Compression::SNAPPY);
    let b = folder.join("b.parquet");
    let other = Table::new()
        .with("id", words(&["a"]))
        .with("x", Int64Array::from(vec![1]))
        .with("label", Int64Array::from(vec![1]));
    other.write_as(&b, 2, Compression::SNAPPY);
    config.files.id = Some("id".into());
    assert!(open(&config).contains("column `id`, needed for ids, has type Utf8 in b.parquet, but Int64 in a.parquet"));
    std::fs::write(&b, b"PAR1 but not really a table PAR1").unwrap();
    assert!(open(&config).contains("not a readable Parquet file"));
    config.files.train = Some(dir.path().join("nowhere.parquet").into());
    assert!(open(&config).contains("no such file or folder"));
}

#[test]
fn damaged_pages_are_an_error_and_not_a_panic() {
    let dir = TempDir::new().unwrap();
    let path = simple_rows(0, 200).write_as(&dir.path().join("train.parquet"), 64, Compression::UNCOMPRESSED);
    let good = std::fs::read(&path).unwrap();
    let list = id_list(&[2]).write(&dir, "forget.parquet");
    let mut config = simple_config(&dir);
    config.files.train = Some(path.clone().into());
    let mut refused = 0;
    for at in (4..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x5A;
        std::fs::write(&path, &bad).unwrap();
        if let Err(e) = data::open(&config, &request(list.clone()), &simple()) {
            assert_ne!(e.exit_code(), 1, "{e}");
            refused += 1;
        }
    }
    assert!(refused > 0);
}
