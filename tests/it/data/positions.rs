//! Labels with a class for each position of a row, and labels that are the inputs.

use super::*;
use arrow_array::{ArrayRef, FixedSizeListArray, LargeListArray, ListArray, types::Int64Type};
use data::{IGNORED, TargetConfig, TargetKind, Targets};

fn lists(of: &[&[i64]]) -> ListArray {
    ListArray::from_iter_primitive::<Int64Type, _, _>(of.iter().map(|row| Some(row.iter().map(|x| Some(*x)))))
}

/// A model of tokens, five classes a token, the classes last.
fn tagger(length: Option<usize>) -> Signature {
    let scores = Some(input("scores", DType::F32, &[None, length, Some(5)]));
    let inputs = vec![input("input_ids", DType::I64, &[None, length])];
    Signature { inputs, scores, class_axis: Some(2), ..Signature::default() }
}

/// A model of images with a class for each of 2 · 3 pixels.
fn segmenter() -> Signature {
    let scores = Some(input("scores", DType::F32, &[None, Some(4), Some(2), Some(3)]));
    let inputs = vec![input("x", DType::F32, &[None, Some(1)])];
    Signature { inputs, scores, class_axis: Some(1), ..Signature::default() }
}

const TOKENS: [&[i64]; 3] = [&[7, 8, 9], &[5, 6], &[4, 3, 2]];

fn open(columns: &[(&str, ArrayRef)], target: TargetConfig, signature: &Signature) -> Result<Data, Error> {
    forgetting(columns, target, signature, None)
}

/// The same where a class is to be forgotten.
fn forgetting(
    columns: &[(&str, ArrayRef)],
    target: TargetConfig,
    signature: &Signature,
    class: Option<i64>,
) -> Result<Data, Error> {
    let dir = TempDir::new().unwrap();
    let rows = |first: i64, name: &str| {
        let n = columns[0].1.len() as i64;
        let mut table = Table::new().with("id", Int64Array::from_iter_values(first..first + n));
        table.0.extend(columns.iter().map(|(name, column)| (name.to_string(), column.clone())));
        table.write(&dir, name)
    };
    let mut config = DataConfig { target, ..DataConfig::default() };
    config.files.train = Some(rows(0, "train.parquet").into());
    config.files.test = Some(rows(100, "test.parquet").into());
    let request = match class {
        Some(_) => Request { forget_class: class, ..Request::default() },
        None => request(id_list(&[0]).write(&dir, "forget.parquet")),
    };
    data::open(&config, &request, signature)
}

fn tagged(labels: &[&[i64]], target: TargetConfig) -> Result<Data, Error> {
    let columns: [(&str, ArrayRef); 2] = [("input_ids", Arc::new(lists(&TOKENS))), ("labels", Arc::new(lists(labels)))];
    open(&columns, target, &tagger(None))
}

fn classes(data: &Data) -> Vec<Vec<i64>> {
    let targets = data.train.targets(&data::Rows::all(data.train.len())).unwrap();
    targets.positions().map(<[i64]>::to_vec).collect()
}

fn kind(kind: TargetKind) -> TargetConfig {
    TargetConfig { kind: Some(kind), ..TargetConfig::default() }
}

#[test]
fn a_tag_for_each_token() {
    let data = tagged(&[&[0, 1, 2], &[3, -100], &[4, 4, 4]], TargetConfig::default()).unwrap();
    assert_eq!((data.target, data.target_width), (TargetKind::Class, 5));
    assert_eq!(classes(&data), [vec![0, 1, 2], vec![3, IGNORED], vec![4, 4, 4]]);
    let batch = data.train.batch(&[2, 1]).unwrap();
    assert_eq!(batch.inputs["input_ids"].dims(), [2, 3]);
    assert_eq!(batch.targets, Targets::Positions { ends: vec![0, 3, 5], classes: vec![4, 4, 4, 3, IGNORED] });
    assert_eq!(batch.select(&[1]).unwrap().targets.positions().next(), Some(&[3, IGNORED][..]));
    // Another number is ignored where the configuration says so, and then −100 is none.
    let ignore = TargetConfig { ignore: Some(vec![4, 9]), ..TargetConfig::default() };
    let data = tagged(&[&[0, 1, 2], &[3, 9], &[4, 0, 4]], ignore.clone()).unwrap();
    assert_eq!(classes(&data)[2], [IGNORED, 0, IGNORED]);
    let message = refused(tagged(&[&[0, 1, 2], &[3, -100], &[4, 0, 4]], ignore));
    assert!(message.contains("row 1 (counted from 0)") && message.contains("classes 0 to 4"), "{message}");
    assert!(!message.contains("-100"), "a label must not be shown: {message}");
}

