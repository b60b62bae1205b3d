"""The cache of engines: hits, reasons, locks between processes, kills, eviction."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.runtime.engines import request, sealed
from tests.strategies import scaled
from yolokkn.errors import ModelError
from yolokkn.runtime.engine_cache import EngineCache, cache_folder
from yolokkn.runtime.engine_manifest import EngineRefusedError, manifest_path, open_engine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path)


def get(cache, wanted, name="a.onnx", **options):
    calls, said = [], []
    found = cache.get_or_build(
        wanted, name, lambda: calls.append(1) or sealed(wanted, name), say=said.append, **options
    )
    assert len(calls) == (not found.is_hit)
    return found, said


def test_the_second_call_hits(cache):
    first, said = get(cache, request())
    assert not first.is_hit and said == ["building an engine: there is none of this model yet"]
    second, said = get(cache, request())
    assert second.is_hit and said == [] and second.reason == f"found in the cache ({first.path})"
    assert second.engine.manifest == first.engine.manifest


def test_a_rebuild_says_why(cache):
    get(cache, request())
    assert get(cache, request(library_version="1.7.1"))[0].reason == "TensorRT-RTX 1.7.0 -> 1.7.1"
    assert get(cache, request(model_sha256="ef" * 32))[0].reason == "the model changed"
    assert get(cache, request(model_sha256="0" * 64), "b.onnx")[0].reason == "there is none of this model yet"
    # the same model by another name: its nearest engine counts
    assert get(cache, request(precision="fp16"), "c.onnx")[0].reason == "the precision was fp32, now fp16"


@pytest.mark.parametrize("which", ["engine", "manifest", "no manifest", "another's"])
def test_an_altered_entry_is_built_anew(cache, which):
    path = get(cache, request())[0].path
    beside = manifest_path(path)
    if which == "no manifest":
        beside.unlink()
    elif which == "another's":
        other = sealed(request(precision="int8"))
        path.write_bytes(other.content)
        beside.write_bytes(other.manifest.to_bytes())
    else:
        target = path if which == "engine" else beside
        data = bytearray(target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
    again, said = get(cache, request())
    assert not again.is_hit and ("refused" in again.reason or "is another" in again.reason)
    assert said == [f"building an engine: {again.reason}"]
    assert get(cache, request())[0].is_hit


BUILDER = """
import sys, time
from pathlib import Path
from tests.runtime.engines import request, sealed
from yolokkn.runtime.engine_cache import EngineCache
def build():
    with open(sys.argv[2], "a") as log: log.write("built\\n")
    print("building", flush=True)
    time.sleep(float(sys.argv[3]))
    return sealed(request())
found = EngineCache(Path(sys.argv[1])).get_or_build(request(), "a.onnx", build)
print("hit" if found.is_hit else "done", flush=True)
"""


def builder(tmp_path, sleep_s):
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(tmp_path), str(tmp_path / "log"), str(sleep_s)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_processes_that_want_the_same_build_it_once(tmp_path):
    workers = [builder(tmp_path, 0.3) for _ in range(4)]
    ends = sorted(worker.communicate(timeout=60)[0].split()[-1] for worker in workers)
    assert ends == ["done", "hit", "hit", "hit"]
    assert (tmp_path / "log").read_text() == "built\n"


def test_threads_that_want_the_same_build_it_once(cache):
    built, found = [], []

    def build():
        built.append(1)
        time.sleep(0.1)
        return sealed(request())

    workers = [
        threading.Thread(target=lambda: found.append(cache.get_or_build(request(), "a.onnx", build))) for _ in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(built) == 1 and [one.is_hit for one in found].count(True) == 5


def test_a_dead_holder_blocks_nobody(tmp_path):
    holder = builder(tmp_path, 600)
    assert holder.stdout.readline() == "building\n"
    waiting = []
    with pytest.raises(ModelError, match=rf"has been held for 0 s by process {holder.pid}; end that process"):
        EngineCache(tmp_path).get_or_build(
            request(), "a.onnx", lambda: sealed(request()), say=waiting.append, timeout_s=0.2
        )
    assert waiting == ["another process builds this engine; waiting for it"]
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    assert not get(EngineCache(tmp_path), request(), timeout_s=5)[0].is_hit


WRITER = """
import itertools, sys
from pathlib import Path
from tests.runtime.engines import request, sealed
from yolokkn.runtime.engine_cache import store
for version in itertools.count():
    store(sealed(request(producer=str(version)), plan=(b"%09d" % version) * 100_000), Path(sys.argv[1]))
    if version == 0: print("writing", flush=True)
