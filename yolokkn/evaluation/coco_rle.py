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
    listed = {i: _check_list(entry, names[i]) for i, entry in enumerate(encoded) if isinstance(entry, list)}
    strings = {i: entry for i, entry in enumerate(encoded) if not isinstance(entry, list)}
    packed = [s.encode("ascii", "replace") if isinstance(s, str) else s for s in strings.values()]
    values, offsets = _unpack(packed, [names[i] for i in strings])
    if not listed:
        return values, offsets
    counts = listed | {i: values[offsets[k] : offsets[k + 1]] for k, i in enumerate(strings)}
    ordered = [counts[i] for i in range(len(encoded))]
    return np.concatenate(ordered), np.concatenate([[0], np.cumsum([len(c) for c in ordered])])


def _check_list(entry: list[int], name: int) -> np.ndarray:
    numbers = np.array(entry)
    if entry and (numbers.ndim != 1 or numbers.dtype.kind not in "iu"):
        raise ValueError(f"[{name}].counts must be integers, got {entry[:8]}")
    return numbers.astype(np.int64)


def _unpack(packed: Sequence[bytes], names: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Decode all strings at once: the digits of a number, then the differences."""
    digits = np.frombuffer(b"".join(packed), np.uint8).astype(np.int64) - 48
    string_offsets = np.concatenate([[0], np.cumsum([len(p) for p in packed])]).astype(np.int64)
    ends = string_offsets[1:][np.diff(string_offsets) > 0] - 1
    bad = np.concatenate([np.flatnonzero((digits < 0) | (digits > 63)), ends[digits[ends] >= 32]])
    if len(bad):
        i = int(np.searchsorted(string_offsets, bad[0], side="right")) - 1
        raise ValueError(f"[{names[i]}].counts must be a complete COCO string, got {packed[i][:40]!r}")
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
    is_odd = place % 2 == 1
    for chain in (is_odd, ~is_odd & (place > 0)):  # differences add up along the odd and along the even places
        total = np.cumsum(np.where(chain, values, 0))
        before = np.concatenate([[0], total])[offsets]
        np.copyto(values, total - before[string], where=chain)
    return values, offsets


def runs_of_counts(
    counts: np.ndarray, offsets: np.ndarray, names: Sequence[int], masks: np.ndarray, sizes_hw: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn counts (clear, set, clear, ...) into runs of set pixels.

    Args:
        counts: (C,) int64, all encodings one after the other.
        offsets: (E + 1,) int64: where each begins.
        names: How the message of an error calls each.
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
        raise ValueError(f"[{names[i]}].counts must be 0 or more and add up to {h} x {w} pixels, got {sums[i]}")
    is_set = (np.arange(len(counts)) - offsets[encoding]) % 2 == 1
    encoding = encoding[is_set]
    ends = totals[1:][is_set] - totals[offsets[encoding]]
    return masks[encoding], ends - counts[is_set], ends
