//! Random numbers (SplitMix64): a seed always gives the same ones.

#[derive(Debug)]
pub struct Random(u64);

/// Numbers at which programs err.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    3,
    7,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// One of them.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    /// Another number in place of `old`: at an edge, near to it, or a few times it.
    pub fn number(&mut self, old: u64) -> u64 {
        match self.below(5) {
            0 | 1 => EDGES[self.below(EDGES.len())],
            2 => old.wrapping_add_signed(self.below(9) as i64 - 4),
            3 => old.wrapping_mul(1 << self.below(34)),
            _ => self.bits() >> self.below(64),
        }
    }

    /// Other bytes in place of `old`, of about as many.
    pub fn bytes(&mut self, old: &mut Vec<u8>) {
        let at = self.below(old.len());
        match self.below(5) {
            0 => old.truncate(at),
            1 if !old.is_empty() => old[at] ^= 1 << self.below(8),
            2 if !old.is_empty() => old[at] = self.bits() as u8,
            3 => old.insert(at, self.bits() as u8),
            _ if old.len() > 3 => {
                let at = self.below(old.len() - 3);
                let number = self.number(0) as u32;
                old[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
            _ => old.push(self.bits() as u8),
        }
    }
}
