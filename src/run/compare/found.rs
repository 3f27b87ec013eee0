//! What a comparison has found so far, and the report of it.

use super::super::{job::Job, measure::Audited, methods::folded_warning, reference, sections::environment};
use crate::{
    audit::{self, Spread},
    graph::TrainableModel,
    report::compare::{AttackRows, COMPARE_SCHEMA, CompareReport, MethodOutcome, MethodRow},
    unlearn::{MethodName, MethodSettings, Settings, StepSize},
};

/// What one method made of the model with one seed.
pub struct MethodRun {
    /// The seed.
    pub seed: u64,
    /// The audit of what came out.
    pub audited: Audited,
    /// Wall time of the method alone.
    pub seconds: f64,
}

/// What became of a method.
pub struct MethodRuns {
    /// Its name.
    pub name: MethodName,
    /// Its settings.
    pub settings: MethodSettings,
    /// Why it cannot be used here, if it cannot.
    pub obstacle: Option<String>,
    /// The runs that ended well.
    pub made: Vec<MethodRun>,
    /// The seeds of the others, and why each failed.
    pub failed: Vec<(u64, String)>,
}

/// All that there is.
pub struct Results<'a> {
    /// The job.
    pub job: &'a Job,
    /// Seeds that each method runs with.
    pub seeds: &'a [u64],
    /// Models that were trained without the rows.
    pub references: &'a [TrainableModel],
    /// The model before.
    pub original: Audited,
    /// The audits of `references`.
    pub given: Option<Vec<Audited>>,
    /// The methods so far.
    pub runs: Vec<MethodRuns>,
}

impl Results<'_> {
    /// As it is reported while the methods in `left` have not had their turn.
    pub fn report(&self, left: &[MethodName]) -> CompareReport {
        let retrained = self.runs.iter().find(|runs| runs.name == MethodName::Retrain && !runs.made.is_empty());
        // What others are held against: the given models, else the retrained ones.
        let own: Vec<Audited> = match (&self.given, retrained) {
            (None, Some(runs)) => runs.made.iter().map(|made| made.audited.clone()).collect(),
            _ => Vec::new(),
        };
        let others = self.given.as_deref().unwrap_or(&own);
        let mut methods = vec![self.row("original", "original", &[&self.original], others)];
        if let Some(given) = &self.given {
            methods.push(self.row("reference", "reference", &given.iter().collect::<Vec<_>>(), &[]));
        }
        methods.extend(self.runs.iter().map(|runs| self.row_of(runs, others)));
        let (job, data) = (self.job, &self.job.data);
        CompareReport {
            schema: COMPARE_SCHEMA,
            finished: left.is_empty(),
            left: left.to_vec(),
            model: job.input(),
            forget_rows: data.forget.len(),
            retain_rows: data.retain.len(),
            validation_rows: data.validation.len(),
            test_rows: data.test.len(),
            loss: job.model.plan.why.clone(),
            seeds: self.seeds.to_vec(),
            attack: AttackRows::of(&self.original.0.mia.loss),
            reference: self.reference(retrained),
            reference_models: reference::described(self.references),
            methods,
            notes: self.notes(left, retrained.is_some()),
            device: job.options.device.to_string(),
            environment: environment(job.options.kernels),
        }
    }

    /// A row of models, each beside `others` if there are any.
    fn row(&self, method: &str, title: &str, models: &[&Audited], others: &[Audited]) -> MethodRow {
        let figures = |(audit, measured): &Audited| {
            let compared = (!others.is_empty()).then(|| audit::compare(audit, measured, others, self.job.options.seed));
            audit::figures(audit, compared.as_ref())
        };
        let all: Vec<_> = models.iter().map(|&model| figures(model)).collect();
        let keys = all.first().into_iter().flatten().enumerate();
        let spread = |i: usize| Spread::of(all.iter().map(|figures| figures.get(i).and_then(|figure| figure.1)));
        MethodRow {
            method: method.into(),
            title: title.into(),
            outcome: MethodOutcome::Measured,
            seeds: Vec::new(),
            settings: None,
            figures: keys.filter_map(|(i, (key, _))| Some((*key, spread(i)?))).collect(),
            seconds: None,
        }
    }

    fn row_of(&self, runs: &MethodRuns, others: &[Audited]) -> MethodRow {
        // Of a retrained model, the distance from itself says nothing.
        let others: &[Audited] = if runs.name == MethodName::Retrain && self.given.is_none() { &[] } else { others };
        let models: Vec<&Audited> = runs.made.iter().map(|made| &made.audited).collect();
        MethodRow {
            outcome: match &runs.obstacle {
                Some(reason) => MethodOutcome::NotApplicable { reason: reason.clone() },
                None => MethodOutcome::of(runs.made.len(), &runs.failed),
            },
            seeds: runs.made.iter().map(|made| made.seed).collect(),
            settings: Some(runs.settings.clone()),
            seconds: Spread::of(runs.made.iter().map(|made| Some(made.seconds))),
            ..self.row(runs.name.as_str(), runs.name.title(), &models, others)
        }
    }

    fn reference(&self, retrained: Option<&MethodRuns>) -> Option<String> {
        match (self.references.len(), retrained.map(|runs| runs.made.len())) {
            (0, None) => None,
            (0, Some(n)) if n == self.seeds.len() => Some("retrain, over all seeds".into()),
            (0, Some(n)) => Some(format!("retrain, over {n} of {} seeds", self.seeds.len())),
            (n, _) => Some(format!("{n} given by --reference")),
        }
    }

    fn notes(&self, left: &[MethodName], retrained: bool) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(folded_warning(&self.job.model.graph).filter(|_| retrained));
        let all: Vec<MethodName> = self.runs.iter().map(|runs| runs.name).chain(left.iter().copied()).collect();
        notes.extend(followed(&self.job.options.unlearn, &all));
        notes
    }
}

