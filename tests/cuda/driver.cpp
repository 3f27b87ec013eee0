// libcuda.so.1: the driver's functions that this program calls, for a device that is the processor's own memory.
//
// Streams are queues. Nothing is done before somebody has to wait for it, so that a wait that is missing shows. Every piece
// of memory ends at a page that must not be touched, is full of NaNs when it is given out, and is gone when it is freed.

#include "driver.h"
#include "device.h"

#include <deque>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <signal.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace {

enum Code { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_IMAGE = 200, NOT_FOUND = 500 };

struct Stream {
    std::deque<std::function<void()>> queue;
    uint64_t given = 0, done = 0;
};

struct Event {
    Stream *stream = nullptr;
    uint64_t upto = 0;
};

struct Memory {
    void *pages;
    size_t mapped, bytes;
};

struct Function {
    std::string name;
    void *(*prepare)(void **);
};

std::recursive_mutex mutex;
Stream by_default;
std::vector<Stream *> streams{&by_default};
std::map<uint64_t, Memory> memory;
std::map<std::pair<void *, std::string>, Function> functions;
size_t in_use = 0;
bool backwards = false;
const char *working = "";

#define LOCKED std::lock_guard<std::recursive_mutex> locked(mutex)

Stream *stream_of(void *handle) { return handle ? static_cast<Stream *>(handle) : &by_default; }

void run_until(Stream *stream, uint64_t upto) {
    while (stream->done < upto) {
        auto work = std::move(stream->queue.front());
        stream->queue.pop_front();
        work();
        stream->done++;
    }
}

void finish(Stream *stream) { run_until(stream, stream->given); }

void finish_all() {
    for (Stream *stream : streams) finish(stream);
}

// Bytes that the device has.
size_t capacity() {
    static const char *said = getenv("EMULATED_GPU_MEMORY");
    static size_t bytes = said ? strtoull(said, nullptr, 10) : size_t(4) << 30;
    return bytes;
}

[[noreturn]] void fault(int, siginfo_t *info, void *) {
    char text[256];
    int n = snprintf(text, sizeof text, "address %p was touched, which is nobody's, in or after kernel %s\n", info->si_addr, working);
    (void)!write(2, text, size_t(n));
    _exit(139);
}

