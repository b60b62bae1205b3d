"""Batches for training and evaluation: made by processes or threads, the same whoever makes them."""

from __future__ import annotations

import math
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from yolokkn.data.augment import AugmentConfig, augment, letterbox
from yolokkn.data.batch import Batch
from yolokkn.data.cache import PictureCache, available_bytes
from yolokkn.data.collate import collate
from yolokkn.data.datasets import Dataset, concat
from yolokkn.data.order import Plan
from yolokkn.data.sample import Sample
from yolokkn.errors import DataError
from yolokkn.geometry import Letterbox

WORKER_KINDS = ("process", "thread")
_GRACE_S = 10  # that a worker goes on after SIGTERM


class Loader:
    """Iterates over the batches of an epoch; build it by `build_loader`.

    Attributes:
        dataset: What is loaded.
        epoch: Which epoch the next iteration gives; `set_epoch` changes it.
        start_batch: Batches to leave out at the beginning of the next iteration, for that one only.
    """

    def __init__(
        self,
        cache: PictureCache,
        plan: Plan,
        hw: tuple[int, int],
        config: AugmentConfig | None,
        *,
        workers: int,
        worker_kind: str,
        prefetch: int,
        multi_scale: float,
        pin_memory: bool,
    ) -> None:
        self.dataset = cache.dataset
        self.cache = cache
        self.plan = plan
        self.hw = hw
        self.config = config
        self.workers = workers
        self.epoch = 0
        self.start_batch = 0
        self._worker_kind, self._prefetch = worker_kind, prefetch
        self._multi_scale, self._pin_memory = multi_scale, pin_memory

    def __len__(self) -> int:
        """Return the batches of an epoch, those before `start_batch` too."""
        return self.plan.num_batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        if epoch < 0:
            raise ValueError(f"Loader.set_epoch: epoch must be 0 or more, got {epoch}")
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        start, self.start_batch = self.start_batch, 0
        if not 0 <= start <= len(self):
            raise ValueError(f"Loader: start_batch must be within 0 and {len(self)}, got {start}")
        maker = BatchMaker(self, self.epoch, shared=bool(self.workers) and self._worker_kind == "process")
        batches = [b for b in range(start, len(self)) if maker.share(b)]
        if not self.workers:
            return (maker[batch] for batch in batches)
        if self._worker_kind == "thread":
            return self._by_threads(maker, batches)
        loader = DataLoader(
            maker,
            batch_size=None,
            sampler=batches,
            num_workers=min(self.workers, max(len(batches), 1)),
            prefetch_factor=self._prefetch,
            collate_fn=_as_it_is,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # else each epoch draws from torch's own, with workers and not without
            multiprocessing_context="fork",
            pin_memory=self._pin_memory,
        )
        with _kept_child_handler():
            return iter(loader)

    def _by_threads(self, maker: BatchMaker, batches: Sequence[int]) -> Iterator[Batch]:
        import cv2

        threads_before = cv2.getNumThreads()
        cv2.setNumThreads(1)
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.workers, "yolokkn-data")
        try:
            for batch in batches:
                waiting.append(pool.submit(maker.__getitem__, batch))
                if len(waiting) > self.workers * self._prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            cv2.setNumThreads(threads_before)


