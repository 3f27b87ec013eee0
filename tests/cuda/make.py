#!/usr/bin/env python3
"""Makes the GPU that is none: libraries in the place of CUDA's that run this program's kernels, and dfdx's, on the processor.

    tests/cuda/make.py --into target/emulated-gpu
    ONNX_FORGET_CUDA_LIBRARIES=target/emulated-gpu onnx-forget ... --device cuda

Needs g++ (or what CXX names) and cargo's copy of dfdx's source.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CXX = os.environ.get("CXX", "g++")
# Kernels as they are written: no rewriting of sums.
FLAGS = ["-std=c++20", "-O2", "-fPIC", "-fno-strict-aliasing", "-fvisibility=hidden", "-w"]


def compiler(*words, text=None):
    """What the compiler prints, given `text` to read; ends with what it complains of."""
    done = subprocess.run([CXX, *map(str, words)], input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def source(path, *include):
    """A kernel's source as C++, with a way into each of its kernels."""
    text = compiler("-x", "c++", *FLAGS, "-E", "-P", "-include", HERE / "device.h", *(f"-I{x}" for x in include), path)
    names = re.findall(r'extern "C" __global__ void (\w+)\(', text)
    entry = 'extern "C" __attribute__((visibility("default"))) void *prepare_{0}(void **at) {{ return block::prepared({0}, at); }}\n'
    return text.replace("__global__", "") + "".join(map(entry.format, names))


def compiled(text, out, *more):
    """`text` compiled to `out`, or taken from there: its name is that of its contents."""
    name = hashlib.sha256("\0".join([text, *more, *FLAGS, CXX]).encode()).hexdigest()[:24]
    out = out.with_name(name + out.suffix)
    if not out.exists():
        part = out.with_name(f"{name}.{os.getpid()}")
        compiler("-x", "c++-cpp-output", *FLAGS, *more, "-", "-o", part, text=text)
        part.replace(out)
    return out


def kernel(path, into):
    """The library of one source; its headers lie beside it."""
    return compiled(source(path, path.parent), into / "kernel.so", "-shared")


def dfdx():
    metadata = subprocess.run(["cargo", "metadata", "--format-version", "1", "--locked"], cwd=HERE, capture_output=True, check=True)
    packages = json.loads(metadata.stdout)["packages"]
    return next(Path(p["manifest_path"]).parent for p in packages if p["name"] == "dfdx")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, help="the folder of the libraries")
    parser.add_argument("--kernel", type=Path, help="only this source; prints its library's path")
    given = parser.parse_args()
    if not shutil.which(CXX):
        sys.exit(f"no C++ compiler: {CXX} is not on the path; install g++, or name another in CXX")
    into = given.into.resolve()
    into.mkdir(parents=True, exist_ok=True)
    if given.kernel:
        print(kernel(given.kernel, into), end="")
        return
    library = lambda name, code, *more: compiler(*FLAGS, "-fvisibility=default", "-O3", "-shared", HERE / code, f"-Wl,-soname,{name}", "-o", into / name, *more)
    library("libcuda.so.1", "driver.cpp", "-ldl")
    library("libcublas.so.13", "blas.cpp", into / "libcuda.so.1", "-Wl,-rpath,$ORIGIN")
    library("libnvrtc.so.13", "nvrtc.cpp", f'-DEMULATOR="{HERE}"', "-ldl")
    operations = dfdx() / "src" / "tensor_ops"
    headers = into / "headers"
    headers.mkdir(exist_ok=True)
    (headers / "cuda_fp16.h").touch()
    one = lambda path: compiled(source(path, headers, operations / "utilities"), into / "object.o", "-c")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(one, sorted(operations.glob("*/*.cu"))))
    # Each source has the kernels of its headers.
    compiler("-shared", "-Wl,--allow-multiple-definition", *objects, "-o", into / "dfdx.so")
    print(f"ONNX_FORGET_CUDA_LIBRARIES={into}")


if __name__ == "__main__":
    main()
