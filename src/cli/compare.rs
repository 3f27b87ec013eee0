//! `onnx-forget compare MODEL`: methods beside each other, on the same rows, from the same weights, with the same seeds.

use super::{
    args::{AuditDepth, Format, SourceArgs, TestArgs},
    config::options,
    out,
    progress::Printer,
    recipe_args::RecipeArgs,
    signals,
};
use crate::{
    error::Result,
    report::compare::markdown,
    run::{
        MethodName,
        compare::{Comparison, compare},
    },
};
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf};

/// `compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every method starts from MODEL's weights, with the settings that its paper or its authors' code has for images, whatever \
    the rows are; neggrad's settings are this project's own. nabla-tau and nabla-tau-paper follow epochs, alpha, learning_rate, and \
    weight_decay under [unlearn] in the configuration (nabla-tau also step_size); the other methods do not. Prints Markdown tables, and \
    rewrites compare.csv, compare.json, and compare.html after each method.\n\nMethods:\n  \
    nabla-tau        raises the loss of the rows to forget to that of unseen rows\n  \
    nabla-tau-paper  the same as published for images (arXiv 2403.14339); for text, that code has other settings\n  \
    fine-tune        trains on the retained rows only\n  \
    neggrad          raises the loss of the rows to forget, with nothing to stop it (arXiv 1911.04933)\n  \
    neggrad+         the same, and keeps the loss of the retained rows low (arXiv 2302.09880)\n  \
    scrub            moves away from MODEL's answers on the rows to forget, stays close on the others (arXiv 2302.09880)\n  \
    scrub+r          the same, then returns to the epoch in which rows to forget are answered as well as unseen rows\n  \
    ssd              shrinks the weights that matter more for the rows to forget than for all rows (arXiv 2308.07707)\n  \
    amnesiac         trains on all rows, with one wrong class for each row to forget (arXiv 2010.10981)\n  \
    random-labels    trains in turn on the rows to forget with random classes and on the retained rows (arXiv 2310.12508)\n  \
    salun            the same, on the half of the weights that matters most for the rows to forget (arXiv 2310.12508)\n  \
    retrain          trains from the beginning on the retained rows: the result that the others approximate"
)]
pub struct CompareArgs {
    /// The trained model
    pub model: PathBuf,
    /// Methods, separated by commas; all if not given
    #[arg(
        long,
        value_parser = super::values::methods(),
        value_delimiter = ',',
        value_name = "NAMES",
        hide_possible_values = true,
        help_heading = "Comparison"
    )]
    pub methods: Vec<MethodName>,
    /// Number of seeds: how often each method runs
    #[arg(long, default_value = "5", value_name = "N", help_heading = "Comparison")]
    pub seeds: NonZeroUsize,
    /// Models that were trained without the rows to forget, instead of retrain
    #[arg(long, num_args = 1.., value_name = "MODEL", help_heading = "Comparison")]
    pub reference: Vec<PathBuf>,
    /// Rows in a batch, for every method (amnesiac: at most 128)
    #[arg(long, value_name = "N", help_heading = "Comparison")]
    pub batch_size: Option<NonZeroUsize>,
    /// Folder for compare.csv, compare.json, and compare.html; <stem>.compare next to MODEL if not given
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Recipe of retrain.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// Runs every method with every seed, and prints what they reach.
pub fn run(args: CompareArgs) -> Result<()> {
    let tests = TestArgs { audit: AuditDepth::Standard, reference: args.reference };
    let mut options = options(&args.model, &args.source, &tests)?;
    args.recipe.over(&mut options.train);
    options.unlearn.batch_size = args.batch_size.map(Into::into).or(options.unlearn.batch_size);
    let comparison = Comparison { methods: args.methods, seeds: args.seeds.get(), folder: args.out };
    let mut printer = Printer::new(args.source.format);
    let (report, folder) = compare(options, comparison, &signals::stop(), &mut printer)?;
    match args.source.format {
        Format::Json => out::json_line(&report),
        Format::Pretty => out::result(&markdown(&report)),
    }
    printer.say(&format!("\nwritten    {}", folder.join("compare.html").display()));
    Ok(())
}
