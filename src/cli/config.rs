//! What was typed and what the configuration file says, put together: flags beat the file.

use super::{
    args::{AuditDepth, ForgetArgs, MissingIdsChoice, SourceArgs, TestArgs},
    config_file::read,
};
use crate::{
    error::{Error, Result},
    run::{DataConfig, DeviceChoice, Options, Places, Precision},
    shown,
};
use std::path::{Component, Path, PathBuf};

/// Reads the configuration file, if there is one, and lays the flags over it.
///
/// # Errors
/// [`Error::Config`] for a file that cannot be read or has an unknown key; [`Error::Usage`] for values out of range.
pub fn options(model: &Path, args: &SourceArgs, tests: &TestArgs) -> Result<Options> {
    let (path, file) = read(model, args.config.as_deref())?;
    let base = path.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf();
    let (target, targets) = file.target.parted();
    let mut data = DataConfig { files: file.data, inputs: file.inputs, target, targets };
    data.resolve(&base);
    let override_path = |slot: &mut Option<Places>, flags: &[String]| {
        *slot = Places::of(flags).or(slot.take());
    };
    override_path(&mut data.files.train, &args.data);
    override_path(&mut data.files.validation, &args.validation);
    override_path(&mut data.files.test, &args.test);
    data.files.id = args.id.clone().or(data.files.id);
    data.files.forget_id = args.forget_id.clone().or(data.files.forget_id);
    data.files.split = args.split.clone().or(data.files.split);
    if let Some(column) = &args.target {
        data.target.column = Some(column.clone());
        data.target.columns = None;
    }
    data.target.output = args.output.clone().or(data.target.output);
    let or = |flag: &[String], file: Vec<String>| if flag.is_empty() { file } else { flag.to_vec() };
    let options = Options {
        checkpoint: args.checkpoint.clone().or(file.model.checkpoint.map(|c| base.join(c))),
        config: path,
        forget: args.forget.iter().cloned().map(Into::into).collect(),
        forget_class: args.forget_class,
        ignore_missing_ids: args.missing_ids == MissingIdsChoice::Ignore,
        accept_unknown_rows: args.accept_unknown_rows,
        data,
        loss: args.loss.or(file.loss.kind),
        loss_graph: args.loss_graph.clone().or(file.loss.graph.map(|graph| base.join(graph))),
        dims: file.model.dims.into_iter().chain(args.dim.iter().cloned()).collect(),
        loss_asked_by: match (args.loss, file.loss.kind) {
            (Some(_), _) => Some(" by --loss"),
            (None, Some(_)) => Some(" by the configuration"),
            _ => None,
        },
        trainable: or(&args.trainable, file.model.trainable),
        freeze: or(&args.freeze, file.model.freeze),
        bn: args.bn.or(file.model.bn).unwrap_or_default(),
        dropout: args.dropout || file.model.dropout,
        seed: args.seed.or(file.unlearn.seed).unwrap_or(0),
        unlearn: file.unlearn,
        train: file.train,
        parity: file.parity,
        gates: file.gates,
        deep: tests.audit == AuditDepth::Deep,
        references: tests.reference.clone(),
        device: args.device,
        kernels: args.kernels,
        offline: args.offline,
        allow_symlink_inside: args.allow_symlink_inside,
        report: file.report.folder.map(|f| below(&base, f)).transpose()?,
        command: std::env::args_os().map(|word| shown::clean(&word.to_string_lossy()).into_owned()).collect(),
        trier: std::env::current_exe().ok(),
        ..Options::new(model)
    };
    options.check()?;
    Ok(options)
}

