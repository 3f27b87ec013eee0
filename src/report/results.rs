//! What each stage of a run found, and how the record is put together from it.

use super::{
    AuditSection, DataSection, Environment, Integrity, ModelFile, ModelSection, ParitySection, ReferenceSection,
    Report, RunSection, SCHEMA, Status, UnlearnSection, advice::advice,
};
use crate::{
    Error,
    audit::{Audit, Change, Deep, Drift, Gate, Histogram, Judgment, Remembered, SplitDigest, Verdict},
    parity::{GradientReport, ParityReport},
    plausibility::{Examined, Reading},
    shown,
    writeback::Proof,
};
use indexmap::IndexMap;
use std::path::PathBuf;

/// The model that was given.
#[derive(Clone, Debug)]
pub struct TrainedSection {
    /// Its file.
    pub input: ModelFile,
    /// The checkpoint that its parameters are from.
    pub checkpoint: Option<ModelFile>,
    /// Elements of all float initializers.
    pub parameters: usize,
    /// Elements of those that are trained.
    pub trainable_parameters: usize,
    /// The task loss and why it was chosen.
    pub loss: String,
}

/// What is known of a run before its first stage, and where it ran.
#[derive(Clone, Debug)]
pub struct Start {
    /// What was asked for.
    pub run: RunSection,
    /// The model that was given.
    pub model: TrainedSection,
    /// The rows as they were read.
    pub data: DataSection,
    /// Seconds of each stage so far.
    pub timings: IndexMap<String, f64>,
    /// Where it ran.
    pub environment: Environment,
}

/// Whether the model knows the rows.
#[derive(Clone, Debug)]
pub struct KnownRows {
    /// What its answers show.
    pub known: Examined,
    /// How inputs and labels were made from the rows.
    pub reading: Reading,
    /// What was decided about the rows, and what the answers say of it.
    pub notes: Vec<String>,
}

/// The audit before the method ran.
#[derive(Clone, Debug)]
pub struct AuditedBefore {
    /// The trained model.
    pub audit: Audit,
    /// Which rows serve what.
    pub splits: Vec<SplitDigest>,
    /// Whether it remembers the rows to forget.
    pub remembered: Option<Remembered>,
}

/// What the audit after says, and the gates.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The new model.
    pub audit: Audit,
    /// What became of the retained rows.
    pub change: Change,
    /// What had to hold, and whether it did.
    pub gates: Vec<Verdict>,
    /// Gates that were switched off.
    pub gates_off: Vec<Gate>,
    /// All gates together.
    pub verdict: Judgment,
}

/// Tests of the new model that not every run has.
#[derive(Clone, Debug, Default)]
pub struct Further {
    /// Losses before and after.
    pub losses: Option<Histogram>,
    /// Beside reference models.
    pub reference: Option<ReferenceSection>,
    /// What further training showed.
    pub deep: Option<Deep>,
    /// What became of outputs that no target names.
    pub drifts: Vec<Drift>,
}

/// The new file.
#[derive(Clone, Debug)]
pub struct Written {
    /// Where it is to be.
    pub out: PathBuf,
    /// What was changed, and that nothing else was.
    pub proof: Proof,
    /// Its outputs beside those of the model in memory.
    pub parity: ParityReport,
}

/// The stages that a run has come through.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// "checking the rows".
    pub rows: Option<KnownRows>,
    /// "parity before".
    pub parity: Option<ParityReport>,
    /// "gradient check".
    pub gradient: Option<GradientReport>,
    /// "audit before".
    pub before: Option<AuditedBefore>,
    /// "unlearning".
    pub unlearned: Option<UnlearnSection>,
    /// "audit after" and the tests behind it.
    pub further: Further,
    /// The gates.
    pub judged: Option<Judged>,
    /// "parity after".
    pub parity_after: Option<ParityReport>,
}

/// The results of every stage of a run whose model may be written.
#[derive(Clone, Debug)]
pub struct Results {
    /// "checking the rows".
    pub rows: KnownRows,
    /// "parity before".
    pub parity: ParityReport,
    /// "gradient check".
    pub gradient: GradientReport,
    /// "audit before".
    pub before: AuditedBefore,
    /// "unlearning".
    pub unlearned: UnlearnSection,
    /// "audit after" and the tests behind it.
    pub further: Further,
    /// The gates.
    pub judged: Judged,
}

impl TryFrom<Reached> for Results {
    type Error = Error;

    /// # Errors
    /// [`Error::Internal`] if a stage was left out.
    fn try_from(reached: Reached) -> Result<Self, Error> {
        match reached {
            Reached {
                rows: Some(rows),
                parity: Some(parity),
                gradient: Some(gradient),
                before: Some(before),
                unlearned: Some(unlearned),
                further,
                judged: Some(judged),
                parity_after: None,
            } => Ok(Self { rows, parity, gradient, before, unlearned, further, judged }),
            _ => Err(Error::Internal("a stage of the run was left out".into())),
        }
    }
}

