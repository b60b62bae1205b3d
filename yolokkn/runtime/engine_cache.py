"""Engines that were built once: found again by what they are, verified, built anew with the reason said."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from yolokkn.errors import ModelError
from yolokkn.files import write_atomically
from yolokkn.runtime.engine_manifest import (
    Engine,
    EngineManifest,
    EngineRefusedError,
    EngineRequest,
    manifest_path,
    open_engine,
    parse_manifest,
)
from yolokkn.runtime.interrupts import deferred_interrupt

CACHE_VARIABLE, LIMIT_VARIABLE = "YOLOKKN_CACHE", "YOLOKKN_CACHE_MB"
DEFAULT_LIMIT_BYTES = 8 << 30
_LOCK_TIMEOUT_S = 3600.0
_POLL_S = 0.05
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class CachedEngine:
    """What the cache gives.

    Attributes:
        engine: The verified engine.
        path: Its file in the cache.
        is_hit: It was there already.
        reason: Why it was built, or where it was found, for people.
    """

    engine: Engine
    path: Path
    is_hit: bool
    reason: str


def cache_folder() -> Path:
    """Return the folder of what can be made again: $YOLOKKN_CACHE, $XDG_CACHE_HOME/yolokkn or ~/.cache/yolokkn."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared and os.path.isabs(shared) else Path.home() / ".cache") / "yolokkn"


class EngineCache:
    """A folder of engines. Safe for several threads and processes at once.

    Args:
        folder: Where; `cache_folder()` by default. Made on first use, for its owner alone.
        max_bytes: When it grows beyond, those unused for the longest time go; $YOLOKKN_CACHE_MB or 8 GiB by default.

    With a limit of 0 nothing is read or kept; what cannot be used, a folder or a variable, is done without, which is said.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int | None = None) -> None:
        self.folder = Path(folder if folder is not None else cache_folder()) / "engines"
        self.problem = ""  # why nothing is read or kept, for people
        self.max_bytes = 0
        try:
            self.max_bytes = _limit() if max_bytes is None else max_bytes
        except ValueError as error:
            self.problem = f"{error}; the engine is built without the cache"

    @property
    def is_off(self) -> bool:
        """Whether nothing is read or kept."""
        return self.max_bytes == 0

    def get_or_build(
        self,
        request: EngineRequest,
        name: str,
        build: Callable[[], Engine],
        *,
        say: Callable[[str], None] = lambda text: None,
        timeout_s: float = _LOCK_TIMEOUT_S,
    ) -> CachedEngine:
        """Return the engine of a request; build it where the cache has none that is whole.

        What is in the cache is found without a lock, in a folder that cannot be written as well; what is not is then built
        each time anew, which is said.

        Args:
            request: What is wanted.
            name: Name of the model's file; tells which older engine it takes the place of.
            build: Called at most once, while other processes that want the same wait.
            say: Told why it waits or builds.
            timeout_s: Longest wait for another process.

        Raises:
            ModelError: Another process holds the lock for too long, or the folder may be written by others.
        """
        path = self.folder / f"{request.key[:40]}.engine"
        if self.is_off:
            reason = "nothing is cached" if self.problem else f"nothing is cached ({LIMIT_VARIABLE}=0)"
            say(f"building an engine: {reason}")
            if self.problem:
                say(self.problem)
            return CachedEngine(build(), path, False, reason)
        problem = self._why_not_writable()
        engine, reason = self._look_up(path, request, name)  # every byte is verified: half of one is none
        if engine is not None:
            return CachedEngine(engine, path, True, f"found in the cache ({path})")
        with contextlib.ExitStack() as stack:
            if problem is None:
                try:
                    stack.enter_context(_locked(path.with_suffix(".lock"), timeout_s, say))
                except OSError as error:
                    problem = _not_kept(error)
                else:
                    engine, reason = self._look_up(path, request, name)  # somebody may have built it meanwhile
                    if engine is not None:
                        return CachedEngine(engine, path, True, f"found in the cache ({path})")
            say(f"building an engine: {reason}")
            if problem is not None:
                say(problem)
            engine = build()
            if problem is None:
                self._keep(engine, path, say)
        return CachedEngine(engine, path, False, reason)

    def _keep(self, engine: Engine, path: Path, say: Callable[[str], None]) -> None:
        try:
            store(engine, path)
        except OSError as error:  # a full disk does not cost what took minutes
            say(_not_kept(error))
            return
        self._evict(path)

    def _look_up(self, path: Path, request: EngineRequest, name: str) -> tuple[Engine | None, str]:
        try:
            engine = open_engine(path)
        except (FileNotFoundError, NotADirectoryError):
            return None, self._why_new(request, name)
        except OSError as error:
            return None, f"the one in the cache cannot be read ({error.strerror})"
        except EngineRefusedError as error:
            return None, f"the one in the cache is refused: {error}"
        if engine.manifest.request != request:
            return None, "the one in the cache is another"
        with contextlib.suppress(OSError):  # a read-only cache serves as well
            os.utime(path)
        return engine, ""

    def _why_new(self, request: EngineRequest, name: str) -> str:
        """Say what has changed since the engine that is nearest to the one wanted."""
        nearest: tuple[int, float, list[str]] | None = None
        for path in self.folder.glob("*.engine.json"):
            try:
                older = parse_manifest(path.read_bytes(), path.name)
                written = path.stat().st_mtime
            except (OSError, EngineRefusedError):
                continue
            if older.name != name and older.request.model_sha256 != request.model_sha256:
                continue
            changes = request.changes_since(older.request)
            place = (len(changes), -written, changes)
            nearest = place if nearest is None or place < nearest else nearest
        if nearest is None or not nearest[2]:
            return "there is none of this model yet"
        return "; ".join(nearest[2])

    def learn(self, name: str, build: Callable[[bytes], tuple[Engine, bytes]]) -> Engine:
        """Build with what earlier builds learned, and keep what this one adds; with an empty name nothing is kept."""
        is_kept = bool(name) and not self.is_off
        engine, learned = build((self.load_blob(name) or b"") if is_kept else b"")
        if learned and is_kept:
            self.store_blob(name, learned)
        return engine

    def load_blob(self, name: str) -> bytes | None:
        """Return what `store_blob` kept under this name; None where it is missing or damaged, or nothing is cached."""
        if self.is_off:
            return None
        try:
            data = (self.folder / f"{name}.blob").read_bytes()
        except OSError:
            return None
        content = data[_DIGEST:]
        return content if hashlib.sha256(name.encode() + content).digest() == data[:_DIGEST] else None

    def store_blob(self, name: str, content: bytes) -> None:
        """Keep what makes the next build or start faster, such as a timing cache, if there is room for it."""
        if self.is_off or self._why_not_writable() is not None:
            return
        with contextlib.suppress(OSError):
            data = hashlib.sha256(name.encode() + content).digest() + content
            write_atomically(self.folder / f"{name}.blob", data)

    def _why_not_writable(self) -> str | None:
        """Make the folder; return in words why nothing can be kept in it, None where something can.

        Raises:
            ModelError: Others may write what is in it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            return _not_kept(error)
        self._check_owner()
        return None

    def _check_owner(self) -> None:
        found = self.folder.lstat()
        own = f"set {CACHE_VARIABLE} to a folder of your own"
        if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "geteuid") and found.st_uid not in (os.geteuid(), 0)):
            raise ModelError(
                f"engine cache: {self.folder} is a link or another user's, and engines are executable; {own}"
            )
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ModelError(
                f"engine cache: {self.folder} may be written by others, and engines are executable; "
                f"run: chmod go-w {self.folder}, or {own}"
            )

    def _evict(self, keep: Path) -> None:
        """Remove what was used least recently until the rest fits."""
        found = []
        for path in (*self.folder.glob("*.engine"), *self.folder.glob("*.blob")):
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.max_bytes:
                return
            if path != keep and _remove(path):
                total -= size


