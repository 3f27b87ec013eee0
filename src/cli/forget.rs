//! The main job: the whole flow on one page.

use super::{
    args::{Cli, ForgetArgs, Format, Precision},
    check_interrupt,
    config::RunConfig,
    device::{self, Work, on_device},
    error_event,
    job::Job,
    known::fingerprint,
    measuring::Reference,
    out,
    preflight::Destination,
    progress::{self, Progress, Stages},
    rows::RunBatches,
    staged::{Manner, StagedReport},
};
use crate::{
    audit::{self, Evidence, Judgement, Verdict, limits},
    error::{Error, Result},
    kernels::Backend,
    nearest::nearest,
    parity::{self, GradientOptions, Guard, Parity},
    report::{self, ReferenceSection, Report, Status, UnlearnSection, apart},
    shown, writeback,
};
use clap::CommandFactory;
use std::path::Path;

/// Forgets the rows, publishes the new model if everything held, and leaves a report.
pub fn run(args: ForgetArgs) -> Result<()> {
    let model = args.model.as_deref().ok_or_else(|| Error::Usage("which MODEL?".into()))?;
    require_model(model)?;
    let config = RunConfig::for_forgetting(model, &args)?;
    device::check(config.device)?;
    let mut stages = if args.dry_run { Stages::of_one_result(config.format) } else { Stages::new(config.format) };
    let destination = |config: &RunConfig| Destination::new(config, args.out.as_deref(), args.force);
    let job = Job::prepare(config, &mut stages, |config, file| destination(config).check(file, args.dry_run))?;
    let to = destination(&job.config);
    to.require_apart(&job)?;
    if args.dry_run {
        return job.describe(&mut stages);
    }
    let (device, seed) = (job.config.device, job.config.seed);
    on_device(device, seed, Forgetting { job, stages, to })
}

/// # Errors
/// [`Error::Usage`] for a MODEL that is no file, and looks like a command that is written wrong.
fn require_model(model: &Path) -> Result<()> {
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
    let word = model.to_str().filter(|word| !word.contains(['/', '\\', '.']) && !model.exists());
    match word.and_then(|word| nearest(word, names)) {
        Some(meant) => Err(Error::Usage(format!(
            "there is no file {}, and no such command; did you mean the command `{meant}`?",
            model.display()
        ))),
        None => Ok(()),
    }
}

/// The main job, once everything is read.
struct Forgetting {
    job: Job,
    stages: Stages,
    to: Destination,
}

impl Work for Forgetting {
    fn on<D: Backend<f32>>(self, device: D) -> Result<()> {
        run_on(device, &self.job, self.stages, &self.to)
    }
}

fn run_on<D: Backend<f32>>(device: D, job: &Job, mut stages: Stages, to: &Destination) -> Result<()> {
    let mut report = job.report();
    match flow(device, job, &mut stages, &mut report, to) {
        Ok(()) => {
            let what = if job.file.checkpoint().is_some() { "checkpoint" } else { "model " };
            let lines = format!("{}\nnew {what} {}", report::status(&report), to.out.display());
            show(&report, &stages, &lines, &to.folder);
            out::check()
        }
        Err(e) => {
            let status =
                if matches!(e, Error::NothingToForget(_)) { Status::NothingToForget } else { Status::Rejected };
            (report.status, report.exit_code) = (status, e.exit_code());
            report.error = Some(shown::clean(&e.to_string()).into_owned());
            report.model.output = None;
            report.timings = stages.timings().clone();
            report.sum_up();
            // A failed check is a result, and its figures are worth keeping; other errors leave nothing behind.
            if matches!(
                e,
                Error::ParityBefore(_) | Error::Unlearning(_) | Error::ParityAfter(_) | Error::NothingToForget(_)
            ) {
                stages.result(&report::summary(&report));
                let folder = to.rejected_folder();
                let manner = Manner { force: to.force, ..job.report_manner() };
                match StagedReport::write(&report, &folder, manner).and_then(|staged| staged.place(None)) {
                    Ok(placed) => placed.keep(),
                    Err(e) => out::error(&format!("the report of the rejected run: {e}")),
                }
                if job.config.format == Format::Json {
                    error_event(&e);
                }
                show(&report, &stages, &report::status(&report), &folder);
            }
            Err(e)
        }
    }
}

/// Parity, audit, unlearning, audit, gates, write-back, parity, publication.
fn flow<D: Backend<f32>>(
    device: D,
    job: &Job,
    stages: &mut Stages,
    report: &mut Report,
    to: &Destination,
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
        let mut frozen = model.another(graph, plan, decisions, job.checked_options())?;
        parity.gradient_over(&mut frozen, &rows)
    })?;
    report.parity.gradient = Some(gradient.clone());
    if gradient.failed() {
        return Err(Error::ParityBefore(gradient.verdict()));
    }

    let (before, measured) = stages.run("audit before", || job.audit(&model))?;
    report.audit.splits = job.splits(&measured);
    report.audit.before = Some(before.clone());
    report.audit.remembered = job.remembered(&measured)?;
    job.require_remembered(report.audit.remembered.as_ref())?;

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
    report.gates_off = limits::switched_off(&config.gates);
    let verdict = limits::capped(audit::overall(&report.gates), &report.gates_off);
    report.audit.verdict = Some(verdict);
    (report.audit.after, report.audit.change) = (Some(after), Some(change));
    if let Some(gate) = report.gates.iter().find(|g| g.outcome == Judgement::Fail) {
        let (value, limit) = apart(gate.value.unwrap_or(f64::NAN), gate.limit);
        return Err(Error::Unlearning(format!(
            "gate {}: {value} is more than {limit}; nothing was written. The report has the figures and what to try; [gates] in the \
             configuration sets the limits",
            gate.gate,
        )));
    }
    if config.strict && verdict != Judgement::Pass {
        return Err(Error::Unlearning(format!(
            "--strict, and the verdict is {}; nothing was written. The report has the figures",
            verdict.word()
        )));
    }

    let changes = job.changes(&model);
    let pending = stages.run("writing back", || writeback::splice(&job.file, &changes, &to.out, to.force))?;
    let proof = stages.run("checking the new file", || pending.verify())?;
    let after = stages.run("parity after", || parity.after(&pending.model_path(), &model, &rows))?;
    report.parity.after = Some(after.clone());
    after.require_after()?;
    report.model.published(to.out.clone(), proof);
    report.status = Status::Published;
    report.sum_up();
    report.timings = stages.timings().clone();
    // All that can fail comes before OUT gets its name: a report that cannot be written or printed publishes nothing.
    let manner = Manner { force: to.force, ..job.report_manner() };
    let staged = StagedReport::write(report, &to.folder, manner)?;
    stages.result(&report::summary(report));
    out::check()?;
    check_interrupt()?;
    let placed = staged.place(Some(pending.commit()?))?;
    pending.publish()?;
    placed.keep();
    Ok(())
}

/// Prints how the run ended and where its report is, or all of the report as JSON.
fn show(report: &Report, stages: &Stages, lines: &str, folder: &Path) {
    stages.result(&format!("{lines}\nreport     {}", folder.join("report.html").display()));
    stages.json_result(&serde_json::json!({ "event": "report", "folder": folder, "record": report }));
}
