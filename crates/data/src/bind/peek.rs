//! A look at a column's first rows, where its type alone does not tell the shape.

use super::super::{
    column::{self, Class},
    decode::{Encoded, Picture, look},
    source::{self, Source},
};
use crate::Result;
use arrow_array::Array;

/// Rows that are looked at.
const ROWS: usize = 64;

/// What the first rows of a column look like.
#[derive(Clone, Debug)]
pub struct Peek {
    /// What the column's type can serve as.
    pub class: Class,
    /// Shortest and longest list.
    pub lengths: Option<(usize, usize)>,
    /// The first row whose list has another length than the first row's.
    pub ragged: Option<usize>,
    /// Extents of the first row's nested lists.
    pub nested: Vec<usize>,
    /// The first image.
    pub picture: Option<Picture>,
    /// Rows seen.
    pub rows: usize,
}

impl Peek {
    /// Looks at a column.
    ///
    /// # Errors
    /// [`crate::Error::Data`] if the table has no such column; [`crate::Error::ReadData`] if its first rows cannot be
    /// read, or are not what its type says.
    pub fn at(source: &Source, name: &str) -> Result<Self> {
        let field = source.require(name, "the model")?;
        let mut peek = Peek {
            class: column::classify(field.data_type()),
            lengths: None,
            ragged: None,
            nested: Vec::new(),
            picture: None,
            rows: 0,
        };
        let Some(&piece) = source.pieces().iter().find(|p| p.rows > 0) else { return Ok(peek) };
        let Some(batch) = source.read(piece, &[name], None, ROWS)?.next() else { return Ok(peek) };
        let batch = batch?;
        let Some(array) = batch.columns().first() else { return Ok(peek) };
        // Whether a null matters depends on whether anything is made from the column.
        let array = &column::present(array).map_err(|p| source.problem(piece, p))?;
        let fail = |problem: String| source.problem(piece, format!("column `{name}`: {problem}"));
        peek.rows = array.len();
        match peek.class {
            Class::List(..) => {
                let lists = column::flatten(array).map_err(fail)?;
                peek.lengths = lists.lengths().min().zip(lists.lengths().max());
                peek.ragged = lists.lengths().position(|n| Some(n) != lists.lengths().next());
                peek.nested = lists.nested;
            }
            Class::Image => {
                let images = Encoded::of(array, &source::folder_of(&batch)).map_err(fail)?;
                peek.picture = images.get(0).and_then(|bytes| look(&bytes)).ok();
            }
            _ => {}
        }
        Ok(peek)
    }

    /// The length that all rows seen have.
    pub fn uniform(&self) -> Option<usize> {
        match self.class {
            Class::Scalar(_) => Some(1),
            Class::List(_, Some(n)) => Some(n),
            _ => self.lengths.filter(|(a, b)| a == b).map(|(a, _)| a),
        }
    }
}