"""


def test_killed_while_writing_leaves_no_half(tmp_path):
    """Whatever a kill leaves is one whole engine, or refused; and the next one is written over it."""
    rng, whole, parts, path = random.Random(0), 0, 0, tmp_path / "a.engine"
    for _ in range(scaled(12)):
        worker = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert worker.stdout.readline() == "writing\n"
        time.sleep(rng.random() * 0.1)
        worker.kill()
        worker.communicate(timeout=10)
        parts += len(list(tmp_path.glob(".*.part")))
        try:
            engine = open_engine(path)
        except EngineRefusedError:
            continue
        assert bytes(engine.plan) == (b"%09d" % int(engine.manifest.request.producer)) * 100_000
        whole += 1
    assert whole > 0 and parts > 0  # else the kills prove nothing


READER = """
import json, os, sys
from pathlib import Path
from tests.runtime.engines import request, sealed
from yolokkn.runtime.engine_cache import EngineCache
if os.geteuid() == 0:  # whom no mode keeps out
    os.setgid(65534)
    os.setuid(65534)
cache, said = EngineCache(Path(sys.argv[1])), []
for precision in sys.argv[2:]:
    wanted = request(precision=precision)
    found = cache.get_or_build(wanted, "a.onnx", lambda: sealed(wanted), say=said.append)
    said.append([found.is_hit, found.engine.manifest.request.precision, cache.load_blob("timing") is not None])
cache.store_blob("another", b"x")
print(json.dumps(said))
"""


@pytest.fixture
def world_readable(tmp_path):
    """A folder that every user can reach; those of pytest are for their owner."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


def read_only(folder, *precisions):
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder), *precisions], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_cache_that_cannot_be_written_serves_what_it_has(world_readable):
    cache = EngineCache(world_readable)
    get(cache, request(precision="fp16"))
    cache.store_blob("timing", b"learned")
    before = sorted(path.name for path in cache.folder.iterdir())
    hit, why, problem, miss = read_only(world_readable, "fp16", "int8")
    assert hit == [True, "fp16", True] and miss == [False, "int8", True]
    assert why == "building an engine: the precision was fp16, now int8"
    assert problem.startswith(f"the engine cannot be kept in the cache ({cache.folder}/")
    assert problem.endswith(
        "Permission denied), and is built without it; set YOLOKKN_CACHE to a folder that can be written"
    )
    assert sorted(path.name for path in cache.folder.iterdir()) == before


def test_a_cache_that_cannot_be_made_is_done_without(world_readable):
    why, problem, built = read_only(world_readable, "fp16")
    assert why == "building an engine: there is none of this model yet" and built == [False, "fp16", False]
    assert problem.startswith(f"the engine cannot be kept in the cache ({world_readable}/engines: Permission denied)")


def test_an_engine_that_may_not_be_read_is_built_anew(world_readable):
    if os.geteuid() != 0:
        pytest.skip("wants another user's file, which root alone can make")
    path = get(EngineCache(world_readable), request(precision="fp16"))[0].path
    read_only(world_readable, "fp32")
    path.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(world_readable), "fp16"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert json.loads(done.stdout)[0] == "building an engine: the one in the cache cannot be read (Permission denied)"


def test_what_was_used_least_recently_goes_first(tmp_path):
    cache = EngineCache(tmp_path, max_bytes=3 * len(sealed(request()).content) + 100)
    paths = []
    for index in range(3):
        paths.append(get(cache, request(precision=f"p{index}"), f"{index}.onnx")[0].path)
        os.utime(paths[-1], (1000 + index, 1000 + index))
    get(cache, request(precision="p0"), "0.onnx")  # used: now the youngest
    newest = get(cache, request(precision="p3"), "3.onnx")[0].path
    assert [path.exists() for path in (*paths, newest)] == [True, False, True, True]
    assert not manifest_path(paths[1]).exists() and not paths[1].with_suffix(".lock").exists()
    tiny = EngineCache(tmp_path, max_bytes=1)
    only = get(tiny, request(precision="p9"))[0].path
    assert [path.name for path in (tmp_path / "engines").glob("*.engine")] == [only.name]  # the new one stays


