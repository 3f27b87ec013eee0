//! Gradient descent on retained rows, gradient ascent on rows to forget, and both together.

use super::{Plan, further};
use crate::{
    cycle::Cycle,
    engine::Float,
    error::Result,
    kernels::Backend,
    method::{Method, MethodName, MethodSettings, Set, Sets, Wanted},
    model::Model,
    recorder::Recorder,
    sgd::Optimizer,
    trace::{Observer, Trajectory},
};

/// Fine-tuning on the retained rows, as in the comparison of arXiv 2403.14339 and its reference code: ∇τ's loop with α
/// = 0. It has ⌊n_retain/n_forget·6⌋ epochs of as many steps as the forget set has batches, about six passes over the
/// retained rows. AdamW from 1e-3, falling linearly to a tenth.
#[derive(Clone, Debug)]
pub struct FineTune {
    plan: Plan,
}

impl FineTune {
    /// For these sizes.
    pub fn new(wanted: &Wanted) -> Self {
        let (forget, retain) = (wanted.batches(wanted.forget), wanted.batches(wanted.retain));
        let epochs = wanted.epochs.unwrap_or(retain * 6 / forget).max(1);
        let plan = Plan {
            batch_size: wanted.batch_size,
            epochs,
            steps: epochs * forget,
            learning_rate: wanted.learning_rate.unwrap_or(1e-3),
            weight_decay: wanted.weight_decay.unwrap_or(0.01),
        };
        Self { plan }
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for FineTune {
    fn name(&self) -> MethodName {
        MethodName::FineTune
    }

    fn described(&self) -> MethodSettings {
        self.plan.described(further! { "optimizer": "AdamW", "schedule": "linear to a tenth" })
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let Plan { batch_size, epochs, steps, learning_rate, weight_decay } = self.plan;
        let mut optimizer = Optimizer::adamw(model, weight_decay)?;
        let mut retain = Cycle::new("retain");
        let mut recorder = Recorder::new(observer, steps, epochs);
        for epoch in 0..epochs {
            let rate = learning_rate * (1.0 - 0.9 * epoch as f64 / epochs as f64);
            for _ in 0..steps / epochs {
                let batch = retain.next(&mut |pass| sets.pass(Set::Retain, pass, batch_size))?;
                optimizer.descend(model, &batch, 1.0, rate, Some(Set::Retain), &mut recorder)?;
            }
            recorder.epoch()?;
        }
        Ok(recorder.finish())
    }
}

/// NegGrad (Golatkar et al., arXiv 1911.04933): gradient ascent on the loss of the rows to forget. Nothing stops it, so
/// papers tune its learning rate until it does not ruin the model. Here: SGD with learning rate 1e-4, momentum 0.9, and
/// weight decay 5e-4, five passes.
#[derive(Clone, Debug)]
pub struct NegGrad {
    plan: Plan,
}

impl NegGrad {
    /// For these sizes.
    pub fn new(wanted: &Wanted) -> Self {
        let epochs = wanted.epochs.unwrap_or(5);
        let plan = Plan {
            batch_size: wanted.batch_size,
            epochs,
            steps: epochs * wanted.batches(wanted.forget),
            learning_rate: wanted.sgd_rate(1e-4),
            weight_decay: wanted.weight_decay.unwrap_or(5e-4),
        };
        Self { plan }
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for NegGrad {
    fn name(&self) -> MethodName {
        MethodName::NegGrad
    }

    fn described(&self) -> MethodSettings {
        self.plan.described(further! { "optimizer": "SGD", "momentum": 0.9 })
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let Plan { batch_size, epochs, steps, learning_rate, weight_decay } = self.plan;
        let mut optimizer = Optimizer::sgd(model, 0.9, weight_decay)?;
        let mut recorder = Recorder::new(observer, steps, epochs);
        for epoch in 0..epochs {
            for batch in sets.pass(Set::Forget, epoch, batch_size)? {
                optimizer.descend(model, &batch?, -1.0, learning_rate, Some(Set::Forget), &mut recorder)?;
            }
            recorder.epoch()?;
        }
        Ok(recorder.finish())
    }
}

/// NegGrad+ (Kurmanji et al., arXiv 2302.09880): L = α·L_r − (1 − α)·L_f with α = 0.9999, one batch of each set per
/// step. The settings are those of that paper's code: SGD with learning rate 0.01, five passes over the retained rows.
#[derive(Clone, Debug)]
pub struct NegGradPlus {
    plan: Plan,
    alpha: f64,
}

impl NegGradPlus {
    /// For these sizes.
    pub fn new(wanted: &Wanted) -> Self {
        let epochs = wanted.epochs.unwrap_or(5);
        let plan = Plan {
            batch_size: wanted.batch_size,
            epochs,
            steps: epochs * wanted.batches(wanted.retain),
            learning_rate: wanted.sgd_rate(0.01),
            weight_decay: wanted.weight_decay.unwrap_or(0.0),
        };
        Self { plan, alpha: 0.9999 }
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for NegGradPlus {
    fn name(&self) -> MethodName {
        MethodName::NegGradPlus
    }

    fn described(&self) -> MethodSettings {
        self.plan.described(further! { "optimizer": "SGD", "momentum": 0.0, "alpha": self.alpha })
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let Plan { batch_size, epochs, steps, learning_rate, weight_decay } = self.plan;
        let mut optimizer = Optimizer::sgd(model, 0.0, weight_decay)?;
        let mut forget = Cycle::new("forget");
        let mut recorder = Recorder::new(observer, steps, epochs);
        for epoch in 0..epochs {
            for retain in sets.pass(Set::Retain, epoch, batch_size)? {
                let retain = retain?;
                let forget = forget.next(&mut |pass| sets.pass(Set::Forget, pass, batch_size))?;
                let forward = model.forward(&forget, None)?;
                let forget_loss = forward.losses.mean();
                let grads = forward.backward(self.alpha - 1.0)?;
                let forward = model.forward(&retain, Some(grads))?;
                let retain_loss = forward.losses.mean();
                let grads = forward.backward(self.alpha)?;
                recorder.step(learning_rate, Some(forget_loss), Some(retain_loss))?;
                optimizer.step(model, grads, learning_rate, recorder.steps())?;
            }
            recorder.epoch()?;
        }
        Ok(recorder.finish())
    }
}