#[test]
fn rows_are_named_where_labels_do_not_fit_the_tokens() {
    let message = refused(tagged(&[&[0, 1, 2], &[3], &[4, 4, 4]], TargetConfig::default()));
    assert!(message.contains("row 1 (counted from 0)") && message.contains("1 labels for 2 tokens"), "{message}");
    let message = refused(tagged(&[&[0, 1, 2], &[3, 3], &[-100, -100, -100]], TargetConfig::default()));
    assert!(message.contains("row 2 (counted from 0)") && message.contains("no position that counts"), "{message}");
    let message = refused(tagged(&[&[0, 1, 2], &[3, 5], &[0, 0, 0]], TargetConfig::default()));
    assert!(message.contains("row 1 (counted from 0)"), "{message}");
}

#[test]
fn a_class_of_positions_is_no_class_of_rows() {
    let columns: [(&str, ArrayRef); 2] =
        [("input_ids", Arc::new(lists(&TOKENS))), ("labels", Arc::new(lists(&[&[0, 1, 2], &[3, 0], &[0, 1, 0]])))];
    let message = refused(forgetting(&columns, TargetConfig::default(), &tagger(None), Some(1)));
    assert!(message.contains("labels of one class a row"), "{message}");
}

#[test]
fn of_several_lists_of_tokens_one_is_named() {
    let two = Signature {
        inputs: vec![input("first", DType::I64, &[None, None]), input("second", DType::I64, &[None, None])],
        ..tagger(None)
    };
    let columns: [(&str, ArrayRef); 3] = [
        ("first", Arc::new(lists(&TOKENS))),
        ("second", Arc::new(lists(&[&[1], &[1], &[1]]))),
        ("labels", Arc::new(lists(&[&[0, 1, 2], &[3, 0], &[0, 1, 0]]))),
    ];
    let message = refused(open(&columns, TargetConfig::default(), &two));
    assert!(message.contains("`first`, `second`") && message.contains("input = "), "{message}");
    let named = TargetConfig { input: Some("first".into()), ..TargetConfig::default() };
    let data = open(&columns, named, &two).unwrap();
    assert!(classes(&data)[1] == [3, 0] && !data.train.plan().target.has_places());
}

#[test]
fn padding_needs_no_labels() {
    let columns: [(&str, ArrayRef); 2] = [
        ("input_ids", Arc::new(lists(&[&[7, 8, 9, 0], &[5, 6, 0, 0], &[4, 0, 0, 0]]))),
        ("labels", Arc::new(lists(&[&[1, 1, 1], &[2, 2], &[3, 3]]))),
    ];
    let data = open(&columns, TargetConfig::default(), &tagger(Some(4))).unwrap();
    assert_eq!(classes(&data), [vec![1, 1, 1], vec![2, 2], vec![3, 3]]);
}

#[test]
fn a_mask_leaves_positions_out() {
    let columns: [(&str, ArrayRef); 3] = [
        ("input_ids", Arc::new(lists(&TOKENS))),
        ("labels", Arc::new(lists(&[&[0, 1, 2], &[3, 3], &[4, 4, 4]]))),
        ("counts", Arc::new(lists(&[&[1, 0, 1], &[0, 1], &[1, 1, 1]]))),
    ];
    let masked = TargetConfig { mask: Some("counts".into()), ..TargetConfig::default() };
    let data = open(&columns, masked.clone(), &tagger(None)).unwrap();
    assert_eq!(classes(&data), [vec![0, IGNORED, 2], vec![IGNORED, 3], vec![4, 4, 4]]);
    // Of next words, the mask says which tokens count, not before which.
    let next = TargetConfig { kind: Some(TargetKind::Next), ..masked };
    let wide = Signature { scores: Some(input("scores", DType::F32, &[None, None, Some(10)])), ..tagger(None) };
    let data = open(&columns, next, &wide).unwrap();
    assert_eq!(classes(&data), [vec![IGNORED, 9, IGNORED], vec![6, IGNORED], vec![3, 2, IGNORED]]);
}

