//! Columns of a table.

use super::{Alternative, mapped, rows_changed, table};
use crate::{
    data::{Batch, Numbers},
    graph::input_scale::Affine,
};
use std::rc::Rc;

/// What the numbers of an input look like.
pub(super) struct Range {
    pub low: f64,
    pub high: f64,
    /// Mean, standard deviation, least and largest value at each position of a row.
    each: Vec<Position>,
}

#[derive(Clone, Copy)]
struct Position {
    mean: f64,
    deviation: f64,
    low: f64,
    high: f64,
}

impl Range {
    /// Of the values as they stand in the table: what the configuration made of them is undone.
    pub fn of(sample: &Batch, name: &str, numbers: &Numbers) -> Option<Self> {
        let tensor = sample.inputs.get(name)?;
        let (values, width) = (tensor.to_f64(), numbers.row_len().max(1));
        let position = |k: usize| {
            let (factor, term) = affine_at(numbers, k);
            let column: Vec<f64> = values.iter().skip(k).step_by(width).map(|x| (x - term) / factor).collect();
            let n = column.len().max(1) as f64;
            let mean = column.iter().sum::<f64>() / n;
            let deviation = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            let low = column.iter().copied().fold(f64::INFINITY, f64::min);
            Position { mean, deviation, low, high: column.iter().copied().fold(f64::NEG_INFINITY, f64::max) }
        };
        let each: Vec<Position> = (0..width).map(position).collect();
        let low = each.iter().map(|p| p.low).fold(f64::INFINITY, f64::min);
        let high = each.iter().map(|p| p.high).fold(f64::NEG_INFINITY, f64::max);
        Some(Self { low, high, each })
    }
}

/// What the configuration makes of the value at a position of a row.
pub(super) fn affine_at(numbers: &Numbers, k: usize) -> (f64, f64) {
    numbers.affine.as_ref().and_then(|a| a.get(k).copied()).unwrap_or((1.0, 0.0))
}

/// Values that were scaled before, where the model scales them by itself.
pub(super) fn scaled_twice(name: &str, numbers: &Numbers, own: &Affine) -> Alternative {
    let (own, input) = (own.clone(), name.to_string());
    let affine: Affine = (0..numbers.row_len()).map(|k| affine_at(numbers, k)).collect();
    let change = move |batch: &Batch| {
        mapped(batch, &input, |i, x| {
            let (factor, term) = affine.get(i).copied().unwrap_or((1.0, 0.0));
            let (by, plus) = own.get(i).copied().unwrap_or((1.0, 0.0));
            let raw = (x - term) / factor;
            if by == 0.0 { raw } else { (raw - plus) / by }
        })
    };
    Alternative {
        what: format!("input `{name}`: values that are scaled already, as the model scales them by itself"),
        mend: "store the values as they were before scaling: the scaler is part of the model".into(),
        change: Rc::new(change),
    }
}

