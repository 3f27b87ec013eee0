//! External files of a model: who uses which bytes, and the new file when some change.

use crate::{
    error::Result,
    onnx::{
        OnnxFile,
        external_data::{ExternalFile, components},
        span::{ExternalUse, Spans},
    },
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek, SeekFrom, Write},
    ops::Range,
    sync::Arc,
};

/// One external file and its uses.
#[derive(Debug)]
pub struct Group {
    /// Path below the model's folder, without `.` components.
    pub path: String,
    /// The file as it is.
    pub file: Arc<ExternalFile>,
    /// Indices of its uses.
    pub uses: Vec<usize>,
    /// New bytes by index of the use.
    pub changed: BTreeMap<usize, Vec<u8>>,
}

impl Group {
    /// The external files of a model.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] if an external file is named by a path that breaks the rules, or cannot be opened.
    pub fn all(file: &OnnxFile, spans: &Spans) -> Result<Vec<Self>> {
        let mut groups: Vec<Self> = vec![];
        let mut by_path = BTreeMap::new();
        for (index, used) in spans.external().iter().enumerate() {
            let malformed = |problem: String| file.malformed(&used.place, problem);
            let path = components(&used.reference.location).map_err(malformed)?.join("/");
            let at = *by_path.entry(path.clone()).or_insert(groups.len());
            if at == groups.len() {
                let file = file.external(&used.reference.location).map_err(malformed)?;
                groups.push(Self { path, file, uses: vec![], changed: BTreeMap::new() });
            }
            if let Some(group) = groups.get_mut(at) {
                group.uses.push(index);
            }
        }
        Ok(groups)
    }

    /// What the use `index` reads once the changes are made.
    pub fn expected<'a>(&'a self, index: usize, used: &ExternalUse) -> &'a [u8] {
        match self.changed.get(&index) {
            Some(new) => new,
            None => self.file.bytes().get(used.range.clone()).unwrap_or_default(),
        }
    }

    /// The uses with their ranges, by position.
    fn sorted<'a>(&self, spans: &'a Spans) -> Vec<(usize, &'a ExternalUse)> {
        let mut uses: Vec<_> =
            self.uses.iter().filter_map(|&i| spans.external().get(i).map(|used| (i, used))).collect();
        uses.sort_by_key(|(_, used)| (used.range.start, used.range.end));
        uses
    }

    /// Checks that tensors which share bytes of the file still agree about them.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] names the two tensors and the file.
    pub fn require_agreement(&self, file: &OnnxFile, spans: &Spans) -> Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let uses = self.sorted(spans);
        for (k, &(i, a)) in uses.iter().enumerate() {
            for &(j, b) in uses.iter().skip(k + 1).take_while(|(_, b)| b.range.start < a.range.end) {
                if !self.changed.contains_key(&i) && !self.changed.contains_key(&j) {
                    continue;
                }
                let shared = b.range.start..a.range.end.min(b.range.end);
                let within = |used: &ExternalUse| shared.start - used.range.start..shared.end - used.range.start;
                if self.expected(i, a).get(within(a)) != self.expected(j, b).get(within(b)) {
                    let problem = format!(
                        "it shares bytes of `{}` with {}, and both cannot hold their new elements; save the model \
                         with external data of its own for each tensor",
                        self.path, b.place
                    );
                    return Err(file.malformed(&a.place, problem));
                }
            }
        }
        Ok(())
    }

    /// The bytes that the model refers to, as sorted ranges apart from each other.
    pub fn referenced(&self, spans: &Spans) -> Vec<Range<usize>> {
        let mut merged: Vec<Range<usize>> = vec![];
        for (_, used) in self.sorted(spans) {
            match merged.last_mut() {
                Some(last) if used.range.start <= last.end => last.end = last.end.max(used.range.end),
                _ => merged.push(used.range.clone()),
            }
        }
        merged.retain(|range| !range.is_empty());
        merged
    }

    /// Bytes of the new file: to the end of the last tensor, which may have none and lie behind the others.
    pub fn extent(&self, spans: &Spans) -> usize {
        self.sorted(spans).iter().map(|(_, used)| used.range.end).max().unwrap_or_default()
    }

    /// Writes the new file: what the model refers to, with the changes, at the old offsets; zeros elsewhere.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(&self, spans: &Spans, out: &mut File) -> std::io::Result<()> {
        let referenced = self.referenced(spans);
        out.set_len(self.extent(spans) as u64)?;
        for range in referenced {
            out.seek(SeekFrom::Start(range.start as u64))?;
            out.write_all(self.file.bytes().get(range).unwrap_or_default())?;
        }
        for (index, new) in &self.changed {
            if let Some(used) = spans.external().get(*index) {
                out.seek(SeekFrom::Start(used.range.start as u64))?;
                out.write_all(new)?;
            }
        }
        Ok(())
    }
}
