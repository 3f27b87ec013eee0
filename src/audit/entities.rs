//! Entities in sequences of tags, as seqeval counts them (its default mode, that of the CoNLL script).

use std::collections::BTreeSet;

/// A tag: whether a token is in an entity, of which kind, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// `O` outside, `B` begins, `I` inside, `E` ends, `S` alone.
    place: char,
    /// Number of the entity's kind.
    kind: usize,
}

/// The tags that class names stand for, in their order: `O`, `B-PER`, `I-PER`, … also in the forms IOBES and BILOU. `None` where a name is
/// none, or none is inside an entity.
pub fn tags(names: &[String]) -> Option<Vec<Tag>> {
    let mut kinds: Vec<&str> = Vec::new();
    let mut tags = Vec::with_capacity(names.len());
    for name in names {
        let (place, kind) = match name.as_str() {
            "O" => ('O', ""),
            name => {
                let (place, kind) = name.split_once('-')?;
                let place = match place {
                    "B" => 'B',
                    "I" => 'I',
                    "E" | "L" => 'E',
                    "S" | "U" => 'S',
                    _ => return None,
                };
                (place, kind)
            }
        };
        let known = kinds.iter().position(|known| *known == kind);
        let kind = known.unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        tags.push(Tag { place, kind });
    }
    tags.iter().any(|tag| tag.place != 'O').then_some(tags)
}

/// The entities of a sequence: kind, first and last token.
pub fn entities(sequence: &[Tag]) -> BTreeSet<(usize, usize, usize)> {
    let mut found = BTreeSet::new();
    let (mut before, mut begin) = (Tag { place: 'O', kind: usize::MAX }, 0);
    let end = Tag { place: 'O', kind: usize::MAX };
    for (at, &tag) in sequence.iter().chain(&[end]).enumerate() {
        if ends(before, tag) {
            found.insert((before.kind, begin, at - 1));
        }
        if starts(before, tag) {
            begin = at;
        }
        before = tag;
    }
    found
}

fn ends(before: Tag, tag: Tag) -> bool {
    match (before.place, tag.place) {
        ('O', _) => false,
        ('E' | 'S', _) | (_, 'B' | 'S' | 'O') => true,
        _ => before.kind != tag.kind,
    }
}

fn starts(before: Tag, tag: Tag) -> bool {
    match (before.place, tag.place) {
        (_, 'O') => false,
        (_, 'B' | 'S') | ('E' | 'S' | 'O', _) => true,
        _ => before.kind != tag.kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sequence: &str) -> Vec<(usize, usize, usize)> {
        let names: Vec<String> =
            ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B"].into_iter().map(String::from).collect();
        let all = tags(&names).unwrap();
        let of = |word: &str| all[names.iter().position(|name| name == word).unwrap()];
        entities(&sequence.split(' ').map(of).collect::<Vec<_>>()).into_iter().collect()
    }

    #[test]
    fn entities_are_seqevals() {
        // Kind 1 is A, kind 2 is B; what seqeval.metrics.sequence_labeling.get_entities gives for the same tags.
        assert_eq!(found("B-A I-A O B-B"), [(1, 0, 1), (2, 3, 3)]);
        assert_eq!(found("I-A I-A O I-B"), [(1, 0, 1), (2, 3, 3)], "an entity may begin with I");
        assert_eq!(found("B-A I-B I-B"), [(1, 0, 0), (2, 1, 2)], "another kind is another entity");
        assert_eq!(found("B-A B-A I-A"), [(1, 0, 0), (1, 1, 2)]);
        assert_eq!(found("S-A E-A I-A E-A"), [(1, 0, 0), (1, 1, 1), (1, 2, 3)]);
        assert_eq!(found("O O"), []);
    }

    #[test]
    fn other_names_are_no_tags() {
        let of = |names: &[&str]| tags(&names.iter().map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(of(&["O", "B-x", "L-x", "U-x"]).is_some());
        assert!(of(&["O"]).is_none() && of(&["NOUN", "VERB"]).is_none() && of(&["O", "X-y"]).is_none());
    }
}
