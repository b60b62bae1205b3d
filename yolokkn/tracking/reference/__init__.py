"""Slow, obvious twins of the C++ trackers: the specification. They give the same ids, bit for bit the same states."""

from __future__ import annotations

from collections.abc import Mapping

from yolokkn.tracking.reference.assignment import assign
from yolokkn.tracking.reference.botsort import BotSort
from yolokkn.tracking.reference.bytetrack import ByteTrack
from yolokkn.tracking.reference.cbiou import CBiou
from yolokkn.tracking.reference.clock import Clock
from yolokkn.tracking.reference.kkn import Kkn
from yolokkn.tracking.reference.ocsort import OcSort
from yolokkn.tracking.reference.sort import Sort
from yolokkn.tracking.reference.tracks import TableTracker

TRACKERS: Mapping[str, type[TableTracker]] = {
    "sort": Sort, "bytetrack": ByteTrack, "botsort": BotSort, "ocsort": OcSort, "cbiou": CBiou, "kkn": Kkn,
}  # fmt: skip

__all__ = ["TRACKERS", "BotSort", "ByteTrack", "CBiou", "Clock", "Kkn", "OcSort", "Sort", "TableTracker", "assign"]
