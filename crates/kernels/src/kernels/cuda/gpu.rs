//! The GPU that the program runs on: compiled kernels, cuBLAS, launches.
//!
//! Everything but uploads runs on the device's one default stream, as dfdx's own kernels do: in order, so that nothing
//! has to be waited for, and memory that is freed is not given out again before its last kernel is through.

use super::{Cx, codes, upload::Uploads};
pub(super) use crate::engine::device_error;
use crate::{
    engine::{Address, Tensor},
    error::Result,
};
use cudarc::{
    cublas::CudaBlas,
    driver::{CudaDevice, DevicePtr, result as driver, sys as driver_sys},
    nvrtc::{CompileOptions, compile_ptx_with_opts},
};
use dfdx::{
    prelude::{Cuda, ZerosTensor},
    tensor::{CudaError, Storage},
};
use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CString, c_void},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The kernels' source, behind the codes of elementwise functions.
const SOURCE: &str = concat!(
    include_str!("common.cu"),
    include_str!("elementwise.cu"),
    include_str!("layout.cu"),
    include_str!("conv.cu"),
    include_str!("rows.cu"),
);

/// From this number of elements on a tensor needs 64-bit indices.
const WIDE: usize = 1 << 31;

#[cfg(test)]
thread_local! {
    /// Whether this thread's kernels take 64-bit indices whatever they run on.
    pub(in crate::kernels) static ALWAYS_WIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn always_wide() -> bool {
    #[cfg(test)]
    return ALWAYS_WIDE.get();
    #[cfg(not(test))]
    false
}

pub(super) struct Gpu {
    pub(super) device: Arc<CudaDevice>,
    pub(super) blas: CudaBlas,
    /// The kernels with 32-bit and with 64-bit indices, compiled when first needed.
    modules: [OnceLock<usize>; 2],
    functions: Mutex<HashMap<(&'static str, bool), usize>>,
    /// Set by the optimizer where a parameter is not finite.
    broken: u64,
    pub(super) uploads: Uploads,
}

thread_local! {
    /// The GPU of the job that this thread does.
    static MINE: RefCell<Option<Mine>> = const { RefCell::new(None) };
}

/// GPUs that no job has: their kernels are compiled, so that the next job need not do so. A handle is never closed, for what
/// a tape or a tensor keeps may outlive the job's end; there are as many as jobs that ran side by side.
static FREE: Mutex<Vec<&'static Gpu>> = Mutex::new(Vec::new());

/// A GPU for one thread's job. Two jobs side by side never share one: each has its cuBLAS handle, its uploads, and its word
/// on whether parameters stayed finite.
struct Mine(&'static Gpu);

impl Drop for Mine {
    fn drop(&mut self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// Ends this thread's job on a GPU, so that the next may be on another one.
pub fn leave() {
    MINE.take();
}

/// The GPU of `cx`; a job runs on one only.
pub(super) fn gpu(cx: &Cx) -> Result<&'static Gpu> {
    if let Some(gpu) = mine() {
        return Ok(gpu);
    }
    let gpu = Gpu::free(&cx.dev).map_err(device_error)?;
    MINE.set(Some(Mine(gpu)));
    Ok(gpu)
}

fn mine() -> Option<&'static Gpu> {
    MINE.with_borrow(|mine| mine.as_ref().map(|mine| mine.0))
}

/// A kernel's parameter.
pub(super) enum Argument {
    Word(u64),
    View(View),
    Pair(Pair),
    Windows(Windows),
}

macro_rules! argument {
    ($($type:ty: $x:ident => $value:expr;)*) => {$(
        impl From<$type> for Argument {
            fn from($x: $type) -> Self {
                $value
            }
        }
    )*};
}
// On a little-endian machine a shorter number is read from the word's first bytes.
argument! {
    u64: x => Self::Word(x);
    usize: x => Self::Word(x as u64);
    i32: x => Self::Word(u64::from(x as u32));
    bool: x => Self::Word(u64::from(x));
    f32: x => Self::Word(u64::from(x.to_bits()));
    Address: x => Self::Word(x.0);
    View: x => Self::View(x);
    Pair: x => Self::Pair(x);
    Windows: x => Self::Windows(x);
}

/// Most axes that a strided kernel takes, after neighbors have been joined.
pub(super) const AXES: usize = 8;

/// `View` of common.cu.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub rank: u64,
    pub dims: [u64; AXES],
    pub strides: [i64; AXES],
    pub offset: i64,
}

/// `Pair` of common.cu.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair {
    pub rank: u64,
    pub dims: [u64; AXES],
    pub a: [i64; AXES],
    pub b: [i64; AXES],
}

/// `Windows` of conv.cu.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Windows {
    pub input: [u64; 3],
    pub kernel: [u64; 3],
    pub output: [u64; 3],
    pub strides: [u64; 3],
    pub dilations: [u64; 3],
    pub pads: [i64; 3],
}

