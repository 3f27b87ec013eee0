//! Tensors on the host: what files hold, what shapes and indices are computed with, what goes to and comes from a device.

mod held;

use half::{bf16, f16};
pub use held::{Held, Rows};
use ndarray::{ArrayD, IxDyn};
use serde::Serialize;

/// Element types of ONNX that this program handles. The numbers are those of `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum DType {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    Bool = 9,
    F16 = 10,
    F64 = 11,
    U32 = 12,
    U64 = 13,
    BF16 = 16,
}

impl DType {
    /// The type that `TensorProto.DataType` numbers `code`, if this program handles it.
    pub fn from_onnx(code: i32) -> Option<Self> {
        use DType::*;
        [F32, U8, I8, U16, I16, I32, I64, Bool, F16, F64, U32, U64, BF16].into_iter().find(|t| *t as i32 == code)
    }

    /// Bytes of one element in raw storage.
    pub fn size(self) -> usize {
        use DType::*;
        match self {
            U8 | I8 | Bool => 1,
            F16 | BF16 | U16 | I16 => 2,
            F32 | I32 | U32 => 4,
            F64 | I64 | U64 => 8,
        }
    }

    /// Whether this is one of the four floating-point types.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// The value of this floating-point type that is nearest to `x`, ties to even; infinite beyond the largest. Other
    /// types leave `x` as it is.
    pub fn nearest(self, x: f64) -> f64 {
        match self {
            DType::F16 => f16::from_f64(x).to_f64(),
            DType::BF16 => bf16::from_f64(x).to_f64(),
            DType::F32 => f64::from(x as f32),
            _ => x,
        }
    }

    /// Half the distance of neighboring values relative to them: the largest relative error of [`nearest`](DType::nearest).
    pub fn rounding(self) -> f64 {
        match self {
            DType::F16 => 2f64.powi(-11),
            DType::BF16 => 2f64.powi(-8),
            DType::F32 => 2f64.powi(-24),
            _ => 0.0,
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// A tensor in host memory, row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum HostTensor {
    F16(ArrayD<f16>),
    BF16(ArrayD<bf16>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
    I8(ArrayD<i8>),
    I16(ArrayD<i16>),
    I32(ArrayD<i32>),
    I64(ArrayD<i64>),
    U8(ArrayD<u8>),
    U16(ArrayD<u16>),
    U32(ArrayD<u32>),
    U64(ArrayD<u64>),
    Bool(ArrayD<bool>),
}

/// Runs one expression for whichever array a [`HostTensor`] holds: `each!(tensor, a => a.len())`.
#[macro_export]
macro_rules! each {
    ($tensor:expr, $a:ident => $body:expr) => {
        match $tensor {
            $crate::tensor::HostTensor::F16($a) => $body,
            $crate::tensor::HostTensor::BF16($a) => $body,
            $crate::tensor::HostTensor::F32($a) => $body,
            $crate::tensor::HostTensor::F64($a) => $body,
            $crate::tensor::HostTensor::I8($a) => $body,
            $crate::tensor::HostTensor::I16($a) => $body,
            $crate::tensor::HostTensor::I32($a) => $body,
            $crate::tensor::HostTensor::I64($a) => $body,
            $crate::tensor::HostTensor::U8($a) => $body,
            $crate::tensor::HostTensor::U16($a) => $body,
            $crate::tensor::HostTensor::U32($a) => $body,
            $crate::tensor::HostTensor::U64($a) => $body,
            $crate::tensor::HostTensor::Bool($a) => $body,
        }
    };
}

/// A Rust type that is an element type of a [`HostTensor`].
pub trait Element: Copy + Default + 'static {
    /// The element type this is.
    const DTYPE: DType;
    /// Wraps an array of this type.
    fn wrap(array: ArrayD<Self>) -> HostTensor;
    /// The array inside, if the tensor holds this type.
    fn array(tensor: &HostTensor) -> Option<&ArrayD<Self>>;
    /// The same as its own; else the tensor.
    ///
    /// # Errors
    /// The tensor, of another type.
    fn own(tensor: HostTensor) -> Result<ArrayD<Self>, HostTensor>;
    /// The number; 0 or 1 for a boolean. Integers beyond 2^53 are rounded.
    fn as_f64(self) -> f64;
}

macro_rules! element {
    ($($type:ty, $variant:ident, $x:ident => $f64:expr);*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn wrap(array: ArrayD<Self>) -> HostTensor { HostTensor::$variant(array) }
            fn array(tensor: &HostTensor) -> Option<&ArrayD<Self>> {
                match tensor { HostTensor::$variant(a) => Some(a), _ => None }
            }
            fn own(tensor: HostTensor) -> Result<ArrayD<Self>, HostTensor> {
                match tensor { HostTensor::$variant(a) => Ok(a), other => Err(other) }
            }
            fn as_f64(self) -> f64 { let $x = self; $f64 }
        }
    )*};
}
element!(
    f16, F16, x => x.to_f64();
    bf16, BF16, x => x.to_f64();
    f32, F32, x => x.into();
    f64, F64, x => x;
    i8, I8, x => x.into();
    i16, I16, x => x.into();
    i32, I32, x => x.into();
    i64, I64, x => x as f64;
    u8, U8, x => x.into();
    u16, U16, x => x.into();
    u32, U32, x => x.into();
    u64, U64, x => x as f64;
    bool, Bool, x => u8::from(x).into()
);