/// What ∇τ takes from `[unlearn]`, and other methods do not.
fn followed(settings: &Settings, methods: &[MethodName]) -> Option<String> {
    let with = |name: MethodName| methods.contains(&name);
    let number = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {value}"));
    let step = settings.step_size.filter(|_| with(MethodName::NablaTau)).map(|size| match size {
        StepSize::Fitted => "step_size fitted".to_string(),
        StepSize::Published => "step_size published".to_string(),
    });
    let set: Vec<String> = [
        settings.epochs.map(|epochs| format!("epochs {epochs}")),
        number("alpha", settings.alpha),
        number("learning_rate", settings.learning_rate),
        number("weight_decay", settings.weight_decay),
        step,
    ]
    .into_iter()
    .flatten()
    .collect();
    let any = with(MethodName::NablaTau) || with(MethodName::NablaTauPaper);
    (any && !set.is_empty()).then(|| {
        format!(
            "∇τ, also as published, follows [unlearn] in the configuration ({}); the other methods do not",
            set.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nabla_tau_takes_from_the_configuration_is_said() {
        let settings = Settings { alpha: Some(0.25), epochs: Some(4), batch_size: Some(8), ..Settings::default() };
        let said = followed(&settings, &[MethodName::NablaTauPaper, MethodName::Ssd]).unwrap();
        assert!(said.contains("(epochs 4, alpha 0.25)"), "{said}");
        assert_eq!(followed(&settings, &[MethodName::Ssd]), None);
        // The size of batches is that of every method.
        let batches = Settings { batch_size: Some(8), ..Settings::default() };
        assert_eq!(followed(&batches, MethodName::all()), None);
        let step = Settings { step_size: Some(StepSize::Published), ..Settings::default() };
        assert!(followed(&step, MethodName::all()).unwrap().contains("step_size published"));
        assert_eq!(followed(&step, &[MethodName::NablaTauPaper]), None);
    }
}
