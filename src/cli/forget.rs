//! The main job: the whole flow on one page.

use super::{
    args::{ForgetArgs, Format, Precision},
    check_interrupt,
    config::RunConfig,
    device::{self, Work, on_device},
    job::Job,
    known::fingerprint,
    measuring::Reference,
    progress::{self, Progress, Stages, json_line},
    rows::RunBatches,
    staged::StagedReport,
};
use crate::{
    audit::{self, Evidence, Judgement, Verdict},
    error::{Error, Result},
    kernels::Backend,
    parity::{self, GradientOptions, Guard, Parity},
    report::{self, ReferenceSection, Report, Status, UnlearnSection},
    writeback,
};
use std::path::{Path, PathBuf};

/// Forgets the rows, publishes the new model if everything held, and leaves a report.
pub fn run(args: ForgetArgs) -> Result<()> {
    let model = args.model.as_deref().ok_or_else(|| Error::Usage("which MODEL?".into()))?;
    let config = RunConfig::for_forgetting(model, &args)?;
    device::check(config.device)?;
    let mut stages = Stages::new(config.format);
    let destination = |config: &RunConfig| config.out(args.out.as_deref());
    let job = Job::prepare(config, &mut stages, |config, file| {
        writeback::check_destination(file, &destination(config), args.force)
    })?;
    let out = destination(&job.config);
    if args.dry_run {
        return job.describe(&mut stages);
    }
    let (device, seed) = (job.config.device, job.config.seed);
    on_device(device, seed, Forgetting { job, stages, out, force: args.force })
}

/// The main job, once everything is read.
struct Forgetting {
    job: Job,
    stages: Stages,
    out: PathBuf,
    force: bool,
}

impl Work for Forgetting {
    fn on<D: Backend<f32>>(self, device: D) -> Result<()> {
        run_on(device, &self.job, self.stages, &self.out, self.force)
    }
}

fn run_on<D: Backend<f32>>(device: D, job: &Job, mut stages: Stages, out: &Path, force: bool) -> Result<()> {
    let folder = job.config.report_folder(out);
    let mut report = job.report();
    match flow(device, job, &mut stages, &mut report, &Destination { out, folder: &folder, force }) {
        Ok(()) => {
            show(&report, &stages, job.config.format);
            let what = if job.file.checkpoint().is_some() { "checkpoint" } else { "model " };
            stages.say(&format!("new {what} {}\nreport     {}", out.display(), folder.join("report.html").display()));
            Ok(())
        }
        Err(e) => {
            let status =
                if matches!(e, Error::NothingToForget(_)) { Status::NothingToForget } else { Status::Rejected };
            (report.status, report.exit_code, report.error) = (status, e.exit_code(), Some(e.to_string()));
            report.model.output = None;
            report.timings = stages.timings().clone();
            report.sum_up();
            // A failed check is a result, and its figures are worth keeping; other errors leave nothing behind.
            if matches!(
                e,
                Error::ParityBefore(_) | Error::Unlearning(_) | Error::ParityAfter(_) | Error::NothingToForget(_)
            ) {
                StagedReport::write(&report, &folder)?.place()?;
                show(&report, &stages, job.config.format);
            }
            Err(e)
        }
    }
}

/// What may be written, and where.
struct Destination<'a> {
    out: &'a Path,
    folder: &'a Path,
    force: bool,
}