#[test]
fn next_words_are_the_tokens_themselves() {
    let wide = Signature { scores: Some(input("scores", DType::F32, &[None, None, Some(10)])), ..tagger(None) };
    let columns: [(&str, ArrayRef); 2] =
        [("input_ids", Arc::new(lists(&TOKENS))), ("labels", Arc::new(lists(&[&[-100, 8, 9], &[5, 6], &[4, 3, 2]])))];
    let data = open(&columns, kind(TargetKind::Next), &wide).unwrap();
    assert_eq!(classes(&data), [vec![8, 9, IGNORED], vec![6, IGNORED], vec![3, 2, IGNORED]]);
    // A column of labels says which tokens count, as Transformers has it.
    let column = TargetConfig { column: Some("labels".into()), ..kind(TargetKind::Next) };
    let data = open(&columns, column, &wide).unwrap();
    assert_eq!(classes(&data), [vec![8, 9, IGNORED], vec![6, IGNORED], vec![3, 2, IGNORED]]);
    // The same column without a word is doubtful.
    let message = refused(open(&columns, TargetConfig::default(), &wide));
    assert!(message.contains("holds the tokens of column `input_ids`") && message.contains("\"next\""), "{message}");
    // A single token has none that follows.
    let message =
        refused(open(&[("input_ids", Arc::new(lists(&[&[1, 2], &[3]])) as ArrayRef)], kind(TargetKind::Next), &wide));
    assert!(message.contains("row 1 (counted from 0): column `input_ids`: no position"), "{message}");
    let none =
        Signature { scores: Some(input("scores", DType::F32, &[None, Some(3)])), class_axis: None, ..tagger(None) };
    let message = refused(open(&columns, kind(TargetKind::Next), &none));
    assert!(message.contains("scores for the next token at each position"), "{message}");
}

/// A last token that is also the padding token counts where labels say so, and is padding where nothing does.
#[test]
fn labels_say_whether_the_last_token_counts() {
    let wide = Signature {
        scores: Some(input("scores", DType::F32, &[None, Some(4), Some(10)])),
        inputs: vec![input("input_ids", DType::I64, &[None, Some(4)])],
        ..tagger(None)
    };
    let columns: [(&str, ArrayRef); 2] = [
        ("input_ids", Arc::new(lists(&[&[7, 8, 0, 0], &[5, 6, 4, 0]]))),
        ("labels", Arc::new(lists(&[&[-100, 8, 0, -100], &[5, 6, 4, 0]]))),
    ];
    let column = TargetConfig { column: Some("labels".into()), ..kind(TargetKind::Next) };
    let data = open(&columns, column, &wide).unwrap();
    assert_eq!(classes(&data), [vec![8, 0, IGNORED, IGNORED], vec![6, 4, 0, IGNORED]]);
    let data = open(&columns, kind(TargetKind::Next), &wide).unwrap();
    assert_eq!(classes(&data), [vec![8, IGNORED, IGNORED, IGNORED], vec![6, 4, IGNORED, IGNORED]]);
}

#[test]
fn what_is_cut_off_has_no_label() {
    let cut = Signature {
        scores: Some(input("scores", DType::F32, &[None, Some(2), Some(10)])),
        inputs: vec![input("input_ids", DType::I64, &[None, Some(2)])],
        ..tagger(None)
    };
    let columns: [(&str, ArrayRef); 1] = [("input_ids", Arc::new(lists(&TOKENS)))];
    let data = open(&columns, kind(TargetKind::Next), &cut).unwrap();
    // The token behind the cut is known, and is what follows the last one that the model is fed.
    assert_eq!(classes(&data), [vec![8, 9], vec![6, IGNORED], vec![3, 2]]);
}