/// Columns of a table: on another scale, in another order, one of them in another unit.
pub(super) fn columns(name: &str, numbers: &Numbers, range: &Range, order: &[String], all: &mut Vec<Alternative>) {
    let width = numbers.row_len();
    let natural: Vec<usize> = (0..width).collect();
    let mut ways: Vec<(String, String, Vec<usize>)> = vec![(String::new(), String::new(), natural.clone())];
    if numbers.columns.len() > 1 && numbers.columns.len() == width {
        let mut by_file: Vec<&String> = order.iter().filter(|c| numbers.columns.contains(c)).collect();
        by_file.dedup();
        let mut by_name: Vec<&String> = numbers.columns.iter().collect();
        by_name.sort();
        let reverse: Vec<&String> = numbers.columns.iter().rev().collect();
        for (what, listed) in [
            ("columns in the order of the file", by_file),
            ("columns in alphabetical order", by_name),
            ("columns in reverse order", reverse),
        ] {
            let places: Option<Vec<usize>> =
                listed.iter().map(|c| numbers.columns.iter().position(|own| own == *c)).collect();
            if let Some(places) = places.filter(|p| p.len() == width && *p != natural) {
                let mend = format!("list the columns in that order by `columns = [...]` under {}", table(name));
                ways.push((what.into(), mend, places));
            }
        }
    }
    type Scale = (&'static str, &'static str, fn(Position, f64) -> f64);
    let scales: [Scale; 5] = [
        ("", "", |_, x| x),
        (
            "standardized columns (mean 0, deviation 1)",
            "write `mean = [...]` and `std = [...]` of the training columns",
            |p, x| (x - p.mean) / if p.deviation > 0.0 { p.deviation } else { 1.0 },
        ),
        (
            "columns scaled to 0 to 1",
            "write `mean = [...]` (each column's least value) and `std = [...]` (largest less least)",
            |p, x| (x - p.low) / if p.high > p.low { p.high - p.low } else { 1.0 },
        ),
        (
            "columns scaled to −1 to 1",
            "write `mean = [...]` (each column's middle) and `std = [...]` (half of its range)",
            |p, x| 2.0 * (x - p.low) / if p.high > p.low { p.high - p.low } else { 1.0 } - 1.0,
        ),
        ("logarithms of 1 + value", "store ln(1 + value) in the table", |_, x| x.max(-0.999_999).ln_1p()),
    ];
    for (order_what, order_mend, places) in &ways {
        for (scale_what, scale_mend, scale) in scales {
            if order_what.is_empty() && scale_what.is_empty() && numbers.affine.is_none() {
                continue;
            }
            // Whole numbers are ids or counts: another scale makes nothing of them that the model was trained on.
            if !scale_what.is_empty() && !numbers.dtype.is_float() {
                continue;
            }
            let scale_what = if scale_what.is_empty() && numbers.affine.is_some() {
                "values without scale, mean and std"
            } else {
                scale_what
            };
            let scale_mend =
                if scale_mend.is_empty() && numbers.affine.is_some() { "leave them out" } else { scale_mend };
            let join = |a: &str, b: &str, between: &str| match (a.is_empty(), b.is_empty()) {
                (false, false) => format!("{a}{between}{b}"),
                _ => format!("{a}{b}"),
            };
            let scale_mend = match scale_mend {
                "" => String::new(),
                mend => format!("{mend} under {}", table(name)),
            };
            let each = range.each.clone();
            let affine: Vec<(f64, f64)> = (0..width).map(|k| affine_at(numbers, k)).collect();
            let (places, own) = (places.clone(), name.to_string());
            let change = move |batch: &Batch| {
                rows_changed(batch, &own, |row, out| {
                    out.extend(places.iter().map(|&k| {
                        let (factor, term) = affine.get(k).copied().unwrap_or((1.0, 0.0));
                        let raw = (row.get(k).copied().unwrap_or(0.0) - term) / factor;
                        each.get(k).map_or(raw, |&p| scale(p, raw))
                    }));
                })
            };
            all.push(Alternative {
                what: format!("input `{name}`: {}", join(order_what, scale_what, ", ")),
                mend: join(order_mend, &scale_mend, "; "),
                change: Rc::new(change),
            });
        }
    }
    if numbers.dtype.is_float() && numbers.columns.len() == width {
        units(name, numbers, width, all);
    }
}

/// Columns for which other units are tried, at most.
const UNITS: usize = 32;

/// Factors between units of one kind, and the sign.
const POWERS: [f64; 13] = [1e6, 1e3, 100.0, 60.0, 24.0, 10.0, 0.1, 1.0 / 24.0, 1.0 / 60.0, 0.01, 1e-3, 1e-6, -1.0];

/// How many of the first unit are one of the second.
const CONVERSIONS: [(&str, &str, f64); 17] = [
    ("centimeters", "inches", 2.54),
    ("inches", "feet", 12.0),
    ("feet", "meters", 1.0 / 0.3048),
    ("kilometers", "miles", 1.609_344),
    ("grams", "ounces", 28.349_523),
    ("pounds", "kilograms", 1.0 / 0.453_592_37),
    ("liters", "gallons", 3.785_412),
    ("joules", "calories", 4.184),
    ("pascals", "millimeters of mercury", 133.322_4),
    ("millimeters of mercury", "kilopascals", 7.500_617),
    ("kilopascals", "pounds per square inch", 6.894_757),
    ("kilowatts", "horsepower", 0.745_7),
    ("milligrams per deciliter", "millimoles per liter of glucose", 18.016),
    ("milligrams per deciliter", "millimoles per liter of cholesterol", 38.67),
    ("milligrams per deciliter", "millimoles per liter of triglycerides", 88.57),
    ("micromoles per liter", "milligrams per deciliter of creatinine", 88.42),
    ("degrees", "radians", 57.295_78),
];

