//! The main job: the whole flow on one page.

use super::{
    destination::Destination,
    device::{self, Work, on_device},
    events::{Event, Observer, Watch},
    job::Job,
    known::{Known, fingerprint},
    reference,
    rows::RunBatches,
    staged::{Manner, StagedReport},
};
use crate::{
    audit::{self, Evidence, Judgment, Verdict, limits},
    data::Batch,
    error::{Error, Result},
    graph::TrainableModel,
    kernels::Backend,
    model::Model,
    parity::{self, GradientOptions, Parity, ParityReport, Subject},
    report::{
        AuditedBefore, Judged, KnownRows, Reached, ReferenceSection, Report, Results, UnlearnSection, Written, apart,
    },
    scope,
    writeback::{self, Change},
};
use indexmap::IndexMap;
use std::cell::RefCell;

/// A run that ended before its model was published.
pub struct Stopped {
    /// Why.
    pub error: Error,
    /// How far it came.
    pub report: Box<Report>,
    manner: Manner,
}

impl Stopped {
    fn new(job: &Job, error: Error, reached: Reached, timings: &IndexMap<String, f64>) -> Self {
        let error = device::told_apart(error, job.options.device);
        let report = Report::rejected(job.start(timings), reached, &error);
        Self { error, report: Box::new(report), manner: job.report_manner() }
    }

    /// Leaves the report beside where the model would have been: a failed check is a result, and its figures are worth
    /// keeping. Other errors leave nothing behind. Returns the error.
    fn leave(self, to: &Destination, observer: &mut dyn Observer) -> Error {
        let Self { error, report, manner } = self;
        let checked = matches!(
            error,
            Error::ParityBefore(_) | Error::Unlearning(_) | Error::ParityAfter(_) | Error::NothingToForget(_)
        );
        if !checked {
            return error;
        }
        // The run has failed already: what the observer says changes nothing.
        let mut tell = |event: Event<'_>| drop(observer.event(event));
        tell(Event::Report(&report));
        let folder = to.rejected_folder();
        let manner = Manner { force: to.force, ..manner };
        match StagedReport::write(&report, &folder, manner).and_then(|staged| staged.place(None)) {
            Ok(placed) => placed.keep(),
            Err(e) => tell(Event::ReportLost(&e)),
        }
        tell(Event::Rejected { error: &error, report: &report, folder: &folder });
        error
    }
}

/// Forgets the rows, publishes the new model if everything held, and leaves a report.
///
/// # Errors
/// Those of the flow. A failed check leaves a report.
pub fn forget(job: Job, to: &Destination, observer: &mut dyn Observer) -> Result<Report> {
    let published = unlearned(job, observer)?.and_then(|outcome| outcome.publish(to, observer));
    published.map_err(|stopped| stopped.leave(to, observer))
}

/// The job up to the gates: nothing is written.
///
/// # Errors
/// Those of the device. The run that was stopped is the other half of the result.
pub fn unlearned(job: Job, observer: &mut dyn Observer) -> Result<Result<Outcome, Stopped>> {
    let (device, seed, scope) = (job.options.device, job.options.seed, job.scope.clone());
    scope.enter(|| on_device(device, seed, Forgetting { job, observer }))
}

/// The main job, once everything is read.
struct Forgetting<'o> {
    job: Job,
    observer: &'o mut dyn Observer,
}

impl Work for Forgetting<'_> {
    type Output = Result<Outcome, Stopped>;

    fn on<D: Backend<f32>>(self, device: D) -> Result<Self::Output> {
        let Self { job, observer } = self;
        let mut watch = job.watch(observer);
        let mut reached = Reached::default();
        let unlearned = unlearn(device, &job, &mut watch, &mut reached);
        let timings = watch.timings().clone();
        Ok(match unlearned {
            Err(e) => Err(Stopped::new(&job, e, reached, &timings)),
            Ok(unlearned) => match Results::try_from(reached) {
                Ok(results) => Ok(Outcome { job, results, unlearned, timings }),
                Err(e) => Err(Stopped::new(&job, e, Reached::default(), &timings)),
            },
        })
    }
}

/// What is left of the steps.
struct Unlearned {
    /// The model that forgot.
    subject: Box<dyn Subject>,
    /// What its tensors are to be in the file.
    changes: Vec<Change>,
    /// Rows to compare the file on, and how.
    rows: Vec<Batch>,
    settings: parity::Settings,
}

