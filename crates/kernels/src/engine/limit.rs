//! How much memory this process may have at most.

use std::{fs, path::Path};

/// Fails if this process can never have so many bytes.
///
/// # Errors
/// Words that follow what needs them.
pub fn require_memory(bytes: u64) -> Result<(), String> {
    let mebi = |bytes: u64| bytes.div_ceil(1 << 20);
    match limits().min_by_key(|(limit, _)| *limit) {
        Some((limit, what)) if bytes > limit => {
            Err(format!("take at least {} MiB, and {what} is {} MiB", mebi(bytes), limit >> 20))
        }
        _ => Ok(()),
    }
}

/// Bytes, and what sets this limit.
fn limits() -> impl Iterator<Item = (u64, &'static str)> {
    #[cfg(unix)]
    let own = rustix::process::getrlimit(rustix::process::Resource::As).current;
    #[cfg(not(unix))]
    let own = None;
    // Of a container, which sees its own group as the root, and of a service.
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let groups = Path::new("/sys/fs/cgroup");
    let files = [groups.join(group).join("memory.max"), groups.join("memory/memory.limit_in_bytes")];
    let groups = files.map(|file| fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()));
    let [group, older] = groups.map(|limit| limit.map(|limit| (limit, "the limit of this control group")));
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let own = own.map(|limit| (limit, "this process's limit (ulimit -v)"));
    [own, group, older, machine.map(|limit| (limit, "this machine's memory"))].into_iter().flatten()
}

/// Main memory and swap.
fn total(info: &str) -> Option<u64> {
    let kibi = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some((kibi("MemTotal:")? + kibi("SwapTotal:").unwrap_or(0)) << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused() {
        assert_eq!(require_memory(1 << 20), Ok(()));
        let refused = require_memory(u64::MAX).unwrap_err();
        assert!(
            !cfg!(target_os = "linux") || refused.starts_with("take at least 17592186044416 MiB, and "),
            "{refused}"
        );
        assert_eq!(total("MemTotal:       2 kB\nMemFree: 1 kB\nSwapTotal:      1 kB\n"), Some(3 << 10));
        assert_eq!(total("MemTotal: much"), None);
    }
}