/// Parity, audit, unlearning, audit, gates, write-back, parity, publication.
fn flow<D: Backend<f32>>(
    device: D,
    job: &Job,
    stages: &mut Stages,
    report: &mut Report,
    to: &Destination<'_>,
) -> Result<()> {
    let config = &job.config;
    let references = job.open_references()?;
    let method = job.method::<D>(config.method())?;
    job.require_applicable(config.method())?;
    let options = job.options_for(config.method(), config.seed);
    let mut model = stages.run("building the model", || job.model(device, options))?;
    let (known, reading) = job.require_known(stages, &model)?;
    let rows_known = Verdict::rows_known(known.known());
    if let Some(data) = &mut report.data {
        data.notes = job.notes(Some(known.confirmed()));
        (data.known, data.reading) = (Some(known), Some(reading));
    }
    let rows = job.parity_rows()?;
    let checks = parity::Settings {
        runtimes: config.runtime,
        threads: rayon::current_num_threads(),
        tolerance: config.parity.tolerance(),
        gradient: GradientOptions { seed: config.seed, ..GradientOptions::default() },
        guard: Guard::of_this_program(),
        watch: progress::gradient_check,
        ..parity::Settings::from_environment(config.offline)
    };
    let Job { file, graph, plan, decisions, .. } = job;
    let parity = Parity { file, graph, plan, decisions, settings: &checks };
    let before = stages.run("parity before", || parity.before(&model, &rows))?;
    report.parity.before = Some(before.clone());
    before.require_before()?;
    let gradient = stages.run("gradient check", || {
        // Runtimes know neither batch statistics nor dropout.
        let mut frozen = job.model(model.device().clone(), job.checked_options())?;
        parity.gradient_over(&mut frozen, &rows)
    })?;
    report.parity.gradient = Some(gradient.clone());
    if gradient.failed() {
        return Err(Error::ParityBefore(gradient.verdict()));
    }

    let (before, measured) = stages.run("audit before", || job.audit(&model))?;
    report.audit.splits = job.splits(&measured);
    report.audit.before = Some(before.clone());
    report.audit.remembered = job.require_remembered(&measured)?;

    let weights = fingerprint(&model);
    let mut settings = method.described();
    settings.further.extend(job.chosen());
    let mut progress = Progress::new(config.format, settings.steps);
    let mut sets = RunBatches::new(job, config.seed);
    device::allow_tf32(config.precision);
    let trajectory = stages.run("unlearning", || method.run(&mut model, &mut sets, &mut progress));
    device::allow_tf32(Precision::F32);
    progress.finish();
    let run = (method.name(), settings);
    report.unlearn =
        Some(UnlearnSection::new(run, job.schedule.micro_batch, &trajectory?, config.computed_on(), config.seed));

    // What is judged from here on is the model that is written.
    model.round_to_stored()?;
    let (after, measured_after) = stages.run("audit after", || job.audit(&model))?;
    let change = audit::change(&measured, &measured_after);
    report.audit.losses = audit::loss_histogram(&measured, &measured_after);
    let others = stages.run_if(!references.is_empty(), "reference models", || job.audit_references(&references))?;
    report.audit.reference = others.map(|others| ReferenceSection {
        models: references.iter().map(Reference::described).collect(),
        before: audit::compare(&before, &measured, &others, config.seed),
        after: audit::compare(&after, &measured_after, &others, config.seed),
    });
    report.audit.deep = stages.run_if(config.deep, "training on", || job.train_on(&mut model, &measured_after))?;
    let evidence = Evidence {
        before: &before,
        after: &after,
        change: &change,
        changed: fingerprint(&model) != weights,
        deep: report.audit.deep.as_ref(),
        reference: report.audit.reference.as_ref().map(|r| &r.after),
    };
    report.gates = audit::judge(&config.gates, &evidence);
    report.gates.push(rows_known);
    report.audit.verdict = Some(audit::overall(&report.gates));
    (report.audit.after, report.audit.change) = (Some(after), Some(change));
    if let Some(gate) = report.gates.iter().find(|g| g.outcome == Judgement::Fail) {
        return Err(Error::Unlearning(format!(
            "gate {}: {:.4} is more than {}; nothing was written. The report has the figures; [gates] in the configuration sets the limits",
            gate.gate,
            gate.value.unwrap_or(f64::NAN),
            gate.limit
        )));
    }

    let changes = job.changes(&model);
    let pending = stages.run("writing back", || writeback::splice(&job.file, &changes, to.out, to.force))?;
    let proof = stages.run("checking the new file", || pending.verify())?;
    let after = stages.run("parity after", || parity.after(&pending.model_path(), &model, &rows))?;
    report.parity.after = Some(after.clone());
    after.require_after()?;
    report.model.published(to.out.to_path_buf(), proof);
    report.status = Status::Published;
    report.sum_up();
    report.timings = stages.timings().clone();
    // Written before the model gets its name: a report that cannot be written publishes nothing.
    let staged = StagedReport::write(report, to.folder)?;
    check_interrupt()?;
    pending.publish()?;
    staged.place()
}

/// Prints the report's summary, or all of it as JSON.
fn show(report: &Report, stages: &Stages, format: Format) {
    match format {
        Format::Json => json_line(&serde_json::json!({ "event": "report", "record": report })),
        Format::Pretty => stages.say(&report::summary(report)),
    }
}
