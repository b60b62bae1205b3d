"""Where a figure comes from: the machine, the versions, the commit, clocks, and who else was at work."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yolokkn
from yolokkn.runtime.installation import installation

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "YOLOKKN_ISA")
_LISTEN_S = 0.1
_GIT_TIMEOUT_S = 5.0


def machine_record() -> dict[str, Any]:
    """Return what a reader of figures must know of this machine, as plain values; no paths, no names of people.

    Example:
        >>> record = machine_record()
        >>> sorted(record)[:5], record["cores"] >= 1
        (['clocks', 'commit', 'cores', 'cpu', 'environment'], True)
    """
    facts = installation()
    return {
        "cpu": facts["cpu"],
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "clocks": clocks(),
        "is_virtual": "hypervisor" in _read("/proc/cpuinfo"),
        "system": facts["system"],
        "gpu_driver": facts["gpu_driver"],
        "python": platform.python_version(),
        "yolokkn": facts["yolokkn"],
        "commit": commit(Path(yolokkn.__file__).parent),
        "instruction_set": facts["instruction_set"],
        "packages": facts["packages"],
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def clocks() -> dict[str, Any]:
    """Return the cores' clocks now, and by which rule they change where the system says."""
    lines = [line for line in _read("/proc/cpuinfo").splitlines() if line.startswith("cpu MHz")]
    mhz = sorted(float(line.partition(":")[2]) for line in lines)
    governor = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()
    return {"mhz": [round(mhz[0]), round(mhz[-1])] if mhz else [], "governor": governor or "not told"}


def commit(folder: Path) -> str:
    """Return the commit that a folder stands at, with "+changes" where tracked files differ; "" outside a repository."""
    if not (folder.parent / ".git").exists():
        return ""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", str(folder))
    except (OSError, subprocess.SubprocessError):
        return ""
    return head[:12] + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S
    )
    return done.stdout.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class LoadMeter:
    """Notes who works on the cores from its start on, see `LoadMeter.start` and `read`."""

    cores: tuple[int, ...]
    ticks: tuple[int, int, int]
    own_s: float
    started_s: float

    @classmethod
    def start(cls) -> LoadMeter:
        """Begin."""
        cores = allowed_cores()
        return cls(cores, _ticks(cores), _own_s(), time.perf_counter())

    def read(self) -> dict[str, Any]:
        """Return the shares of the cores' time that others took and that the hypervisor gave away, and the load average.

        Others' share is that of all cores that this process may use, from 0 to 1; None where the system does not tell.
        """
        total, busy, stolen = (now - then for now, then in zip(_ticks(self.cores), self.ticks, strict=True))
        average = [round(v, 2) for v in os.getloadavg()]
        if total <= 0:
            return {"others": None, "stolen": None, "average": average}
        wall = max(time.perf_counter() - self.started_s, 1e-6)
        own = (_own_s() - self.own_s) / (wall * len(self.cores))
        others = min(max(busy / total - own, 0.0), 1.0)
        return {"others": round(others, 3), "stolen": round(stolen / total, 3), "average": average}


def _own_s() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))


def _ticks(cores: tuple[int, ...]) -> tuple[int, int, int]:
    """Return all, busy and stolen clock ticks of the cores since the machine started."""
    found = [_core_ticks(line) for line in _read("/proc/stat").splitlines() if line.startswith("cpu")]
    rows = [(total, total - idle - steal, steal) for core, total, idle, steal in found if core in cores]
    return (sum(r[0] for r in rows), sum(r[1] for r in rows), sum(r[2] for r in rows))


def _core_ticks(line: str) -> tuple[int, int, int, int]:
    """Return the core (-1: the sum of all), and its ticks: all, idle, stolen."""
    name, *numbers = line.split()
    user, nice, system, idle, waiting, hard, soft, steal = (int(n) for n in (numbers + ["0"] * 8)[:8])
    total = user + nice + system + idle + waiting + hard + soft + steal
    return int(name[3:] or -1), total, idle + waiting, steal


def allowed_cores() -> tuple[int, ...]:
    """Return the numbers of the cores that this thread may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(num_cores: int) -> Iterator[tuple[int, ...]]:
    """Keep this thread, and those that it starts, on the so many least busy cores; yields their numbers.

    Models must be opened inside: threads that run already stay where they are.

    Raises:
        ValueError: There are not so many cores.
    """
    before = allowed_cores()
    if not 1 <= num_cores <= len(before):
        raise ValueError(f"pinned: num_cores must be within 1 and {len(before)}, got {num_cores}")
    chosen = before if num_cores == len(before) else _quietest(before, num_cores)
    if not hasattr(os, "sched_setaffinity"):
        yield before
        return
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def _quietest(cores: tuple[int, ...], count: int) -> tuple[int, ...]:
    first = {core: _ticks((core,)) for core in cores}
    time.sleep(_LISTEN_S)
    busy = {core: _ticks((core,))[1] - first[core][1] for core in cores}
    return tuple(sorted(sorted(cores, key=lambda core: (busy[core], core))[:count]))
