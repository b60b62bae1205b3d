"""COCO's run-length encodings: lists of counts, and the strings that pack them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.evaluation.coco_groups import find_offsets

_MAX_DIGITS = 12  # of 5 bits: 60 bits, far beyond any picture


def decode_counts(encoded: Sequence[list[int] | str | bytes], names: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Unpack run-length counts.

    A string holds one number after the other in digits of 5 bits, lowest first, each digit a character from 48 up; 32
    is added to a digit when more follow, and the last digit's bit 16 is the sign. From the fourth number on, what is
    stored is the difference to the number two before.

    Args:
        encoded: Each a list of counts or a string.
        names: How the message of an error calls each.

    Returns:
        All counts one after the other, (C,) int64, and (len(encoded) + 1,) int64 offsets into them.

    Raises:
        ValueError: An entry holds something else than counts, or a damaged string.
    """
    counts: list[np.ndarray] = [np.zeros(0, np.int64)] * len(encoded)
    packed: list[bytes] = []
    packed_at: list[int] = []
    for i, entry in enumerate(encoded):
        if isinstance(entry, list):
            numbers = np.array(entry)
            if entry and (numbers.ndim != 1 or numbers.dtype.kind not in "iu"):
                raise ValueError(f"[{names[i]}].counts must be integers, got {entry[:8]}")
            counts[i] = numbers.astype(np.int64)
            continue
        raw = entry.encode("ascii", "replace") if isinstance(entry, str) else entry
        digits = np.frombuffer(raw, np.uint8)
        if raw and (digits.min() < 48 or digits.max() > 111 or digits[-1] >= 80):
            raise ValueError(f"[{names[i]}].counts must be a complete COCO string, got {entry[:40]!r}")
        packed.append(raw)
        packed_at.append(i)
    values, offsets = _unpack(packed, [names[i] for i in packed_at])
    for i, begin, end in zip(packed_at, offsets[:-1], offsets[1:], strict=True):
        counts[i] = values[begin:end]
    lengths = np.array([len(c) for c in counts], np.int64)
    return np.concatenate([np.zeros(0, np.int64), *counts]), np.concatenate([[0], np.cumsum(lengths)])


def _unpack(packed: Sequence[bytes], names: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Decode all strings at once: the digits of a number, then the differences."""
    digits = np.frombuffer(b"".join(packed), np.uint8).astype(np.int64) - 48
    string_offsets = np.concatenate([[0], np.cumsum([len(p) for p in packed])]).astype(np.int64)
    lasts = np.flatnonzero(digits < 32)
    if len(lasts) == 0:
        return np.zeros(0, np.int64), np.zeros(len(packed) + 1, np.int64)
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    lengths = lasts - firsts + 1
    string = np.searchsorted(string_offsets, firsts, side="right") - 1
    if lengths.max() > _MAX_DIGITS:
        name = names[string[int(np.argmax(lengths))]]
        raise ValueError(f"[{name}].counts must be numbers below 2**59, got one of {lengths.max()} digits")
    shift = 5 * (np.arange(len(digits)) - np.repeat(firsts, lengths))
    values = np.add.reduceat((digits & 31) << shift, firsts)
    values -= np.where(digits[lasts] & 16, np.int64(1) << (5 * lengths), 0)
    offsets = find_offsets(string, len(packed))
    place = np.arange(len(values)) - offsets[string]
    chain = string * 3 + np.where(place == 0, 0, np.where(place % 2 == 1, 1, 2))  # a chain of differences each
    order = np.argsort(chain, kind="stable")
    total = np.cumsum(values[order])
    begins = np.flatnonzero(np.diff(chain[order], prepend=-1))
    before = np.concatenate([[0], total])[begins]
    decoded = np.empty_like(values)
    decoded[order] = total - np.repeat(before, np.diff(begins, append=len(values)))
    return decoded, offsets


def runs_of_counts(
    counts: np.ndarray, offsets: np.ndarray, masks: np.ndarray, sizes_hw: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn counts (clear, set, clear, ...) into runs of set pixels.

    Args:
        counts: (C,) int64, all encodings one after the other.
        offsets: (E + 1,) int64: where each begins.
        masks: (E,) int64: which mask each encodes.
        sizes_hw: (N, 2) int64: height and width of each mask.

    Returns:
        mask, begin, end of each run: (R,) int64.

    Raises:
        ValueError: A count is negative or the counts of a mask do not add up to its pixels.
    """
    encoding: np.ndarray = np.repeat(np.arange(len(masks)), np.diff(offsets))
    totals = np.concatenate([[0], np.cumsum(counts)])
    sums = totals[offsets[1:]] - totals[offsets[:-1]]
    negative = np.bincount(encoding[counts < 0], minlength=len(masks)) > 0
    wrong = np.flatnonzero(negative | (sums != sizes_hw[masks].prod(axis=1)))
    if len(wrong):
        i = int(wrong[0])
        h, w = sizes_hw[masks[i]]
        raise ValueError(f"[{masks[i]}].counts must be 0 or more and add up to {h} x {w} pixels, got {sums[i]}")
    place = np.arange(len(counts)) - offsets[encoding]
    is_set = place % 2 == 1
    ends = totals[1:] - totals[offsets[encoding]]
    return masks[encoding][is_set], (ends - counts)[is_set], ends[is_set]
