//! `onnx-forget train MODEL`: an ordinary training, so that there is a model to compare with.

use super::{
    args::{Format, SourceArgs, TestArgs},
    config::options,
    out,
    progress::Printer,
    recipe_args::RecipeArgs,
    signals,
};
use crate::{
    error::{Error, Result},
    run::train::{Trained, Training, train},
};
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf};

/// `train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --keep-weights, every parameter is drawn anew by PyTorch's rule for its role, and --freeze and --trainable are \
    refused: kept weights would hold what they learned from rows that are left out. BatchNormalization uses batch statistics in training; \
    its running statistics are measured at the end and written, too. If an exporter has folded it into the convolutions, training from the \
    beginning goes badly: export the model with BatchNormalization kept."
)]
pub struct TrainArgs {
    /// Model whose graph is trained; its weights are used with --keep-weights only
    pub model: PathBuf,
    /// Ids of training rows to leave out, in the formats of --forget
    #[arg(long, value_name = "IDS", help_heading = "Data")]
    pub exclude: Option<PathBuf>,
    /// Start from the weights in MODEL
    #[arg(long, help_heading = "Training from the beginning")]
    pub keep_weights: bool,
    /// Rows in a batch; 256 if not given, fewer if there are few rows
    #[arg(long, value_name = "N", help_heading = "Training from the beginning")]
    pub batch_size: Option<NonZeroUsize>,
    /// Recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// The trained model; <stem>.trained.onnx next to MODEL if not given
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Overwrite OUT
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Trains, and writes a new model.
pub fn run(args: TrainArgs) -> Result<()> {
    if !args.source.forget.is_empty() || args.source.forget_class.is_some() {
        return Err(Error::Usage("train forgets nothing: leave rows out by --exclude IDS".into()));
    }
    let mut options = options(&args.model, &args.source, &TestArgs::default())?;
    args.recipe.over(&mut options.train);
    options.train.batch_size = args.batch_size.map(Into::into).or(options.train.batch_size);
    let training = Training {
        exclude: args.exclude.map(Into::into),
        keep_weights: args.keep_weights,
        bn: args.source.bn,
        out: args.out,
        force: args.force,
    };
    let mut printer = Printer::new(args.source.format);
    let trained = train(options, training, &signals::stop(), &mut printer)?;
    match args.source.format {
        Format::Json => out::json_line(&trained),
        Format::Pretty => printer.result(&words(&trained)),
    }
    Ok(())
}

fn words(trained: &Trained) -> String {
    let mut lines = vec![format!("trained    {:.1} s", trained.seconds)];
    for (name, score) in &trained.scores {
        let accuracy = score.accuracy.map_or(String::new(), |a| format!("  accuracy {:.2} %", 100.0 * a));
        lines.push(format!("{name:<10} loss {:.4}{accuracy}  ({} rows)", score.loss, score.rows));
    }
    if trained.statistics > 0 {
        lines.push(format!("statistics {} running means and variances measured", trained.statistics));
    }
    lines.push(format!("new model  {}", trained.output.display()));
    lines.join("\n")
}
