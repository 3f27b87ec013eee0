//! Histograms with common bins, so that several sets of numbers can be compared.

use serde::Serialize;

/// Counts of several sets of numbers in the same bins.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Edges of the bins, ascending; one more than there are bins.
    pub edges: Vec<f64>,
    /// Each set's name and its count in each bin. The last bin includes numbers beyond the last edge.
    pub sets: Vec<(String, Vec<usize>)>,
}

/// Numbers below this share of the last edge fall into one bin.
const SMALLEST: f64 = 1e-4;

/// Counts `sets` in `bins` bins from the smallest number to the 99th percentile of all numbers, so that a few extreme
/// rows do not squeeze the others into one bin. If no number is negative, as for losses, each bin is wider than the
/// previous one by the same factor, since most losses of a trained model are tiny. Numbers that are not finite are left
/// out. `None` without numbers.
pub fn histogram(sets: &[(&str, &[f64])], bins: usize) -> Option<Histogram> {
    let mut all: Vec<f64> = sets.iter().flat_map(|s| s.1).copied().filter(|x| x.is_finite()).collect();
    all.sort_unstable_by(f64::total_cmp);
    let low = *all.first()?;
    let high = *all.get((all.len() - 1) * 99 / 100)?;
    let high = if high > low { high } else { low + low.abs().max(1.0) * 1e-3 };
    let bins = bins.max(1);
    let least = low.max(high * SMALLEST);
    let growing = low >= 0.0 && bins > 1 && least < high;
    let edge = |i: usize| match i {
        0 => low,
        i if i == bins => high,
        i if growing => least * (high / least).powf(i as f64 / bins as f64),
        i => low + (high - low) * i as f64 / bins as f64,
    };
    let edges: Vec<f64> = (0..=bins).map(edge).collect();
    let count = |values: &[f64]| {
        let mut counts = vec![0usize; bins];
        for x in values.iter().filter(|x| x.is_finite()) {
            let bin = edges.partition_point(|e| e <= x).clamp(1, bins) - 1;
            if let Some(c) = counts.get_mut(bin) {
                *c += 1;
            }
        }
        counts
    };
    let sets = sets.iter().map(|(name, values)| ((*name).to_owned(), count(values))).collect();
    Some(Histogram { edges, sets })
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
        assert_eq!((found.sets[1].1[0], found.sets[1].1[9]), (1, 2));
    }

    #[test]
    fn losses_have_growing_bins_and_signed_numbers_equal_ones() {
        let losses: Vec<f64> = (0..400).map(|i| 10f64.powf(f64::from(i) / 100.0 - 3.0)).collect();
        let found = histogram(&[("a", &losses)], 8).unwrap();
        let widths: Vec<f64> = found.edges.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(widths.windows(2).skip(1).all(|w| w[1] > 1.5 * w[0]), "{widths:?}");
        assert!(found.sets[0].1.iter().all(|&n| n > 20), "{found:?}");
        let signed: Vec<f64> = (0..401).map(|i| f64::from(i) - 200.0).collect();
        let found = histogram(&[("a", &signed)], 8).unwrap();
        let widths: Vec<f64> = found.edges.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(widths.iter().all(|w| (w - widths[0]).abs() < 1e-9), "{widths:?}");
    }

    #[test]
    fn one_number_and_none_are_no_trouble() {
        let same = histogram(&[("a", &[0.0, 0.0])], 4).unwrap();
        assert_eq!(same.sets[0].1.iter().sum::<usize>(), 2);
        assert_eq!(histogram(&[("a", &[]), ("b", &[f64::NAN])], 4), None);
    }
}
