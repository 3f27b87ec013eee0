//! Thrift's compact protocol, as Parquet's footers and page headers are written in, as a tree.

use crate::Random;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Byte(u8),
    /// Of 16, 32 or 64 bits (types 4, 5, 6).
    Int(u8, u64),
    Double([u8; 8]),
    Binary(Vec<u8>),
    /// A list or a set (types 9, 10), and the type of its elements.
    List(u8, u8, Vec<Value>),
    Struct(Vec<(i16, Value)>),
}

/// How deep values are looked into.
const DEPTH: usize = 16;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    fn value(&mut self, ty: u8, depth: usize) -> Option<Value> {
        Some(match ty {
            1 | 2 => Value::Bool(ty == 1),
            3 => Value::Byte(self.byte()?),
            4..=6 => Value::Int(ty, self.varint()?),
            7 => Value::Double(self.take(8)?.try_into().ok()?),
            8 => {
                let n = usize::try_from(self.varint()?).ok()?;
                Value::Binary(self.take(n)?.to_vec())
            }
            9 | 10 => {
                let head = self.byte()?;
                let n = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                let element = |r: &mut Self| match head & 15 {
                    1 | 2 => r.byte().map(|b| Value::Bool(b == 1)),
                    other => r.value(other, depth.checked_sub(1)?),
                };
                Value::List(ty, head & 15, (0..n).map(|_| element(self)).collect::<Option<_>>()?)
            }
            12 => Value::Struct(self.fields(depth.checked_sub(1)?)?),
            _ => return None,
        })
    }

    fn fields(&mut self, depth: usize) -> Option<Vec<(i16, Value)>> {
        let (mut fields, mut id) = (Vec::new(), 0i16);
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(fields);
            }
            id = match head >> 4 {
                0 => unzigzag(self.varint()?) as i16,
                delta => id.wrapping_add(delta.into()),
            };
            fields.push((id, self.value(head & 15, depth)?));
        }
    }
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// The struct that the bytes begin with, and how many bytes it has.
pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    let mut reader = Reader { bytes, at: 0 };
    let fields = reader.fields(DEPTH)?;
    Some((Value::Struct(fields), reader.at))
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Value {
    fn ty(&self) -> u8 {
        match self {
            Value::Bool(true) => 1,
            Value::Bool(false) => 2,
            Value::Byte(_) => 3,
            Value::Int(ty, _) | Value::List(ty, ..) => *ty,
            Value::Double(_) => 7,
            Value::Binary(_) => 8,
            Value::Struct(_) => 12,
        }
    }

    /// Writes it behind `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bool(_) => {}
            Value::Byte(byte) => out.push(*byte),
            Value::Int(_, n) => put(*n, out),
            Value::Double(bytes) => out.extend(bytes),
            Value::Binary(bytes) => {
                put(bytes.len() as u64, out);
                out.extend(bytes);
            }
            Value::List(_, ty, elements) => {
                match elements.len() {
                    n @ 0..15 => out.push((n as u8) << 4 | ty),
                    n => {
                        out.push(0xf0 | ty);
                        put(n as u64, out);
                    }
                }
                for element in elements {
                    match element {
                        Value::Bool(yes) => out.push(if *yes { 1 } else { 2 }),
                        other => other.encode(out),
                    }
                }
            }
            Value::Struct(fields) => {
                let mut before = 0i16;
                for (id, value) in fields {
                    match id.wrapping_sub(before) {
                        delta @ 1..16 => out.push((delta as u8) << 4 | value.ty()),
                        _ => {
                            out.push(value.ty());
                            put(zigzag((*id).into()), out);
                        }
                    }
                    before = *id;
                    value.encode(out);
                }
                out.push(0);
            }
        }
    }

    fn size(&self) -> usize {
        1 + match self {
            Value::List(.., elements) => elements.iter().map(Value::size).sum(),
            Value::Struct(fields) => fields.iter().map(|(_, value)| value.size()).sum(),
            _ => 0,
        }
    }

    /// The value with this number, counted from the outside.
    fn nth(&mut self, n: &mut usize) -> Option<&mut Value> {
        if *n == 0 {
            return Some(self);
        }
        *n -= 1;
        match self {
            Value::List(.., elements) => elements.iter_mut().find_map(|value| value.nth(n)),
            Value::Struct(fields) => fields.iter_mut().find_map(|(_, value)| value.nth(n)),
            _ => None,
        }
    }

    /// Changes one to three places.
    pub fn change(&mut self, random: &mut Random) {
        for _ in 0..=random.below(3) {
            let size = self.size();
            let other = self.nth(&mut random.below(size)).cloned();
            if let (Some(place), Some(other)) = (self.nth(&mut random.below(size)), other) {
                place.change_here(other, random);
            }
        }
    }

    fn change_here(&mut self, other: Value, random: &mut Random) {
        match self {
            Value::Bool(yes) => *yes = !*yes,
            Value::Byte(byte) => *byte = random.number((*byte).into()) as u8,
            Value::Int(_, n) if random.below(2) == 0 => *n = zigzag(random.number(unzigzag(*n) as u64) as i64),
            Value::Int(_, n) => match other {
                Value::Int(_, other) => *n = other,
                _ => *n = random.number(*n),
            },
            Value::Double(bytes) => *bytes = random.bits().to_le_bytes(),
            Value::Binary(bytes) => match other {
                Value::Binary(other) => *bytes = other,
                _ => random.bytes(bytes),
            },
            // An element of another type would be read as one of this.
            Value::List(_, ty, all) if !all.is_empty() || *ty == other.ty() => list(all, other, random),
            Value::List(..) => {}
            Value::Struct(all) => {
                let id = random.below(16) as i16;
                let mut values: Vec<Value> = all.iter().map(|(_, value)| value.clone()).collect();
                let mut ids: Vec<i16> = all.iter().map(|(id, _)| *id).collect();
                if random.below(3) == 0 {
                    let at = random.below(ids.len());
                    ids.iter_mut().skip(at).take(1).for_each(|old| *old = id);
                } else if let (Some(at), 0) = (values.len().checked_sub(1), random.below(2)) {
                    let at = random.below(at + 1);
                    drop((values.remove(at), ids.remove(at)));
                } else {
                    list(&mut values, other, random);
                    ids.resize(values.len(), id);
                }
                *all = ids.into_iter().zip(values).collect();
            }
        }
    }
}

fn list(all: &mut Vec<Value>, other: Value, random: &mut Random) {
    let at = random.below(all.len());
    match random.below(4) {
        0 if !all.is_empty() => drop(all.remove(at)),
        1 if !all.is_empty() => all.insert(at, all[at].clone()),
        2 if !all.is_empty() => {
            let with = random.below(all.len());
            all.swap(at, with);
        }
        _ if all.first().is_none_or(|first| first.ty() == other.ty()) => all.insert(at, other),
        _ => {}
    }
}
