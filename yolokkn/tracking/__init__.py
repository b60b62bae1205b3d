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
from yolokkn.tracking.settings import ByteTrackSettings, ClassPolicy, SortSettings
from yolokkn.tracking.trackers import (
    TRACK_STATES,
    TRACKERS,
    ByteTrack,
    LiveTracks,
    Sort,
    Tracker,
    assign,
    assign_pairs,
    create,
)

__all__ = [
    "TRACKERS",
    "TRACK_STATES",
    "ByteTrack",
    "ByteTrackSettings",
    "ClassPolicy",
    "LiveTracks",
    "MotRow",
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
