//! Records of a text file of separated fields.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::io::{BufRead, BufReader, Read};

/// Bytes of one record, at most.
const LIMIT: usize = 256 << 20;

/// Records, one after the other; all have as many fields as the first.
pub struct Lines<R> {
    from: BufReader<R>,
    reader: Reader,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
    first: Option<usize>,
    position: u64,
}

impl<R: Read> Lines<R> {
    /// Reads on from where `from` is.
    pub fn new(from: R, separator: u8) -> Self {
        let reader = ReaderBuilder::new().delimiter(separator).build();
        let (bytes, ends) = (vec![0; 1 << 12], vec![0; 1 << 6]);
        Self { from: BufReader::new(from), reader, bytes, ends, count: 0, first: None, position: 0 }
    }

    /// Bytes behind the last record, from where reading began.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to the next record; false behind the last one.
    ///
    /// # Errors
    /// A record with another number of fields than the first one.
    pub fn next(&mut self) -> Result<bool, String> {
        let (mut filled, mut fields) = (0, 0);
        loop {
            let input = self.from.fill_buf().map_err(|e| format!("cannot be read ({e})"))?;
            let (bytes, ends) = (self.bytes.get_mut(filled..), self.ends.get_mut(fields..));
            let (bytes, ends) = (bytes.unwrap_or_default(), ends.unwrap_or_default());
            let (result, read, wrote, ended) = self.reader.read_record(input, bytes, ends);
            self.from.consume(read);
            self.position += read as u64;
            filled += wrote;
            fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < LIMIT => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() < LIMIT => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(format!(
                        "line {}: more than 256 MiB; is a quotation mark missing?",
                        self.reader.line()
                    ));
                }
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::Record => break,
            }
        }
        self.count = fields;
        let first = *self.first.get_or_insert(fields);
        if fields != first {
            // The line that the record ends on.
            let line = self.reader.line().saturating_sub(1).max(1);
            return Err(format!("line {line} has {fields} fields, but the lines before it have {first}"));
        }
        Ok(true)
    }

    /// The record's fields, without quotes.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.get(..self.count).unwrap_or_default();
        let starts = std::iter::once(&0).chain(ends);
        starts.zip(ends).map(|(&a, &b)| self.bytes.get(a..b).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_where_they_end() {
        let text = "a,\"b\nc\"\r\n\n1,\"x\"\"y\"\n,";
        let mut lines = Lines::new(text.as_bytes(), b',');
        let mut all = Vec::new();
        while lines.next().unwrap() {
            let fields: Vec<_> = lines.fields().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
            all.push((fields.join("|"), lines.position()));
        }
        // The end of a line may belong to either side, as empty lines are none.
        let texts: Vec<_> = all.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["a|b\nc", "1|x\"y", "|"]);
        for (i, (_, at)) in all.iter().enumerate().take(2) {
            let mut rest = Lines::new(&text.as_bytes()[*at as usize..], b',');
            assert!(rest.next().unwrap());
            let fields: Vec<_> = rest.fields().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
            assert_eq!(fields.join("|"), all[i + 1].0);
        }
        let mut long = Lines::new("a,b\n1\n".as_bytes(), b',');
        assert!(long.next().unwrap());
        assert_eq!(long.next().unwrap_err(), "line 2 has 1 fields, but the lines before it have 2");
        let wide = format!("{}\n{}\n", vec!["x"; 500].join(","), vec!["y".repeat(99); 500].join(","));
        let mut wide = Lines::new(wide.as_bytes(), b',');
        assert!(wide.next().unwrap() && wide.next().unwrap() && !wide.next().unwrap());
    }
}
