"""A page, an API and metrics of a run: what each stream shows, counts and suffers, in a browser. Needs the extra `web`."""

from __future__ import annotations

from yolokkn.web.access import Access, read_address
from yolokkn.web.monitor import Monitor
from yolokkn.web.server import WebServer

__all__ = ["Access", "Monitor", "WebServer", "read_address"]
