//! Histograms that can be laid over each other: several sets of numbers in the same bins.

use serde::Serialize;

/// Counts of several sets of numbers in the same bins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// One more than there are bins, ascending.
    pub edges: Vec<f64>,
    /// Each set's name and its count in each bin. The last bin also has what lies beyond the last edge.
    pub sets: Vec<(String, Vec<usize>)>,
}

/// Counts `sets` in `bins` equal bins from the smallest number to the 99th percentile of all, so that a few extreme
/// rows do not squeeze the others into one bin. Numbers that are not finite are left out. `None` without a number.
pub fn histogram(sets: &[(&str, &[f64])], bins: usize) -> Option<Histogram> {
    let mut all: Vec<f64> = sets.iter().flat_map(|s| s.1).copied().filter(|x| x.is_finite()).collect();
    all.sort_unstable_by(f64::total_cmp);
    let low = *all.first()?;
    let high = *all.get((all.len() - 1) * 99 / 100)?;
    let high = if high > low { high } else { low + low.abs().max(1.0) * 1e-3 };
    let bins = bins.max(1);
    let step = (high - low) / bins as f64;
    let edges = (0..=bins).map(|i| if i == bins { high } else { low + step * i as f64 }).collect();
    let count = |values: &[f64]| {
        let mut counts = vec![0usize; bins];
        for x in values.iter().filter(|x| x.is_finite()) {
            let bin = (((x - low) / step) as usize).min(bins - 1);
            if let Some(c) = counts.get_mut(bin) {
                *c += 1;
            }
        }
        counts
    };
    Some(Histogram { edges, sets: sets.iter().map(|(name, values)| ((*name).to_owned(), count(values))).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_share_their_bins_and_no_number_is_lost() {
        let a: Vec<f64> = (0..200).map(|i| f64::from(i) / 100.0).collect();
        let b = [0.0, 1.0, 1e9, f64::NAN];
        let found = histogram(&[("a", &a), ("b", &b)], 10).unwrap();
        assert_eq!(found.edges.len(), 11);
        assert!(found.edges.windows(2).all(|w| w[0] < w[1]) && found.edges[10] < 2.1, "{:?}", found.edges);
        assert_eq!(found.sets[0].1.iter().sum::<usize>(), 200);
        assert_eq!(found.sets[1].1.iter().sum::<usize>(), 3);
        assert_eq!((found.sets[1].1[0], found.sets[1].1[9]), (1, 1));
    }

    #[test]
    fn one_number_and_none_are_no_trouble() {
        let same = histogram(&[("a", &[0.0, 0.0])], 4).unwrap();
        assert_eq!(same.sets[0].1, [2, 0, 0, 0]);
        assert_eq!(histogram(&[("a", &[]), ("b", &[f64::NAN])], 4), None);
    }
}
