"""The options of zones and lines."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from yolokkn.runtime.model import Model
from yolokkn.runtime.sinks.outbox import is_outbox
from yolokkn.runtime.uri import PLACE
from yolokkn.runtime.zone_watch import ZoneWatch
from yolokkn.zones import read_zones

_RESULTS = ("events", "heatmap")


def add_zone_options(parser: argparse.ArgumentParser) -> None:
    """Add --zones, --events and --heatmap."""
    group = parser.add_argument_group("zones and lines")
    group.add_argument(
        "--zones", metavar="FILE",
        help="zones and lines as YAML: who enters, leaves, stays how long, crosses which way; see the README",
    )  # fmt: skip
    group.add_argument(
        "--events", metavar="FILE", help="write what happens there as it happens: out.jsonl, mqtt://broker/topic"
    )
    group.add_argument("--heatmap", metavar="FILE", help="where tracks were for how long, out.png")


def open_zones(args: argparse.Namespace, stack: ExitStack, model: Model, stream: str | None = None) -> ZoneWatch | None:
    """Open what counts, closed with the stack; None where no zones are asked for.

    Args:
        args: The parsed command line.
        stack: Closes it.
        model: What runs.
        stream: Name of the stream, which stands for {stream}.

    Raises:
        ValueError: There are results to write and no zones.
    """
    given = getattr(args, "zones", None)
    for name in _RESULTS:
        if not given and getattr(args, name, None):
            raise ValueError(f"--{name} must come with --zones")
    if not given:
        return None

    def place(text: str | None) -> Path | None:
        if text is None or stream is None:
            return None if text is None else Path(text)
        path = Path(text.replace(PLACE, stream))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    zones = read_zones(given.replace(PLACE, stream) if stream else given)
    sent = args.events is not None and is_outbox(args.events)
    events = args.events.replace(PLACE, stream or "") if sent else place(args.events)
    watch = ZoneWatch(zones, model.class_names, events=events, heatmap=place(args.heatmap), overwrite=args.overwrite)
    return stack.enter_context(watch)
