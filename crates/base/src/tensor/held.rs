//! Tensors that are in memory, or are read from their file when somebody asks.

use super::{DType, HostTensor};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// A tensor that is held in memory, or lies in a file and is decoded when it is asked for: a large model then takes
/// its size in memory once, where it is computed with. Cloning shares it.
#[derive(Clone)]
pub struct Held(Place);

#[derive(Clone)]
enum Place {
    Memory(Arc<HostTensor>),
    File(Arc<InFile>),
}

struct InFile {
    dtype: DType,
    dims: Vec<usize>,
    read: Box<dyn Fn(Rows) -> HostTensor + Send + Sync>,
    /// What was read last, as long as somebody holds it.
    decoded: Mutex<Weak<HostTensor>>,
}

/// What to read of a tensor in a file.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Everything.
    All,
    /// These entries along the first axis, in this order. Each is below the axis' extent.
    Of(&'a [usize]),
}

impl Held {
    /// A tensor of `dims` that `read` decodes, which must always give the same elements.
    pub fn in_file(dtype: DType, dims: Vec<usize>, read: impl Fn(Rows) -> HostTensor + Send + Sync + 'static) -> Self {
        Self(Place::File(Arc::new(InFile { dtype, dims, read: Box::new(read), decoded: Mutex::default() })))
    }

    /// Whether it is decoded each time that it is asked for.
    pub fn is_in_file(&self) -> bool {
        matches!(self.0, Place::File(_))
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Place::Memory(tensor) => tensor.dtype(),
            Place::File(file) => file.dtype,
        }
    }

    /// Extent of each axis.
    pub fn dims(&self) -> &[usize] {
        match &self.0 {
            Place::Memory(tensor) => tensor.dims(),
            Place::File(file) => &file.dims,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the elements.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype().size()
    }

    /// The elements. What is in a file is decoded, unless somebody else holds it; let go of it soon.
    pub fn get(&self) -> Arc<HostTensor> {
        match &self.0 {
            Place::Memory(tensor) => Arc::clone(tensor),
            Place::File(file) => {
                let mut decoded = file.decoded.lock().unwrap_or_else(PoisonError::into_inner);
                decoded.upgrade().unwrap_or_else(|| {
                    let tensor = Arc::new((file.read)(Rows::All));
                    *decoded = Arc::downgrade(&tensor);
                    tensor
                })
            }
        }
    }

    /// These entries along the first axis, where it is in a file and has them.
    pub fn rows(&self, rows: &[usize]) -> Option<HostTensor> {
        let Place::File(file) = &self.0 else { return None };
        let extent = *file.dims.first()?;
        rows.iter().all(|&row| row < extent).then(|| (file.read)(Rows::Of(rows)))
    }

    /// Whether both are one and the same.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Memory(a), Place::Memory(b)) => Arc::ptr_eq(a, b),
            (Place::File(a), Place::File(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// See [`HostTensor::to_f64`].
    pub fn to_f64(&self) -> Vec<f64> {
        self.get().to_f64()
    }

    /// See [`HostTensor::to_f32`].
    pub fn to_f32(&self) -> Vec<f32> {
        self.get().to_f32()
    }

    /// See [`HostTensor::to_i64`].
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        if self.dtype().is_float() {
            return None;
        }
        self.get().to_i64()
    }

    /// See [`HostTensor::f64_at`].
    pub fn f64_at(&self, index: usize) -> Option<f64> {
        self.get().f64_at(index)
    }

    /// See [`HostTensor::number`].
    pub fn number(&self) -> Option<f64> {
        self.get().number()
    }
}

impl From<HostTensor> for Held {
    fn from(tensor: HostTensor) -> Self {
        Self(Place::Memory(Arc::new(tensor)))
    }
}

impl From<Arc<HostTensor>> for Held {
    fn from(tensor: Arc<HostTensor>) -> Self {
        Self(Place::Memory(tensor))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Memory(tensor) => tensor.fmt(f),
            Place::File(file) => write!(f, "{} {:?} in a file", file.dtype, file.dims),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_is_in_a_file_is_decoded_once_as_long_as_it_is_held() {
        let reads = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reads);
        let held = Held::in_file(DType::I64, vec![3], move |rows| {
            count.fetch_add(1, Ordering::Relaxed);
            match rows {
                Rows::All => HostTensor::vector(vec![5i64, 6, 7]),
                Rows::Of(rows) => HostTensor::vector(rows.iter().map(|&r| 5 + r as i64).collect()),
            }
        });
        assert_eq!((held.len(), held.bytes(), reads.load(Ordering::Relaxed)), (3, 24, 0));
        let (first, second) = (held.get(), held.clone().get());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        drop((first, second));
        assert_eq!(held.to_i64(), Some(vec![5, 6, 7]));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        assert_eq!(held.rows(&[2, 0, 2]).unwrap().to_i64(), Some(vec![7, 5, 7]));
        assert_eq!(held.rows(&[3]), None);
        assert!(held.is(&held.clone()) && !held.is(&Held::from(HostTensor::vector(vec![5i64, 6, 7]))));
    }
}
