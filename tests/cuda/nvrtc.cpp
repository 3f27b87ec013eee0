// libnvrtc.so.13: a source becomes, by make.py, a library for this processor, and its "PTX" is that library's path.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

enum { SUCCESS = 0, COMPILATION = 6, INTERNAL_ERROR = 11 };

struct Program {
    std::string source, library, log;
    std::vector<std::pair<std::string, std::string>> headers;
};

Program *of(void *program) { return static_cast<Program *>(program); }

// Where this library lies.
std::string folder() {
    Dl_info here;
    dladdr(reinterpret_cast<void *>(&folder), &here);
    std::string path = here.dli_fname;
    return path.substr(0, path.rfind('/'));
}

// What a command prints, and how it ends.
int said_by(const std::string &command, std::string &text) {
    FILE *pipe = popen(command.c_str(), "r");
    if (!pipe) return -1;
    char part[4096];
    while (size_t n = fread(part, 1, sizeof part, pipe)) text.append(part, n);
    return pclose(pipe);
}

int copied(const std::string &from, char *to) { return memcpy(to, from.c_str(), from.size() + 1), SUCCESS; }

} // namespace

extern "C" {

int nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, SUCCESS; }
const char *nvrtcGetErrorString(int code) { return code == SUCCESS ? "NVRTC_SUCCESS" : code == COMPILATION ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_INTERNAL_ERROR"; }

int nvrtcCreateProgram(void **program, const char *source, const char *, int count, const char **headers, const char **names) {
    auto *fresh = new Program{source, "", "", {}};
    for (int i = 0; i < count; i++) fresh->headers.push_back({names[i], headers[i]});
    return *program = fresh, SUCCESS;
}
int nvrtcDestroyProgram(void **program) { return delete of(*program), *program = nullptr, SUCCESS; }

int nvrtcCompileProgram(void *program, int, const char *const *) {
    Program *p = of(program);
    char name[] = "/tmp/emulated-nvrtc-XXXXXX";
    if (!mkdtemp(name)) return INTERNAL_ERROR;
    std::string at = name, here = folder();
    std::ofstream(at + "/kernel.cu") << p->source;
    for (auto &[file, text] : p->headers) std::ofstream(at + "/" + file) << text;
    std::string text;
    int code = said_by("python3 '" EMULATOR "/make.py' --into '" + here + "' --kernel '" + at + "/kernel.cu' 2>&1", text);
    (void)!system(("rm -r '" + at + "'").c_str());
    (code ? p->log : p->library) = text;
    return code ? COMPILATION : SUCCESS;
}
int nvrtcGetPTXSize(void *program, size_t *size) { return *size = of(program)->library.size() + 1, SUCCESS; }
int nvrtcGetPTX(void *program, char *ptx) { return copied(of(program)->library, ptx); }
int nvrtcGetProgramLogSize(void *program, size_t *size) { return *size = of(program)->log.size() + 1, SUCCESS; }
int nvrtcGetProgramLog(void *program, char *log) { return copied(of(program)->log, log); }

} // extern "C"
