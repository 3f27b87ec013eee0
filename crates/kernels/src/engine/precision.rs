//! How exactly matrix products are computed on an NVIDIA GPU.

use std::cell::Cell;

/// How exactly matrix products are computed on an NVIDIA GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Factors rounded to TF32 (10 bits of mantissa): several times faster.
    Tf32,
}

thread_local! {
    static PRECISION: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Puts the precision back.
struct Before(Precision);

impl Drop for Before {
    fn drop(&mut self) {
        PRECISION.set(self.0);
    }
}

impl Precision {
    /// Does `work`, whose matrix products this thread asks for: what other threads ask for is not touched. Of no effect on a
    /// CPU.
    pub fn during<R>(self, work: impl FnOnce() -> R) -> R {
        let _before = Before(PRECISION.replace(self));
        work()
    }

    /// How this thread's products are to be computed.
    pub fn now() -> Self {
        PRECISION.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_ends_with_its_work_and_is_the_threads_own() {
        let seen = Precision::Tf32.during(|| {
            let other = std::thread::spawn(Precision::now).join().unwrap();
            (Precision::now(), Precision::F32.during(Precision::now), Precision::now(), other)
        });
        assert_eq!(seen, (Precision::Tf32, Precision::F32, Precision::Tf32, Precision::F32));
        assert_eq!(Precision::now(), Precision::F32);
    }
}
