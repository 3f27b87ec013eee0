//! The driver's functions.
#![allow(non_snake_case)]

use super::loaded::{Library, Ptr, answer, answer_of_release, forward};
use std::{
    ffi::{c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void},
    sync::atomic::AtomicPtr,
};

/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: c_int = 100;

/// An address in the GPU's memory.
type Address = c_ulonglong;

forward! { Library::Driver, missing NO_DEVICE, answer;
    cuInit(flags: c_uint);
    cuDriverGetVersion(version: *mut c_int);
    cuDeviceGet(device: *mut c_int, ordinal: c_int);
    cuDeviceGetCount(count: *mut c_int);
    cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int);
    cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: c_int);
    cuDeviceGetDefaultMemPool(pool: *mut Ptr, device: c_int);
    cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int);
    cuDevicePrimaryCtxRetain(context: *mut Ptr, device: c_int);
    cuCtxGetCurrent(context: *mut Ptr);
    cuCtxSynchronize();

    cuModuleLoad(module: *mut Ptr, path: *const c_char);
    cuModuleLoadData(module: *mut Ptr, image: *const c_void);
    cuModuleGetFunction(function: *mut Ptr, module: Ptr, name: *const c_char);
    cuFuncGetAttribute(value: *mut c_int, attribute: c_uint, function: Ptr);
    cuFuncSetAttribute(function: Ptr, attribute: c_uint, value: c_int);
    cuLaunchKernel(f: Ptr, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint, shared: c_uint, stream: Ptr, parameters: *mut Ptr, extra: *mut Ptr);
    cuOccupancyAvailableDynamicSMemPerBlock(bytes: *mut usize, function: Ptr, blocks: c_int, size: c_int);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: *mut c_int, function: Ptr, size: c_int, shared: usize);
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks: *mut c_int, function: Ptr, size: c_int, shared: usize, flags: c_uint);
    cuOccupancyMaxActiveClusters(clusters: *mut c_int, function: Ptr, config: *const c_void);
    cuOccupancyMaxPotentialBlockSize(grid: *mut c_int, block: *mut c_int, function: Ptr, shared_of: Ptr, shared: usize, limit: c_int);
    cuOccupancyMaxPotentialBlockSizeWithFlags(grid: *mut c_int, block: *mut c_int, function: Ptr, shared_of: Ptr, shared: usize, limit: c_int, flags: c_uint);
    cuOccupancyMaxPotentialClusterSize(size: *mut c_int, function: Ptr, config: *const c_void);

    cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    cuMemAlloc_v2(address: *mut Address, bytes: usize);
    cuMemAllocAsync(address: *mut Address, bytes: usize, stream: Ptr);
    cuMemAllocHost_v2(pointer: *mut Ptr, bytes: usize);
    cuMemHostAlloc(pointer: *mut Ptr, bytes: usize, flags: c_uint);
    cuMemPoolGetAttribute(pool: Ptr, attribute: c_uint, value: Ptr);
    cuMemPoolSetAttribute(pool: Ptr, attribute: c_uint, value: Ptr);
    cuMemPoolTrimTo(pool: Ptr, bytes: usize);
    cuMemcpyHtoD_v2(to: Address, from: *const c_void, bytes: usize);
    cuMemcpyDtoH_v2(to: Ptr, from: Address, bytes: usize);
    cuMemcpyDtoD_v2(to: Address, from: Address, bytes: usize);
    cuMemcpyHtoDAsync_v2(to: Address, from: *const c_void, bytes: usize, stream: Ptr);
    cuMemcpyDtoHAsync_v2(to: Ptr, from: Address, bytes: usize, stream: Ptr);
    cuMemcpyDtoDAsync_v2(to: Address, from: Address, bytes: usize, stream: Ptr);
    cuMemsetD8_v2(to: Address, value: c_uchar, count: usize);
    cuMemsetD8Async(to: Address, value: c_uchar, count: usize, stream: Ptr);
    cuMemsetD32Async(to: Address, value: c_uint, count: usize, stream: Ptr);
    cuImportExternalMemory(memory: *mut Ptr, description: *const c_void);
    cuExternalMemoryGetMappedBuffer(address: *mut Address, memory: Ptr, description: *const c_void);

    cuStreamCreate(stream: *mut Ptr, flags: c_uint);
    cuStreamBeginCapture_v2(stream: Ptr, mode: c_uint);
    cuStreamEndCapture(stream: Ptr, graph: *mut Ptr);
    cuGraphInstantiateWithFlags(executable: *mut Ptr, graph: Ptr, flags: c_ulonglong);
    cuGraphLaunch(executable: Ptr, stream: Ptr);
    cuEventCreate(event: *mut Ptr, flags: c_uint);
    cuEventElapsedTime(milliseconds: *mut f32, start: Ptr, end: Ptr);
    cuEventQuery(event: Ptr);
    cuEventSynchronize(event: Ptr);
    cuProfilerStart();
    cuProfilerStop();
}

// What cudarc calls where it drops things. None of them gives anything back but its code.
forward! { Library::Driver, missing NO_DEVICE, answer_of_release;
    cuCtxSetCurrent(context: Ptr);
    cuDevicePrimaryCtxRelease_v2(device: c_int);
    cuModuleUnload(module: Ptr);
    cuMemFree_v2(address: Address);
    cuMemFreeAsync(address: Address, stream: Ptr);
    cuMemFreeHost(pointer: Ptr);
    cuDestroyExternalMemory(memory: Ptr);
    cuStreamDestroy_v2(stream: Ptr);
    cuStreamSynchronize(stream: Ptr);
    cuStreamWaitEvent(stream: Ptr, event: Ptr, flags: c_uint);
    cuEventRecord(event: Ptr, stream: Ptr);
    cuEventDestroy_v2(event: Ptr);
    cuGraphExecDestroy(executable: Ptr);
    cuGraphDestroy(graph: Ptr);
}

/// Defines a function that gives an error's text. cudarc asks for it wherever it shows an error, and panics where there
/// is none.
macro_rules! text {
    ($($name:ident;)*) => {$(
        /// Gives the text of an error: the driver's, or that there is no driver.
        ///
        /// # Safety
        /// `text` is valid for writes.
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $name(code: c_uint, text: *mut *const c_char) -> c_int {
            static KNOWN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
            if let Some(address) = Library::Driver.function(concat!(stringify!($name), "\0"), &KNOWN) {
                type Text = unsafe extern "C" fn(c_uint, *mut *const c_char) -> c_int;
                // SAFETY: the signature is that of CUDA's headers.
                if unsafe { std::mem::transmute::<Ptr, Text>(address)(code, text) } == 0 {
                    return 0;
                }
            }
            // SAFETY: by this function's contract.
            unsafe { *text = c"unknown error".as_ptr() };
            0
        }
    )*};
}

text! {
    cuGetErrorName;
    cuGetErrorString;
}
