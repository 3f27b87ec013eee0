//! Numbers: one column of them, several columns side by side, or lists of as many in every row.

use super::{Store, column, store::gather};
use crate::{
    Error, Result,
    column::{doubles, flatten, integers},
    fault::Fault,
    tensor::{DType, HostTensor},
};
use arrow_array::RecordBatch;
use half::{bf16, f16};

/// How an input is made from numbers.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// The columns, side by side.
    pub columns: Vec<String>,
    /// Extents behind the row axis.
    pub dims: Vec<usize>,
    /// Element type of the input.
    pub dtype: DType,
    /// Numbers that the model takes where they are integers: those in front of this one, from 0 on.
    pub limit: Option<usize>,
    /// Per element of a row: what it is multiplied by, and what is then added. `None` leaves values as they are.
    pub affine: Option<Vec<(f64, f64)>>,
}

impl Numbers {
    /// Elements of a row.
    pub fn row_len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Bytes that an element takes until it is batched.
    pub fn stored_size(&self) -> usize {
        match self.dtype {
            DType::F32 | DType::F16 | DType::BF16 => 4,
            _ => 8,
        }
    }

    pub(super) fn decode(&self, batch: &RecordBatch) -> Result<Store, Fault> {
        let width = self.row_len();
        let rows = batch.num_rows();
        let size = rows.checked_mul(width).ok_or("too many values")?;
        let mut offset = 0;
        let mut out = match self.dtype {
            DType::F32 | DType::F16 | DType::BF16 => Store::F32(width, vec![0.0; size]),
            DType::F64 => Store::F64(width, vec![0.0; size]),
            _ => Store::I64(width, vec![0; size]),
        };
        for name in &self.columns {
            let fail = |problem: String| format!("column `{name}` {problem}");
            let lists = flatten(column(batch, name)?).map_err(fail)?;
            let each = if self.columns.len() == 1 { width } else { 1 };
            if let Some((row, n)) = lists.lengths().enumerate().find(|(_, n)| *n != each) {
                return Err(Fault::at(row, fail(format!("has a list of {n} numbers, but the model needs {each}"))));
            }
            // Every row has `each` values, so that a value's place tells its row.
            let at = |place: usize, problem: String| Fault::at(place / each.max(1), fail(problem));
            match &mut out {
                Store::I64(_, out) => {
                    let values = integers(&lists.values).map_err(fail)?;
                    if let Some((bad, problem)) = beyond(values.values(), self.dtype, self.limit) {
                        return Err(at(bad, problem));
                    }
                    place(out, values.values(), width, each, offset);
                }
                Store::F64(_, out) => {
                    let values = self.scaled(&lists.values, each, offset).map_err(|(i, problem)| at(i, problem))?;
                    place(out, &values, width, each, offset);
                }
                Store::F32(_, out) => {
                    let values = self.scaled(&lists.values, each, offset).map_err(|(i, problem)| at(i, problem))?;
                    let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
                    place(out, &values, width, each, offset);
                }
                _ => {}
            }
            offset += each;
        }
        Ok(out)
    }

    /// The values as they are fed, or the place of one that cannot be and what is wrong with it.
    fn scaled(&self, values: &arrow_array::ArrayRef, each: usize, offset: usize) -> Result<Vec<f64>, (usize, String)> {
        let mut values = doubles(values).map_err(|problem| (0, problem))?.values().to_vec();
        if let Some(place) = values.iter().position(|x| !x.is_finite()) {
            return Err((place, "is NaN or infinite; remove or fill such values".into()));
        }
        if let Some(affine) = &self.affine {
            let factors = affine.iter().skip(offset).take(each);
            for (x, (scale, shift)) in values.iter_mut().zip(factors.cycle()) {
                *x = *x * scale + shift;
            }
        }
        let held = |x: f64| match self.dtype {
            DType::F16 => f16::from_f64(x).is_finite(),
            DType::BF16 => bf16::from_f64(x).is_finite(),
            DType::F64 => x.is_finite(),
            _ => (x as f32).is_finite(),
        };
        if let Some(place) = values.iter().position(|x| !held(*x)) {
            let problem = format!("has a value that the model's input type {} does not hold", self.dtype);
            return Err((place, format!("{problem}: remove the row, or bring the values to another unit")));
        }
        Ok(values)
    }

