"""What compare.py and growth.py share: building, the Python environment, children with their times and memory. Standard library alone:
a child's peak memory counts from its parent's size."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "target" / "bench"


def note(text):
    print(text, file=sys.stderr, flush=True)


def built(*targets):
    """Builds in release and returns the executables by name."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--release", "--message-format=json-render-diagnostics", *targets]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {x["target"]["name"]: x["executable"] for x in lines if x["reason"] == "compiler-artifact" and x["executable"]}


def environment(given):
    """A Python with the pinned packages: `given`, or a virtual environment under target/."""
    if given:
        return given
    wanted = (HERE / "requirements.txt").read_bytes()
    stamp = hashlib.sha256(wanted).hexdigest()
    folder, done = WORK / "venv", WORK / "venv" / "requirements.sha256"
    python = folder / "bin" / "python"
    if not done.exists() or done.read_text() != stamp:
        note("installing the peer's packages ...")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True, stdout=sys.stderr)
        done.write_text(stamp)
    return str(python)


def variables(python, threads):
    """The environment of both sides: so many threads, and the same onnxruntime."""
    find = "import onnxruntime, pathlib; print(*pathlib.Path(onnxruntime.__file__).parent.glob('capi/libonnxruntime.so*'))"
    library = subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.split()
    found = {"ORT_DYLIB_PATH": library[0]} if library else {}
    return os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} | found


class Run:
    """A child that ran to its end: seconds, peak memory, and its JSON lines, each with the second at which it came."""

    def __init__(self, command, env=None):
        command = list(map(str, command))
        with tempfile.TemporaryFile() as errors:
            start = time.monotonic()
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=ROOT, text=True)
            self.events = {}
            for line in child.stdout:
                if line.startswith("{"):
                    event = json.loads(line)
                    self.events[event.get("event")] = event | {"at": time.monotonic() - start}
            _, status, usage = os.wait4(child.pid, 0)
            self.seconds = time.monotonic() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            # Kilobytes on Linux, bytes on macOS.
            self.peak_mib = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
            self.code = child.returncode
            if self.code != 0:
                errors.seek(0)
                raise SystemExit(f"failed ({self.code}): {' '.join(command)}\n{errors.read().decode(errors='replace')}")


def machine(threads):
    """A line about where the figures are from."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, {threads} threads used"


def rows(head, body):
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in body])
