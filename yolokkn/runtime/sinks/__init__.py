"""Where results go: annotated video, GIF and images, JSON lines, CSV, MOTChallenge and COCO files, behind one door."""

from __future__ import annotations

from yolokkn.runtime.sinks.base import Sink
from yolokkn.runtime.sinks.spec import VIDEO_SUFFIXES, open_sink

__all__ = ["VIDEO_SUFFIXES", "Sink", "open_sink"]
