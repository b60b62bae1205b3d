"""What people count: zones that tracks enter, leave and stay in, lines that they cross.

The rules, of which `yolokkn.zones.reference` is the slow and obvious form:

- A track is where its anchor is: the middle of its box's lower edge, or its centre.
- It is inside a zone from when its anchor lies at least `margin` inside, until it lies at least `margin` outside: one that
  stands on the border does not flicker. In between at its first sight, it is neither.
- Inside at its first decided sight it has appeared there, else it enters; it leaves, or vanishes when it is not seen for
  `forget_s`. Its dwell time is from the one to the other; to its last sight, where it vanishes.
- A line leads from its first point to its second. A track that comes from `margin` left of it to `margin` right of it, as one
  sees it who walks along, goes in; the other way it goes out; if the straight way between those two places crosses the line
  between its ends. Round an end it does neither.
- Detections without a track id do not count.
"""

from __future__ import annotations

from yolokkn.zones.counter import PlaceCounts, ZoneCounter, ZoneEvent
from yolokkn.zones.map import Line, Zone, ZoneMap, read_zones

__all__ = ["Line", "PlaceCounts", "Zone", "ZoneCounter", "ZoneEvent", "ZoneMap", "read_zones"]