/// How a kernel is spread out.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub blocks: (u32, u32),
    pub threads: (u32, u32),
}

impl Grid {
    const THREADS: u32 = 256;

    /// A thread for each of `n` elements, or a few elements for each thread.
    pub fn over(n: usize) -> Self {
        Self { blocks: (clamp(n.div_ceil(Self::THREADS as usize)), 1), threads: (Self::THREADS, 1) }
    }

    /// A warp for each of `n` rows.
    pub fn rows(n: usize) -> Self {
        Self::over(n.saturating_mul(32))
    }

    /// A block for each of `n` results.
    pub fn blocks(n: usize, threads: u32) -> Self {
        Self { blocks: (clamp(n), 1), threads: (threads, 1) }
    }
}

/// Kernels stride over what is beyond the grid.
fn clamp(blocks: usize) -> u32 {
    blocks.clamp(1, 1 << 20) as u32
}

impl Gpu {
    /// One that no job has, or a new one.
    fn free(dev: &Cuda) -> Result<&'static Self, CudaError> {
        // Any buffer of dfdx's tells the device that dfdx works on.
        let device = Storage::<f32>::try_alloc_len(dev, 1)?.device();
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        match free.iter().position(|gpu| gpu.device.ordinal() == device.ordinal()) {
            Some(at) => Ok(free.swap_remove(at)),
            None => Ok(Box::leak(Box::new(Self::open(device)?))),
        }
    }

    fn open(device: Arc<CudaDevice>) -> Result<Self, CudaError> {
        keep_freed(&device)?;
        let blas = CudaBlas::new(device.clone())?;
        let broken = device.alloc_zeros::<u32>(1)?.leak();
        device.bind_to_thread()?;
        let uploads = Uploads::open()?;
        Ok(Self { device, blas, modules: Default::default(), functions: Mutex::default(), broken, uploads })
    }

    /// The kernel `name`, compiled for this device.
    fn function(&self, name: &'static str, wide: bool) -> Result<driver_sys::CUfunction, CudaError> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = functions.get(&(name, wide)) {
            return Ok(function as driver_sys::CUfunction);
        }
        let module = self.module(wide)? as driver_sys::CUmodule;
        let c_name = CString::new(name).unwrap_or_default();
        // SAFETY: the module is loaded, and never unloaded.
        let function = unsafe { driver::module::get_function(module, c_name) }?;
        functions.insert((name, wide), function as usize);
        Ok(function)
    }

    fn module(&self, wide: bool) -> Result<usize, CudaError> {
        let Some(slot) = self.modules.get(usize::from(wide)) else { return Err(compile_failure()) };
        if let Some(&module) = slot.get() {
            return Ok(module);
        }
        let attribute = |a| self.device.attribute(a);
        use driver_sys::CUdevice_attribute_enum as A;
        let major = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let word = if wide { "long long" } else { "int" };
        // Leaked, at most twice: the options want a name that lives for ever.
        let arch: &'static str = format!("compute_{major}{minor}").leak();
        let options = CompileOptions { arch: Some(arch), ..CompileOptions::default() };
        let ptx = compile_ptx_with_opts(
            format!("#define INDEX unsigned {word}\n#define SIGNED {word}\n{}{SOURCE}", codes::defines()),
            options,
        )
        .map_err(|e| {
            tracing::error!("NVRTC: {e:?}");
            compile_failure()
        })?;
        let image = CString::new(ptx.to_src()).unwrap_or_default();
        self.device.bind_to_thread()?;
        // SAFETY: the image is PTX, ended by 0.
        let module = unsafe { driver::module::load_data(image.as_ptr().cast()) }? as usize;
        Ok(*slot.get_or_init(|| module))
    }

    /// Starts a kernel on tensors of up to `elements` elements.
    ///
    /// # Errors
    /// CUDA's error if the kernel cannot be compiled, loaded or started.
    pub fn launch<const N: usize>(
        &self,
        name: &'static str,
        grid: Grid,
        elements: usize,
        mut arguments: [Argument; N],
    ) -> Result<(), CudaError> {
        let far = |a: &Argument| matches!(a, Argument::Windows(w) if w.reach() >= WIDE as u64);
        let wide = elements >= WIDE || arguments.iter().any(far) || always_wide();
        let function = self.function(name, wide)?;
        let mut pointers: [*mut c_void; N] = arguments.each_mut().map(|a| match a {
            Argument::Word(x) => std::ptr::from_mut(x).cast(),
            Argument::View(x) => std::ptr::from_mut(x).cast(),
            Argument::Pair(x) => std::ptr::from_mut(x).cast(),
            Argument::Windows(x) => std::ptr::from_mut(x).cast(),
        });
        let (Grid { blocks, threads }, stream) = (grid, *self.device.cu_stream());
        self.device.bind_to_thread()?;
        // SAFETY: the arguments are those of the kernel's signature (held by the differential tests), and their
        // addresses those of live buffers that reach as far as the kernel goes.
        unsafe {
            let (blocks, threads) = ((blocks.0, blocks.1, 1), (threads.0, threads.1, 1));
            driver::launch_kernel(function, blocks, threads, 0, stream, &mut pointers)?;
        }
        Ok(())
    }

    /// Uploads what a kernel reads beside tensors.
    ///
    /// # Errors
    /// CUDA's error if the GPU has no room, or the copy fails.
    pub fn upload<T: cudarc::driver::DeviceRepr + Unpin>(&self, values: Vec<T>) -> Result<Uploaded<T>, CudaError> {
        Ok(Uploaded(self.device.htod_copy(values)?))
    }

    /// Where the optimizer says that a parameter is not finite.
    pub fn broken(&self) -> Address {
        Address(self.broken)
    }

    /// Whether every parameter that was stepped since the last call has stayed finite. Waits for the GPU.
    ///
    /// # Errors
    /// CUDA's error if a kernel or the copy has failed.
    pub fn stayed_finite(&self) -> Result<bool, CudaError> {
        let mut flag = [0_u32];
        self.device.bind_to_thread()?;
        // SAFETY: the buffer has one element and is never freed.
        unsafe {
            driver::memcpy_dtoh_sync(&mut flag, self.broken)?;
            driver::memset_d8_async(self.broken, 0, 4, *self.device.cu_stream())?;
        }
        Ok(flag == [0])
    }
}

