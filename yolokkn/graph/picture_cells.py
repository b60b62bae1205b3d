"""The cells of a picture in a graph: where a size or a constant counts them, and nodes that count them for any picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.graph.onnx_build import data_type_number, fill_attribute, fill_tensor

_STRIDES = (4, 8, 16, 32, 64, 128)
_MOST_ANCHORS = 4
_FEWEST = 16  # cells below which a size may be anything


class Cells:
    """How many cells a picture has at each stride, and at several in a row.

    Args:
        height: Of the picture; 0: free already, and nothing is counted.
        width: Likewise.

    Example:
        >>> cells = Cells(640, 640)
        >>> cells.counts(8400), cells.counts(3 * 6400), cells.counts(85), cells.stride_of(40, 40)
        (True, True, False, 16)
    """

    def __init__(self, height: int, width: int) -> None:
        self._sizes = {s: (height // s, width // s) for s in _STRIDES if min(height, width) >= s}
        self._rows: dict[int, tuple[int, ...]] = {}
        strides = list(self._sizes)
        for first in range(len(strides)):
            for last in range(first + 1, len(strides) + 1):
                row = tuple(strides[first:last])
                total = sum(h * w for h, w in (self._sizes[s] for s in row))
                if total >= _FEWEST:
                    self._rows.setdefault(total, row)

    def counts(self, size: int) -> bool:
        """Tell whether a size is that of all cells of a stride, or of strides in a row, once or for a few anchors."""
        return any(size % anchors == 0 and size // anchors in self._rows for anchors in range(1, _MOST_ANCHORS + 1))

    def stride_of(self, height: int, width: int) -> int | None:
        """Return the stride whose cells have so many rows and columns; None: no stride's."""
        if height * width < _FEWEST:
            return None
        return next((s for s, size in self._sizes.items() if size == (height, width)), None)

    def grids_in(self, shape: tuple[int, ...]) -> tuple[int, list[tuple[int, int, int]], bool] | None:
        """Find a value for each cell in a constant's shape.

        Returns:
            The axis, (stride, rows, columns) of each grid along it, and whether the cells of one grid take up two axes from there
            on rather than one; None where there are no cells.
        """
        for axis in range(len(shape) - 1):
            stride = self.stride_of(shape[axis], shape[axis + 1])
            if stride is not None:
                return axis, [(stride, *self._sizes[stride])], True
        for axis, size in enumerate(shape):
            if size in self._rows and (len(shape) < 4 or len(self._rows[size]) > 1):  # of four axes, it may be channels
                return axis, [(s, *self._sizes[s]) for s in self._rows[size]], False
        return None


class CellNodes:
    """Adds nodes to a graph that follow the picture's size. They are appended: sort the nodes afterwards.

    Args:
        graph: A GraphProto.
        picture: Name of the input (B, C, H, W).
    """

    def __init__(self, graph: Any, picture: str) -> None:
        self._graph = graph
        self._picture = picture
        self._taken = {name for node in graph.node for name in node.output} | {t.name for t in graph.initializer}
        self._count = 0
        self._known: dict[Any, str] = {}

    def constant(self, values: np.ndarray) -> str:
        """Add a constant; returns its name."""
        name = self._name()
        fill_tensor(self._graph.initializer.add(), name, np.asarray(values))
        return name

    def joined(self, parts: list[str], axis: int) -> str:
        """Join values along an axis."""
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, axis=axis)

    def size_at(self, stride: int) -> str:
        """Return rows and columns of the picture's cells: (2,) int64."""
        if ("size", stride) not in self._known:
            shape = self._node("Shape", [self._picture])
            sides = self._node("Gather", [shape, self.constant(np.array([2, 3], np.int64))], axis=0)
            self._known["size", stride] = self._node("Div", [sides, self.constant(np.array([stride], np.int64))])
        return self._known["size", stride]

    def follow_cells(
        self, name: str, values: np.ndarray, axis: int, grids: list[tuple[int, int, int]], apart: bool
    ) -> str:
        """Return what gives a constant's values at any size of the picture, computed from rows and columns.

        Args:
            name: Of the constant.
            values: Its values.
            axis: Where the cells lie.
            grids: (stride, rows, columns) each.
            apart: Rows and columns are two axes.

        Raises:
            ValueError: The values do not follow the cells' rows and columns linearly.
        """
        if ("cells", name) not in self._known:
            before, after = values.shape[:axis], values.shape[axis + 1 + apart :]
            ends = np.cumsum([h * w for _, h, w in grids])[:-1]
            flat = values.reshape(*before, -1, *after)
            parts = [
                self._grid(one.reshape(*before, h, w, *after), axis, stride, apart)
                for one, (stride, h, w) in zip(np.split(flat, ends, axis), grids, strict=True)
            ]
            self._known["cells", name] = self.joined(parts, axis)
        return self._known["cells", name]

    def _grid(self, values: np.ndarray, axis: int, stride: int, apart: bool) -> str:
        if values.shape[axis] < 2 or values.shape[axis + 1] < 2:
            raise ValueError("are of too few cells to tell how they go on")
        first, second, beside = (
            np.asarray(values.take([row], axis).take([column], axis + 1)) for row, column in ((0, 0), (1, 0), (0, 1))
        )
        down, right = second - first, beside - first
        rows, columns = (self._places(stride, which, values.ndim, axis + which, values.dtype) for which in (0, 1))
        y = np.arange(values.shape[axis], dtype=values.dtype).reshape(_along(values.ndim, axis))
        x = np.arange(values.shape[axis + 1], dtype=values.dtype).reshape(_along(values.ndim, axis + 1))
        if not np.array_equal(first + down * y + right * x, values):
            raise ValueError("do not follow the cells' rows and columns")
        moved = self._node("Add", [self.constant(first), self._node("Mul", [self.constant(down), rows])])
        moved = self._node("Add", [moved, self._node("Mul", [self.constant(right), columns])])
        if apart:
            return moved
        shape = [*values.shape[:axis], -1, *values.shape[axis + 2 :]]
        return self._node("Reshape", [moved, self.constant(np.array(shape, np.int64))])

    def _places(self, stride: int, which: int, rank: int, axis: int, dtype: np.dtype) -> str:
        """Return 0, 1, 2 ... of the rows (`which` 0) or columns (1), along one of so many axes."""
        key = (stride, which, rank, axis, dtype)
        if key not in self._known:
            count = self._node("Gather", [self.size_at(stride), self.constant(np.array(which, np.int64))], axis=0)
            zero, one = (self.constant(np.array(value, np.int64)) for value in (0, 1))
            places = self._node("Cast", [self._node("Range", [zero, count, one])], to=data_type_number(dtype.name))
            self._known[key] = self._node("Reshape", [places, self.constant(np.array(_along(rank, axis), np.int64))])
        return self._known[key]

    def _node(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        name = self._name()
        node = self._graph.node.add(op_type=op_type, name=name)
        node.input.extend(inputs)
        node.output.append(name)
        for key, value in attributes.items():
            fill_attribute(node.attribute.add(name=key), value)
        return name

    def _name(self) -> str:
        while True:
            self._count += 1
            name = f"picture_cells_{self._count}"
            if name not in self._taken:
                return name


def _along(rank: int, axis: int) -> list[int]:
    """Return the shape of a row of values along one of so many axes."""
    return [-1 if place == axis else 1 for place in range(rank)]