def test_where_it_is(monkeypatch, tmp_path):
    for name in ("YOLOKKN_CACHE", "XDG_CACHE_HOME", "YOLOKKN_CACHE_MB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "yolokkn"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/yolokkn")
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "mine"))
    assert EngineCache().folder == tmp_path / "mine" / "engines" and EngineCache().max_bytes == 8 << 30
    assert not (tmp_path / "mine").exists()  # made on use
    monkeypatch.setenv("YOLOKKN_CACHE_MB", "12")
    assert EngineCache().max_bytes == 12_000_000
    monkeypatch.setenv("YOLOKKN_CACHE_MB", "many")
    found, said = get(EngineCache(), request())
    assert not found.is_hit and said[1].startswith(
        "YOLOKKN_CACHE_MB must be a whole number of megabytes (0: no cache), got"
    )
    assert not (tmp_path / "mine").exists()


def test_a_limit_of_0_reads_and_keeps_nothing(tmp_path, monkeypatch):
    get(EngineCache(tmp_path), request())
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("YOLOKKN_CACHE_MB", "0")
    off = EngineCache(tmp_path)
    found, said = get(off, request())
    assert not found.is_hit and said == ["building an engine: nothing is cached (YOLOKKN_CACHE_MB=0)"]
    off.store_blob("timing", b"x")
    assert off.load_blob("timing") is None and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["/proc/nocache", "file"])
def test_a_folder_that_is_none_is_done_without(tmp_path, place):
    (tmp_path / "file").write_text("x")
    found, said = get(EngineCache(tmp_path / place), request())
    assert not found.is_hit and said[0] == "building an engine: there is none of this model yet"
    assert "and is built without it; set YOLOKKN_CACHE to a folder" in said[1] and len(said) == 2


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o707])
def test_a_folder_that_others_may_write_is_refused(tmp_path, mode):
    folder = tmp_path / "engines"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ModelError, match=r"may be written by others, and engines are executable; run: chmod go-w"):
        get(EngineCache(tmp_path), request())


def test_a_full_disk_does_not_cost_the_engine(cache, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yolokkn.runtime.engine_manifest.write_atomically", full, raising=False)
    monkeypatch.setattr("yolokkn.runtime.engine_cache.write_atomically", full)
    found, said = get(cache, request())
    assert found.engine.content == sealed(request()).content and not found.is_hit
    assert (
        "the engine cannot be kept in the cache ([Errno 28] No space left on device), and is built without it; set YOLOKKN_CACHE"
        in said[-1]
    )
    cache.store_blob("timing", b"learned")
    assert cache.load_blob("timing") is None


def test_a_link_and_another_users_folder_are_refused(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "engines").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"engines is a link or another user's"):
        get(EngineCache(tmp_path), request())
    (tmp_path / "theirs" / "engines").mkdir(parents=True, mode=0o700)
    monkeypatch.setattr("os.geteuid", lambda: (tmp_path / "theirs").stat().st_uid + 1)
    if (tmp_path / "theirs").stat().st_uid != 0:  # root's folders are everybody's to trust
        with pytest.raises(ModelError, match=r"engines is a link or another user's"):
            get(EngineCache(tmp_path / "theirs"), request())


def test_blobs_are_kept_and_damage_is_seen(cache):
    assert cache.load_blob("timing") is None
    cache.store_blob("timing", b"learned")
    assert cache.load_blob("timing") == b"learned" and cache.load_blob("other") is None
    path = cache.folder / "timing.blob"
    for place in range(path.stat().st_size):
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        (cache.folder / "other.blob").write_bytes(bytes(data))
        assert cache.load_blob("other") is None
    (cache.folder / "other.blob").write_bytes(path.read_bytes())  # renamed: not what it says
    assert cache.load_blob("other") is None
