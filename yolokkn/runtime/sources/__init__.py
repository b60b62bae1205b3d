"""Where frames come from: videos, images, folders, lists, cameras and streams, behind one door."""

from __future__ import annotations

from yolokkn.runtime.sources.base import DEFAULT_FRAME_RATE, Source
from yolokkn.runtime.sources.reconnecting import ReconnectingSource, SourceHealth
from yolokkn.runtime.sources.spec import open_source

__all__ = ["DEFAULT_FRAME_RATE", "ReconnectingSource", "Source", "SourceHealth", "open_source"]
