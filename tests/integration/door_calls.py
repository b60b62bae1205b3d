"""Generated calls of every native door with one or two arguments that do not fit; run as a program by its test.

    python -m tests.integration.door_calls SEED COUNT

It ends with status 0 and one JSON line. A crash ends it by a signal; what was called last stands on stderr.
"""

from __future__ import annotations

import faulthandler
import json
import random
import resource
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from yolokkn import ops, tracking
from yolokkn.geometry import Letterbox
from yolokkn.types import Masks

GEOMETRY = Letterbox.fit((40, 60), (32, 32))
F4, I4 = np.float32, np.int32
MEMORY = 6 << 30  # an answer to a wrong argument must not be a huge allocation


class Sub(np.ndarray):
    """A subclass without any difference."""


def _unaligned(a: np.ndarray) -> np.ndarray:
    memory = np.zeros(a.nbytes + 1, np.uint8)
    out = memory[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def _strided(a: np.ndarray) -> np.ndarray:
    return np.repeat(a, 2, axis=-1)[..., ::2]


def _fortran(a: np.ndarray) -> np.ndarray:
    return np.asfortranarray(a)


def _locked(a: np.ndarray) -> np.ndarray:
    out = a.copy()
    out.flags.writeable = False
    return out


OTHER_DTYPES = ("bool", "i1", "u1", "i2", "u2", "i8", "u8", "f2", "f8", "c8", "O", "S4", "U2", "M8[s]", "f4", "i4")
NOT_ARRAYS: tuple[Any, ...] = (None, 0, -1.5, "x", b"x", [], [[0.0]], {}, object(), np.float32(1), memoryview(b"abc"))
SCALARS: tuple[Any, ...] = (
    None,
    True,
    0,
    1,
    -1,
    2,
    3,
    2**31,
    2**62,
    2**63,
    2**70,
    -(2**63),
    0.5,
    1e300,
    float("nan"),
    float("inf"),
    "x",
    b"",
    [],
    (1,),
    (1, 2),
    (1, 2, 3),
    np.int64(1),
    np.float32(0.5),
    object(),
)
SIDES = (0, 1, -1, 3, 64, 65537, 2**31, 2**40, 2**63, 0.5, None, "x", float("nan"))

# name -> (change, whether every door must refuse it)
ARRAY_CHANGES: dict[str, tuple[Callable[[random.Random, np.ndarray], Any], bool]] = {
    "big-endian": (lambda r, a: a.astype(a.dtype.newbyteorder(">")), True),
    "unaligned": (lambda r, a: _unaligned(a), True),
    "strided": (lambda r, a: _strided(a), True),
    "reversed": (lambda r, a: a[::-1] if r.random() < 0.5 else a[..., ::-1], False),
    "fortran": (lambda r, a: _fortran(a), False),
    "read-only": (lambda r, a: _locked(a), False),
    "dtype": (lambda r, a: np.zeros(a.shape, r.choice(OTHER_DTYPES)), False),
    "structured": (lambda r, a: np.zeros(a.shape, [("x", a.dtype)]), True),
    "0-d": (lambda r, a: np.zeros((), a.dtype), True),
    "zero-size": (lambda r, a: np.zeros([r.choice([0, n]) for n in a.shape], a.dtype), False),
    "empty but wide": (lambda r, a: np.zeros((0, *a.shape[1:-1], r.choice([1 << 31, 1 << 40])), a.dtype), False),
    "another shape": (lambda r, a: np.zeros([r.randrange(7) for _ in range(r.randrange(5))], a.dtype), False),
    "broadcast": (lambda r, a: np.broadcast_to(a.reshape(-1)[:1], a.shape), False),
    "huge broadcast": (lambda r, a: np.broadcast_to(a.reshape(-1)[:1], (1 << 40, *a.shape[1:])), True),
    "one axis more": (lambda r, a: a[None], True),
    "subclass": (lambda r, a: a.view(Sub), False),
    "masked": (lambda r, a: np.ma.masked_array(a), False),
    "no array": (lambda r, a: r.choice(NOT_ARRAYS), False),
    "hostile values": (lambda r, a: _hostile(r, a), False),
}


def _hostile(r: random.Random, a: np.ndarray) -> np.ndarray:
    raw = np.frombuffer(r.randbytes(a.nbytes), np.uint8)
    return raw.view(a.dtype).reshape(a.shape).copy() if a.dtype != bool else a.copy()


def _geometry(r: random.Random) -> Any:
    if r.random() < 0.2:
        return r.choice(SCALARS)
    fields: dict[str, Any] = dict(vars(GEOMETRY))
    for name in r.sample(sorted(fields), r.randrange(1, 3)):
        good = fields[name]
        pair = tuple(r.choice(SIDES) for _ in range(r.choice([1, 2, 2, 2, 3])))
        fields[name] = pair if isinstance(good, tuple) and r.random() < 0.8 else r.choice(SCALARS)
    return Letterbox(**fields)


def _boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    corners = rng.uniform(0, 40, (n, 2, 2)).astype(F4)
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def _mask_door(door: Callable[..., Any]) -> Callable[..., Any]:
    return lambda data, crops, frame_hw, **rest: door(Masks(data, crops, frame_hw), **rest)


def doors(rng: np.random.Generator) -> dict[str, tuple[Callable[..., Any], dict[str, Any], frozenset[str]]]:
    """Door -> the function, arguments that fit, and those that may lie strided or have several dtypes."""
    n, nc = int(rng.integers(1, 9)), 3
    boxes, scores, ids = _boxes(rng, n), rng.random(n).astype(F4), rng.integers(0, nc, n).astype(I4)
    kept = {"score_threshold": 0.25, "max_candidates": 100, "class_mask": np.ones(nc, bool)}
    crops = np.array([[0, 0, 2, 3], [1, 1, 4, 4]], I4)
    masks = {"data": np.ones(15, np.uint8), "crops": crops, "frame_hw": (4, 4)}
    tracker = tracking.create(tracking.TRACKERS[int(rng.integers(len(tracking.TRACKERS)))])
    none: frozenset[str] = frozenset()
    counts = np.array([5, 2, 2, 2, 5], np.int64)
    return {
        "pairwise_iou": (ops.pairwise_iou, {"a": boxes, "b": boxes.copy()}, none),
        "nms": (
            ops.nms,
            {"boxes": boxes, "scores": scores, "class_ids": ids, "iou_threshold": 0.5, "max_detections": 9},
            frozenset({"class_ids"}),
        ),
        "letterbox": (
            ops.letterbox,
            {
                "image": np.zeros((40, 60, 3), np.uint8),
                "geometry": GEOMETRY,
                "swap_rb": True,
                "scale": (1.0, 1.0, 1.0),
                "offset": (0.0, 0.0, 0.0),
                "pad_value": 114,
                "out": np.zeros((3, 32, 32), F4),
                "keep_padding": False,
            },
            frozenset({"image"}),
        ),
        "inverse_letterbox": (ops.inverse_letterbox, {"boxes": boxes, "geometry": GEOMETRY, "clip": True}, none),
        "decode_keypoints": (
            ops.decode_keypoints,
            {"extras": np.zeros((n, 6), F4), "num_keypoints": 2, "geometry": GEOMETRY, "clip": True},
            none,
        ),
        "decode_channels": (
            ops.decode_channels,
            {"output": rng.random((4 + nc, 50)).astype(F4), "num_classes": nc, "multi_label": True, **kept},
            none,
        ),
        "decode_rows": (
            ops.decode_rows,
            {
                "output": rng.random((84, 5 + nc)).astype(F4),
                "num_classes": nc,
                "objectness": True,
                "box_format": "grid",
                "strides": (8, 16, 32),
                "input_hw": (64, 64),
                "multi_label": False,
                **kept,
            },
            none,
        ),
        "decode_distances": (
            lambda level, **k: ops.decode_distances([level], **k),
            {
                "level": rng.normal(0, 3, (8 + nc, 2, 2)).astype(F4),
                "num_classes": nc,
                "input_hw": (64, 64),
                "num_bins": 2,
                "multi_label": False,
                **kept,
            },
            none,
        ),
        "decode_heads": (
            lambda head, anchor, **k: ops.decode_heads([head], anchors=[anchor], **k),
            {
                "head": rng.normal(0, 3, (2 * (5 + nc), 2, 2)).astype(F4),
                "anchor": np.ones((2, 2), F4),
                "num_classes": nc,
                "input_hw": (64, 64),
                "formula": "darknet",
                "scale_xy": 1.0,
                "objectness_times_class": True,
                "multi_label": False,
                **kept,
            },
            none,
        ),
        "decode_queries": (
            ops.decode_queries,
            {
                "boxes": boxes,
                "logits": rng.normal(0, 3, (n, nc)).astype(F4),
                "num_classes": nc,
                "input_hw": (64, 64),
                "top_k": 9,
                "multi_label": True,
                **kept,
            },
            none,
        ),
        "decode_final": (
            ops.decode_final,
            {"boxes": boxes, "scores": scores, "class_ids": ids, "count": n, "num_classes": nc, **kept},
            none,
        ),
        "decode_table": (ops.decode_table, {"output": rng.random((n, 6)).astype(F4), "num_classes": nc, **kept}, none),
        "gather_extras": (
            ops.gather_extras,
            {
                "output": np.zeros((9, 20), F4),
                "anchor_index": np.arange(n),
                "first": 4,
                "count": 5,
                "channel_major": True,
            },
            none,
        ),
        "assemble_masks": (
            ops.assemble_masks,
            {
                "coeffs": np.ones((n, 2), F4),
                "prototypes": rng.normal(0, 1, (2, 8, 8)).astype(F4),
                "boxes": boxes,
                "geometry": GEOMETRY,
            },
            none,
        ),
        "encode_rle": (_mask_door(ops.encode_rle), masks, none),
        "mask_polygons": (_mask_door(ops.mask_polygons), masks, none),
        "paint_masks": (_mask_door(ops.paint_masks), {**masks, "out": np.zeros((2, 4, 4), bool)}, none),
        "decode_rle": (
            lambda size, counts: ops.decode_rle([{"size": size, "counts": counts}]),
            {"size": (4, 4), "counts": counts},
            frozenset({"counts", "size"}),
        ),
        "assign": (tracking.assign, {"costs": rng.random((n, 4)).astype(F4), "max_cost": 0.7}, none),
        "assign_pairs": (
            tracking.assign_pairs,
            {
                "rows": rng.integers(-3, 9, n),
                "columns": rng.integers(-3, 9, n),
                "costs": rng.random(n),
                "max_cost": 0.7,
            },
            none,
        ),
        "Tracker.update": (
            tracker.update,
            {"boxes": boxes, "scores": scores, "class_ids": ids, "timestamp_s": 0.5},
            none,
        ),
    }


OPTIONAL = {"class_ids", "class_mask", "out", "count", "num_classes", "timestamp_s", "input_hw"}


def spoil(r: random.Random, name: str, good: Any) -> tuple[str, Any, bool]:
    """Return what was done, the argument that came of it, and whether it must be refused."""
    if isinstance(good, Letterbox):
        return "geometry", _geometry(r), False
    if not isinstance(good, np.ndarray):
        if isinstance(good, tuple) and r.random() < 0.5:
            return "pair", tuple(r.choice(SIDES) for _ in good), False
        return "scalar", r.choice(SCALARS), False
    kind = r.choice(list(ARRAY_CHANGES))
    change, refused = ARRAY_CHANGES[kind]
    value = change(r, good)
    if good.dtype.itemsize == 1 and kind in ("big-endian", "unaligned"):
        refused = False  # bytes have neither order nor alignment
    if kind == "strided" and value.flags.c_contiguous:
        refused = False
    if kind == "no array" and not (value is None and name in OPTIONAL):
        refused = True
    if kind == "read-only" and name == "out":
        refused = True
    return kind, value, refused


def described(value: Any) -> str:
    """Return what to say of an argument."""
    return f"{value.dtype.str} {value.shape}" if isinstance(value, np.ndarray) else repr(value)[:80]


def main(seed: int, count: int) -> None:
    """Make the calls and print how they ended."""
    faulthandler.enable()
    np.set_printoptions(threshold=3)  # pybind11's refusals print the arguments
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    r, rng = random.Random(seed), np.random.default_rng(seed)
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    for call in range(count):
        if call % 10 == 0:
            table = doors(rng)
        door = r.choice(list(table))
        function, arguments, free = table[door]
        spoiled, must_refuse, told = dict(arguments), False, door
        for name in r.sample(sorted(arguments), r.choice([1, 1, 1, 2])):
            kind, spoiled[name], refused = spoil(r, name, arguments[name])
            must_refuse |= refused and name not in free
            told += f"; {name}: {kind}, {described(spoiled[name])}"
        print(told, file=sys.stderr)
        try:
            function(**spoiled)
        except (TypeError, ValueError) as error:
            ends[f"{door}: refused"] += 1
            if "\n" in str(error):
                wrong.append(f"{told}: more than a line: {error}")
        except MemoryError:
            ends[f"{door}: refused"] += 1
            if "broadcast" not in told:  # only an argument that itself claims terabytes
                wrong.append(f"{told}: MemoryError")
        except BaseException as error:  # noqa: BLE001 - the kinds are what is tested
            wrong.append(f"{told}: {type(error).__name__}: {error}")
        else:
            ends[f"{door}: taken"] += 1
            if must_refuse:
                wrong.append(f"{told}: taken")
    print(json.dumps({"ends": ends, "wrong": wrong}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