/// Device memory with something other than a tensor.
pub(super) struct Uploaded<T>(cudarc::driver::CudaSlice<T>);

impl<T> Uploaded<T> {
    pub fn address(&self) -> Address {
        Address(*self.0.device_ptr())
    }
}

/// Freed memory stays with the process, for the next step needs as much again.
fn keep_freed(device: &Arc<CudaDevice>) -> Result<(), CudaError> {
    let mut pool = std::ptr::null_mut();
    let mut all = u64::MAX;
    let release = driver_sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is live, and the attribute is a 64-bit number.
    unsafe {
        driver_sys::cuDeviceGetDefaultMemPool(&mut pool, *device.cu_device()).result()?;
        driver_sys::cuMemPoolSetAttribute(pool, release, std::ptr::from_mut(&mut all).cast()).result()?;
    }
    Ok(())
}

fn compile_failure() -> CudaError {
    CudaError::Driver(cudarc::driver::DriverError(driver_sys::CUresult::CUDA_ERROR_INVALID_SOURCE))
}

pub(super) fn too_large() -> CudaError {
    CudaError::Driver(cudarc::driver::DriverError(driver_sys::CUresult::CUDA_ERROR_INVALID_VALUE))
}

/// A new tensor of zeros.
pub(super) fn zeros(cx: &Cx, dims: &[usize]) -> Result<Tensor<f32, Cuda>> {
    let n: usize = dims.iter().product();
    let flat = cx.dev.try_zeros_like(&(n,)).map_err(device_error)?;
    Ok(Tensor::constant(flat, dims.to_vec()))
}

/// A scratch buffer.
pub(super) struct Scratch(cudarc::driver::CudaSlice<f32>);

impl Scratch {
    /// A buffer whose elements are written before they are read.
    ///
    /// # Errors
    /// CUDA's error if the GPU has no room.
    pub fn new(dev: &Cuda, n: usize) -> Result<Self, CudaError> {
        let device = match mine() {
            Some(gpu) => gpu.device.clone(),
            None => Storage::<f32>::try_alloc_len(dev, 1)?.device(),
        };
        Self::on(&device, n)
    }

    /// A buffer on `device`, whose elements are written before they are read.
    ///
    /// # Errors
    /// CUDA's error if the GPU has no room.
    pub fn on(device: &Arc<CudaDevice>, n: usize) -> Result<Self, CudaError> {
        // SAFETY: by what `new` says of the elements; any bits are an f32.
        Ok(Self(unsafe { device.alloc::<f32>(n.max(1)) }?))
    }

    /// Of zeros.
    pub fn zeros(dev: &Cuda, n: usize) -> Result<Self, CudaError> {
        let mut scratch = Self::new(dev, n)?;
        scratch.0.device().memset_zeros(&mut scratch.0)?;
        Ok(scratch)
    }

    pub fn address(&self) -> Address {
        Address(*self.0.device_ptr())
    }
}

/// `elements` further on.
pub(super) fn shifted(address: Address, elements: usize) -> Address {
    if address == Address::NONE { address } else { Address(address.0 + 4 * elements as u64) }
}
