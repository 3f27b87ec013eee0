//! Two figures for the slope of a loss, what they are uncertain by, and whether they agree.

use serde::Serialize;

/// Two figures for one slope.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Slopes {
    /// Ours.
    pub ours: f64,
    /// What it is held against.
    pub numeric: f64,
    /// By how much the two may differ though all is right: rounding, and kinks within the step.
    pub noise: f64,
    /// Half the length of the difference, as a share of the tensors' root mean squares.
    pub step: f64,
    /// `|ours − numeric|`, relative to the larger of `|numeric|` and its root mean square over the directions.
    pub rel_error: f64,
    /// `noise`, relative to the same.
    pub rel_noise: f64,
}

/// What two figures say of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finding {
    Agrees,
    Open,
    Differs,
}

impl Slopes {
    pub(super) fn new(ours: f64, numeric: f64, noise: f64, step: f64) -> Self {
        Self { ours, numeric, noise, step, rel_error: f64::NAN, rel_noise: f64::NAN }
    }

    pub(super) fn error(&self) -> f64 {
        (self.ours - self.numeric).abs()
    }

    /// Why these show nothing; `whose` is the loss of which the difference was taken.
    pub(super) fn doubt(&self, whose: &str) -> String {
        if self.numeric == 0.0 && self.ours == 0.0 {
            return "the loss does not change along a random direction of the parameters".into();
        }
        format!(
            "differences of {whose} along a random direction are uncertain by {:.1} % of the slope, and differ from ours by {:.1} %",
            100.0 * self.rel_noise,
            100.0 * self.rel_error
        )
    }

    /// Relates errors to the larger of each `|numeric|` and the typical one.
    pub(super) fn relate(all: &mut [Self]) {
        let typical = (all.iter().map(|s| s.numeric.powi(2)).sum::<f64>() / all.len().max(1) as f64).sqrt();
        for slopes in all {
            let scale = slopes.numeric.abs().max(typical);
            let scale = if scale == 0.0 { slopes.ours.abs() } else { scale };
            let share = |x: f64| if x == 0.0 { 0.0 } else { x / scale };
            (slopes.rel_error, slopes.rel_noise) = (share(slopes.error()), share(slopes.noise));
        }
    }

    pub(super) fn finding(&self, tolerance: f64) -> Finding {
        // Comparisons are written so that a NaN, in a gradient or a loss, is larger than any error.
        if self.numeric == 0.0 && self.ours == 0.0 {
            Finding::Open
        } else if self.rel_error + self.rel_noise <= tolerance {
            Finding::Agrees
        } else if self.rel_error - self.rel_noise <= tolerance {
            Finding::Open
        } else {
            Finding::Differs
        }
    }
}
