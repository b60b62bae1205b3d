"""A page, an API and metrics of a run: what each stream shows, counts and suffers, in a browser. Needs the extra `web`.

The parts are imported when they are first used: a command that only names the page's address loads no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolokkn.web.access import Access, read_address
    from yolokkn.web.monitor import Monitor
    from yolokkn.web.server import WebServer

_HOMES = {
    "Access": "yolokkn.web.access",
    "Monitor": "yolokkn.web.monitor",
    "WebServer": "yolokkn.web.server",
    "read_address": "yolokkn.web.access",
}

__all__ = ["Access", "Monitor", "WebServer", "read_address"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'yolokkn.web' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
