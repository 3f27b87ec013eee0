//! Models that were trained without the rows to forget, to compare with.

use super::{
    job::{Job, build},
    measure::Audited,
    read::ReadModel,
    signature::signature,
};
use crate::{
    error::{Error, Result},
    graph::{Graph, TrainableModel, loss::LossPlan},
    report::ModelFile,
};
use dfdx::tensor::Cpu;
use std::{collections::BTreeSet, path::Path};

/// For the report.
pub(super) fn described(models: &[TrainableModel]) -> Vec<ModelFile> {
    let file = |model: &TrainableModel| ModelFile {
        path: model.file.path().to_path_buf(),
        sha256: model.file.sha256().to_string(),
    };
    models.iter().map(file).collect()
}

impl Job {
    /// Opens the reference models, before anything takes long.
    ///
    /// # Errors
    /// [`Error::Usage`] for one that is the model itself or takes other inputs; those of reading a model.
    pub(super) fn open_references(&self) -> Result<Vec<TrainableModel>> {
        self.options.references.iter().map(|path| self.open_reference(path)).collect()
    }

    fn open_reference(&self, path: &Path) -> Result<TrainableModel> {
        let wrong = |problem: String| Error::Usage(format!("--reference {}: {problem}", path.display()));
        let read = ReadModel::beside(path, &self.options, self.asked.clone(), |file| {
            match file.sha256() == self.model.file.sha256() {
                true => {
                    Err(wrong("this is the model itself; give one that was trained without the rows to forget".into()))
                }
                false => Ok(()),
            }
        })?;
        let inputs = |graph: &Graph, plan: &LossPlan| {
            let all = signature(graph, plan).inputs.into_iter().map(|input| input.name);
            all.collect::<BTreeSet<String>>()
        };
        let (own, theirs) = (inputs(&self.model.graph, &self.model.plan), inputs(&read.graph, &read.first));
        if own != theirs {
            return Err(wrong(format!("its inputs are {theirs:?}, the model's are {own:?}; export both alike")));
        }
        read.unlabeled()
    }

    /// Audits the reference models on the rows that the model is audited on.
    pub(super) fn audit_references(&self, references: &[TrainableModel]) -> Result<Vec<Audited>> {
        let one = |reference: &TrainableModel| {
            let mut model = build(reference, self.frozen_options(), Cpu::default())?;
            if let Some(rows) = self.parity_rows()?.first() {
                model.fit_rows(rows)?;
            }
            self.audit(&model)
        };
        references.iter().map(one).collect()
    }
}
