//! What the fuzz targets share: changes that know a format's structure, and a limit on memory. See docs/fuzzing.md.

pub mod flatbuffer;
pub mod footer;
mod limit;
pub mod protobuf;
mod random;
pub mod thrift;

pub use limit::Limited;
pub use random::Random;

/// The first of two parts, whose length comes before it in four bytes, and the second.
pub fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    rest.split_at_checked(u32::from_le_bytes(length.try_into().ok()?) as usize)
}

/// What [`cut`] cuts.
pub fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    [&(first.len() as u32).to_le_bytes(), first, second].concat()
}

/// Puts `new` in the place of the first bytes of `data`, unless it is longer than `most`; how many there are then.
pub fn replaced(data: &mut [u8], most: usize, new: &[u8]) -> Option<usize> {
    let room = data.get_mut(..new.len()).filter(|room| !room.is_empty() && room.len() <= most)?;
    room.copy_from_slice(new);
    Some(new.len())
}

/// Defines a fuzz target that runs a function of `onnx_forget::fuzzing` on what `change` makes of other inputs; where
/// that gives nothing, and in one of eight rounds, libFuzzer's own changes are taken.
#[macro_export]
macro_rules! target {
    ($run:path, $change:expr) => {
        #[global_allocator]
        static ALLOCATOR: $crate::Limited = $crate::Limited;

        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $run(bytes));

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let mut random = $crate::Random::new(seed.into());
            let change: fn(&[u8], &mut $crate::Random) -> Option<Vec<u8>> = $change;
            let new = if random.below(8) == 0 { None } else { change(&data[..size], &mut random) };
            let found = new.and_then(|new| $crate::replaced(data, max_size, &new));
            found.unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size))
        });
    };
}
