//! The files that a path names.
//!
//! Of a folder, what Spark, Hive, Arrow and Hugging Face read is read: all files with rows, also in sub-folders, but for
//! names that begin with `_` or `.`. A folder called `key=value` is a column. A file that looks like data and is left out
//! is told. Where names say which rows train and which are held out, a part's files are read alone.

use super::{
    delta,
    folder::{self, Seen},
    keys, location,
    part::Part,
};
use crate::{Error, Places, Result};
use arrow_array::ArrayRef;
use arrow_schema::Field;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A file, and what its folders say of all of its rows.
#[derive(Debug)]
pub struct ListedFile {
    pub path: PathBuf,
    /// Columns of one value.
    pub constants: Vec<(Field, ArrayRef)>,
}

/// All files of a table.
#[derive(Debug, Default)]
pub struct Listing {
    pub files: Vec<ListedFile>,
    /// The parts that the names speak of, if they speak of several.
    pub parts: BTreeSet<Part>,
    pub warnings: Vec<String>,
}

/// Lists the files of a table that is in several places, in their order.
///
/// # Errors
/// As [`list`]; a file that is there twice; no place.
pub fn list_all(places: &Places, wanted: Option<Part>) -> Result<Listing> {
    let mut all = Listing::default();
    let listings = places.paths().iter().map(|place| list(&location::local(place)?, wanted));
    let listings = listings.collect::<Result<Vec<_>>>()?;
    // Beside a place whose names tell parts apart, one whose names do not is training data.
    let told_apart = listings.iter().any(|listing| !listing.parts.is_empty());
    for Listing { files, parts, warnings } in listings {
        if parts.is_empty() && told_apart && wanted.is_some_and(|part| part != Part::Train) {
            continue;
        }
        all.files.extend(files);
        all.parts.extend(parts);
        all.warnings.extend(warnings);
    }
    let mut seen = BTreeSet::new();
    match all.files.iter().find(|file| file.path.canonicalize().is_ok_and(|path| !seen.insert(path))) {
        Some(ListedFile { path, .. }) => Err(Error::ReadData {
            path: path.clone(),
            problem: "it is there twice, by a link or named twice: name each file once, as one table".into(),
        }),
        None if all.files.is_empty() && !matches!(places, Places::Memory(_)) => {
            Err(Error::Usage("a list of files with rows is empty: name one at least".into()))
        }
        None => Ok(all),
    }
}

/// Lists the files of a table, or of one part of it where names tell parts apart. A path that exists is taken as it is,
/// also with glob signs in its name.
fn list(asked: &Path, wanted: Option<Part>) -> Result<Listing> {
    let fail = |problem: String| Error::ReadData { path: asked.into(), problem };
    let mut warnings = Vec::new();
    let seen = if asked.is_dir() {
        folder::files(asked, &mut warnings).map_err(fail)?
    } else if asked.exists() {
        let seen = named_by_hand(vec![asked.to_owned()], asked).map_err(fail)?;
        return Ok(Listing { files: keys::constants(seen), ..Listing::default() });
    } else {
        named_by_hand(globbed(asked)?, asked).map_err(fail)?
    };
    if seen.is_empty() {
        return Err(fail("no Parquet, CSV, JSON or Arrow file there".into()));
    }
    let parts: Vec<Option<Part>> = {
        let common = common_folder(&seen);
        seen.iter().map(|s| Part::of(s.path.strip_prefix(&common).unwrap_or(&s.path))).collect()
    };
    let named: BTreeSet<Part> = parts.iter().flatten().copied().collect();
    let (Some(wanted), true) = (wanted, named.len() > 1) else {
        return Ok(Listing { files: keys::constants(seen), parts: BTreeSet::new(), warnings });
    };
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    for (file, part) in seen.into_iter().zip(parts) {
        match part {
            Some(part) if part == wanted => kept.push(file),
            Some(_) => {}
            None => left.push(file.path),
        }
    }
    if kept.is_empty() {
        return Err(fail(format!("its files are named by their parts, but none of them {wanted}")));
    }
    if let Some(first) = left.first() {
        let (name, n) = (first.display(), left.len());
        warnings.push(format!(
            "{name}: left out ({n} such files): its name does not say train, validation or test, as others do"
        ));
    }
    Ok(Listing { files: keys::constants(kept), parts: named, warnings })
}

