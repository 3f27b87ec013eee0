//! A FlatBuffer that may say anything.
//!
//! Offsets of a FlatBuffer may point anywhere, so a few bytes could be read as many tables, or one table a million
//! times. Each part that is read is therefore paid for with its bytes, and all parts together may cost no more than the
//! file has: of a well-formed file, in which every part has bytes of its own, nothing is read twice.
//!
//! What was read to find the tensors is noted, so that no tensor's elements lie there: they change when it is written back.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
};

/// Reads one file.
pub struct Reader<'a> {
    bytes: &'a [u8],
    left: Cell<usize>,
    /// What was read, beside elements of tensors.
    read: RefCell<Vec<Range<usize>>>,
}

/// A table: where it starts, and where its fields are listed.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    at: usize,
    vtable: usize,
    /// Bytes of the list.
    len: usize,
}

type Answer<T> = Result<T, String>;

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, left: Cell::new(bytes.len()), read: RefCell::default() }
    }

    fn spend(&self, bytes: usize) -> Answer<()> {
        let left = self.left.get().checked_sub(bytes).ok_or("its parts lie over each other")?;
        self.left.set(left);
        Ok(())
    }

    fn le<const N: usize>(&self, at: usize) -> Answer<[u8; N]> {
        let found = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        self.read.borrow_mut().push(at..at.saturating_add(N));
        found.copied().ok_or_else(|| format!("byte {at}: there is none; the file is damaged, or was cut off"))
    }

    /// Where the offset at `at` points.
    fn follow(&self, at: usize) -> Answer<usize> {
        Ok(at + u32::from_le_bytes(self.le(at)?) as usize)
    }

    /// The table that the file is.
    pub fn root(&self) -> Answer<Table> {
        // The file's mark, which was looked at before.
        self.read.borrow_mut().push(4..8);
        self.table(self.follow(0)?)
    }

    fn table(&self, at: usize) -> Answer<Table> {
        self.spend(4)?;
        let back = i64::from(i32::from_le_bytes(self.le(at)?));
        let vtable = usize::try_from(at as i64 - back).map_err(|_| format!("byte {at}: it points before the file"))?;
        Ok(Table { at, vtable, len: u16::from_le_bytes(self.le(vtable)?).into() })
    }

    /// Where field `id` lies; `None` if it has its default.
    fn field(&self, table: &Table, id: usize) -> Answer<Option<usize>> {
        let slot = 4 + 2 * id;
        if slot + 2 > table.len {
            return Ok(None);
        }
        let offset = u16::from_le_bytes(self.le(table.vtable + slot)?);
        Ok((offset != 0).then(|| table.at + usize::from(offset)))
    }

    /// A number; 0 by default.
    pub fn i32(&self, table: &Table, id: usize) -> Answer<i32> {
        self.field(table, id)?.map_or(Ok(0), |at| Ok(i32::from_le_bytes(self.le(at)?)))
    }

    /// A flag; false by default.
    pub fn flag(&self, table: &Table, id: usize) -> Answer<bool> {
        self.field(table, id)?.map_or(Ok(false), |at| Ok(self.le(at)? != [0]))
    }

    /// A table within a table.
    pub fn child(&self, table: &Table, id: usize) -> Answer<Option<Table>> {
        self.field(table, id)?.map(|at| self.table(self.follow(at)?)).transpose()
    }

    /// The bytes of a vector whose elements have `width` bytes each.
    pub fn vector(&self, table: &Table, id: usize, width: usize) -> Answer<Option<Range<usize>>> {
        let Some(at) = self.field(table, id)? else { return Ok(None) };
        let start = self.follow(at)?;
        let len = u32::from_le_bytes(self.le(start)?) as usize * width;
        let range = start + 4..start + 4 + len;
        if range.end > self.bytes.len() {
            return Err(format!("byte {start}: {len} bytes are to follow, but the file ends before"));
        }
        self.spend(4 + len)?;
        Ok(Some(range))
    }

    /// The tables of a vector; none by default.
    pub fn children(&self, table: &Table, id: usize) -> Answer<Vec<Table>> {
        let range = self.vector(table, id, 4)?.unwrap_or_default();
        range.step_by(4).map(|at| self.table(self.follow(at)?)).collect()
    }

    /// The numbers of a vector; none by default.
    pub fn i64s(&self, table: &Table, id: usize) -> Answer<Vec<i64>> {
        let range = self.vector(table, id, 8)?.unwrap_or_default();
        range.step_by(8).map(|at| Ok(i64::from_le_bytes(self.le(at)?))).collect()
    }

    /// Whether anything that was read lies in one of `ranges`, which are in order and apart.
    pub fn reads_any(&self, ranges: &[&Range<usize>]) -> bool {
        self.read.borrow().iter().filter(|read| !read.is_empty()).any(|read| {
            let after = ranges.partition_point(|range| range.end <= read.start);
            ranges.get(after).is_some_and(|range| range.start < read.end)
        })
    }

    /// A string; `None` by default.
    pub fn string(&self, table: &Table, id: usize) -> Answer<Option<String>> {
        let Some(range) = self.vector(table, id, 1)? else { return Ok(None) };
        self.read.borrow_mut().push(range.clone());
        let text = std::str::from_utf8(self.bytes.get(range).unwrap_or_default());
        text.map(|text| Some(text.to_string())).map_err(|_| "a name is not UTF-8".into())
    }
}