def _not_kept(error: OSError) -> str:
    where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    advice = f"set {CACHE_VARIABLE} to a folder that can be written"
    return f"the engine cannot be kept in the cache ({where}), and is built without it; {advice}"


def store(engine: Engine, path: Path) -> None:
    """Write an engine and its manifest; whoever reads between the two refuses what it sees. Ctrl-C waits for both."""
    with deferred_interrupt():
        write_atomically(path, [engine.content])
        write_atomically(manifest_path(path), engine.manifest.to_bytes())


def read_manifest(path: Path) -> EngineManifest:
    """Read the manifest of an engine without reading the engine.

    Raises:
        EngineRefusedError: There is none, or it is damaged.
    """
    beside = manifest_path(Path(path))
    try:
        return parse_manifest(beside.read_bytes(), Path(path).name)
    except FileNotFoundError:
        raise EngineRefusedError(f"{Path(path).name}: has no manifest {beside.name}") from None


def _limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE)
    if not text:
        return DEFAULT_LIMIT_BYTES
    if not text.isdecimal():
        raise ValueError(f"{LIMIT_VARIABLE} must be a whole number of megabytes (0: no cache), got {text!r}")
    return int(text) * 1_000_000


def _remove(path: Path) -> bool:
    """Remove an entry that nobody is building; tell whether it is gone."""
    if path.suffix == ".blob":
        path.unlink(missing_ok=True)
        return True
    lock = path.with_suffix(".lock")
    handle = _try_lock(lock)
    if handle is None:
        return False
    try:
        for part in (manifest_path(path), path, lock):
            part.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(path: Path, timeout_s: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that the system takes away from a process that dies."""
    started, has_said = time.monotonic(), False
    while (handle := _try_lock(path)) is None:
        if not has_said:
            say("another process builds this engine; waiting for it")
            has_said = True
        if time.monotonic() - started > timeout_s:
            raise ModelError(
                f"engine cache: {path} has been held for {timeout_s:.0f} s{_holder(path)}; "
                f"end that process, or set {CACHE_VARIABLE} to another folder"
            )
        time.sleep(_POLL_S)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # a child process may have the file open still
        os.close(handle)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        text = path.read_text("ascii", "replace")[:20]
        return f" by process {text}" if text.isdecimal() else ""
    return ""


def _try_lock(path: Path) -> int | None:
    """Lock a file; None while somebody else holds it. An eviction may unlink the file, so its name must still lead to it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == os.stat(path).st_ino:
            return handle
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(handle)
            raise
    os.close(handle)
    return None
