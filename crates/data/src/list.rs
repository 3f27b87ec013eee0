//! The lists of ids to forget: files, or standard input.

use super::{
    DataConfig, Note, Places, Rows, bind,
    ids::{self, IdKind, Key},
    source::Source,
};
use crate::{Error, Result};
use std::{
    io::{Read, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// A path that stands for standard input.
const STDIN: &str = "-";

/// All lists of ids of a run.
pub struct Lists(Vec<List>);

/// One list of ids.
struct List {
    /// How the list was given.
    name: String,
    source: Source,
    column: String,
    /// Whether nothing but the training data's columns told which of several it is.
    guessed: bool,
    /// What standard input held; the file goes when the list does.
    _held: Option<NamedTempFile>,
}

impl Lists {
    /// Opens the lists and finds each one's column of ids.
    ///
    /// # Errors
    /// A list that cannot be read, or whose column of ids nothing tells.
    pub fn open(config: &DataConfig, train: &Source, asked: &[Places], notes: &mut Vec<Note>) -> Result<Self> {
        if asked.iter().flat_map(Places::paths).filter(|p| **p == Path::new(STDIN)).count() > 1 {
            return Err(Error::Usage("standard input (`-`) can be one list of ids only".into()));
        }
        let mut lists = Vec::new();
        for places in asked {
            if let Places::Memory(table) = places {
                lists.push(List::new(config, train, (table.name().into(), Source::open(places)?, None), notes)?);
            }
            for path in places.paths() {
                lists.push(List::open(config, train, path, notes)?);
            }
        }
        Ok(Self(lists))
    }

    /// The columns of ids, a list each.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|list| list.column.as_str())
    }

    /// Whether a column of ids was chosen for no better reason than that the training data have one of that name, too.
    pub fn guessed(&self) -> bool {
        self.0.iter().any(|list| list.guessed)
    }

    /// How the lists were given.
    pub fn names(&self) -> String {
        self.0.iter().map(|list| list.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Calls `each` with every listed id, as one of `kind`, and whether it is one; text that is none is given as it is. How
    /// many a list has, and which kind of its own, is noted.
    ///
    /// # Errors
    /// A list of a kind that cannot be converted.
    pub fn scan(&self, kind: IdKind, notes: &mut Vec<Note>, mut each: impl FnMut(Key<'_>, bool)) -> Result<()> {
        let mut text = String::new();
        for list in &self.0 {
            let rows = Rows::all(list.source.rows());
            let own = ids::require_kind(&list.source, &list.column).map_err(|e| list.named(e))?;
            if !kind.takes(own) {
                let problem = format!("column `{}` holds {own}, and the training data's ids are {kind}", list.column);
                return Err(Error::Data(format!("{}: ids of two kinds: {problem}. Write both as one kind", list.name)));
            }
            let each = |_, key: Key<'_>| match kind.of(own, key, &mut text) {
                Some(key) => each(key, true),
                None => each(key, false),
            };
            ids::scan(&list.source, &list.column, &rows, own, each).map_err(|e| list.named(e))?;
            let converted = if own == kind { String::new() } else { format!(", read as {kind}") };
            let how = format!("{}: column `{}`, {} rows of {own}{converted}", list.name, list.column, rows.len());
            notes.push(Note { what: "forget".into(), how, inferred: own != kind });
        }
        Ok(())
    }
}

impl List {
    fn open(config: &DataConfig, train: &Source, path: &Path, notes: &mut Vec<Note>) -> Result<Self> {
        let (held, name) = match path == Path::new(STDIN) {
            true => (Some(standard_input()?), "standard input".to_owned()),
            false => (None, path.display().to_string()),
        };
        let data = &config.files;
        let wanted = [data.forget_id.as_deref(), data.id.as_deref()];
        let known = |word: &str| {
            let of_list = wanted.iter().flatten().any(|name| alike(name, word));
            of_list || alike(word, "id") || train.fields().any(|f| alike(f.name(), word))
        };
        let source = Source::open_list(held.as_ref().map_or(path, NamedTempFile::path), &known);
        let source = source.map_err(|e| renamed(e, path))?;
        Self::new(config, train, (name, source, held), notes)
    }

    /// Finds the column of ids.
    fn new(
        config: &DataConfig,
        train: &Source,
        (name, source, held): (String, Source, Option<NamedTempFile>),
        notes: &mut Vec<Note>,
    ) -> Result<Self> {
        let mut list = Self { name, source, column: String::new(), guessed: false, _held: held };
        (list.column, list.guessed) = list.ids_of(config, train, notes)?;
        Ok(list)
    }

    /// The column of ids: the one that is named, the only one, or the one that the training data has too, and that is not the
    /// model's; and whether it is the last.
    fn ids_of(&self, config: &DataConfig, train: &Source, notes: &mut Vec<Note>) -> Result<(String, bool)> {
        let data = &config.files;
        let names: Vec<&str> = self.source.fields().map(|f| f.name().as_str()).filter(|n| !bind::is_index(n)).collect();
        if let Some(asked) = &data.forget_id {
            return match find(&names, asked) {
                _ if self.source.field(asked).is_some() => Ok((asked.clone(), false)),
                Some(found) => Ok((self.noted(found, asked, notes), false)),
                None => {
                    let problem = format!("no column `{asked}`, which `--forget-id` or `forget_id` names");
                    Err(Error::Data(format!("{}: {problem}", self.name)))
                }
            };
        }
        let asked = data.id.as_deref();
        if let Some(id) = asked.filter(|id| self.source.field(id).is_some()) {
            return Ok((id.to_owned(), false));
        }
        if let [only] = names.as_slice() {
            return Ok(((*only).to_owned(), false));
        }
        if let Some((id, found)) = asked.and_then(|id| Some((id, find(&names, id)?))) {
            return Ok((self.noted(found, id, notes), false));
        }
        // Nothing is named: a column called `id`, or the only one that both have.
        let theirs: Vec<&str> = train.fields().map(|f| f.name().as_str()).collect();
        let both = |n: &&str| find(&theirs, n).is_some_and(|own| !bind::is_models(config, own));
        let alike: Vec<&str> = names.iter().copied().filter(both).collect();
        let by_name = |of: &[&str]| find(of, "id").map(|id| (id.to_owned(), false));
        let found = by_name(&alike).or_else(|| by_name(&names)).or_else(|| match alike.as_slice() {
            [one] => Some(((*one).to_owned(), true)),
            _ => None,
        });
        found.ok_or_else(|| {
            // Only names that the training data has too are shown: without a line of names, others are values.
            let common: Vec<String> = alike.iter().map(|n| format!("`{n}`")).collect();
            let common = match common.as_slice() {
                [] => "none of which the training data has".to_owned(),
                some => format!("of which the training data has {}", some.join(", ")),
            };
            let problem = format!("nothing tells which of its {} columns holds the ids ({common})", names.len());
            let hint =
                "name it by `--forget-id COLUMN` (or `forget_id = \"...\"` under `[data]`), or leave only that one";
            Error::Data(format!("{}: {problem}; {hint}", self.name))
        })
    }

    fn noted(&self, found: &str, asked: &str, notes: &mut Vec<Note>) -> String {
        let how = format!("{}: column `{found}`, taken for `{asked}`", self.name);
        notes.push(Note { what: "forget".into(), how, inferred: true });
        found.to_owned()
    }

    fn named(&self, e: Error) -> Error {
        match self._held {
            Some(_) => renamed(e, Path::new(STDIN)),
            None => e,
        }
    }
}

/// The error of a file that stands in for standard input.
fn renamed(e: Error, path: &Path) -> Error {
    match e {
        Error::ReadData { problem, .. } if path == Path::new(STDIN) => {
            Error::ReadData { path: "standard input".into(), problem }
        }
        e => e,
    }
}

/// Whether two names differ in case, spaces and signs only.
pub fn alike(a: &str, b: &str) -> bool {
    let plain =
        |name: &str| -> String { name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    !plain(a).is_empty() && plain(a) == plain(b)
}

/// The name that is `wanted`, or the only one alike.
pub fn find<'a>(names: &[&'a str], wanted: &str) -> Option<&'a str> {
    if let Some(same) = names.iter().find(|n| **n == wanted) {
        return Some(same);
    }
    let mut found = names.iter().filter(|n| alike(n, wanted));
    found.next().filter(|_| found.next().is_none()).copied()
}

/// Standard input as a file that only this user can read.
fn standard_input() -> Result<NamedTempFile> {
    let fail =
        |e: std::io::Error| Error::ReadData { path: "standard input".into(), problem: format!("cannot be read ({e})") };
    let mut file = NamedTempFile::new().map_err(fail)?;
    let mut buffer = vec![0; 1 << 16];
    let mut input = std::io::stdin().lock();
    loop {
        let n = input.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            break;
        }
        file.write_all(buffer.get(..n).unwrap_or_default()).map_err(fail)?;
    }
    file.flush().map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_in_case_and_signs() {
        assert!(alike("Customer ID", "customer_id") && alike("ID", "id") && !alike("id", "uid") && !alike("-", "_"));
        assert_eq!(find(&["ID", "id"], "id"), Some("id"));
        assert_eq!(find(&["ID", "Id"], "id"), None);
        assert_eq!(find(&["x", "Customer ID"], "customer_id"), Some("Customer ID"));
    }
}
