"""One backend runs while another gets ready: frames flow on ONNX Runtime while an engine is built."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.backends.base import Backend

Shapes = tuple[tuple[str, tuple[int, ...], str], ...]
_FACTS = ("layout", "task", "names")  # what the file says of its outputs


class SwitchingBackend(Backend):
    """Runs the first backend until it is told to switch to the second, which is made in a thread of its own meanwhile.

    A run that has begun ends where it began; the next one takes the new backend, and the first is let go.
    Give it to `yolokkn.load` as a model.

    Args:
        first: Runs from the start.
        make_second: Makes the other; called at once, in the background. What it raises is kept, and the first runs on. The
            process ends when this has: TensorRT's build gives up then.

    Example:
        >>> first = open_backend("onnxruntime", "best.onnx")  # doctest: +SKIP
        >>> both = SwitchingBackend(first, lambda: open_backend("tensorrt", "best.onnx"))  # doctest: +SKIP
        >>> model = yolokkn.load(both)  # doctest: +SKIP
        >>> both.switch(timeout_s=600)  # doctest: +SKIP
    """

    name = "switching"

    def __init__(self, first: Backend, make_second: Callable[[], Backend]) -> None:
        self._shared = _Shared(first)
        self._take_facts(first)
        self._pair: list[Backend | None] = [first, None]
        self._num_requests: int | None = None
        self._shared.views.add(self)
        threading.Thread(target=self._shared.prepare, args=(make_second,), name="yolokkn-switch").start()

    def _take_facts(self, other: Backend) -> None:
        self.inputs, self.outputs = other.inputs, other.outputs
        self.metadata, self.op_types, self.threads = other.metadata, other.op_types, other.threads

    @property
    def state(self) -> str:
        """One of "preparing", "ready", "switched" and "failed" (see `error`)."""
        return self._shared.state

    @property
    def error(self) -> BaseException | None:
        """Why the second backend could not be made; None where it could, or is not done."""
        return self._shared.error

    @property
    def current(self) -> Backend:
        """The backend that the next run takes."""
        backend = (
            self._pair[self._shared.index] or self._pair[1]
        )  # it may be switched, and the first let go, in between
        if backend is None:
            raise RuntimeError("SwitchingBackend: neither backend is there")
        return backend

    def switch(self, timeout_s: float | None = 0.0) -> bool:
        """Let every run from now on take the second backend.

        Args:
            timeout_s: Longest wait for it to be ready; None waits for as long as it takes.

        Returns:
            Whether it is in use now; False where it is not ready yet.

        Raises:
            ModelError: It could not be made, or is not of the same model. The first runs on.
        """
        return self._shared.switch(timeout_s)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network on the backend that is in use."""
        if self._shared.index == 0:
            self._shared.shapes.add(tuple((name, array.shape, array.dtype.str) for name, array in feeds.items()))
        return self.current.run(feeds)

    def for_requests(self, num_requests: int) -> Backend:
        """Return the same pair prepared for so many runs at once; it switches together with this one."""
        other = object.__new__(SwitchingBackend)
        other._shared, other._num_requests = self._shared, num_requests
        other._take_facts(self)
        self._shared.add(other)
        return other

    def _prepare(self, index: int, backend: Backend) -> None:
        self._pair[index] = backend if self._num_requests is None else backend.for_requests(self._num_requests)


class _Shared:
    """What all the views of one pair have in common."""

    def __init__(self, first: Backend) -> None:
        self.first: Backend | None = first  # until it is switched
        self.second: Backend | None = None
        self.index = 0
        self.state = "preparing"
        self.error: BaseException | None = None
        self.shapes: set[Shapes] = set()  # that the first backend has run
        self._tried: set[Shapes] = set()
        self.views: weakref.WeakSet[SwitchingBackend] = weakref.WeakSet()
        self._guard = threading.RLock()
        self._is_done = threading.Event()

    def prepare(self, make_second: Callable[[], Backend]) -> None:
        """Make the second backend, and prepare it for every view."""
        try:
            second = make_second()
            if self.first is not None:
                check_same(self.first, second)
            self._try(second)
            with self._guard:
                for view in self.views:
                    view._prepare(1, second)
                self.second, self.state = second, "ready"
        except BaseException as error:  # noqa: BLE001 - whatever it is, the first backend runs on, and `switch` tells it
            self.error, self.state = error, "failed"
        self._is_done.set()

    def add(self, view: SwitchingBackend) -> None:
        """Prepare another view."""
        with self._guard:
            view._pair = [None, None]
            if self.first is not None:
                view._prepare(0, self.first)
            if self.second is not None:
                view._prepare(1, self.second)
            self.views.add(view)

    def switch(self, timeout_s: float | None) -> bool:
        """See `SwitchingBackend.switch`."""
        if not self._is_done.wait(timeout_s):
            return False
        if self.error is not None:
            raise ModelError(f"switch: the second backend could not be made: {self.error}") from self.error
        with self._guard:
            if self.second is not None:
                self._try(self.second)  # what came since it was made
            self.index, self.state = 1, "switched"
            self.first = None
            for view in self.views:
                view._pair[0] = None
        return True

    def _try(self, second: Backend) -> None:
        """Run the second backend on all shapes that the first has run; it is warm then, or refused."""
        while fresh := set(self.shapes) - self._tried:
            for shapes in fresh:
                try:
                    second.run({name: np.zeros(shape, dtype) for name, shape, dtype in shapes})
                except Exception as error:
                    sizes = ", ".join(f"{name} {shape}" for name, shape, _ in shapes)
                    raise ModelError(f"switch: the second backend does not take {sizes}: {error}") from error
            self._tried |= fresh


def check_same(first: Backend, second: Backend) -> None:
    """Raise ModelError unless two backends take and give the same tensors and mean the same by them, as far as both say.

    Raises:
        ModelError: A name, dtype, size, layout, task or class name differs.
    """
    for key in _FACTS:
        ours, theirs = first.metadata.get(key), second.metadata.get(key)
        if ours is not None and theirs is not None and ours != theirs:
            raise ModelError(
                f"switch: both backends must be of the same model, got {key} {ours[:80]} and {theirs[:80]}"
            )
    for what, one, other in (("inputs", first.inputs, second.inputs), ("outputs", first.outputs, second.outputs)):
        by_name = {spec.name: spec for spec in other}
        same = {spec.name for spec in one} == set(by_name) and all(_fits(spec, by_name[spec.name]) for spec in one)
        if not same:
            texts = ["; ".join(str(spec) for spec in specs) for specs in (one, other)]
            raise ModelError(f"switch: both backends must have the same {what}, got {texts[0]} and {texts[1]}")


def _fits(one: TensorSpec, other: TensorSpec) -> bool:
    sizes = zip(one.shape, other.shape, strict=False)
    return (
        one.dtype == other.dtype
        and len(one.shape) == len(other.shape)
        and all(a == b or None in (a, b) for a, b in sizes)
    )
