//! `onnx-forget audit MODEL`: membership inference and accuracy of a model as it is.

use super::{
    args::{AuditArgs, DeviceChoice, Format},
    config::RunConfig,
    job::Job,
    progress::{Stages, json_line},
};
use crate::{
    error::{Error, Result},
    report,
};
use dfdx::tensor::Cpu;

/// Measures, prints, changes nothing.
pub fn run(args: AuditArgs) -> Result<()> {
    let config = RunConfig::new(&args.model, &args.source)?;
    if config.device != DeviceChoice::Cpu {
        return Err(Error::Usage("audit runs on the CPU; leave out --device".into()));
    }
    let mut stages = Stages::new(config.format);
    let job = Job::prepare(config, &mut stages, |_, _| Ok(()))?;
    let model = job.model(Cpu::default(), job.model_options())?;
    let (audit, _) = stages.run("audit", || job.audit(&model))?;
    match job.config.format {
        Format::Json => json_line(&audit),
        Format::Pretty => print!("{}", report::audit_table(&audit)),
    }
    Ok(())
}
