//! What asks the program to end: Ctrl-C, SIGTERM (a scheduler, `timeout`, a container), SIGHUP (a terminal that goes away),
//! SIGQUIT. The run then ends at its next step or stage, and leaves everything as it was.

use super::out;
use crate::error::Error;
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How long the program may take to come to where it can end; many that send a signal kill after 30 seconds.
const GRACE: Duration = Duration::from_secs(25);

static SEEN: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether a signal has come.
pub fn seen() -> bool {
    SEEN.load(Ordering::Relaxed)
}

/// Notes signals from here on. One that cannot be caught ends the process at once: then the next run clears up.
pub fn watch() {
    end_late();
    let _ = ctrlc::set_handler(|| SEEN.store(true, Ordering::Relaxed));
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM, SIGXFSZ};
        // A file that is larger than `ulimit -f` allows is then an error of writing it.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
        // `nohup` has SIGHUP ignored, so that the run outlives the terminal.
        let outlives = ignored() & (1 << (SIGHUP - 1)) != 0;
        for signal in [SIGTERM, SIGQUIT, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !outlives) {
            let _ = signal_hook::flag::register(signal, Arc::clone(&SEEN));
        }
    }
}

/// Ends the process some time after a signal if nothing else has. What is temporary then stays until the next run.
fn end_late() {
    let watch = || loop {
        thread::sleep(Duration::from_millis(200));
        if seen() {
            thread::sleep(GRACE);
            out::error(&Error::Interrupted.to_string());
            std::process::exit(Error::Interrupted.exit_code().into());
        }
    };
    // Without it, the program ends at its next step or stage all the same.
    let _ = thread::Builder::new().name("signals".into()).spawn(watch);
}

/// The signals that this process was started to ignore, a bit each; none where the system does not say.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
