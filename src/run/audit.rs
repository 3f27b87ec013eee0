//! What the audit says of a model as it is.

use super::{
    events::{Observer, Stop},
    job::Job,
    known::Known,
    options::Options,
};
use crate::{
    audit::{Audit, Comparison, Deep, Remembered, SplitDigest, compare},
    error::Result,
    plausibility::{Examined, Reading},
};
use dfdx::tensor::Cpu;
use serde::Serialize;

/// What was measured.
#[derive(Serialize)]
pub struct Audited {
    /// Accuracies, losses and attacks.
    #[serde(flatten)]
    pub audit: Audit,
    /// Whether the model knows the rows.
    pub known: Examined,
    /// How they were read.
    pub reading: Reading,
    /// Whether it remembers those to forget; none where that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Remembered>,
    /// What further training showed, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep: Option<Deep>,
    /// Beside reference models, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Comparison>,
    /// Which rows served what.
    pub splits: Vec<SplitDigest>,
}

/// Measures, and changes nothing.
///
/// # Errors
/// Those of [`Job::prepare`], and of running the model.
pub fn audit(options: Options, stop: &Stop, observer: &mut dyn Observer) -> Result<Audited> {
    measured(&prepare(options, stop, observer)?, observer)
}

/// Opens everything that an audit needs.
///
/// # Errors
/// Those of [`Job::prepare`]; [`Error::Usage`](crate::Error::Usage) for another device than the CPU.
pub fn prepare(options: Options, stop: &Stop, observer: &mut dyn Observer) -> Result<Job> {
    options.require_cpu("audit")?;
    Job::prepare(options, stop, observer, |_, _| Ok(Vec::new()))
}

/// Measures what was opened, and changes nothing.
///
/// # Errors
/// [`Error::UnknownRows`](crate::Error::UnknownRows) if the model does not know the rows; those of running it.
pub fn measured(job: &Job, observer: &mut dyn Observer) -> Result<Audited> {
    job.scope.enter(|| measure(job, observer))
}

fn measure(job: &Job, observer: &mut dyn Observer) -> Result<Audited> {
    let mut watch = job.watch(observer);
    let references = job.open_references()?;
    let mut model = job.model(Cpu::default(), job.model_options())?;
    let Known { known, reading } = job.require_known(&mut watch, &model)?;
    let (audit, measured) = watch.stage("audit", |_| job.audit(&model))?;
    let others = watch.stage_if(!references.is_empty(), "reference models", |_| job.audit_references(&references))?;
    let reference = others.map(|others| compare(&audit, &measured, &others, job.options.seed));
    let deep = watch.stage_if(job.options.deep, "training on", |_| job.train_on(&mut model, &measured))?;
    let remembered = job.remembered(&measured)?;
    Ok(Audited { audit, known, reading, remembered, deep, reference, splits: job.splits(&measured) })
}