impl From<Results> for Reached {
    fn from(results: Results) -> Self {
        let Results { rows, parity, gradient, before, unlearned, further, judged } = results;
        Self {
            rows: Some(rows),
            parity: Some(parity),
            gradient: Some(gradient),
            before: Some(before),
            unlearned: Some(unlearned),
            further,
            judged: Some(judged),
            parity_after: None,
        }
    }
}

impl Report {
    /// Of a run whose model is written. This status cannot be had without every stage's result and the proof of the file.
    pub fn published(start: Start, results: Results, written: Written) -> Self {
        let Written { out, proof, parity } = written;
        let mut report = Self::of(start, Reached { parity_after: Some(parity), ..results.into() });
        report.status = Status::Published;
        report.model.output = Some(ModelFile { path: out, sha256: proof.sha256.clone() });
        report.model.changed_initializers = proof.changed_initializers.clone();
        report.model.other_bytes_identical = Some(proof.other_bytes_identical);
        report.model.proof = Some(proof);
        report.summed_up()
    }

    /// Of a run that was rejected, as far as it came.
    pub fn rejected(start: Start, reached: Reached, error: &Error) -> Self {
        let mut report = Self::of(start, reached);
        if matches!(error, Error::NothingToForget(_)) {
            report.status = Status::NothingToForget;
        }
        report.exit_code = error.exit_code();
        report.error = Some(shown::clean(&error.to_string()).into_owned());
        report.summed_up()
    }

    fn of(start: Start, reached: Reached) -> Self {
        let Start { run, model, mut data, timings, environment } = start;
        let Reached { rows, parity, gradient, before, unlearned, further, judged, parity_after } = reached;
        if let Some(KnownRows { known, reading, notes }) = rows {
            (data.known, data.reading, data.notes) = (Some(known), Some(reading), notes);
        }
        let mut audit = AuditSection {
            deep: further.deep,
            reference: further.reference,
            losses: further.losses,
            drifts: further.drifts,
            ..AuditSection::default()
        };
        if let Some(AuditedBefore { audit: before, splits, remembered }) = before {
            (audit.before, audit.splits, audit.remembered) = (Some(before), splits, remembered);
        }
        let (mut gates, mut gates_off) = (Vec::new(), Vec::new());
        if let Some(judged) = judged {
            (audit.after, audit.change, audit.verdict) =
                (Some(judged.audit), Some(judged.change), Some(judged.verdict));
            (gates, gates_off) = (judged.gates, judged.gates_off);
        }
        Self {
            schema: SCHEMA,
            status: Status::Rejected,
            exit_code: 0,
            run,
            error: None,
            model: ModelSection {
                input: model.input,
                checkpoint: model.checkpoint,
                output: None,
                parameters: model.parameters,
                trainable_parameters: model.trainable_parameters,
                changed_initializers: Vec::new(),
                other_bytes_identical: None,
                loss: Some(model.loss),
                proof: None,
            },
            data: Some(data),
            parity: ParitySection { before: parity, gradient, after: parity_after },
            unlearn: unlearned,
            audit,
            gates,
            gates_off,
            advice: Vec::new(),
            limits: limits(),
            timings,
            environment,
        }
    }

    /// With what follows from other sections.
    fn summed_up(mut self) -> Self {
        let data = self.data.as_ref();
        let proof = self.model.proof.as_ref();
        self.audit.integrity = Integrity {
            ids_matched: data.map_or(0, |d| d.forget_ids - d.missing_ids),
            ids_unmatched: data.map_or(0, |d| d.missing_ids),
            ids_duplicated: data.map_or(0, |d| d.duplicate_ids),
            parity_before: self.parity.before.as_ref().map(|p| p.passed),
            gradient: self.parity.gradient.as_ref().map(|g| g.passed),
            // A weight that is not finite in its type is not written.
            weights_finite: proof.map(|_| true),
            tensors_changed: proof.map(|p| p.tensors.len()),
            tensors_unchanged: proof.map(|p| p.unchanged_tensors),
            other_bytes_identical: proof.map(|p| p.other_bytes_identical),
            parity_after: self.parity.after.as_ref().map(|p| p.passed),
        };
        self.advice = advice(&self);
        self
    }
}

/// What no figure in the report shows.
fn limits() -> Vec<String> {
    [
        "Weights cannot prove that rows were never learned (arXiv 2110.11891), and an operator who wants to pass these tests can (arXiv 2408.00929). The tests look for traces of the rows, and say how many they find.",
        "τ is chosen so that the mean loss of forgotten rows becomes that of unseen ones, which flatters the attacks that look at one mean or one threshold. The ranks of single rows and the distance of the distributions are the harder tests.",
        "The attacks here know the loss and the entropy of the answer. One that knows models trained without the rows, or that looks at the weights, may see more.",
        "A model may pass and still learn forgotten rows again faster than others, or show them after it is trained further.",
        "Other copies are not touched: older versions in a registry, checkpoints, optimizer states, caches, and models distilled from or fine-tuned on the old one.",
        "Whoever holds the old and the new model can learn from their difference what was forgotten: withdraw the old file.",
    ]
    .map(String::from)
    .to_vec()
}
