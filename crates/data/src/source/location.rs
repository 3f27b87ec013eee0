//! Paths as people write them: `~`, `file://`, and addresses that are not on this machine.

use super::keys::decoded;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Whether a path is to be taken as it is, and not relative to a configuration file's folder.
pub fn absolute(path: &Path) -> bool {
    path.is_absolute() || path.starts_with("~") || scheme(path).is_some()
}

/// A path's scheme, as in `file://`, and what comes behind it.
fn scheme(path: &Path) -> Option<(&str, &str)> {
    let (scheme, rest) = path.to_str()?.split_once("://")?;
    let letters = scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    (letters && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))).then_some((scheme, rest))
}

/// The path on this machine.
///
/// # Errors
/// [`Error::Usage`] for any other place; passwords and keys in the address are not repeated.
pub fn local(asked: &Path) -> Result<PathBuf> {
    if let Some((scheme, rest)) = scheme(asked) {
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if scheme.eq_ignore_ascii_case("file") && matches!(host, "" | "localhost") {
            return Ok(decoded(path).into());
        }
        let host = host.split(['?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        return Err(Error::Usage(format!(
            "{scheme}://{host}/…: rows are read from files on this machine: download them first, and give the file or folder"
        )));
    }
    let home = || std::env::var_os("HOME").filter(|h| !h.is_empty());
    if let Ok(rest) = asked.strip_prefix("~")
        && !asked.exists()
        && let Some(home) = home()
    {
        return Ok(Path::new(&home).join(rest));
    }
    Ok(asked.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_paths_or_are_refused_without_their_secrets() {
        let of = |text: &str| local(Path::new(text));
        assert_eq!(of("file:///a/b%20c.parquet").unwrap(), Path::new("/a/b c.parquet"));
        assert_eq!(of("file://localhost/a").unwrap(), Path::new("/a"));
        assert_eq!(of("d/x.parquet").unwrap(), Path::new("d/x.parquet"));
        assert!(of("~/x.parquet").unwrap().is_absolute());
        for secret in
            ["https://user:hush@example.org/a?token=hush#hush", "s3://key:hush@bucket/hush", "hf://example.org?hush"]
        {
            let error = of(secret).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        assert!(absolute(Path::new("https://x/y")) && absolute(Path::new("~/y")) && !absolute(Path::new("a://")));
    }
}
