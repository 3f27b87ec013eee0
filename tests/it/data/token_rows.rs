//! Tokens that do not fit the model or each other.

use super::*;
use arrow_array::{ListArray, types::Int64Type};

fn lists(rows: &[&[i64]]) -> ListArray {
    ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(|r| Some(r.iter().map(|x| Some(*x)))))
}

/// Four rows of tokens and masks, for a model whose table has 10 tokens.
fn open(tokens: &[&[i64]; 4], masks: &[&[i64]; 4]) -> Result<Data, Error> {
    let dir = TempDir::new().unwrap();
    let rows = |first: i64, tokens: &[&[i64]; 4], masks: &[&[i64]; 4]| {
        Table::new()
            .with("id", Int64Array::from_iter_values(first..first + 4))
            .with("input_ids", lists(tokens))
            .with("attention_mask", lists(masks))
            .with("label", Int64Array::from(vec![0, 1, 0, 1]))
    };
    let mut config = DataConfig::default();
    let plain: [&[i64]; 4] = [&[1], &[2], &[3], &[4]];
    config.files.train = Some(rows(0, tokens, masks).write(&dir, "train.parquet").into());
    config.files.test = Some(rows(100, &plain, &plain).write(&dir, "test.parquet").into());
    let of = |name: &str, table| InputSpec { table, ..input(name, DType::I64, &[None, None]) };
    let model = signature(vec![of("input_ids", Some(10)), of("attention_mask", None)], 2);
    data::open(&config, &request(id_list(&[0]).write(&dir, "forget.parquet")), &model)
}

const MASKS: [&[i64]; 4] = [&[1, 1], &[1], &[1, 1, 1], &[1]];

#[test]
fn tokens_of_the_table_with_masks_of_their_lengths_are_taken() {
    assert_eq!(open(&[&[1, 9], &[0], &[3, 4, 5], &[6]], &MASKS).unwrap().train.len(), 4);
}

#[test]
fn tokens_outside_the_table_are_refused_by_their_row() {
    for token in [10, -1, 99_999] {
        let message = refused(open(&[&[1, 9], &[0], &[3, 4, token], &[6]], &MASKS));
        let expected = ["train.parquet", "row 2 (counted from 0)", "`input_ids`", "0 to 9"];
        expected.iter().for_each(|words| assert!(message.contains(words), "{message}"));
        assert!(!message.contains("99999"), "{message}");
    }
}

#[test]
fn a_mask_of_another_length_is_refused_by_its_row() {
    let message = refused(open(&[&[1, 9], &[0], &[3, 4], &[6]], &MASKS));
    let expected = ["row 2 (counted from 0)", "`attention_mask`", "`input_ids`", "another length"];
    expected.iter().for_each(|words| assert!(message.contains(words), "{message}"));
}

#[test]
fn text_is_told_to_be_tokenized_first() {
    let dir = TempDir::new().unwrap();
    let rows = |first: i64| {
        Table::new()
            .with("id", Int64Array::from_iter_values(first..first + 4))
            .with("text", words(&["a b", "c", "d e", "f"]))
            .with("label", Int64Array::from(vec![0, 1, 0, 1]))
    };
    let mut config = DataConfig::default();
    config.files.train = Some(rows(0).write(&dir, "train.parquet").into());
    config.files.test = Some(rows(100).write(&dir, "test.parquet").into());
    let list = id_list(&[0]).write(&dir, "forget.parquet");
    let model = signature(vec![input("input_ids", DType::I64, &[None, None])], 2);
    for column in [None, Some("text"), Some("input_ids")] {
        let given = data::InputConfig { column: column.map(Into::into), ..Default::default() };
        config.inputs = [("input_ids".to_owned(), given)].into();
        let message = refused(data::open(&config, &request(list.clone()), &model));
        assert!(message.contains("text is not tokenized here") && message.contains("docs/rows.md"), "{message}");
    }
}
