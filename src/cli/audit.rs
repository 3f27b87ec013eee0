//! `onnx-forget audit MODEL`: what the audit says of a model as it is.

use super::{
    args::{AuditArgs, DeviceChoice, Format},
    config::RunConfig,
    job::Job,
    out,
    progress::{Stages, json_line},
};
use crate::{
    audit::{Audit, Comparison, Deep, Remembered, SplitDigest, compare},
    error::{Error, Result},
    plausibility::{Examined, Reading},
    report,
};
use dfdx::tensor::Cpu;
use serde::Serialize;

/// What is printed as JSON.
#[derive(Serialize)]
struct Alone {
    #[serde(flatten)]
    audit: Audit,
    known: Examined,
    reading: Reading,
    #[serde(skip_serializing_if = "Option::is_none")]
    remembered: Option<Remembered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deep: Option<Deep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Comparison>,
    splits: Vec<SplitDigest>,
}

/// Measures, prints, changes nothing.
pub fn run(args: AuditArgs) -> Result<()> {
    let config = RunConfig::new(&args.model, &args.source, &args.tests)?;
    if config.device != DeviceChoice::Cpu {
        return Err(Error::Usage("audit runs on the CPU; leave out --device".into()));
    }
    let mut stages = Stages::of_one_result(config.format);
    let job = Job::prepare(config, &mut stages, |_, _| Ok(Vec::new()))?;
    let references = job.open_references()?;
    let mut model = job.model(Cpu::default(), job.model_options())?;
    let (known, reading) = job.require_known(&mut stages, &model)?;
    let (audit, measured) = stages.run("audit", || job.audit(&model))?;
    let others = stages.run_if(!references.is_empty(), "reference models", || job.audit_references(&references))?;
    let reference = others.map(|others| compare(&audit, &measured, &others, job.config.seed));
    let deep = stages.run_if(job.config.deep, "training on", || job.train_on(&mut model, &measured))?;
    let remembered = job.remembered(&measured)?;
    let alone = Alone { audit, known, reading, remembered, deep, reference, splits: job.splits(&measured) };
    match job.config.format {
        Format::Json => json_line(&alone),
        Format::Pretty => {
            out::result(&report::audit_table(&alone.audit, alone.deep.as_ref(), alone.reference.as_ref()));
            if let Some(nothing) = alone.remembered.filter(Remembered::nothing_to_forget) {
                out::result(&format!("nothing to forget: {}\n", nothing.line()));
            }
        }
    }
    Ok(())
}