/// As [`options`], for the main job with its further flags.
pub fn for_forgetting(model: &Path, args: &ForgetArgs) -> Result<Options> {
    let mut options = options(model, &args.source, &args.tests)?;
    let (s, flags) = (&mut options.unlearn, &args.settings);
    s.method = flags.method.or(s.method);
    s.batch_size = flags.batch_size.map(Into::into).or(s.batch_size);
    s.micro_batch = flags.micro_batch.map(Into::into).or(s.micro_batch);
    s.epochs = flags.epochs.map(Into::into).or(s.epochs);
    s.alpha = flags.alpha.or(s.alpha);
    s.learning_rate = flags.learning_rate.or(s.learning_rate);
    s.weight_decay = flags.weight_decay.or(s.weight_decay);
    s.step_size = flags.step_size.or(s.step_size);
    options.runtime = args.parity;
    options.unlearn_anyway = args.unlearn_anyway;
    options.strict = args.strict;
    options.name = args.name.clone();
    options.precision = args.precision;
    if options.precision == Precision::Tf32 && options.device == DeviceChoice::Cpu {
        return Err(Error::Usage("--precision tf32 is for --device cuda; a CPU computes in 32 bits".into()));
    }
    options.report = args.report.clone().or(options.report);
    options.require_forget()?;
    options.check()?;
    Ok(options)
}

/// A folder of the configuration's choice, which it must not choose among those of others.
fn below(base: &Path, folder: PathBuf) -> Result<PathBuf> {
    if folder.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Ok(base.join(folder));
    }
    let folder = folder.display();
    Err(Error::Usage(format!(
        "[report] folder = {folder}: it has to lie below the configuration's folder; another place is given by --report"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Gate;

    fn with_config(text: &str, args: &SourceArgs) -> Result<Options> {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        std::fs::write(folder.path().join("m.forget.toml"), text).unwrap();
        options(&model, args, &TestArgs::default())
    }

    #[test]
    fn flags_beat_the_file() {
        let text = "[data]\ntrain = 'a.parquet'\nid = 'x'\n[unlearn]\nseed = 3\n[model]\nfreeze = ['a*']";
        let args = SourceArgs { id: Some("y".into()), seed: Some(5), ..SourceArgs::default() };
        let config = with_config(text, &args).unwrap();
        assert_eq!(config.data.files.id.as_deref(), Some("y"));
        assert_eq!((config.seed, config.freeze.len()), (5, 1));
        assert!(config.data.files.train.unwrap().paths().iter().all(|path| path.is_absolute()));
    }

    #[test]
    fn names_what_is_wrong_in_the_file() {
        let error = with_config("[data]\ntrian = 'a'", &SourceArgs::default()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("trian"), "{error}");
        let error = with_config("[unlearn]\nalpha = 2.0", &SourceArgs::default()).unwrap_err();
        assert!(error.to_string().contains("alpha"), "{error}");
    }

    #[test]
    fn gates_keep_their_defaults_where_nothing_is_said() {
        let text =
            "[gates]\nmax_mia_distance = 0.02\nmax_retain_accuracy_drop = inf\n[gates.warn]\nmax_ks_distance = 1";
        let gates = with_config(text, &SourceArgs::default()).unwrap().gates;
        assert_eq!(gates.fail[&Gate::MaxMiaDistance], 0.02);
        assert_eq!(gates.fail[&Gate::MaxTestAccuracyDrop], 0.05);
        assert!(gates.fail[&Gate::MaxRetainAccuracyDrop].is_infinite());
        assert_eq!((gates.warn[&Gate::MaxKsDistance], gates.warn[&Gate::MaxMiaDistance]), (1.0, 0.05));
        for wrong in ["[gates]\nmax_mai_distance = 0.1", "[gates.warn]\nmax_mai_distance = 0.1"] {
            let error = with_config(wrong, &SourceArgs::default()).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("max_mai_distance"), "{error}");
        }
    }

    #[test]
    fn outputs_stand_beside_the_model() {
        let config = options(Path::new("d/m.onnx"), &SourceArgs::default(), &TestArgs::default()).unwrap();
        let out = config.out(None);
        assert_eq!(out, Path::new("d/m.forgotten.onnx"));
        assert_eq!(config.report_folder(&out), Path::new("d/m.forgotten.report"));
        let args = SourceArgs { checkpoint: Some("c/checkpoint".into()), ..SourceArgs::default() };
        let config = options(Path::new("d/eval_model.onnx"), &args, &TestArgs::default()).unwrap();
        let out = config.out(None);
        assert_eq!(out, Path::new("c/checkpoint.forgotten"));
        assert_eq!(config.report_folder(&out), Path::new("c/checkpoint.forgotten.report"));
    }
}
