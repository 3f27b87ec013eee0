//! Turns a panic inside another library into a message: what a runtime cannot take, or a GPU has no memory for, is no
//! defect of ours.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

thread_local! {
    /// The last panic's message while [`catch`] runs on this thread.
    static CAUGHT: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Runs `f`. A panic of `f` prints nothing.
///
/// # Errors
/// The message that `f` panicked with; `panic` if the panic holds no text.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = CAUGHT.with(|caught| {
                let mut caught = caught.borrow_mut();
                let ours = caught.is_some();
                if ours {
                    *caught = Some(Some(info.payload_as_str().unwrap_or("panic").to_string()));
                }
                ours
            });
            if !ours {
                previous(info);
            }
        }));
    });
    let outer = CAUGHT.with(|c| c.replace(Some(None)));
    let result = catch_unwind(AssertUnwindSafe(f));
    let message = CAUGHT.with(|c| c.replace(outer)).flatten();
    result.map_err(|_| message.unwrap_or_else(|| "panic".into()))
}

#[cfg(test)]
mod tests {
    use super::catch;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(catch(|| 3), Ok(3));
        let n = std::hint::black_box(7);
        assert_eq!(catch(|| panic!("number {n}")), Err::<(), _>("number 7".into()));
        let nested = catch(|| (catch(|| panic!("inner")), 1));
        assert_eq!(nested, Ok((Err::<(), _>("inner".to_string()), 1)));
    }
}
