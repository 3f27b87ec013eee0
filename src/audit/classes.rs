//! The attack on the loss, class by class: a result for all rows together need not hold for each class.

use super::{
    membership::INFORMATIVE_ROWS,
    signals::Signals,
    statistics::{KolmogorovSmirnov, auc},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// How well forgotten rows of a class can be told from unseen rows of the same class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassScore {
    /// The class.
    pub class: i64,
    /// Its forgotten rows.
    pub forget_rows: usize,
    /// Its unseen rows.
    pub unseen_rows: usize,
    /// Probability that a forgotten row's loss is below an unseen row's, or its complement if that is larger.
    pub auc_two_sided: f64,
    /// Whether both have the same distribution. `beyond_chance` accounts for all judged classes together.
    pub ks: KolmogorovSmirnov,
}

/// All classes. Classes with few rows are not named, since that would reveal a forgotten row's class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classes {
    /// Classes with enough rows.
    pub judged: usize,
    /// Classes of forgotten rows with too few.
    pub unjudged: usize,
    /// Number of forgotten and of unseen rows that a class needs.
    pub rows_needed: usize,
    /// The class whose distance is largest beyond chance.
    pub worst: Option<ClassScore>,
    /// Each class with enough rows.
    pub scores: Vec<ClassScore>,
}

/// Scores each class; none if rows have no class.
pub fn classes(forget: &Signals, unseen: &Signals) -> Option<Classes> {
    let by_class = |s: &Signals| -> Option<BTreeMap<i64, Vec<f64>>> {
        let mut all: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        s.classes.as_ref()?.iter().zip(&s.losses).for_each(|(&class, &loss)| all.entry(class).or_default().push(loss));
        Some(all)
    };
    let (forget, unseen) = (by_class(forget)?, by_class(unseen)?);
    let enough = |l: &Vec<f64>| l.len() >= INFORMATIVE_ROWS;
    let pairs: Vec<(i64, &Vec<f64>, &Vec<f64>)> =
        forget.iter().filter_map(|(&class, f)| Some((class, f, unseen.get(&class)?))).collect();
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, f, u)| enough(f) && enough(u)).collect();
    let score = |&(class, f, u): &(i64, &Vec<f64>, &Vec<f64>)| {
        let area = auc(f, u)?;
        Some(ClassScore {
            class,
            forget_rows: f.len(),
            unseen_rows: u.len(),
            auc_two_sided: area.max(1.0 - area),
            ks: KolmogorovSmirnov::of(f, u, pairs.len())?,
        })
    };
    // The more rows a class has, the less of its distance is chance.
    let size = |score: &ClassScore| score.ks.beyond_chance + 1e-9 * score.ks.statistic;
    let scores: Vec<ClassScore> = pairs.iter().filter_map(score).collect();
    Some(Classes {
        judged: scores.len(),
        unjudged: forget.len() - scores.len(),
        rows_needed: INFORMATIVE_ROWS,
        worst: scores.iter().max_by(|a, b| size(a).total_cmp(&size(b))).copied(),
        scores,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_class_is_found_and_rare_ones_are_not_named() {
        let rows = |losses: &[(i64, f64)]| Signals {
            rows: (0..losses.len()).collect(),
            losses: losses.iter().map(|l| l.1).collect(),
            classes: Some(losses.iter().map(|l| l.0).collect()),
            ..Signals::default()
        };
        let spread = |class: i64, n: i64, shift: f64| (0..n).map(move |i| (class, i as f64 / n as f64 + shift));
        let forget: Vec<_> = spread(0, 60, 0.0).chain(spread(1, 60, -0.8)).chain(spread(2, 3, 5.0)).collect();
        let unseen: Vec<_> = spread(0, 80, 0.0).chain(spread(1, 80, 0.0)).chain(spread(2, 80, 0.0)).collect();
        let found = classes(&rows(&forget), &rows(&unseen)).unwrap();
        assert_eq!((found.judged, found.unjudged), (2, 1));
        let worst = found.worst.unwrap();
        assert!(worst.class == 1 && worst.auc_two_sided > 0.9 && worst.ks.beyond_chance > 0.4, "{worst:?}");
        assert!(found.scores.iter().all(|s| s.class != 2) && found.scores[0].ks.beyond_chance == 0.0);
        assert_eq!(classes(&Signals::default(), &Signals::default()), None);
        // A small class is further off, a large one further beyond what chance explains.
        let forget: Vec<_> = spread(0, 50, -0.3).chain(spread(1, 900, -0.25)).collect();
        let unseen: Vec<_> = spread(0, 50, 0.0).chain(spread(1, 900, 0.0)).collect();
        let found = classes(&rows(&forget), &rows(&unseen)).unwrap();
        assert!(found.worst.unwrap().class == 1 && found.scores[0].ks.statistic > found.scores[1].ks.statistic);
    }
}
