"""What the CUDA kernels ask of a GPU, by the compiler's word, held against what every GPU since Turing gives."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REGISTERS = 65536  # of a multiprocessor; a block must fit
REGISTERS_TOGETHER = 8  # a thread's are rounded up to so many
MOST_THREADS = 1024
MOST_SHARED = 48 << 10  # without cudaFuncSetAttribute
MOST_LOCAL = 64  # bytes of a thread that lie in device memory: spilled registers and arrays


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel.

    Attributes:
        name: Demangled, without namespaces.
        architecture: Such as sm_90.
        registers: Of a thread.
        local: Bytes of a thread's stack, or of what is spilled, whichever is more.
        static_shared: Bytes.
        bound: Threads that `__launch_bounds__` allows, None without it.
    """

    name: str
    architecture: str
    registers: int
    local: int = 0
    static_shared: int = 0
    bound: int | None = MOST_THREADS

    @property
    def parameters(self) -> str:
        """The types it takes, by which a launch names it."""
        return self.name[self.name.rindex("(") :]


@dataclass(frozen=True)
class Launch:
    """The most that a kernel is launched with."""

    parameters: str
    threads: int
    dynamic_shared: int


def find_nvcc() -> str | None:
    """Where nvcc is, or None."""
    return shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


def read_options() -> tuple[list[str], list[str]]:
    """The architectures and compiler options of csrc/cuda/cuda.cmake."""
    text = (ROOT / "csrc" / "cuda" / "cuda.cmake").read_text()
    listed = " ".join(re.findall(r"CMAKE_CUDA_ARCHITECTURES ([\d\w -]+)\)", text))
    options = re.findall(r"COMPILE_LANGUAGE:CUDA>:([^>]+)>", text)
    return sorted(re.findall(r"\b(\d+)(?:-real)?\b", listed), key=int), options[0].split()


def plain(demangled: str) -> str:
    """A name without the namespaces and without what it returns."""
    text = re.sub(r"\(anonymous namespace\)::|yolokkn::|cuda::", "", demangled)
    return text.removeprefix("void ")


def compile_kernels(sources: Iterable[Path], demangle: Callable[[str], str]) -> list[Kernel]:
    """Compile for every architecture that the package is built for; what was compiled before is remembered in build/.

    Every architecture's code is made from the PTX of the oldest: the sources do not ask which one they are compiled for.

    Raises:
        RuntimeError: nvcc refuses a source, as it does one that has more than 48 KiB of static shared memory.
    """
    paths = list(sources)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [kernel for text in pool.map(_said, paths) for kernel in read_kernels(text, demangle)]


def _said(source: Path) -> str:
    """The PTX's bounds and what ptxas says."""
    architectures, options = read_options()
    includes = [ROOT / "csrc" / "include", ROOT / "csrc" / "cuda"]
    codes = ",".join(f"sm_{number}" for number in architectures)
    command = [
        find_nvcc() or "nvcc", "-std=c++20", *options, *(f"-I{folder}" for folder in includes), "-fatbin", "-Xptxas", "-v",
        "-gencode", f"arch=compute_{architectures[0]},code=[{codes}]", str(source),
    ]  # fmt: skip
    headers = sorted(path for folder in includes for path in folder.rglob("*.h"))
    facts = [path.read_bytes() for path in (source, *headers)] + [" ".join(command).encode()]
    key = hashlib.sha256(b"\0".join(facts)).hexdigest()[:32]
    kept = ROOT / "build" / "launches" / f"{source.stem}-{key}.txt"
    if kept.is_file():
        return kept.read_text()
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(
            [*command, "--keep", "--keep-dir", folder, "-o", f"{folder}/code.fatbin"], capture_output=True, text=True
        )
        if made.returncode:
            raise RuntimeError(f"{source.name}: {made.stderr[-2000:]}")
        (ptx,) = (path.read_text() for path in Path(folder).glob("*.ptx"))
    bounds = re.findall(r"\.entry ([\w$]+)\([^{]*?\)\s*(?:\.maxntid (\d+), (\d+), (\d+))?", ptx)
    text = "".join(f"bound {name} {x or 0} {y or 0} {z or 0}\n" for name, x, y, z in bounds) + made.stderr
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(kept)
    return text


def read_kernels(text: str, demangle: Callable[[str], str]) -> list[Kernel]:
    """Read what `_said` gives."""
    bounds = {name: int(x) * int(y) * int(z) for name, x, y, z in re.findall(r"bound (\S+) (\d+) (\d+) (\d+)", text)}
    kernels = []
    for part in text.split("Compiling entry function ")[1:]:
        name, architecture = re.findall(r"'([^']+)'", part)[:2]
        stack, stores, loads = re.findall(
            rf"properties for {re.escape(name)}\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill",
            part,
        )[0]
        used = re.findall(r"Used (\d+) registers.*", part)
        shared = re.findall(r"(\d+) bytes smem", part)
        local = max(int(stack), int(stores), int(loads))
        static_shared = int(shared[0]) if shared else 0
        bound = bounds.get(name) or None
        kernels.append(Kernel(plain(demangle(name)), architecture, int(used[0]), local, static_shared, bound))
    return kernels


def breaches(kernels: list[Kernel], launches: list[Launch]) -> list[str]:
    """Say what would fail, or crawl, on a GPU; nothing where all is well.

    Launches name a kernel by its parameters. Where several kernels have the same, those with the highest bounds are taken
    for those with the most threads.
    """
    found = []
    for architecture in sorted({kernel.architecture for kernel in kernels}):
        for parameters in sorted({one.parameters for one in (*kernels, *launches)}):
            some = [one for one in kernels if one.architecture == architecture and one.parameters == parameters]
            some.sort(key=lambda one: one.bound or MOST_THREADS, reverse=True)
            seen = sorted((one for one in launches if one.parameters == parameters), key=lambda one: -one.threads)
            if len(some) != len(seen):
                found.append(
                    f"{parameters}: {len(some)} kernels for {architecture}, of which {len(seen)} were launched"
                )
            for kernel, launch in zip(some, seen, strict=False):
                where = f"{kernel.name} for {architecture}: "
                found += [where + breach for breach in _breaches_of(kernel, launch)]
    return found


def _breaches_of(kernel: Kernel, launch: Launch) -> list[str]:
    registers = -(-kernel.registers // REGISTERS_TOGETHER) * REGISTERS_TOGETHER * (-(-launch.threads // 32) * 32)
    shared = kernel.static_shared + launch.dynamic_shared
    found = []
    if kernel.bound is None:
        found.append("has no __launch_bounds__: the compiler may take more registers than a block has")
    if launch.threads > min(kernel.bound or MOST_THREADS, MOST_THREADS):
        found.append(f"is launched with {launch.threads} threads, its bound is {kernel.bound or MOST_THREADS}")
    if registers > REGISTERS:
        found.append(
            f"wants {registers} registers a block ({kernel.registers} x {launch.threads}), there are {REGISTERS}"
        )
    if shared > MOST_SHARED:
        found.append(f"wants {shared} bytes of shared memory, there are {MOST_SHARED}")
    if kernel.local > MOST_LOCAL:
        found.append(f"keeps {kernel.local} bytes a thread in device memory, {MOST_LOCAL} are allowed")
    return found
