//! Numbers: one column of them, several columns side by side, or lists of as many in every row.

use super::{Store, column, store::gather};
use crate::{
    Error, Result,
    data::column::{doubles, flatten, integers},
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

    pub(super) fn decode(&self, batch: &RecordBatch) -> Result<Store, String> {
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
            let wrong = lists.lengths().filter(|&n| n != each).count();
            if wrong > 0 {
                return Err(fail(format!(
                    "has lists of another length than {each}, which the model needs (at least {wrong} rows)"
                )));
            }
            match &mut out {
                Store::I64(_, out) => {
                    let values = integers(&lists.values).map_err(fail)?;
                    place(out, values.values(), width, each, offset);
                }
                Store::F64(_, out) => place(out, &self.scaled(name, &lists.values, each, offset)?, width, each, offset),
                Store::F32(_, out) => {
                    let values: Vec<f32> =
                        self.scaled(name, &lists.values, each, offset)?.into_iter().map(|x| x as f32).collect();
                    place(out, &values, width, each, offset);
                }
                _ => {}
            }
            offset += each;
        }
        Ok(out)
    }

    fn scaled(
        &self,
        name: &str,
        values: &arrow_array::ArrayRef,
        each: usize,
        offset: usize,
    ) -> Result<Vec<f64>, String> {
        let mut values = doubles(values).map_err(|p| format!("column `{name}` {p}"))?.values().to_vec();
        let bad = values.iter().filter(|x| !x.is_finite()).count();
        if bad > 0 {
            return Err(format!("column `{name}`: at least {bad} values are NaN or infinite; remove or fill them"));
        }
        if let Some(affine) = &self.affine {
            let factors = affine.iter().skip(offset).take(each);
            for (x, (scale, shift)) in values.iter_mut().zip(factors.cycle()) {
                *x = *x * scale + shift;
            }
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
