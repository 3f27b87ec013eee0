//! Changes to protobuf messages that keep the wire format, and all lengths, right.

use crate::Random;

/// A message, as far as the wire format tells: its fields in order.
pub type Message = Vec<Field>;

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u64,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Varint(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    /// Bytes that are no message, such as most text.
    Bytes(Vec<u8>),
    /// Bytes that are a message, or by chance look like one.
    Message(Message),
}

/// How deep messages are looked into.
const DEPTH: usize = 24;

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let (from, mut value) = (*at, 0u64);
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            // One that is spelled longer than need be would not come back as it was.
            return (*at - from == length(value)).then_some(value);
        }
    }
    None
}

fn length(value: u64) -> usize {
    (64 - value.max(1).leading_zeros() as usize).div_ceil(7)
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The fields of a message, if the bytes are one.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    fields(bytes, DEPTH)
}

fn fields(bytes: &[u8], depth: usize) -> Option<Message> {
    let (mut at, mut fields) = (0, Vec::new());
    while at < bytes.len() {
        let key = varint(bytes, &mut at)?;
        let mut take = |n: usize| {
            let taken = bytes.get(at..at.checked_add(n)?);
            at += n;
            taken
        };
        let value = match key & 7 {
            1 => Value::Eight(take(8)?.try_into().ok()?),
            5 => Value::Four(take(4)?.try_into().ok()?),
            0 => Value::Varint(varint(bytes, &mut at)?),
            2 => {
                let length = varint(bytes, &mut at)?;
                let body = bytes.get(at..at.checked_add(usize::try_from(length).ok()?)?)?;
                at += body.len();
                let inner = if depth == 0 || body.is_empty() { None } else { self::fields(body, depth - 1) };
                inner.map_or_else(|| Value::Bytes(body.to_vec()), Value::Message)
            }
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        fields.push(Field { number: key >> 3, value });
    }
    Some(fields)
}

/// The bytes of a message.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    for Field { number, value } in message {
        let kind = match value {
            Value::Varint(_) => 0,
            Value::Eight(_) => 1,
            Value::Bytes(_) | Value::Message(_) => 2,
            Value::Four(_) => 5,
        };
        put(number << 3 | kind, &mut out);
        match value {
            Value::Varint(n) => put(*n, &mut out),
            Value::Eight(bytes) => out.extend(bytes),
            Value::Four(bytes) => out.extend(bytes),
            Value::Bytes(bytes) => delimited(bytes, &mut out),
            Value::Message(inner) => delimited(&encode(inner), &mut out),
        }
    }
    out
}

fn delimited(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend(bytes);
}

/// All messages inside, itself included, by the positions that lead there.
fn messages(message: &Message) -> Vec<Vec<usize>> {
    fn walk(message: &Message, path: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
        found.push(path.clone());
        for (i, field) in message.iter().enumerate() {
            if let Value::Message(inner) = &field.value {
                path.push(i);
                walk(inner, path, found);
                path.pop();
            }
        }
    }
    let mut found = Vec::new();
    walk(message, &mut Vec::new(), &mut found);
    found
}

fn inside<'a>(message: &'a mut Message, path: &[usize]) -> Option<&'a mut Message> {
    let Some((&first, rest)) = path.split_first() else { return Some(message) };
    match &mut message.get_mut(first)?.value {
        Value::Message(inner) => inside(inner, rest),
        _ => None,
    }
}

/// All bytes that are no messages: mostly names, but also elements.
fn leaves<'a>(message: &'a Message, found: &mut Vec<&'a Vec<u8>>) {
    for field in message {
        match &field.value {
            Value::Bytes(bytes) if bytes.len() < 64 => found.push(bytes),
            Value::Message(inner) => leaves(inner, found),
            _ => {}
        }
    }
}

/// Changes one to four places of a message.
pub fn change(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut message = parse(bytes)?;
    for _ in 0..=random.below(4) {
        change_one(&mut message, random)?;
    }
    Some(encode(&message))
}

fn change_one(message: &mut Message, random: &mut Random) -> Option<()> {
    let places = messages(message);
    let other = inside(message, random.of(&places)?)?.clone();
    let name = {
        let mut names = Vec::new();
        leaves(message, &mut names);
        random.of(&names).map(|name| name.to_vec()).unwrap_or_default()
    };
    let place = inside(message, random.of(&places)?)?;
    let at = random.below(place.len());
    let same = |number| move |field: &&Field| field.number == number;
    match random.below(12) {
        0 if !place.is_empty() => drop(place.remove(at)),
        1 if !place.is_empty() => {
            let field = place[at].clone();
            let times = if random.below(20) == 0 { random.below(40) } else { 1 };
            place.splice(at..at, std::iter::repeat_n(field, times));
        }
        2 if !place.is_empty() => {
            let with = random.below(place.len());
            place.swap(at, with);
        }
        3 => place.extend(random.of(&other).cloned()),
        // A field of the same number from elsewhere, as where one tensor gets another's type.
        4 if !place.is_empty() => {
            let fields: Vec<&Field> = other.iter().filter(same(place[at].number)).collect();
            place[at] = (*random.of(&fields)?).clone();
        }
        5 if !place.is_empty() => place[at].number = 1 + random.number(place[at].number) % 30,
        6 => {
            let (number, value) = (1 + random.below(16) as u64, Value::Varint(random.number(1)));
            place.insert(at, Field { number, value });
        }
        _ => value(&mut place.get_mut(at)?.value, name, other, random),
    }
    Some(())
}

fn value(value: &mut Value, name: Vec<u8>, other: Message, random: &mut Random) {
    match value {
        Value::Varint(n) => *n = random.number(*n),
        Value::Eight(bytes) => *bytes = random.number(u64::from_le_bytes(*bytes)).to_le_bytes(),
        Value::Four(bytes) => *bytes = (random.number(u32::from_le_bytes(*bytes).into()) as u32).to_le_bytes(),
        Value::Bytes(bytes) if random.below(2) == 0 => *bytes = name,
        Value::Bytes(bytes) => random.bytes(bytes),
        Value::Message(_) if random.below(4) == 0 => *value = Value::Bytes(name),
        Value::Message(inner) => *inner = other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_comes_back_as_it_was_and_changes_keep_it_a_message() {
        let model = include_bytes!("../../fixtures/cancer-mlp/model.onnx");
        let message = parse(model).unwrap();
        assert!(messages(&message).len() > 20);
        assert_eq!(encode(&message), model);
        let mut other = 0;
        for seed in 0..300 {
            let Some(new) = change(model, &mut Random::new(seed)) else { continue };
            assert!(parse(&new).is_some(), "{seed}");
            other += usize::from(new != model);
            assert_eq!(change(model, &mut Random::new(seed)), Some(new));
        }
        assert!(other > 200, "{other}");
    }
}
