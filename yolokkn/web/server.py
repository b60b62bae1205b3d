"""The HTTP server of the page: FastAPI on uvicorn, in a thread of its own beside the streams."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from importlib import resources
from types import TracebackType
from typing import Any

from yolokkn.errors import ConfigurationError, MissingDependencyError
from yolokkn.web.access import COOKIE, Access, Guard
from yolokkn.web.monitor import CARD_WIDTH, FULL_WIDTH, Monitor

_FILES = {"app.js": "text/javascript", "app.css": "text/css"}
_MOST_CONNECTIONS = 256  # beyond: 503
_MOST_STREAMS = 64  # of one viewer
_MOST_VIEWERS = 48  # of live views at once; beyond: 503
_POLL_S = 0.1
_SEND_BYTES = 1 << 18  # that wait for a slow viewer


def make_app(monitor: Monitor, access: Access) -> Any:
    """Return the ASGI application.

    Raises:
        MissingDependencyError: The extra `web` is not installed.
    """
    try:
        import prometheus_client  # noqa: F401
        from fastapi import FastAPI, Response
        from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
    except ImportError as error:
        advice = "run: pip install 'yolokkn[web]'"
        raise MissingDependencyError(f"web: the packages of the page must be installed; {advice}") from error

    from yolokkn.web.metrics import metrics_text

    app = FastAPI(title="yolokkn", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")

    def page_file(name: str) -> str:
        return resources.files("yolokkn.web").joinpath("page").joinpath(name).read_text("utf-8")

    viewers = Seats(_MOST_VIEWERS)

    class Seated(StreamingResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:  # also where the viewer was gone before the first picture
                viewers.leave()

    def missing(name: str) -> Any:
        return JSONResponse({"error": f"there is no stream {name!r}"}, 404)

    def too_many() -> Any:
        return PlainTextResponse("too many viewers", 503)

    @app.get("/", include_in_schema=False)
    async def page(token: str | None = None) -> Any:
        if token is None:
            return Response(page_file("index.html"), media_type="text/html")
        answer = RedirectResponse("/", 303)  # the token does not stay in the address
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86400)
        return answer

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Any:
        if name not in _FILES:
            return PlainTextResponse("no such file", 404)
        return Response(page_file(name), media_type=_FILES[name])

    @app.get("/healthz")
    async def healthz() -> Any:
        """200 while a stream is live or all are only beginning; else 503."""
        states = monitor.healths()
        is_well = any(state in ("live", "opening") for state in states.values()) or not states
        return JSONResponse({"status": "ok" if is_well else "unwell", "streams": states}, 200 if is_well else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Any:
        return Response(metrics_text(monitor), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/api/streams")
    async def overview() -> dict[str, Any]:
        """How all streams are doing."""
        return monitor.overview()

    @app.get("/api/streams/{name}")
    async def detail(name: str) -> Any:
        """One stream: its ledger, the tracks of its newest frame, its zones."""
        found = monitor.detail(name)
        return missing(name) if found is None else found

    @app.get("/api/streams/{name}/frame.jpg")
    async def picture(name: str) -> Any:
        """The newest frame, drawn; 204 before the first."""
        if name not in monitor.names():
            return missing(name)
        made = await asyncio.to_thread(monitor.picture, name, FULL_WIDTH)
        if made is None:
            return Response(status_code=204)
        return Response(made[1], media_type="image/jpeg", headers={"X-Number": str(made[0])})

    @app.get("/api/streams/{name}/live.mjpg", include_in_schema=False)
    async def motion_jpeg(name: str) -> Any:
        if name not in monitor.names():
            return missing(name)
        if not viewers.take():
            return too_many()

        async def parts() -> AsyncIterator[bytes]:
            async for _, jpeg in newer(monitor, [name], FULL_WIDTH):
                yield b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg)

        return Seated(parts(), media_type="multipart/x-mixed-replace; boundary=frame")

    @app.get("/api/live", include_in_schema=False)
    async def live(streams: str, width: int = FULL_WIDTH) -> Any:
        """Drawn frames of streams over one connection: length and name, length and JPEG (u32, big endian), again and again."""
        if not viewers.take():
            return too_many()
        names, size = streams.split(",")[:_MOST_STREAMS], FULL_WIDTH if width > CARD_WIDTH else CARD_WIDTH

        async def parts() -> AsyncIterator[bytes]:
            async for name, jpeg in newer(monitor, names, size):
                text = name.encode()
                yield len(text).to_bytes(4, "big") + text + len(jpeg).to_bytes(4, "big") + jpeg

        return Seated(parts(), media_type="application/octet-stream")

    return Guard(app, access)


class Seats:
    """So many viewers at once.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._free = count

    def take(self) -> bool:
        """Take a seat; returns whether there was one."""
        if self._free < 1:
            return False
        self._free -= 1
        return True

    def leave(self) -> None:
        """Give a seat back."""
        self._free += 1


async def newer(monitor: Monitor, names: Sequence[str], width: int) -> AsyncIterator[tuple[str, bytes]]:
    """Yield name and JPEG of each stream's newest frame, as they come, until the monitor is closed.

    Who takes them slowly gets fewer: what it has not taken is never kept for it.
    """
    sent = dict.fromkeys(names, 0)
    while not monitor.is_closed:
        for name in names:
            if monitor.newest(name) > sent[name]:
                made = await asyncio.to_thread(monitor.picture, name, width)
                if made is not None and made[0] > sent[name]:
                    sent[name] = made[0]
                    yield name, made[1]
        await asyncio.sleep(_POLL_S)


class WebServer:
    """Serves a monitor until it is closed.

    Args:
        monitor: What is shown.
        host: Address to serve at.
        port: Port; 0: a free one.
        token: What viewers from elsewhere must show; None: made where the address is not a loopback one.

    Attributes:
        url: Where the page is, with the token where there is one.

    Raises:
        MissingDependencyError: The extra `web` is not installed.
        ConfigurationError: The address is not to be had.
    """

    def __init__(
        self, monitor: Monitor, host: str = "127.0.0.1", port: int = 8080, *, token: str | None = None
    ) -> None:
        access, self._monitor = Access(host, token), monitor
        app = make_app(monitor, access)
        import uvicorn

        self._socket = _bound(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}/" + (
            f"?token={access.token}" if access.token else ""
        )
        config = uvicorn.Config(
            app, log_level="error", access_log=False, limit_concurrency=_MOST_CONNECTIONS, timeout_keep_alive=10,
            h11_max_incomplete_event_size=16384, ws="none", lifespan="off", server_header=False, proxy_headers=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="yolokkn-web", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def close(self) -> None:
        """Stop serving; what viewers wait for is broken off."""
        self._monitor.close()
        self._server.should_exit = True
        self._thread.join(2)
        self._server.force_exit = True
        self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> WebServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"web: {host}:{port} cannot be served at: {error.strerror}") from None
    return listener