    pub(super) fn stack(&self, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let beyond = || Error::Internal("a row beyond the decoded ones".into());
        let dims: Vec<usize> = std::iter::once(rows.len()).chain(self.dims.iter().copied()).collect();
        let tensor = match store {
            Store::F32(n, v) => from_f32(&dims, gather(v, *n, rows).ok_or_else(beyond)?, self.dtype),
            Store::F64(n, v) => HostTensor::new(&dims, gather(v, *n, rows).ok_or_else(beyond)?),
            Store::I64(n, v) => from_i64(&dims, gather(v, *n, rows).ok_or_else(beyond)?, self.dtype)?,
            _ => None,
        };
        tensor.ok_or_else(|| Error::Internal("decoded numbers of another shape".into()))
    }
}

fn place<T: Copy>(out: &mut [T], values: &[T], width: usize, each: usize, offset: usize) {
    if each == 0 || width == 0 {
        return;
    }
    for (to, from) in out.chunks_exact_mut(width).zip(values.chunks_exact(each)) {
        if let Some(to) = to.get_mut(offset..offset + each) {
            to.copy_from_slice(from);
        }
    }
}

/// The place of a value that the model's table does not have (`limit` rows, from 0), or that an integer type does not
/// hold, and what to say of it.
pub(super) fn beyond(values: &[i64], dtype: DType, limit: Option<usize>) -> Option<(usize, String)> {
    if let Some(limit) = limit
        && let Some(place) = values.iter().position(|v| usize::try_from(*v).map_or(true, |v| v >= limit))
    {
        let last = limit.saturating_sub(1);
        let problem = format!("has a number outside the model's table, whose numbers are 0 to {last}");
        return Some((place, format!("{problem}; number the rows' tokens as they were when the model was trained")));
    }
    let range = match dtype {
        DType::I8 => i8::MIN.into()..=i8::MAX.into(),
        DType::I16 => i16::MIN.into()..=i16::MAX.into(),
        DType::I32 => i32::MIN.into()..=i32::MAX.into(),
        DType::U8 => 0..=u8::MAX.into(),
        DType::U16 => 0..=u16::MAX.into(),
        DType::U32 => 0..=u32::MAX.into(),
        DType::U64 => 0..=i64::MAX,
        _ => return None,
    };
    let place = values.iter().position(|v| !range.contains(v))?;
    Some((place, format!("has a value beyond the range of the model's input type {dtype}")))
}

/// A tensor of a 16- or 32-bit float type.
pub(super) fn from_f32(dims: &[usize], values: Vec<f32>, dtype: DType) -> Option<HostTensor> {
    match dtype {
        DType::F16 => HostTensor::new(dims, values.into_iter().map(f16::from_f32).collect()),
        DType::BF16 => HostTensor::new(dims, values.into_iter().map(bf16::from_f32).collect()),
        _ => HostTensor::new(dims, values),
    }
}

/// A tensor of any type from integers.
///
/// # Errors
/// Integers beyond the type's range.
pub(super) fn from_i64(dims: &[usize], values: Vec<i64>, dtype: DType) -> Result<Option<HostTensor>> {
    fn narrow<T: TryFrom<i64>>(values: Vec<i64>, dtype: DType) -> Result<Vec<T>> {
        let count = values.len();
        let fitting: Vec<T> = values.into_iter().filter_map(|x| T::try_from(x).ok()).collect();
        if fitting.len() < count {
            let bad = count - fitting.len();
            return Err(Error::Data(format!(
                "{bad} values of a batch are beyond the range of the model's input type {dtype}"
            )));
        }
        Ok(fitting)
    }
    Ok(match dtype {
        DType::I64 => HostTensor::new(dims, values),
        DType::I32 => HostTensor::new(dims, narrow::<i32>(values, dtype)?),
        DType::I16 => HostTensor::new(dims, narrow::<i16>(values, dtype)?),
        DType::I8 => HostTensor::new(dims, narrow::<i8>(values, dtype)?),
        DType::U8 => HostTensor::new(dims, narrow::<u8>(values, dtype)?),
        DType::U16 => HostTensor::new(dims, narrow::<u16>(values, dtype)?),
        DType::U32 => HostTensor::new(dims, narrow::<u32>(values, dtype)?),
        DType::U64 => HostTensor::new(dims, narrow::<u64>(values, dtype)?),
        DType::Bool => HostTensor::new(dims, values.into_iter().map(|x| x != 0).collect()),
        DType::F64 => HostTensor::new(dims, values.into_iter().map(|x| x as f64).collect()),
        DType::F32 | DType::F16 | DType::BF16 => from_f32(dims, values.into_iter().map(|x| x as f32).collect(), dtype),
    })
}