#[test]
fn a_mask_of_pixels_is_any_list_of_as_many() {
    let flat: ArrayRef = Arc::new(lists(&[&[0, 1, 2, 3, 0, 1], &[0; 6]]));
    let large: ArrayRef = Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>([
        Some([0, 1, 2, 3, 0, 1].map(Some)),
        Some([0; 6].map(Some)),
    ]));
    let item = || Arc::new(arrow_schema::Field::new_list_field(arrow_schema::DataType::Int64, true));
    let values = Int64Array::from(vec![0, 1, 2, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let inner = Arc::new(FixedSizeListArray::new(item(), 3, Arc::new(values), None));
    let field = Arc::new(arrow_schema::Field::new_list_field(inner.data_type().clone(), true));
    let nested: ArrayRef = Arc::new(FixedSizeListArray::new(field, 2, inner, None));
    for masks in [flat, large, nested] {
        let x: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
        let data = open(&[("x", x), ("label", masks)], TargetConfig::default(), &segmenter()).unwrap();
        assert_eq!(classes(&data), [vec![0, 1, 2, 3, 0, 1], vec![0; 6]]);
    }
    let x: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let short: ArrayRef = Arc::new(lists(&[&[0; 6], &[0; 5]]));
    let message = refused(open(&[("x", x), ("label", short)], TargetConfig::default(), &segmenter()));
    assert!(message.contains("row 1 (counted from 0)") && message.contains("5 labels for 6 positions"), "{message}");
}

#[test]
fn masks_are_images_of_numbers() {
    let png = |pixels: [u8; 6]| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::GrayImage::from_raw(3, 2, pixels.to_vec()).unwrap();
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let read = |masks: [Vec<u8>; 2]| {
        let masks: ArrayRef = Arc::new(arrow_array::BinaryArray::from_iter_values(masks));
        let x: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
        let ignore = TargetConfig { ignore: Some(vec![255]), ..TargetConfig::default() };
        open(&[("x", x), ("label", masks)], ignore, &segmenter())
    };
    let data = read([png([0, 1, 2, 3, 0, 255]), png([1; 6])]).unwrap();
    assert!(data.train.plan().target.has_places(), "an image that is mirrored would have another mask");
    assert_eq!(classes(&data), [vec![0, 1, 2, 3, 0, IGNORED], vec![1; 6]]);
    let message = refused(read([png([0; 6]), png([9; 6])]));
    assert!(message.contains("row 1 (counted from 0)") && message.contains("classes 0 to 3"), "{message}");
    let mut turned = std::io::Cursor::new(Vec::new());
    let image = image::GrayImage::from_raw(2, 3, vec![0; 6]).unwrap();
    image.write_to(&mut turned, image::ImageFormat::Png).unwrap();
    let turned = turned.into_inner();
    let message = refused(read([png([0; 6]), turned.clone()]));
    assert!(message.contains("row 1 (counted from 0)") && message.contains("3×2 pixels"), "{message}");
    // Where the model takes any size, the first mask's is that of all.
    let any = Signature { scores: Some(input("scores", DType::F32, &[None, Some(4), None, None])), ..segmenter() };
    let masks: ArrayRef = Arc::new(arrow_array::BinaryArray::from_iter_values([png([0; 6]), turned]));
    let x: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let message = refused(open(&[("x", x), ("label", masks)], TargetConfig::default(), &any));
    assert!(message.contains("row 1 (counted from 0)") && message.contains("not of 2×3"), "{message}");
}

#[test]
fn tags_may_be_words() {
    let words = |rows: &[&[&str]]| {
        let mut list = arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
        for row in rows {
            row.iter().for_each(|word| list.values().append_value(word));
            list.append(true);
        }
        Arc::new(list.finish()) as ArrayRef
    };
    let named = ["O", "B-x", "I-x", "B-y", "I-y"].map(String::from).to_vec();
    let target = TargetConfig { classes: Some(named), ..TargetConfig::default() };
    let tokens: ArrayRef = Arc::new(lists(&TOKENS));
    let rows = words(&[&["O", "B-x", "I-x"], &["O", "O"], &["B-y", "I-y", "O"]]);
    let columns = [("input_ids", tokens), ("labels", rows)];
    assert_eq!(classes(&open(&columns, target, &tagger(None)).unwrap()), [vec![0, 1, 2], vec![0, 0], vec![3, 4, 0]]);
    // What the program looks at before it knows the model's loss.
    let dir = TempDir::new().unwrap();
    let mut table = Table::new().with("id", Int64Array::from(vec![0, 1, 2]));
    table.0.extend(columns.map(|(name, column)| (name.to_string(), column)));
    let mut config = DataConfig::default();
    config.files.train = Some(table.write(&dir, "train.parquet").into());
    let facts = data::label_facts(&config, None).unwrap().unwrap();
    assert!(facts.whole && facts.lists && facts.width.is_none() && facts.highest == 4.0, "{facts:?}");
}

#[test]
fn an_autoencoder_gives_back_its_input() {
    let signature = Signature {
        inputs: vec![input("x", DType::F32, &[None, Some(2)])],
        scores: Some(input("y", DType::F32, &[None, Some(2)])),
        values: true,
        ..Signature::default()
    };
    let columns: [(&str, ArrayRef); 1] = [("x", Arc::new(lists(&[&[1, 2], &[3, 4]])))];
    let data = open(&columns, kind(TargetKind::Same), &signature).unwrap();
    let batch = data.train.batch(&[1, 0]).unwrap();
    assert_eq!(batch.targets, Targets::Values { width: 2, values: vec![3.0, 4.0, 1.0, 2.0] });
    let other = Signature { scores: Some(input("y", DType::F32, &[None, Some(3)])), ..signature };
    let message = refused(open(&columns, kind(TargetKind::Same), &other));
    assert!(message.contains("as many values a row as the output"), "{message}");
}
