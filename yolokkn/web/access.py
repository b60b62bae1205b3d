"""Who may look: this machine, or whoever has the token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DEFAULT_ADDRESS = "127.0.0.1:8080"
COOKIE = "yolokkn_token"
_LEAST_TOKEN = 16


def read_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, PORT or HOST; the host is an address, or localhost.

    Raises:
        ValueError: It is neither.

    Example:
        >>> read_address("8080"), read_address("0.0.0.0:80"), read_address("[::1]:8081"), read_address("localhost")
        (('127.0.0.1', 8080), ('0.0.0.0', 80), ('::1', 8081), ('127.0.0.1', 8080))
    """
    try:
        if text.isdecimal():
            text = f"127.0.0.1:{text}"
        parts = urlsplit(f"//{text}")
        host = "127.0.0.1" if parts.hostname == "localhost" else str(ipaddress.ip_address(parts.hostname or ""))
        port = 8080 if parts.port is None else parts.port
        if parts.path or parts.username is not None:
            raise ValueError
    except ValueError:
        raise ValueError(f"web: must be HOST:PORT with an IP address, as {DEFAULT_ADDRESS}, got {text!r}") from None
    return host, port


def is_loopback(host: str) -> bool:
    """Tell whether an address is of this machine only.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("::1"), is_loopback("camera")
        (True, False, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """The rule: served at a loopback address, who connects from there under such a name may look; elsewhere who has the token.

    Attributes:
        host: Address that is served at.
        token: What others must show; made where the address wants one and none is given.

    Raises:
        ValueError: The token is too short to be one.
    """

    host: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < _LEAST_TOKEN:
            raise ValueError(f"web: a token must have {_LEAST_TOKEN} characters or more, got {len(self.token)}")
        if self.token is None and not is_loopback(self.host):
            object.__setattr__(self, "token", secrets.token_urlsafe(24))

    def refusal(self, client: str, headers: dict[str, str], query: str) -> tuple[int, str] | None:
        """Say why a request is refused: status and reason; None where it is not.

        Args:
            client: Address that it comes from.
            headers: By name in lower case.
            query: What stands behind the `?`.
        """
        if self.token is not None:
            shown = [value for value in self._shown(headers, query) if value]
            if any(hmac.compare_digest(value.encode(), self.token.encode()) for value in shown):
                return None
            return (
                401,
                "the token is missing or wrong: open the page with ?token=..., or send Authorization: Bearer ...",
            )
        if not is_loopback(client):
            return 401, "only this machine may look; give a token to let others"
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if name != "localhost" and not is_loopback(name):  # a foreign page that had its name point here
            return 403, "the page must be asked for by the name localhost or a loopback address"
        return None

    @staticmethod
    def _shown(headers: dict[str, str], query: str) -> list[str]:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        found = [bearer.strip()] if kind.lower() == "bearer" else []
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        found += [cookie.value] if cookie is not None else []
        return found + [value for name, value in parse_qsl(query) if name == "token"]


class Guard:
    """ASGI middleware that lets through what `Access` allows and only reads; adds the headers of a page that trusts nobody."""

    def __init__(self, app: Any, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = (scope.get("client") or ("", 0))[0]
        refused = self._access.refusal(client, headers, scope.get("query_string", b"").decode("latin-1"))
        if refused is None and scope["method"] not in ("GET", "HEAD"):
            refused = 405, "this only shows: GET and HEAD"

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        if refused is None:
            await self._app(scope, receive, guarded)
            return
        status, text = refused
        kind = [(b"content-type", b"text/plain; charset=utf-8")]
        await guarded({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": text.encode() + b"\n"})


_HEADERS = [
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
