//! Which name may have been meant by a word that is none.

/// The name that is nearest to `word`, if it may have been meant.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro(&word.to_lowercase(), &name.to_lowercase());
    let all = names.into_iter().map(|name| (likeness(name), name));
    let best = all.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}
