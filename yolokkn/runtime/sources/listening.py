"""Waiting for an address that nothing listens at."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

PROBE_S = 1.0
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}


def wait_before_retry(
    url: str, seconds: float, stop: threading.Event, clock: Callable[[], float] = time.monotonic
) -> bool:
    """Wait before a URL is opened again: so many seconds, or less where something begins to listen at the address.

    Args:
        url: The address.
        seconds: The longest wait.
        stop: Ends the wait.
        clock: Seconds, rising.

    Returns:
        Whether it was stopped.
    """
    until_s = clock() + seconds
    was_deaf = seconds > PROBE_S and not listens(url)
    while (rest_s := until_s - clock()) > 0:
        if stop.wait(min(rest_s, PROBE_S)):
            return True
        if was_deaf and listens(url):
            break
    return stop.is_set()


def listens(url: str) -> bool:
    """Tell whether something takes a TCP connection at an address; True where that cannot be asked."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:
        return True
    if parts.scheme.lower() in ("udp", "srt") or port is None or not parts.hostname:
        return True
    try:
        socket.create_connection((parts.hostname, port), timeout=PROBE_S).close()
        return True
    except OSError:
        return False