/// Files that are not listed from a folder, with the `key=value` names behind the fixed part of the pattern. Those that lie
/// in a Delta table have to be current.
fn named_by_hand(paths: Vec<PathBuf>, pattern: &Path) -> Result<Vec<Seen>, String> {
    let fixed = pattern.iter().take_while(|name| !name.to_string_lossy().contains(['*', '?', '[', '{'])).count();
    let mut tables: BTreeMap<PathBuf, Vec<Seen>> = BTreeMap::new();
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        let table = path.ancestors().skip(1).take(5).find(|folder| folder.join(delta::LOG).is_dir());
        let Some(table) = table else {
            let folders = path.parent().into_iter().flat_map(Path::iter).skip(fixed);
            let keys = folders.filter_map(|name| keys::of_name(&name.to_string_lossy())).collect();
            all.push(Seen { path, keys });
            continue;
        };
        if !tables.contains_key(table) {
            tables.insert(table.to_owned(), delta::files(table)?);
        }
        match tables.get(table).and_then(|files| files.iter().find(|f| f.path == path)) {
            Some(current) => all.push(current.clone()),
            None => {
                let (path, table) = (path.display(), table.display());
                return Err(format!("{path} is no current file of the Delta table {table}; give the table's folder"));
            }
        }
    }
    Ok(all)
}

/// The innermost folder that holds all files.
fn common_folder(seen: &[Seen]) -> PathBuf {
    let mut parents = seen.iter().filter_map(|s| s.path.parent());
    let first = parents.next().unwrap_or(Path::new("")).to_owned();
    parents.fold(first, |mut common, parent| {
        while !parent.starts_with(&common) && common.pop() {}
        common
    })
}

fn globbed(asked: &Path) -> Result<Vec<PathBuf>> {
    let fail = |problem: String| Error::ReadData { path: asked.into(), problem };
    let text = asked.to_str().filter(|t| t.contains(['*', '?', '[', '{']));
    let pattern = text.ok_or_else(|| fail("no such file or folder".into()))?;
    let mut all = BTreeSet::new();
    for pattern in
        braces(pattern, 256).ok_or_else(|| fail("not a valid glob: too many alternatives in braces".into()))?
    {
        let paths = glob::glob(&pattern).map_err(|e| fail(format!("not a valid glob: {e}")))?;
        for path in paths {
            let path = path.map_err(|e| fail(format!("cannot be read ({e})")))?;
            if path.is_file() {
                all.insert(path);
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// A pattern with `{a,b}` as several without; `None` if these are more than `most`.
fn braces(pattern: &str, most: usize) -> Option<Vec<String>> {
    let found = pattern.rfind('{').and_then(|open| {
        let (before, inside) = (pattern.get(..open)?, pattern.get(open + 1..)?);
        let (inside, behind) = inside.split_once('}')?;
        Some((before, inside, behind))
    });
    let Some((before, inside, behind)) = found else { return Some(vec![pattern.to_owned()]) };
    let mut all = Vec::new();
    for one in inside.split(',') {
        all.extend(braces(&format!("{before}{one}{behind}"), most.checked_sub(all.len())?)?);
    }
    (all.len() <= most).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_alternatives() {
        assert_eq!(braces("a.{x,y}.b", 9).unwrap(), ["a.x.b", "a.y.b"]);
        let mut all = braces("{a,b{c,d}}", 9).unwrap();
        all.sort();
        all.dedup();
        assert_eq!(all, ["a", "bc", "bd"]);
        assert_eq!(braces("a*", 9).unwrap(), ["a*"]);
        assert_eq!(braces("a{b", 9).unwrap(), ["a{b"]);
        assert!(braces(&"{a,b}".repeat(20), 256).is_none());
    }
}