impl HostTensor {
    /// A tensor of `dims` from row-major `values`; `None` if their numbers differ.
    pub fn new<T: Element>(dims: &[usize], values: Vec<T>) -> Option<Self> {
        ArrayD::from_shape_vec(IxDyn(dims), values).ok().map(T::wrap)
    }

    /// A tensor of any type from row-major `values`, rounded to it; `None` if their numbers differ.
    pub fn of_type(dims: &[usize], values: Vec<f64>, dtype: DType) -> Option<Self> {
        fn go<T: Element>(dims: &[usize], values: Vec<f64>, to: impl Fn(f64) -> T) -> Option<HostTensor> {
            HostTensor::new(dims, values.into_iter().map(to).collect())
        }
        match dtype {
            DType::F16 => go(dims, values, f16::from_f64),
            DType::BF16 => go(dims, values, bf16::from_f64),
            DType::F32 => go(dims, values, |x| x as f32),
            DType::F64 => go(dims, values, |x| x),
            DType::Bool => go(dims, values, |x| x != 0.0),
            DType::I8 => go(dims, values, |x| x.round() as i8),
            DType::I16 => go(dims, values, |x| x.round() as i16),
            DType::I32 => go(dims, values, |x| x.round() as i32),
            DType::I64 => go(dims, values, |x| x.round() as i64),
            DType::U8 => go(dims, values, |x| x.round() as u8),
            DType::U16 => go(dims, values, |x| x.round() as u16),
            DType::U32 => go(dims, values, |x| x.round() as u32),
            DType::U64 => go(dims, values, |x| x.round() as u64),
        }
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(value: T) -> Self {
        T::wrap(ArrayD::from_elem(IxDyn(&[]), value))
    }

    /// A tensor of one dimension.
    pub fn vector<T: Element>(values: Vec<T>) -> Self {
        T::wrap(ndarray::Array1::from_vec(values).into_dyn())
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        use HostTensor::*;
        match self {
            F16(_) => DType::F16,
            BF16(_) => DType::BF16,
            F32(_) => DType::F32,
            F64(_) => DType::F64,
            I8(_) => DType::I8,
            I16(_) => DType::I16,
            I32(_) => DType::I32,
            I64(_) => DType::I64,
            U8(_) => DType::U8,
            U16(_) => DType::U16,
            U32(_) => DType::U32,
            U64(_) => DType::U64,
            Bool(_) => DType::Bool,
        }
    }

    /// Extent of each axis.
    pub fn dims(&self) -> &[usize] {
        each!(self, a => a.shape())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, a => a.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements as `f64`, row-major; see [`Element::as_f64`].
    pub fn to_f64(&self) -> Vec<f64> {
        each!(self, a => a.iter().map(|x| x.as_f64()).collect())
    }

    /// The same, one after the other: of a large tensor, `to_f64` would be a copy of twice its size.
    pub fn f64s(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        each!(self, a => Box::new(a.iter().map(|x| x.as_f64())))
    }

    /// One of them.
    pub fn f64_at(&self, index: usize) -> Option<f64> {
        each!(self, a => a.as_slice()?.get(index).map(|x| x.as_f64()))
    }

    /// The one number that all elements are; `None` also where there is no element.
    pub fn number(&self) -> Option<f64> {
        let mut all = self.f64s();
        let first = all.next()?;
        all.all(|x| x == first).then_some(first)
    }

    /// All elements as `f32`, row-major (rounded to nearest where the type is wider).
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            HostTensor::F32(a) => a.iter().copied().collect(),
            _ => self.f64s().map(|x| x as f32).collect(),
        }
    }

    /// All elements as `i64`, row-major, if the type is an integer or boolean; `u64` beyond `i64::MAX` wraps.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        use HostTensor::*;
        Some(match self {
            I8(a) => a.iter().map(|&x| x.into()).collect(),
            I16(a) => a.iter().map(|&x| x.into()).collect(),
            I32(a) => a.iter().map(|&x| x.into()).collect(),
            I64(a) => a.iter().copied().collect(),
            U8(a) => a.iter().map(|&x| x.into()).collect(),
            U16(a) => a.iter().map(|&x| x.into()).collect(),
            U32(a) => a.iter().map(|&x| x.into()).collect(),
            U64(a) => a.iter().map(|&x| x as i64).collect(),
            Bool(a) => a.iter().map(|&x| x.into()).collect(),
            F16(_) | BF16(_) | F32(_) | F64(_) => return None,
        })
    }

    /// The same tensor with axis `from` at the place of axis `to`; the others keep their order. Itself where there is no such axis.
    pub fn with_axis_moved(&self, from: usize, to: usize) -> Self {
        fn go<T: Element>(a: &ArrayD<T>, order: Vec<usize>) -> HostTensor {
            T::wrap(a.view().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned())
        }
        let rank = self.dims().len();
        if from >= rank || to >= rank {
            return self.clone();
        }
        let mut order: Vec<usize> = (0..rank).filter(|axis| *axis != from).collect();
        order.insert(to, from);
        each!(self, a => go(a, order))
    }

    /// The same elements under other `dims`; `None` if the numbers differ.
    pub fn reshaped(self, dims: &[usize]) -> Option<Self> {
        fn go<T: Element>(a: ArrayD<T>, dims: &[usize]) -> Option<HostTensor> {
            let standard = if a.is_standard_layout() { a } else { a.as_standard_layout().into_owned() };
            standard.into_shape_with_order(IxDyn(dims)).ok().map(T::wrap)
        }
        each!(self, a => go(a, dims))
    }
}
