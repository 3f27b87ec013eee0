use super::*;

/// A FlatBuffer in the making. Tables have fields of four bytes.
struct Flat(Vec<u8>);

impl Flat {
    fn new() -> (Self, Vec<usize>) {
        let mut flat = Self(b"\0\0\0\0ODTC".to_vec());
        let (root, fields) = flat.table(3);
        flat.point(0, root);
        flat.put(fields[0], 2);
        (flat, fields)
    }

    /// A checkpoint with an empty module, and the fields of root and module.
    fn with_module() -> (Self, Vec<usize>, Vec<usize>) {
        let (mut flat, root) = Self::new();
        let (module, fields) = flat.table(4);
        flat.point(root[1], module);
        (flat, root, fields)
    }

    fn put(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn point(&mut self, at: usize, to: usize) {
        self.put(at, u32::try_from(to - at).unwrap());
    }

    /// Where a table starts, and where its fields are.
    fn table(&mut self, fields: u16) -> (usize, Vec<usize>) {
        let size = 4 + 2 * fields;
        self.0.extend([size.to_le_bytes(), (4 + 4 * fields).to_le_bytes()].concat());
        self.0.extend((0..fields).flat_map(|n| (4 + 4 * n).to_le_bytes()));
        let at = self.0.len();
        self.0.extend(u32::from(size).to_le_bytes());
        self.0.extend(vec![0; 4 * usize::from(fields)]);
        (at, (0..usize::from(fields)).map(|n| at + 4 + 4 * n).collect())
    }

    /// A vector of `content` that the field at `at` points to, `count` elements long.
    fn vector(&mut self, at: usize, count: usize, content: &[u8]) -> usize {
        let start = self.0.len();
        self.point(at, start);
        self.0.extend(u32::try_from(count).unwrap().to_le_bytes());
        self.0.extend(content);
        start + 4
    }

    /// As many offsets to one new table, and that table's fields.
    fn same(&mut self, at: usize, count: usize, fields: u16) -> Vec<usize> {
        let start = self.vector(at, count, &vec![0; 4 * count]);
        let (table, inner) = self.table(fields);
        (0..count).for_each(|n| self.point(start + 4 * n, table));
        inner
    }

    /// A tensor of two floats.
    fn tensor(&mut self, fields: &[usize], name: &str) {
        self.vector(fields[0], name.len(), name.as_bytes());
        self.vector(fields[2], 1, &2i64.to_le_bytes());
        self.put(fields[3], 1);
        self.vector(fields[4], 8, &[1.0f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat());
    }
}

fn refused(flat: &Flat) -> String {
    read(&flat.0).unwrap_err()
}

#[test]
fn elements_do_not_lie_where_the_tensors_are_described() {
    let (mut flat, _, module) = Flat::with_module();
    let fields = flat.same(module[0], 1, 5);
    flat.tensor(&fields, "w");
    assert!(read(&flat.0).is_ok());
    let elements = flat.vector(fields[4], 8, b"abcdefgh");
    assert!(read(&flat.0).is_ok());
    // The name is the elements' bytes: another value of an element would be another name.
    flat.point(fields[0], elements - 4);
    let error = refused(&flat);
    assert!(error.contains("describes the tensors"), "{error}");
}

#[test]
fn tensors_are_found_where_they_lie() {
    let (mut flat, _, module) = Flat::with_module();
    let trained = flat.same(module[0], 1, 5);
    flat.tensor(&trained, "w");
    let frozen = flat.same(module[1], 1, 5);
    flat.tensor(&frozen, "v");
    let (parameters, momentums) = read(&flat.0).unwrap();
    assert_eq!(parameters.keys().collect::<Vec<_>>(), ["v", "w"]);
    let w = &parameters["w"];
    assert_eq!((w.dims.as_slice(), w.dtype, w.trained), (&[2][..], DType::F32, true));
    assert_eq!(flat.0[w.range.clone()], [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
    assert!(!parameters["v"].trained && momentums.is_empty());
}

#[test]
fn what_holds_no_elements_is_refused() {
    let (mut flat, root, _) = Flat::with_module();
    flat.put(root[0], 3);
    assert!(refused(&flat).contains("version 3"));
    for (field, word) in [(2, "nominal"), (3, "another file")] {
        let (mut flat, _, module) = Flat::with_module();
        flat.put(module[field], 1);
        assert!(refused(&flat).contains(word));
    }
}

#[test]
fn tensors_must_be_what_they_say() {
    let with = |change: &dyn Fn(&mut Flat, &[usize])| {
        let (mut flat, _, module) = Flat::with_module();
        let fields = flat.same(module[0], 1, 5);
        flat.tensor(&fields, "w");
        change(&mut flat, &fields);
        refused(&flat)
    };
    assert!(with(&|flat, fields| flat.put(fields[3], 11)).contains("`w`: it has 8 bytes"));
    assert!(with(&|flat, fields| flat.put(fields[3], 8)).contains("not supported"));
    let negative = with(&|flat, fields| {
        flat.vector(fields[2], 1, &(-2i64).to_le_bytes());
    });
    assert!(negative.contains("negative"));
    assert!(with(&|flat, fields| flat.put(fields[4], u32::MAX)).contains("there is none"));
    let (mut flat, _, module) = Flat::with_module();
    let fields = flat.same(module[0], 2, 5);
    flat.tensor(&fields, "w");
    flat.0.extend([0; 64]);
    assert!(refused(&flat).contains("twice"));
}

#[test]
fn tensors_that_share_bytes_are_refused() {
    let (mut flat, _, module) = Flat::with_module();
    let (w, v) = (flat.same(module[0], 1, 5), flat.same(module[1], 1, 5));
    flat.tensor(&w, "w");
    flat.tensor(&v, "v");
    // An earlier vector, as far as offsets point forward: `w` takes the bytes of `v`.
    let shared = v[4] + u32::from_le_bytes(flat.0[v[4]..v[4] + 4].try_into().unwrap()) as usize;
    flat.point(w[4], shared);
    assert!(refused(&flat).contains("share bytes"));
}

#[test]
fn few_bytes_are_not_read_as_many_tables() {
    let (mut flat, root, _) = Flat::with_module();
    let group = flat.same(root[2], 500, 4);
    let state = flat.same(group[3], 500, 2);
    let momentum = flat.same(state[1], 500, 5);
    flat.tensor(&momentum, "momentum0");
    assert!(refused(&flat).contains("over each other"));
}

#[test]
fn the_fixture_is_read_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/artifacts/cnn/checkpoint");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let trained = checkpoint.parameters().values().filter(|p| p.trained).count();
    assert_eq!((trained, checkpoint.parameters().len(), checkpoint.momentums().len()), (6, 8, 12));
    assert_eq!(checkpoint.parameters()["conv.weight"].dims, [6, 1, 3, 3]);
    assert!(Checkpoint::is_one(&path) && !Checkpoint::is_one(&path.with_file_name("eval_model.onnx")));
    // Cut off anywhere, it is refused, or what is left is read.
    let bytes = fs::read(&path).unwrap();
    for end in 0..bytes.len() {
        let _ = read(&bytes[..end]);
    }
}
