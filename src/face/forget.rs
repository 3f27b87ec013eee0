//! The main job in a few calls. [`Forget`] says what is wanted, [`Prepared`] has read model and rows, [`Forgotten`] has
//! unlearned them and passed its gates, and [`Forgotten::publish`] writes the new model and its report.

use super::{common, references, rows};
use crate::{
    error::Result,
    report::{Judged, Report},
    run::{
        Destination, Job, MethodName, Observer, Options, Stop,
        forget::{Outcome, unlearned},
    },
    unlearn::own::Chosen,
};
use std::path::Path;

/// A request: which model, which rows, and what is to be forgotten.
///
/// What is not said is inferred from the model and the rows, as on the command line; [`options`](Forget::options) sets
/// anything that the configuration file can set.
///
/// ```
/// use onnx_forget::Forget;
///
/// let job = Forget::new("fixtures/digits-cnn/model.onnx")
///     .train("fixtures/digits-cnn/train.parquet")
///     .validation("fixtures/digits-cnn/validation.parquet")
///     .test("fixtures/digits-cnn/test.parquet")
///     .ids("fixtures/digits-cnn/forget.parquet")
///     .prepare(&mut ())?;
/// assert_eq!(job.counts().forget_rows, 135);
/// # Ok::<(), onnx_forget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forget {
    options: Options,
    stop: Stop,
}

impl Forget {
    /// For the trained model in the ONNX file at `model`.
    pub fn new(model: impl AsRef<Path>) -> Self {
        Self { options: Options::new(model.as_ref()), stop: Stop::default() }
    }

    common!();
    rows!();
    references!();

    /// The method: ∇τ unless given. Another one by its name, or [one's own](crate::unlearn::own::OwnMethod).
    ///
    /// ```
    /// use onnx_forget::{Forget, run::MethodName};
    ///
    /// let job = Forget::new("model.onnx").method(MethodName::NegGradPlus);
    /// ```
    pub fn method(mut self, method: impl Into<Chosen>) -> Self {
        match method.into() {
            Chosen::Named(name) => self.options.unlearn.method = Some(name),
            Chosen::Own(own) => {
                self.options.unlearn.method = Some(MethodName::Own);
                self.options.own = own;
            }
        }
        self
    }

    /// Reads the model and the rows, and checks that they belong together. Nothing is computed yet.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if nothing is to be forgotten or an option is out of range; those of reading
    /// the model and the rows.
    pub fn prepare(self, observer: &mut dyn Observer) -> Result<Prepared> {
        self.options.require_forget()?;
        self.options.check()?;
        Job::prepare(self.options, &self.stop, observer, |_, _| Ok(Vec::new())).map(Prepared)
    }
}

/// A request whose model and rows are read.
pub struct Prepared(Job);

impl Prepared {
    /// How many rows there are of each set.
    pub fn counts(&self) -> &crate::data::Counts {
        &self.0.data.counts
    }

    /// What would be done, once the model has shown that it knows the rows: what `--dry-run` prints.
    ///
    /// ```
    /// use onnx_forget::{Forget, data::{InputConfig, PerChannel}};
    ///
    /// let folder = std::path::Path::new("fixtures/digits-cnn");
    /// let pixels = InputConfig {
    ///     scale: Some(1.0 / 255.0),
    ///     mean: Some(PerChannel::One(0.2877)),
    ///     std: Some(PerChannel::One(0.3549)),
    ///     ..InputConfig::default()
    /// };
    /// let job = Forget::new(folder.join("model.onnx"))
    ///     .train(folder.join("train.parquet"))
    ///     .validation(folder.join("validation.parquet"))
    ///     .test(folder.join("test.parquet"))
    ///     .ids(folder.join("forget.parquet"))
    ///     .input("image", pixels)
    ///     .prepare(&mut ())?;
    /// assert_eq!(job.describe(&mut ())?["method"], "nabla-tau");
    /// # Ok::<(), onnx_forget::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownRows`](crate::Error::UnknownRows) if the model does not know the rows as they were read; those of
    /// building the model.
    pub fn describe(&self, observer: &mut dyn Observer) -> Result<serde_json::Value> {
        self.0.dry_run(observer)
    }

    /// Compares the model with the runtimes, audits it, unlearns, audits again, and judges.
    ///
    /// ```no_run
    /// use onnx_forget::{Error, Forget};
    ///
    /// let job = Forget::new("model.onnx").train("train.parquet").validation("held-out.parquet").ids("ids.parquet");
    /// match job.prepare(&mut ())?.run(&mut ()) {
    ///     Ok(forgotten) => println!("{:?}", forgotten.judged().verdict),
    ///     Err(Error::NothingToForget(why)) => println!("nothing to do: {why}"),
    ///     Err(e) => return Err(e),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownRows`](crate::Error::UnknownRows), [`Error::NothingToForget`](crate::Error::NothingToForget),
    /// [`Error::ParityBefore`](crate::Error::ParityBefore), [`Error::Unlearning`](crate::Error::Unlearning) if a check or
    /// a gate failed; [`Error::Interrupted`](crate::Error::Interrupted) if it was stopped.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Forgotten> {
        unlearned(self.0, observer)?.map(Forgotten).map_err(|stopped| stopped.error)
    }
}

/// A model that has forgotten its rows, and whose gates held. It is in memory until it is published.
pub struct Forgotten(Outcome);

impl Forgotten {
    /// The verdict and the figures that it is made of.
    pub fn judged(&self) -> &Judged {
        self.0.judged()
    }

    /// Writes the new model to `out` and its report beside it, after the written file has been compared with the model in
    /// memory. Files that are there are not replaced.
    ///
    /// ```no_run
    /// use onnx_forget::Forget;
    ///
    /// let job = Forget::new("model.onnx").train("train.parquet").validation("held-out.parquet").ids("ids.parquet");
    /// let forgotten = job.prepare(&mut ())?.run(&mut ())?;
    /// let report = forgotten.publish("model.forgotten.onnx", &mut ())?;
    /// # Ok::<(), onnx_forget::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write) if `out` may not or cannot be written,
    /// [`Error::ParityAfter`](crate::Error::ParityAfter) if the written file computes something else. Nothing is left then.
    pub fn publish(self, out: impl AsRef<Path>, observer: &mut dyn Observer) -> Result<Report> {
        let to = Destination::new(&self.0.job.options, Some(out.as_ref()), false);
        to.check(&self.0.job.model.file, false)?;
        to.require_apart(&self.0.job)?;
        self.0.publish(&to, observer).map_err(|stopped| stopped.error)
    }
}
