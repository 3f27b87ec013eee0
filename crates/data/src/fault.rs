//! What is wrong with rows that were read, before it is known where in a file they lie.

/// What is wrong with rows of a batch.
#[derive(Debug)]
pub struct Fault {
    /// The first row that is wrong, counted within the batch, where one row is.
    pub row: Option<usize>,
    /// What is wrong: the column and what to do, never a value.
    pub problem: String,
}

impl Fault {
    /// Something that is wrong with a row.
    pub fn at(row: usize, problem: impl Into<String>) -> Self {
        Self { row: Some(row), problem: problem.into() }
    }
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self { row: None, problem }
    }
}

impl From<&str> for Fault {
    fn from(problem: &str) -> Self {
        problem.to_owned().into()
    }
}