/// Parity, audit, unlearning, audit, gates.
fn unlearn<D: Backend<f32>>(device: D, job: &Job, watch: &mut Watch<'_>, reached: &mut Reached) -> Result<Unlearned> {
    let options = &job.options;
    let references = job.open_references()?;
    let method = job.method::<D>(options.method())?;
    job.require_applicable(options.method())?;
    let run_as = job.options_for(options.method(), options.seed);
    let mut model = watch.stage("building the model", |_| job.model(device, run_as))?;
    let Known { known, reading } = job.require_known(watch, &model)?;
    let rows_known = Verdict::rows_known(known.known());
    reached.rows = Some(KnownRows { notes: job.notes(Some(known.confirmed())), known, reading });

    let rows = job.parity_rows()?;
    let checks = job.parity_settings();
    let before = watch.stage("parity before", |_| parity(&job.model, &checks).before(&model, &rows))?;
    reached.parity.insert(before).require_before()?;
    let gradient = watch.stage("gradient check", |watch| {
        let TrainableModel { graph, plan, decisions, .. } = &job.model;
        // Runtimes know neither batch statistics nor dropout.
        let mut frozen = model.another(graph, plan, decisions, job.checked_options())?;
        let watch = RefCell::new(watch);
        let tell = |done, of| watch.borrow_mut().gradient(done, of);
        Parity { watch: &tell, ..parity(&job.model, &checks) }.gradient_over(&mut frozen, &rows)
    })?;
    let gradient = reached.gradient.insert(gradient);
    if gradient.failed() {
        return Err(Error::ParityBefore(gradient.verdict()));
    }

    let (audit, measured) = watch.stage("audit before", |_| job.audit(&model))?;
    let (splits, remembered) = (job.splits(&measured), job.remembered(&measured)?);
    let before = &*reached.before.insert(AuditedBefore { audit, splits, remembered });
    job.require_remembered(before.remembered.as_ref())?;
    let others = job.other_outputs(&model)?;

    let weights = fingerprint(&model);
    let mut settings = method.described();
    settings.further.extend(job.chosen());
    let mut sets = RunBatches::new(job, options.seed);
    let trajectory = watch.stage("unlearning", |watch| {
        watch.steps(settings.steps, "retain", |observer| {
            options.precision.during(|| method.run(&mut model, &mut sets, observer))
        })
    });
    let run = (method.name(), settings);
    reached.unlearned =
        Some(UnlearnSection::new(run, job.schedule.micro_batch, &trajectory?, options.computed_on(), options.seed));

    // What is judged from here on is the model that is written.
    model.round_to_stored()?;
    let (after, measured_after) = watch.stage("audit after", |_| job.audit(&model))?;
    let change = audit::change(&measured, &measured_after);
    let further = &mut reached.further;
    further.losses = audit::loss_histogram(&measured, &measured_after);
    further.drifts = others.map(|others| others.drifts(&model)).transpose()?.unwrap_or_default();
    let others = watch.stage_if(!references.is_empty(), "reference models", |_| job.audit_references(&references))?;
    further.reference = others.map(|others| ReferenceSection {
        models: reference::described(&references),
        before: audit::compare(&before.audit, &measured, &others, options.seed),
        after: audit::compare(&after, &measured_after, &others, options.seed),
    });
    further.deep = watch.stage_if(options.deep, "training on", |_| job.train_on(&mut model, &measured_after))?;
    let evidence = Evidence {
        before: &before.audit,
        after: &after,
        change: &change,
        changed: fingerprint(&model) != weights,
        deep: further.deep.as_ref(),
        reference: further.reference.as_ref().map(|r| &r.after),
        drifts: &further.drifts,
    };
    let mut gates = audit::judge(&options.gates, &evidence);
    gates.push(rows_known);
    let gates_off = limits::switched_off(&options.gates);
    let verdict = limits::capped(audit::overall(&gates), &gates_off);
    job.require_passed(reached.judged.insert(Judged { audit: after, change, gates, gates_off, verdict }))?;
    let changes = changes(&model);
    Ok(Unlearned { subject: Box::new(model), changes, rows, settings: checks })
}

/// A model that has forgotten, and whose gates held: what is left is to write it.
pub struct Outcome {
    /// What was done.
    pub job: Job,
    results: Results,
    unlearned: Unlearned,
    timings: IndexMap<String, f64>,
}

