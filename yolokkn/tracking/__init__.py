"""Trackers: Python face of the C++ ones. Their slow twins, the specification, are in `yolokkn.tracking.reference`."""

from __future__ import annotations

from yolokkn.tracking.mot_files import (
    MotRow,
    SequenceInfo,
    read_columns,
    read_detections,
    read_seqinfo,
    track_detections,
    write_rows,
)
from yolokkn.tracking.settings import (
    BotSortSettings,
    ByteTrackSettings,
    CBiouSettings,
    ClassPolicy,
    KknSettings,
    OcSortSettings,
    SortSettings,
)
from yolokkn.tracking.trackers import (
    SETTINGS,
    TRACK_STATES,
    TRACKERS,
    BotSort,
    ByteTrack,
    CBiou,
    Kkn,
    LiveTracks,
    OcSort,
    Sort,
    Tracker,
    assign,
    assign_pairs,
    create,
)

__all__ = [
    "SETTINGS",
    "TRACKERS",
    "TRACK_STATES",
    "BotSort",
    "BotSortSettings",
    "ByteTrack",
    "ByteTrackSettings",
    "CBiou",
    "CBiouSettings",
    "ClassPolicy",
    "Kkn",
    "KknSettings",
    "LiveTracks",
    "MotRow",
    "OcSort",
    "OcSortSettings",
    "SequenceInfo",
    "Sort",
    "SortSettings",
    "Tracker",
    "assign",
    "assign_pairs",
    "create",
    "read_columns",
    "read_detections",
    "read_seqinfo",
    "track_detections",
    "write_rows",
]
