//! What a model asks of the data: names, types and shapes, free of the graph.

use crate::tensor::DType;

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Name in the file.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, `None` where one is not fixed; `None` where even the rank is open. The first axis is the row.
    pub dims: Option<Vec<Option<usize>>>,
    /// Of an input whose numbers are looked up in a stored table, such as tokens: how many rows the table has.
    pub table: Option<usize>,
    /// Items of a row, if a row is a group: then these are the second axis.
    pub items: Option<usize>,
}

impl InputSpec {
    /// Extents behind the row axis, if the rank is known.
    pub fn row_dims(&self) -> Option<&[Option<usize>]> {
        self.dims.as_deref().map(|d| d.get(1..).unwrap_or(&[]))
    }

    /// The same input for one item of a row, if a row is a group.
    pub fn of_item(&self) -> Option<Self> {
        self.items?;
        let mut item = Self { items: None, ..self.clone() };
        item.dims.as_mut().filter(|dims| dims.len() > 1).map(|dims| dims.remove(1));
        Some(item)
    }

    /// Elements of one row, if every extent is fixed.
    pub fn row_len(&self) -> Option<usize> {
        self.row_dims()?.iter().try_fold(1usize, |n, d| n.checked_mul((*d)?))
    }

    /// The shape as text: `[?, 3, 32, 32]`.
    pub fn shape(&self) -> String {
        match &self.dims {
            None => "[...]".into(),
            Some(dims) => {
                let dims: Vec<_> = dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
                format!("[{}]", dims.join(", "))
            }
        }
    }
}

/// What a model asks of the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// The inputs that rows feed, in the model's order; not an input for labels.
    pub inputs: Vec<InputSpec>,
    /// The output that the loss is computed from.
    pub scores: Option<InputSpec>,
    /// The input for labels, where the loss is in the graph.
    pub label: Option<InputSpec>,
    /// The axis of the classes in the scores, where a row has a classification for each of several positions.
    pub class_axis: Option<usize>,
    /// Whether each score is a yes or no of its own, as under a Sigmoid.
    pub independent: bool,
    /// Whether the scores are compared with values, as by the mean squared error.
    pub values: bool,
    /// The model's names of its classes, in the order of the scores, if it has them.
    pub classes: Option<Vec<String>>,
    /// The labels that the user's own loss graph takes, if there is one.
    pub labels: Option<Vec<InputSpec>>,
    /// The values of the model that it takes by their names, but for inputs of the model.
    pub taken: Vec<String>,
    /// What each of several targets is compared with, and the name that its labels are fed by.
    pub several: Vec<(String, Signature)>,
}

impl Signature {
    /// Everything that rows feed by a name: the inputs, and the labels of a loss graph.
    pub fn fed(&self) -> impl Iterator<Item = &InputSpec> {
        self.inputs.iter().chain(self.labels.iter().flatten())
    }
}