impl Outcome {
    /// The verdict and the figures that it is made of.
    pub fn judged(&self) -> &Judged {
        &self.results.judged
    }

    /// Write-back, parity, publication.
    ///
    /// # Errors
    /// The run, stopped.
    pub fn publish(self, to: &Destination, observer: &mut dyn Observer) -> Result<Report, Stopped> {
        let mut watch = Watch::resumed(observer, &self.job.stop, self.timings.clone());
        let mut parity_after = None;
        let device = self.job.options.device;
        let write = || self.write(to, &mut watch, &mut parity_after);
        let published = self.job.scope.enter(|| device::guarded(device, write));
        published.map_err(|e| {
            let reached = Reached { parity_after, ..self.results.into() };
            Stopped::new(&self.job, e, reached, watch.timings())
        })
    }

    fn write(
        &self,
        to: &Destination,
        watch: &mut Watch<'_>,
        parity_after: &mut Option<ParityReport>,
    ) -> Result<Report> {
        let Self { job, results, unlearned, .. } = self;
        let file = &job.model.file;
        let pending =
            watch.stage("writing back", |_| writeback::splice(file, &unlearned.changes, &to.out, to.force))?;
        let proof = watch.stage("checking the new file", |_| pending.verify())?;
        let after = watch.stage("parity after", |_| {
            let parity = parity(&job.model, &unlearned.settings);
            parity.after(&pending.model_path(), &*unlearned.subject, &unlearned.rows)
        })?;
        parity_after.insert(after.clone()).require_after()?;
        let written = Written { out: to.out.clone(), proof, parity: after };
        let report = Report::published(job.start(watch.timings()), results.clone(), written);
        // All that can fail comes before OUT gets its name: a report that cannot be written or printed publishes nothing.
        let manner = Manner { force: to.force, ..job.report_manner() };
        let staged = StagedReport::write(&report, &to.folder, manner)?;
        watch.tell(Event::Report(&report))?;
        job.stop.check()?;
        let placed = staged.place(Some(pending.commit()?))?;
        pending.publish()?;
        placed.keep();
        Ok(report)
    }
}

impl Job {
    fn parity_settings(&self) -> parity::Settings {
        let options = &self.options;
        parity::Settings {
            runtimes: options.runtime,
            threads: scope::threads(),
            tolerance: options.parity.tolerance(),
            gradient: GradientOptions { seed: options.seed, ..GradientOptions::default() },
            guard: options.guard(),
            ..parity::Settings::from_environment(options.offline)
        }
    }

    /// # Errors
    /// [`Error::Unlearning`] if a gate failed, or the verdict is no pass where nothing else is to be published.
    fn require_passed(&self, judged: &Judged) -> Result<()> {
        if let Some(gate) = judged.gates.iter().find(|g| g.outcome == Judgment::Fail) {
            let (value, limit) = apart(gate.value.unwrap_or(f64::NAN), gate.limit);
            return Err(Error::Unlearning(format!(
                "gate {}: {value} is more than {limit}; nothing was written. The report has the figures and what to try; [gates] in the \
                 configuration sets the limits",
                gate.gate,
            )));
        }
        if self.options.strict && judged.verdict != Judgment::Pass {
            return Err(Error::Unlearning(format!(
                "--strict, and the verdict is {}; nothing was written. The report has the figures",
                judged.verdict.word()
            )));
        }
        Ok(())
    }
}

/// The checks of a model; the gradient check tells nobody how far it is.
pub(super) fn parity<'a>(model: &'a TrainableModel, settings: &'a parity::Settings) -> Parity<'a> {
    let TrainableModel { file, graph, plan, decisions } = model;
    Parity { file, graph, plan, decisions, settings, watch: &|_, _| Ok(()) }
}

/// The trained parameters, and running statistics that were measured anew, as the write-back takes them.
pub(super) fn changes<D: Backend<f32>>(model: &Model<f32, D>) -> Vec<Change> {
    let parameters = model.parameters().iter().map(|p| Change { name: p.name.clone(), values: p.tensor.to_vec() });
    let statistics = model.measured_statistics().iter();
    parameters.chain(statistics.map(|(name, values)| Change { name: name.clone(), values: values.clone() })).collect()
}