@contextmanager
def _kept_child_handler() -> Iterator[None]:
    """Keep the process's SIGCHLD handler: torch leaves its own behind, which then runs for every child of the program.

    A worker that dies is noticed without it, within seconds, when the next batch is waited for.
    """
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGCHLD, before)


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _start_worker(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # A signal to the whole group is for the training, which ends its step, saves and then lets its workers go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE_S))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


class BatchMaker:
    """Makes any batch of an epoch, by itself and without a state: `maker[k]`."""

    def __init__(self, loader: Loader, epoch: int, *, shared: bool) -> None:
        self._cache, self._plan, self._hw = loader.cache, loader.plan, loader.hw
        self._config = loader.config
        self._multi_scale, self._epoch, self._shared = loader._multi_scale, epoch, shared
        self._order = loader.plan.order(epoch)

    def __len__(self) -> int:
        return self._plan.num_batches

    def share(self, batch: int) -> list[tuple[int, int]]:
        """Return this rank's part of a batch."""
        return self._plan.share(self._order, batch)

    def __getitem__(self, batch: int) -> Batch:
        hw = self._plan.draw_size(self._epoch, batch, self._hw, self._multi_scale)
        samples: list[Sample] = []
        letterboxes: list[Letterbox] = []
        for place, index in self.share(batch):
            if self._config is None:
                sample, geometry = self._fitted(index, hw)
                letterboxes.append(geometry)
            else:
                rng = self._plan.picture_rng(self._epoch, place)
                pairs = self._cache.dataset.flip_pairs or ()
                sample = augment(self._load, index, self._order, rng, hw, self._config, pairs)
            samples.append(sample)
        return collate(samples, hw, letterboxes, shared=self._shared)

    def _load(self, index: int) -> Sample:
        return self._load_with_hw(index)[0]

    def _load_with_hw(self, index: int) -> tuple[Sample, tuple[int, int]]:
        """Load a picture; one that has become unreadable is grey and without objects, and said."""
        try:
            return self._cache.load_with_hw(index)
        except DataError as error:
            warnings.warn(f"{error}; a grey picture takes its place", stacklevel=2)
            dataset = self._cache.dataset
            image: np.ndarray = np.full((*self._hw, 3), 114, np.uint8)
            blank: np.ndarray = np.zeros((0, 4), np.float32)
            points: np.ndarray = np.zeros((0, dataset.num_keypoints, 3), np.float32)
            keypoints = points if dataset.num_keypoints else None
            masks = () if "segment" in dataset.task else None
            name = dataset.image_ids[index]
            return Sample(image, blank, np.zeros(0, np.int64), masks, keypoints, image_id=name), self._hw

    def _fitted(self, index: int, hw: tuple[int, int]) -> tuple[Sample, Letterbox]:
        sample, own_hw = self._load_with_hw(index)
        return letterbox(sample, hw)[0], Letterbox.fit(own_hw, hw)


def build_loader(
    datasets: Dataset | Sequence[Dataset],
    *,
    batch_size: int,
    imgsz: int | tuple[int, int],
    augment: AugmentConfig | None = None,
    shuffle: bool = True,
    workers: int | None = None,
    worker_kind: str | None = None,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    start_batch: int = 0,
    multi_scale: float = 0.0,
    prefetch: int = 2,
    pin_memory: bool = False,
    cache_bytes: int | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
) -> Loader:
    """Build what gives batches.

    The content of a batch follows from (seed, epoch, its number) alone: not from workers, their kind, or ranks. The
    ranks' batches joined are the batch of one process.

    Args:
        datasets: One, or several with the same classes (`remap` brings them there).
        batch_size: Pictures of the global batch, over all ranks; a multiple of `world_size` for training.
        imgsz: Side, or height and width, of the pictures.
        augment: How pictures are changed; None: letterboxed only, as the runtime does.
        shuffle: Training: shuffled each epoch, every batch full (the last takes its rest from the epoch's beginning).
            False: in order, the last batch short, a rank without a share in it leaves it out.
        workers: Processes or threads that make batches; 0: made when asked for; None: one a core, 8 at most.
        worker_kind: "process" (forked; the cache in memory is shared), or "thread" (no copies; OpenCV works outside of
            Python's lock, so that two or three keep busy; its own threads are set to 1 meanwhile). None: threads up to
            two workers, else processes.
        seed: Decides everything random.
        rank: Which of the processes of the training this is.
        world_size: How many there are.
        start_batch: Batches that the first iteration leaves out, for resuming.
        multi_scale: Sides change from batch to batch by up to this part, in multiples of 32.
        prefetch: Batches that each worker makes ahead.
        pin_memory: Put batches into memory that a GPU reads directly (processes only).
        cache_bytes: Most bytes of decoded pictures kept; None: a quarter of the memory that is free; 0: none.
        cache_folder: Where they are kept as files, for later runs too; None: in memory.

    Returns:
        An iterable of `Batch` with `set_epoch`, `start_batch` and `len`.

    Raises:
        ValueError: An argument is out of its range, or the datasets differ in their classes.
    """
    dataset = datasets if isinstance(datasets, Dataset) else concat(list(datasets))
    hw = (imgsz, imgsz) if isinstance(imgsz, int) else (int(imgsz[0]), int(imgsz[1]))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, 8) if workers is None else workers
    worker_kind = worker_kind or ("thread" if workers <= 2 else "process")
    _check(locals())
    if cache_bytes is None:
        cache_bytes = available_bytes() // 4 // max(min(world_size, 8), 1) if cache_folder is None else 1 << 40
    largest = tuple(math.ceil(side * (1 + multi_scale) / 32) * 32 if multi_scale else side for side in hw)
    cache = PictureCache(
        dataset, (largest[0], largest[1]), cache_bytes, None if cache_folder is None else Path(cache_folder)
    )
    plan = Plan(len(dataset), batch_size, seed, shuffle, rank, world_size, dataset.weights)
    loader = Loader(
        cache,
        plan,
        hw,
        augment,
        workers=workers,
        worker_kind=worker_kind,
        prefetch=prefetch,
        multi_scale=multi_scale if augment is not None else 0.0,
        pin_memory=pin_memory,
    )
    loader.start_batch = start_batch
    return loader


def _check(given: dict[str, Any]) -> None:
    """Check the numbers of `build_loader`."""
    least = {"batch_size": 1, "workers": 0, "world_size": 1, "start_batch": 0, "prefetch": 1, "cache_bytes": 0}
    for name, low in least.items():
        if given[name] is not None and given[name] < low:
            raise ValueError(f"build_loader: {name} must be {low} or more, got {given[name]}")
    rank, world_size, batch_size = given["rank"], given["world_size"], given["batch_size"]
    if not 0 <= rank < world_size:
        raise ValueError(f"build_loader: rank must be within 0 and {world_size - 1}, got {rank}")
    if given["shuffle"] and batch_size % world_size:
        raise ValueError(f"build_loader: batch_size must be a multiple of world_size {world_size}, got {batch_size}")
    if given["worker_kind"] not in WORKER_KINDS:
        choices = ", ".join(WORKER_KINDS)
        raise ValueError(f"build_loader: worker_kind must be one of {choices}, got {given['worker_kind']!r}")
    if not 0 <= given["multi_scale"] < 1:
        raise ValueError(f"build_loader: multi_scale must be within 0 and 1, got {given['multi_scale']}")
    if not len(given["dataset"]):
        raise ValueError("build_loader: datasets must have a picture, got none")
    if min(given["hw"]) < 32 or any(side % 32 for side in given["hw"]):
        raise ValueError(f"build_loader: imgsz must be multiples of 32, got {given['hw']}")