/// One column in another unit.
fn units(name: &str, numbers: &Numbers, width: usize, all: &mut Vec<Alternative>) {
    if width > UNITS {
        return;
    }
    let mut maps: Vec<(String, f64, f64)> = POWERS.iter().map(|&f| (format!("{f} times the value"), f, 0.0)).collect();
    maps.extend(CONVERSIONS.iter().flat_map(|&(small, large, factor)| {
        let named = |to: &str, from: &str, by: f64| (format!("{by:.5} times the value, as {to}, not {from}"), by, 0.0);
        [named(small, large, factor), named(large, small, 1.0 / factor)]
    }));
    maps.extend([
        ("degrees Celsius, not Fahrenheit".into(), 5.0 / 9.0, -160.0 / 9.0),
        ("degrees Fahrenheit, not Celsius".into(), 1.8, 32.0),
        ("kelvins, not degrees Celsius".into(), 1.0, 273.15),
        ("degrees Celsius, not kelvins".into(), 1.0, -273.15),
    ]);
    for k in 0..width {
        let column = numbers.columns.get(k).map_or(String::new(), |c| format!("column `{c}`"));
        let (factor, term) = affine_at(numbers, k);
        for (what, by, plus) in &maps {
            let (by, plus, own) = (*by, *plus, name.to_string());
            let change = move |batch: &Batch| {
                mapped(batch, &own, |i, x| if i == k { ((x - term) / factor * by + plus) * factor + term } else { x })
            };
            all.push(Alternative {
                what: format!("input `{name}`: {column} in another unit: {what}"),
                mend: "store the column in the unit that the model was trained on".into(),
                change: Rc::new(change),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::Outcome,
        data::{TargetKind, Targets},
        graph::{
            ValueId,
            loss::{LossKind, LossPlan},
        },
        plausibility::{
            answers::Answers,
            verdict::{Sample, examine},
        },
        tensor::{DType, HostTensor},
    };

    /// What is suggested first for a model that answers its only column, where the column is `map` of what it should be.
    fn first_suggestion(map: impl Fn(f32) -> f32) -> String {
        let right: Vec<f32> = (0..60).map(|i| 3.0 + 0.2 * i as f32).collect();
        let read = HostTensor::new(&[60, 1], right.iter().map(|&x| map(x)).collect()).unwrap();
        let targets = Targets::Values { width: 1, values: right };
        let train = Batch { inputs: [("x".to_string(), read)].into(), targets };
        let columns = vec!["level".to_string()];
        let numbers = Numbers { columns, dims: vec![1], dtype: DType::F32, limit: None, affine: None };
        let mut all = Vec::new();
        units("x", &numbers, 1, &mut all);
        let answer = |batch: &Batch| {
            let logits = batch.inputs["x"].to_f32();
            let losses = vec![0.0; logits.len()];
            let (targets, kind) = (&batch.targets, TargetKind::Value);
            let outcome = Outcome {
                losses: &losses,
                weights: &[],
                logits: &logits,
                width: 1,
                targets,
                kind,
                answered: None,
                figures: None,
            };
            Ok(Answers::of(&outcome, &LossPlan::new(LossKind::Mse, ValueId(0))))
        };
        let found = examine(&Sample { train, unseen: Vec::new(), seed: 0 }, true, &all, &answer).unwrap();
        found.suggestions.into_iter().map(|s| s.what).find(|what| what.contains("column")).unwrap_or_default()
    }

    #[test]
    fn the_conversion_that_fits_is_named_not_a_power_of_ten() {
        for (map, words) in [
            (&(|x: f32| x * 18.016) as &dyn Fn(f32) -> f32, "millimoles per liter of glucose, not milligrams"),
            (&|x| x / 18.016, "milligrams per deciliter, not millimoles per liter of glucose"),
            (&|x| x / 2.54, "centimeters, not inches"),
            (&|x| x * 133.322, "millimeters of mercury, not pascals"),
            (&|x| x * 1.8 + 32.0, "Celsius, not Fahrenheit"),
            (&|x| x * 10.0, "0.1 times"),
        ] {
            let found = first_suggestion(map);
            assert!(found.contains(words), "{words}: {found}");
        }
    }
}
