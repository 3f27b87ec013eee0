//! Who may write to a file or folder besides this user.

use std::path::Path;

/// Why somebody else may put something at `path`, which is there: another user owns it, or everybody may write to it.
/// `None` also where the system does not tell, or nothing is there.
pub fn not_ours(path: &Path) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        const STICKY: u32 = 0o1000;
        let meta = path.metadata().ok()?;
        // Nobody but the owner of an entry can replace it in a sticky folder.
        if meta.mode() & 0o002 != 0 && meta.mode() & STICKY == 0 {
            return Some("can be written by everybody");
        }
        if meta.uid() != 0 && meta.uid() != rustix::process::getuid().as_raw() {
            return Some("belongs to another user");
        }
    }
    let _ = path;
    None
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn a_folder_that_everybody_may_write_to_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(not_ours(folder.path()), None);
        for (mode, ours) in [(0o777, false), (0o1777, true), (0o775, true), (0o700, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(not_ours(folder.path()).is_none(), ours, "{mode:o}");
        }
        assert_eq!(not_ours(&folder.path().join("nothing")), None);
    }
}
