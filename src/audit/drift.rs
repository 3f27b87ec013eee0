//! How far outputs moved that no target names: what a shared trunk also feeds must keep what it knows.

use super::argmax;
use serde::Serialize;

/// What became of an output that no target names, on unseen rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The output.
    pub output: String,
    /// Rows that it was looked at on.
    pub rows: usize,
    /// Root mean square of the change, relative to that of the output's deviations from its mean over the rows: 0 if nothing moved, 1 if
    /// nothing is left of what told rows apart.
    pub drift: f64,
    /// Share of rows whose largest value is at the same place; none of a single value a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
}

impl Drift {
    /// Of `rows × width` values before and after, row-major. `None` if there are none, or not as many.
    pub fn of(output: &str, rows: usize, before: &[f32], after: &[f32]) -> Option<Self> {
        let width = before.len().checked_div(rows).filter(|width| *width > 0)?;
        if before.len() != after.len() || before.len() != rows * width {
            return None;
        }
        let mut means = vec![0.0; width];
        for row in before.chunks_exact(width) {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / rows as f64);
        }
        let (mut moved, mut spread) = (0.0, 0.0);
        for (was, is) in before.chunks_exact(width).zip(after.chunks_exact(width)) {
            for ((&was, &is), mean) in was.iter().zip(is).zip(&means) {
                moved += (f64::from(is) - f64::from(was)).powi(2);
                spread += (f64::from(was) - mean).powi(2);
            }
        }
        let same = |(was, is): (&[f32], &[f32])| f64::from(argmax(was) == argmax(is));
        let agreement = before.chunks_exact(width).zip(after.chunks_exact(width)).map(same).sum::<f64>() / rows as f64;
        let drift = if moved > 0.0 { (moved / spread.max(f64::MIN_POSITIVE)).sqrt() } else { 0.0 };
        Some(Self { output: output.into(), rows, drift, agreement: (width > 1).then_some(agreement) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_relative_to_what_tells_rows_apart() {
        let before = [1.0, 0.0, 3.0, 0.0, 5.0, 9.0];
        let still = Drift::of("y", 3, &before, &before).unwrap();
        assert_eq!((still.drift, still.agreement), (0.0, Some(1.0)));
        // Every row becomes the mean row.
        let lost = Drift::of("y", 3, &before, &[3.0; 6]).unwrap();
        assert!((lost.drift - 1.0).abs() < 1e-12, "{lost:?}");
        assert_eq!(lost.agreement, Some(2.0 / 3.0));
        assert_eq!(Drift::of("y", 3, &[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]).unwrap().agreement, None);
        assert!(Drift::of("y", 2, &before, &before[..4]).is_none() && Drift::of("y", 0, &[], &[]).is_none());
    }
}
