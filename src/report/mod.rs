//! What a run leaves for people and machines: one record, three faces (JSON, text, HTML). Computes nothing.

mod gates;
mod html;
mod record;
mod text;

pub use gates::{Gates, Verdict, judge};
pub use html::html;
pub use record::{
    AuditSection, DataSection, Environment, ModelFile, ModelSection, ParitySection, Report, SCHEMA, Status,
    UnlearnSection,
};
pub use text::{audit_table, summary};
