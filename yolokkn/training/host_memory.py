"""Keeps memory that the process has freed, instead of giving it back to the system after each step."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to serve large tensors from its heap and to keep them when freed.

    By default glibc maps each large block anew, and the system fills its pages with zeros at every step; a training step on
    a CPU spends a fifth of its time so. Costs memory: the peak stays with the process.

    Returns:
        Whether the C library took it; False where it is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, _LARGEST_INT), (_M_TOP_PAD, 256 << 20))
    return all([mallopt(name, value) == 1 for name, value in settings])
