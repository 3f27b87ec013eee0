//! Changes to FlatBuffers: at the places of offsets, lengths and tables of fields.

use crate::Random;

/// Changes one to four numbers of a FlatBuffer.
pub fn change(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut new = bytes.to_vec();
    for _ in 0..=random.below(4) {
        // Structure lies at both ends; in between are elements.
        let at = match random.below(4) {
            0 => random.below(new.len()),
            1 => new.len().saturating_sub(1 + random.below(1 << 11)),
            _ => random.below(new.len().min(1 << 11)),
        };
        match random.below(5) {
            // Fields' places within a table are numbers of two bytes.
            0 => two(&mut new, at & !1, random)?,
            // The table of fields that a table refers to, backwards.
            1 => {
                let table = at & !3;
                let back = i32::from_le_bytes(new.get(table..table + 4)?.try_into().ok()?);
                let fields = usize::try_from(table as i64 - i64::from(back)).ok()?;
                two(&mut new, fields + 2 * random.below(8), random)?;
            }
            // An offset to what another one leads to.
            2 => {
                let (at, other) = (at & !3, random.below(new.len()) & !3);
                let far = u32::from_le_bytes(new.get(other..other + 4)?.try_into().ok()?);
                let target = (other as u32).wrapping_add(far).wrapping_sub(at as u32);
                new.get_mut(at..at + 4)?.copy_from_slice(&target.to_le_bytes());
            }
            _ => {
                let four = new.get_mut((at & !3)..(at & !3) + 4)?;
                let old = u32::from_le_bytes((&*four).try_into().ok()?);
                four.copy_from_slice(&(random.number(old.into()) as u32).to_le_bytes());
            }
        }
    }
    Some(new)
}

fn two(bytes: &mut [u8], at: usize, random: &mut Random) -> Option<()> {
    let two = bytes.get_mut(at..at.checked_add(2)?)?;
    let old = u16::from_le_bytes((&*two).try_into().ok()?);
    two.copy_from_slice(&(random.number(old.into()) as u16).to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_the_length() {
        let file = include_bytes!("../../fixtures/artifacts/mlp/nominal_checkpoint");
        let new: Vec<_> = (0..100).filter_map(|seed| change(file, &mut Random::new(seed))).collect();
        assert!(new.len() > 50 && new.iter().all(|new| new.len() == file.len()));
        assert!(new.iter().filter(|new| *new != file).count() > 40);
    }
}
