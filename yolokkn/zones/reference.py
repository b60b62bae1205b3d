"""The rules of `yolokkn.zones` one track and one place at a time: the specification of `ZoneCounter`."""

from __future__ import annotations

import math
from typing import Any

from yolokkn.types import Tracks
from yolokkn.zones.counter import PlaceCounts, ZoneEvent
from yolokkn.zones.map import Line, Point, Zone, ZoneMap


class SlowZoneCounter:
    """See `ZoneCounter`."""

    def __init__(self, zones: ZoneMap, class_names: tuple[str, ...] = ()) -> None:
        self.zones, self.classes = zones, zones.class_ids(class_names)
        self.counts = {name: PlaceCounts() for name in zones.places}
        self.tracks: dict[int, dict[str, Any]] = {}

    def update(self, tracks: Tracks, timestamp_s: float, frame: int, frame_hw: tuple[int, int]) -> list[ZoneEvent]:
        """See `ZoneCounter.update`."""
        events = []
        for track_id, track in list(self.tracks.items()):
            if timestamp_s - track["last"] > self.zones.forget_s:
                for name in self.zones.zones:
                    if track["inside"].get(name) == 1:
                        dwell = track["last"] - track["since"][name]
                        events.append(ZoneEvent("vanish", name, track_id, track["class"], track["last"], frame, dwell))
                del self.tracks[track_id]
        for box, track_id, class_id in zip(
            tracks.boxes.tolist(), tracks.track_ids.tolist(), tracks.class_ids.tolist(), strict=True
        ):
            if track_id < 0 or not all(map(math.isfinite, box)):
                continue
            track = self.tracks.setdefault(track_id, {"inside": {}, "since": {}, "side": {}, "from": {}})
            for name, place in self.zones.places.items():
                counted = self.classes[name]
                if counted is not None and class_id not in counted:
                    continue
                point = self.anchor(place, box, frame_hw)
                if isinstance(place, Zone):
                    found = self.at_zone(track, name, place, point, timestamp_s)
                else:
                    found = self.at_line(track, name, place, point)
                if found is not None:
                    kind, dwell = found
                    events.append(ZoneEvent(kind, name, track_id, class_id, timestamp_s, frame, dwell))
            track["last"], track["class"] = timestamp_s, class_id
        for event in events:
            self.counts[event.place].add(event)
        return events

    def anchor(self, place: Zone | Line, box: list[float], frame_hw: tuple[int, int]) -> Point:
        """Return where a box is."""
        x = (box[0] + box[2]) / 2
        y = box[3] if place.anchor == "bottom" else (box[1] + box[3]) / 2
        if self.zones.size is not None:
            x, y = x * (self.zones.size[0] / frame_hw[1]), y * (self.zones.size[1] / frame_hw[0])
        return x, y

    def decided(self, distance: float) -> int:
        """Return 1, -1, or 0 where it is too near to tell."""
        if distance > 0 and distance >= self.zones.margin:
            return 1
        if distance < 0 and distance <= -self.zones.margin:
            return -1
        return 0

    def at_zone(self, track: dict[str, Any], name: str, zone: Zone, point: Point, time_s: float) -> Any:
        """Return the kind of event and the dwell time, or None."""
        old, new = track["inside"].get(name, 0), self.decided(distance_inside(zone.points, point))
        if new == 0 or new == old:
            return None
        track["inside"][name] = new
        if new == 1:
            track["since"][name] = time_s
            return ("enter" if old == -1 else "appear"), None
        return ("leave", time_s - track["since"][name]) if old == 1 else None

    def at_line(self, track: dict[str, Any], name: str, line: Line, point: Point) -> Any:
        """Return the kind of event and None, or None."""
        (ax, ay), (bx, by) = line.points
        dx, dy = bx - ax, by - ay
        new = self.decided((dx * (point[1] - ay) - dy * (point[0] - ax)) / math.sqrt(dx * dx + dy * dy))
        if new == 0:
            return None
        old, start = track["side"].get(name, 0), track["from"].get(name)
        track["side"][name], track["from"][name] = new, point
        if new * old != -1 or not meets(line, start, point):
            return None
        return ("in" if new == 1 else "out"), None


def meets(line: Line, start: Point, end: Point) -> bool:
    """Tell whether a way that leads from one side of a line to the other passes between its ends."""
    wx, wy = end[0] - start[0], end[1] - start[1]
    first, second = (wx * (y - start[1]) - wy * (x - start[0]) for x, y in line.points)
    return (first <= 0 <= second) or (second <= 0 <= first)


def distance_inside(polygon: tuple[Point, ...], point: Point) -> float:
    """Return how far a point lies inside a polygon; below zero outside."""
    px, py = point
    nearest, is_inside = math.inf, False
    for (ax, ay), (bx, by) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        dx, dy = bx - ax, by - ay
        length = dx * dx + dy * dy
        along = ((px - ax) * dx + (py - ay) * dy) / (length if length > 0 else 1.0)
        along = min(max(along, 0.0), 1.0)
        ex, ey = px - (ax + along * dx), py - (ay + along * dy)
        nearest = min(nearest, ex * ex + ey * ey)
        if (ay > py) != (by > py) and px < ax + (py - ay) * dx / dy:
            is_inside = not is_inside
    return math.sqrt(nearest) if is_inside else -math.sqrt(nearest)