int allocate(uint64_t *address, size_t bytes) {
    LOCKED;
    if (in_use + bytes > capacity()) finish_all();
    if (in_use + bytes > capacity()) return OUT_OF_MEMORY;
    size_t page = size_t(sysconf(_SC_PAGESIZE)), room = (bytes + 15) / 16 * 16, whole = (room + page - 1) / page * page;
    char *pages = static_cast<char *>(mmap(nullptr, whole + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (pages == MAP_FAILED || mprotect(pages + page, whole, PROT_READ | PROT_WRITE)) return OUT_OF_MEMORY;
    char *at = pages + page + whole - room;
    memset(at, 0xff, room);
    *address = reinterpret_cast<uint64_t>(at);
    memory[*address] = {pages, whole + 2 * page, bytes};
    in_use += bytes;
    return SUCCESS;
}

int release(uint64_t address) {
    auto found = memory.find(address);
    if (found == memory.end()) return INVALID_VALUE;
    munmap(found->second.pages, found->second.mapped);
    in_use -= found->second.bytes;
    memory.erase(found);
    return SUCCESS;
}

int to_device(uint64_t to, const void *from, size_t bytes, void *stream) {
    // From memory that may be paged out the driver takes a copy before it returns.
    auto copy = std::make_shared<std::vector<char>>(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
    enqueue(stream, [=] { memcpy(reinterpret_cast<void *>(to), copy->data(), bytes); });
    return SUCCESS;
}

int to_host(void *to, uint64_t from, size_t bytes, void *stream) {
    LOCKED;
    finish(stream_of(stream));
    memcpy(to, reinterpret_cast<void *>(from), bytes);
    return SUCCESS;
}

template <class T> int set(uint64_t to, T value, size_t count, void *stream) {
    enqueue(stream, [=] { std::fill_n(reinterpret_cast<T *>(to), count, value); });
    return SUCCESS;
}

} // namespace

void enqueue(void *handle, std::function<void()> work) {
    LOCKED;
    Stream *stream = stream_of(handle);
    stream->queue.push_back(std::move(work));
    stream->given++;
}

extern "C" {

int cuInit(unsigned) {
    struct sigaction action = {};
    action.sa_sigaction = fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    return SUCCESS;
}
int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { return *device = 0, ordinal == 0 ? SUCCESS : INVALID_DEVICE; }
int cuDeviceGetName(char *name, int length, int) { return snprintf(name, size_t(length), "emulated GPU"), SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = capacity(), SUCCESS; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    LOCKED;
    return *total = capacity(), *free = *total - in_use, SUCCESS;
}
int cuDeviceGetAttribute(int *value, unsigned attribute, int) {
    // Compute capability 9.0, and that memory can be asked for on a stream.
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 115 ? 1 : -1;
    return *value < 0 ? INVALID_VALUE : SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int) { return *context = &by_default, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void *) { return SUCCESS; }
int cuCtxGetCurrent(void **context) { return *context = &by_default, SUCCESS; }
int cuCtxSynchronize() {
    LOCKED;
    return finish_all(), SUCCESS;
}
int cuGetErrorName(unsigned code, const char **text) {
    switch (code) {
    case SUCCESS: *text = "CUDA_SUCCESS"; break;
    case INVALID_VALUE: *text = "CUDA_ERROR_INVALID_VALUE"; break;
    case OUT_OF_MEMORY: *text = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case INVALID_DEVICE: *text = "CUDA_ERROR_INVALID_DEVICE"; break;
    case INVALID_IMAGE: *text = "CUDA_ERROR_INVALID_IMAGE"; break;
    case NOT_FOUND: *text = "CUDA_ERROR_NOT_FOUND"; break;
    default: *text = "CUDA_ERROR_UNKNOWN";
    }
    return SUCCESS;
}
int cuGetErrorString(unsigned code, const char **text) { return cuGetErrorName(code, text); }

// An image is the path of what make.py made of a source, or, where dfdx has been built without nvcc, empty: dfdx's own
// kernels are in a library beside this one.
int cuModuleLoadData(void **module, const void *image) {
    std::string path = static_cast<const char *>(image);
    if (path.empty()) {
        Dl_info here;
        dladdr(reinterpret_cast<void *>(&cuInit), &here);
        path = here.dli_fname;
        path = path.substr(0, path.rfind('/')) + "/dfdx.so";
    }
    *module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!*module) fprintf(stderr, "%s\n", dlerror());
    return *module ? SUCCESS : INVALID_IMAGE;
}
int cuModuleUnload(void *) { return SUCCESS; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    LOCKED;
    void *prepare = dlsym(module, (std::string("prepare_") + name).c_str());
    if (!prepare) return NOT_FOUND;
    auto &known = functions[{module, name}];
    known = {name, reinterpret_cast<void *(*)(void **)>(prepare)};
    return *function = &known, SUCCESS;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *stream, void **parameters, void **) {
    // What a GPU of this capability takes; no kernel here asks for shared memory when it is launched.
    bool grid = gx && gy && gz && gx < 1u << 31 && gy < 1u << 16 && gz < 1u << 16;
    bool block = bx && by && bz && bx <= 1024 && by <= 1024 && bz <= 64 && bx * by * bz <= 1024;
    if (!grid || !block || shared) return INVALID_VALUE;
    LOCKED;
    auto *known = static_cast<Function *>(function);
    auto ready = std::shared_ptr<std::function<void(const Grid &)>>(
        static_cast<std::function<void(const Grid &)> *>(known->prepare(parameters)));
    enqueue(stream, [=] {
        working = known->name.c_str();
        (*ready)({{gx, gy, gz}, {bx, by, bz}, backwards = !backwards});
    });
    return SUCCESS;
}

int cuDeviceGetDefaultMemPool(void **pool, int) { return *pool = &memory, SUCCESS; }
int cuMemPoolSetAttribute(void *, unsigned, void *) { return SUCCESS; }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) { return allocate(address, bytes); }
int cuMemAllocAsync(uint64_t *address, size_t bytes, void *) { return allocate(address, bytes); }
int cuMemFree_v2(uint64_t address) {
    LOCKED;
    return release(address);
}
int cuMemFreeAsync(uint64_t address, void *stream) {
    enqueue(stream, [=] {
        if (release(address) == SUCCESS) return;
        fprintf(stderr, "what is freed at %#lx was not given out, or has been freed before\n", (unsigned long)address);
        abort();
    });
    return SUCCESS;
}
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) { return to_device(to, from, bytes, nullptr); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) { return to_device(to, from, bytes, stream); }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) { return to_host(to, from, bytes, nullptr); }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) { return to_host(to, from, bytes, stream); }
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
    enqueue(stream, [=] { memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes); });
    return SUCCESS;
}
int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t bytes) { return cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr); }
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, void *stream) { return set(to, value, count, stream); }
int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t count) { return set(to, value, count, nullptr); }
int cuMemsetD32Async(uint64_t to, unsigned value, size_t count, void *stream) { return set(to, value, count, stream); }

int cuStreamCreate(void **stream, unsigned) {
    LOCKED;
    streams.push_back(new Stream);
    return *stream = streams.back(), SUCCESS;
}
int cuStreamDestroy_v2(void *stream) {
    LOCKED;
    return finish(stream_of(stream)), SUCCESS;
}
int cuStreamSynchronize(void *stream) {
    LOCKED;
    return finish(stream_of(stream)), SUCCESS;
}
int cuEventCreate(void **event, unsigned) { return *event = new Event, SUCCESS; }
int cuEventDestroy_v2(void *) { return SUCCESS; }
int cuEventRecord(void *event, void *stream) {
    LOCKED;
    *static_cast<Event *>(event) = {stream_of(stream), stream_of(stream)->given};
    return SUCCESS;
}
int cuEventSynchronize(void *event) {
    LOCKED;
    auto [stream, upto] = *static_cast<Event *>(event);
    if (stream) run_until(stream, upto);
    return SUCCESS;
}
int cuStreamWaitEvent(void *waiting, void *event, unsigned) {
    LOCKED;
    auto [stream, upto] = *static_cast<Event *>(event);
    if (stream && stream != stream_of(waiting)) enqueue(waiting, [stream = stream, upto = upto] { run_until(stream, upto); });
    return SUCCESS;
}

} // extern "C"
