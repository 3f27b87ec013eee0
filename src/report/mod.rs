//! What a run leaves for people and machines: one record, three faces (JSON, text, HTML), a statement to sign and tags for
//! a registry. Computes nothing.

mod advice;
pub mod compare;
mod html;
mod record;
mod results;
mod statement;
mod text;
mod words;

pub use html::html;
pub use record::{
    AuditSection, DataSection, Environment, Integrity, ModelFile, ModelSection, ParitySection, ReferenceSection,
    Report, RunSection, SCHEMA, Status, UnlearnSection,
};
pub use results::{AuditedBefore, Further, Judged, KnownRows, Reached, Results, Start, TrainedSection, Written};
pub use statement::{statement, tags};
pub use text::{audit_table, status, summary};
pub use words::apart;
