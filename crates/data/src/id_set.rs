//! A set of ids, held exactly.

use super::{digest::hex, ids::Key};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Exact set of ids, each with a few marks. Its memory is in proportion to the ids.
#[derive(Debug, Default)]
pub struct IdSet {
    integers: HashMap<i128, u8>,
    bytes: HashMap<Box<[u8]>, u8>,
}

impl IdSet {
    /// Adds `mark` to the id's marks and gives those that it had, 0 for a new id.
    pub fn insert(&mut self, key: Key<'_>, mark: u8) -> u8 {
        let marks = match key {
            Key::Integer(i) => self.integers.entry(i).or_default(),
            Key::Bytes(b) => match self.bytes.get_mut(b) {
                Some(marks) => marks,
                None => self.bytes.entry(b.into()).or_default(),
            },
        };
        let had = *marks;
        *marks |= mark;
        had
    }

    /// The id's marks, if it is in the set.
    pub fn get_mut(&mut self, key: Key<'_>) -> Option<&mut u8> {
        match key {
            Key::Integer(i) => self.integers.get_mut(&i),
            Key::Bytes(b) => self.bytes.get_mut(b),
        }
    }

    /// Ids that have all of the marks `with` and none of `without`.
    pub fn count(&self, with: u8, without: u8) -> usize {
        self.integers.values().chain(self.bytes.values()).filter(|&&m| m & with == with && m & without == 0).count()
    }

    /// Calls `each` with the ids that have all of the marks `with` and none of `without`.
    pub fn each(&self, with: u8, without: u8, mut each: impl FnMut(Key<'_>)) {
        let chosen = |m: u8| m & with == with && m & without == 0;
        self.integers.iter().filter(|(_, m)| chosen(**m)).for_each(|(i, _)| each(Key::Integer(*i)));
        self.bytes.iter().filter(|(_, m)| chosen(**m)).for_each(|(b, _)| each(Key::Bytes(b)));
    }

    /// SHA-256 of `salt` and the ids that have `mark`, in a fixed order that does not depend on the file's.
    pub fn digest(&self, mark: u8, salt: &[u8]) -> String {
        let mut sha = Sha256::new();
        sha.update((salt.len() as u64).to_le_bytes());
        sha.update(salt);
        let mut integers: Vec<_> = self.integers.iter().filter(|(_, m)| **m & mark != 0).map(|(i, _)| *i).collect();
        integers.sort_unstable();
        let mut bytes: Vec<_> = self.bytes.iter().filter(|(_, m)| **m & mark != 0).map(|(b, _)| b).collect();
        bytes.sort_unstable();
        integers.iter().for_each(|i| Key::Integer(*i).feed(&mut sha));
        bytes.iter().for_each(|b| Key::Bytes(b).feed(&mut sha));
        hex(&sha.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_follows_the_ids_and_the_salt_alone() {
        let set = |ids: &[i128]| {
            let mut set = IdSet::default();
            ids.iter().for_each(|i| {
                set.insert(Key::Integer(*i), 1);
            });
            set.insert(Key::Integer(99), 2);
            set
        };
        assert_eq!(set(&[1, 2, 2]).digest(1, b"s"), set(&[2, 1]).digest(1, b"s"));
        assert_ne!(set(&[1, 2]).digest(1, b"s"), set(&[1, 2]).digest(1, b"t"));
        assert_ne!(set(&[1, 2]).digest(1, b"s"), set(&[1, 3]).digest(1, b"s"));
        assert_eq!((set(&[1, 2]).count(1, 2), set(&[99]).count(1 | 2, 0)), (2, 1));
    }
}
