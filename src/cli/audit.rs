//! `onnx-forget audit MODEL`: what the audit says of a model as it is.

use super::{
    args::{AuditArgs, Format},
    config::options,
    out,
    progress::Printer,
    signals,
};
use crate::{
    error::Result,
    report,
    run::audit::{Audited, audit},
};

/// Measures, prints, changes nothing.
pub fn run(args: AuditArgs) -> Result<()> {
    let format = args.source.format;
    let options = options(&args.model, &args.source, &args.tests)?;
    let found = audit(options, &signals::stop(), &mut Printer::of_one_result(format))?;
    match format {
        Format::Json => out::json_line(&found),
        Format::Pretty => show(&found),
    }
    Ok(())
}

fn show(found: &Audited) {
    out::result(&report::audit_table(&found.audit, found.deep.as_ref(), found.reference.as_ref()));
    if let Some(nothing) = found.remembered.filter(|remembered| remembered.nothing_to_forget()) {
        out::result(&format!("nothing to forget: {}\n", nothing.line()));
    }
}
