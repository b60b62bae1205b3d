"""What the ONNX operators that select, join and rearrange do to shapes; completes the table of rules."""

from __future__ import annotations

from math import ceil, floor, prod
from typing import Any

import numpy as np

from yolokkn.graph.onnx_file import tensor_array
from yolokkn.graph.shape_rules import MAX_DATA, RULES, Value, rule_for, value_of

__all__ = ["RULES"]


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError("axis out of range")
    return axis % rank


def _axes(attributes: dict[str, Any], given: Value | None, rank: int) -> list[int] | None:
    axes = given.ints() if given is not None else attributes.get("axes")
    return None if axes is None else sorted({_axis(a, rank) for a in axes})


@rule_for("Concat")
def _concat(attributes: dict[str, Any], *inputs: Value) -> Value:
    axis = _axis(attributes["axis"], len(inputs[0].dims))
    shape = list(inputs[0].dims)
    shape[axis] = sum(v.dims[axis] for v in inputs)
    if prod(shape) <= MAX_DATA and all(v.data is not None for v in inputs):
        return value_of(np.concatenate([v.data for v in inputs if v.data is not None], axis))
    return Value(tuple(shape))


@rule_for("Split")
def _split(attributes: dict[str, Any], x: Value, sizes: Value | None = None) -> list[Value]:
    axis, count = _axis(attributes.get("axis", 0), len(x.dims)), attributes["__outputs__"]
    given = sizes.ints() if sizes is not None else attributes.get("split")
    if given is None:
        part = -(-x.dims[axis] // count)
        given = [part] * (count - 1) + [x.dims[axis] - part * (count - 1)]
    parts = [tuple(size if i == axis else d for i, d in enumerate(x.dims)) for size in given]
    if x.data is None:
        return [Value(shape) for shape in parts]
    return [value_of(a) for a in np.split(x.data, np.cumsum(given)[:-1], axis)]


@rule_for("Slice")
def _slice(attributes: dict[str, Any], x: Value, *given: Value | None) -> Value:
    if given:
        starts, ends = (v.ints() for v in given[:2] if v is not None)
        axes = given[2].ints() if len(given) > 2 and given[2] is not None else list(range(len(starts)))
        steps = given[3].ints() if len(given) > 3 and given[3] is not None else [1] * len(starts)
    else:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes") or list(range(len(starts))), [1] * len(starts)
    cuts = [slice(None)] * len(x.dims)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Python reads an end before the beginning as None when it counts backwards
        cuts[_axis(axis, len(cuts))] = slice(start, None if step < 0 and end < -(2**31) else end, step)
    if x.data is not None:
        return value_of(x.data[tuple(cuts)])
    return Value(tuple(len(range(*c.indices(d))) for c, d in zip(cuts, x.dims, strict=True)))


@rule_for("Reshape")
def _reshape(attributes: dict[str, Any], x: Value, target: Value) -> Value:
    sizes = target.ints()
    if not attributes.get("allowzero"):
        sizes = [x.dims[i] if size == 0 else size for i, size in enumerate(sizes)]
    if -1 in sizes:
        total, known = prod(x.dims), prod(s for s in sizes if s != -1)
        if known <= 0 or total % known:
            raise ValueError("sizes do not divide")
        sizes[sizes.index(-1)] = total // known
    if prod(sizes) != prod(x.dims):
        raise ValueError("sizes do not fit")
    return Value(tuple(sizes), None if x.data is None else x.data.reshape(sizes))


@rule_for("Transpose")
def _transpose(attributes: dict[str, Any], x: Value) -> Value:
    order = attributes.get("perm") or list(range(len(x.dims)))[::-1]
    return Value(tuple(x.dims[i] for i in order), None if x.data is None else x.data.transpose(order))


@rule_for("Flatten")
def _flatten(attributes: dict[str, Any], x: Value) -> Value:
    axis = attributes.get("axis", 1)
    return Value((prod(x.dims[:axis]), prod(x.dims[axis:])))


@rule_for("Squeeze")
def _squeeze(attributes: dict[str, Any], x: Value, given: Value | None = None) -> Value:
    axes = _axes(attributes, given, len(x.dims))
    shape = tuple(d for i, d in enumerate(x.dims) if (d != 1 if axes is None else i not in axes))
    return Value(shape, None if x.data is None else x.data.reshape(shape))


@rule_for("Unsqueeze")
def _unsqueeze(attributes: dict[str, Any], x: Value, given: Value | None = None) -> Value:
    axes = given.ints() if given is not None else attributes["axes"]
    shape = list(x.dims)
    for axis in sorted(_axis(a, len(x.dims) + len(axes)) for a in axes):
        shape.insert(axis, 1)
    return Value(tuple(shape), None if x.data is None else x.data.reshape(shape))


@rule_for("Shape")
def _shape(attributes: dict[str, Any], x: Value) -> Value:
    return value_of(np.array(x.dims, np.int64)[attributes.get("start", 0) : attributes.get("end")])


@rule_for("Size")
def _size(attributes: dict[str, Any], x: Value) -> Value:
    return value_of(np.array(prod(x.dims), np.int64))


@rule_for("Gather")
def _gather(attributes: dict[str, Any], x: Value, indices: Value) -> Value:
    axis = _axis(attributes.get("axis", 0), len(x.dims))
    shape = (*x.dims[:axis], *indices.dims, *x.dims[axis + 1 :])
    if x.data is not None and indices.data is not None and prod(shape) <= MAX_DATA:
        return value_of(np.take(x.data, indices.data.astype(np.int64), axis))
    return Value(shape)


@rule_for("GatherElements")
def _gather_elements(attributes: dict[str, Any], x: Value, indices: Value) -> Value:
    return Value(indices.dims)


@rule_for("GatherND")
def _gather_nd(attributes: dict[str, Any], x: Value, indices: Value) -> Value:
    return Value((*indices.dims[:-1], *x.dims[attributes.get("batch_dims", 0) + indices.dims[-1] :]))


@rule_for("Resize", "Upsample")
def _resize(attributes: dict[str, Any], x: Value, *given: Value | None) -> Value:
    axes = [_axis(a, len(x.dims)) for a in attributes.get("axes") or range(len(x.dims))]
    if attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise ValueError("sizes depend on a policy")
    sizes = given[2] if len(given) > 2 else None
    if sizes is not None and sizes.dims != (0,):
        wanted = sizes.ints()
    else:  # Upsample and opset 10 give (x, scales), later ones (x, roi, scales, sizes)
        scales = given[min(len(given), 2) - 1] if given else None
        factors = attributes["scales"] if scales is None else scales.floats()
        wanted = [floor(x.dims[axis] * factor) for axis, factor in zip(axes, factors, strict=True)]
    shape = list(x.dims)
    for axis, size in zip(axes, wanted, strict=True):
        shape[axis] = size
    return Value(tuple(shape))


@rule_for("Pad")
def _pad(attributes: dict[str, Any], x: Value, pads: Value | None = None, *rest: Value | None) -> Value:
    amounts = pads.ints() if pads is not None else attributes["pads"]
    axes = rest[1].ints() if len(rest) > 1 and rest[1] is not None else list(range(len(x.dims)))
    shape = list(x.dims)
    for i, axis in enumerate(axes):
        shape[_axis(axis, len(shape))] += amounts[i] + amounts[i + len(axes)]
    return Value(tuple(shape))


@rule_for("Expand")
def _expand(attributes: dict[str, Any], x: Value, target: Value) -> Value:
    shape = tuple(int(d) for d in np.broadcast_shapes(x.dims, tuple(target.ints())))
    return value_of(np.broadcast_to(x.data, shape)) if x.data is not None and prod(shape) <= MAX_DATA else Value(shape)


@rule_for("Tile")
def _tile(attributes: dict[str, Any], x: Value, repeats: Value) -> Value:
    return Value(tuple(d * r for d, r in zip(x.dims, repeats.ints(), strict=True)))


@rule_for("OneHot")
def _one_hot(attributes: dict[str, Any], indices: Value, depth: Value, values: Value) -> Value:
    shape = list(indices.dims)
    axis = attributes.get("axis", -1)
    shape.insert(axis if axis >= 0 else axis + len(shape) + 1, depth.ints()[0])
    return Value(tuple(shape))


@rule_for("ConstantOfShape")
def _constant_of_shape(attributes: dict[str, Any], target: Value) -> Value:
    shape = tuple(target.ints())
    if prod(shape) > MAX_DATA:
        return Value(shape)
    fill = tensor_array(attributes["value"]).reshape(-1)[0] if "value" in attributes else np.float32(0)
    return value_of(np.full(shape, fill))


@rule_for("Range")
def _range(attributes: dict[str, Any], start: Value, limit: Value, delta: Value) -> Value:
    first, last, step = (v.floats()[0] for v in (start, limit, delta))
    count = max(ceil((last - first) / step), 0)
    if start.data is None or count > MAX_DATA:
        return Value((count,))
    return value_of((first + np.arange(count) * step).astype(start.data.dtype))


@rule_for(
    *"ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare".split()
)
def _reduce(attributes: dict[str, Any], x: Value, given: Value | None = None) -> Value:
    axes = _axes(attributes, given, len(x.dims))
    if not axes:
        if attributes.get("noop_with_empty_axes"):
            return Value(x.dims)
        axes = list(range(len(x.dims)))
    return _drop_axes(x.dims, axes, bool(attributes.get("keepdims", 1)))


def _drop_axes(shape: tuple[int, ...], axes: list[int], keep: bool) -> Value:
    if keep:
        return Value(tuple(1 if i in axes else d for i, d in enumerate(shape)))
    return Value(tuple(d for i, d in enumerate(shape) if i not in axes))


@rule_for("ArgMax", "ArgMin")
def _arg(attributes: dict[str, Any], x: Value) -> Value:
    return _drop_axes(x.dims, [_axis(attributes.get("axis", 0), len(x.dims))], bool(attributes.get("keepdims", 1)))


@rule_for("TopK")
def _top_k(attributes: dict[str, Any], x: Value, k: Value | None = None) -> list[Value]:
    count = k.ints()[0] if k is not None else attributes["k"]
    axis = _axis(attributes.get("axis", -1), len(x.dims))
    return [Value(tuple(count if i == axis else d for i, d in enumerate(x.dims)))] * 2


@rule_for("DepthToSpace")
def _depth_to_space(attributes: dict[str, Any], x: Value) -> Value:
    batch, channels, height, width = x.dims
    block = attributes["blocksize"]
    return Value((batch, channels // block**2, height * block, width * block))


@rule_for("SpaceToDepth")
def _space_to_depth(attributes: dict[str, Any], x: Value) -> Value:
    batch, channels, height, width = x.dims
    block = attributes["blocksize"]
    return Value((batch, channels * block**2, height // block, width // block))
