//! What asks the program to end: Ctrl-C, SIGTERM (a scheduler, `timeout`, a container), SIGHUP (a terminal that goes away),
//! SIGQUIT. The run then ends at its next step or stage, and leaves everything as it was.
//!
//! And what ends it at once: SIGABRT (no memory, a library that gives up) and SIGBUS (a file became shorter than what is
//! mapped of it). Then what is temporary is removed, and a word is said.

use super::{error_event, out};
use crate::{
    error::Error,
    run::{Stop, abandon, refused},
};
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long the program may take to come to where it can end; many that send a signal kill after 30 seconds.
const GRACE: Duration = Duration::from_secs(25);

static SEEN: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether a signal has come.
fn seen() -> bool {
    SEEN.load(Ordering::Relaxed)
}

/// What ends a run once a signal has come.
pub fn stop() -> Stop {
    Arc::clone(&SEEN).into()
}

/// The signal that ends the process, once there was one.
static FATAL: AtomicI32 = AtomicI32::new(0);
/// How often the watching thread looks, and how often at most until a fatal signal ends the process without it.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;

/// Notes signals from here on, and says errors as `json` too if so asked. One that cannot be caught ends the process at
/// once: then the next run clears up.
pub fn watch(json: bool) {
    end_late(json);
    let _ = ctrlc::set_handler(|| SEEN.store(true, Ordering::Relaxed));
    #[cfg(unix)]
    {
        use signal_hook::{
            consts::{SIGABRT, SIGBUS, SIGHUP, SIGQUIT, SIGTERM, SIGXFSZ},
            low_level,
        };
        // A file that is larger than `ulimit -f` allows is then an error of writing it.
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
        // `nohup` has SIGHUP ignored, so that the run outlives the terminal.
        let outlives = ignored() & (1 << (SIGHUP - 1)) != 0;
        for signal in [SIGTERM, SIGQUIT, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !outlives) {
            let _ = signal_hook::flag::register(signal, Arc::clone(&SEEN));
        }
        for signal in [SIGABRT, SIGBUS] {
            // The thread stays here: what it was about to do cannot be done. The watching thread ends the process.
            let hold = move || {
                FATAL.store(signal, Ordering::Relaxed);
                for _ in 0..LOOKS {
                    thread::sleep(LOOK);
                }
                low_level::exit(1);
            };
            // SAFETY: the action stores to an atomic, sleeps and exits, all of which a signal handler may do.
            let _ = unsafe { low_level::register(signal, hold) };
        }
    }
}

/// Ends the process at once after a fatal signal, and some time after another one if nothing else has.
fn end_late(json: bool) {
    let end = move |error: Error| {
        out::error(&error.to_string());
        if json && !out::shown() {
            error_event(&error);
        }
        abandon();
        // Not by `exit`: what libraries have registered for it might wait for the thread that the signal stopped.
        end_now(error.exit_code().into());
    };
    let watch = move || {
        let mut since = None;
        loop {
            thread::sleep(LOOK);
            match FATAL.load(Ordering::Relaxed) {
                0 => {}
                signal => end(fatal(signal)),
            }
            if seen() && since.get_or_insert_with(Instant::now).elapsed() > GRACE {
                end(Error::Interrupted);
            }
        }
    };
    // Without it, the program ends at its next step or stage all the same.
    let _ = thread::Builder::new().name("signals".into()).spawn(watch);
}

/// What a fatal signal means.
fn fatal(signal: i32) -> Error {
    #[cfg(unix)]
    if signal == signal_hook::consts::SIGBUS {
        return Error::CutShort;
    }
    match refused() {
        Some(bytes) => Error::Memory(format!("{} MiB more were asked for", bytes.div_ceil(1 << 20))),
        None => Error::Internal(format!("aborted (signal {signal})")),
    }
}

fn end_now(code: i32) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code);
    #[cfg(not(unix))]
    std::process::exit(code)
}

/// The signals that this process was started to ignore, a bit each; none where the system does not say.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
