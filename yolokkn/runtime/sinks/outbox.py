"""Lines of text sent over the network: to an MQTT broker, or posted to a web address. The run never waits for either."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from yolokkn.errors import MissingDependencyError, SinkError
from yolokkn.runtime.sources.backoff import Backoff
from yolokkn.runtime.uri import scheme_of, without_credentials

MOST_WAITING = 1000
MOST_AT_ONCE = 100
TIMEOUT_S = 5.0
SCHEMES = ("mqtt", "mqtts", "webhook+http", "webhook+https")


class Outbox:
    """Takes pieces of text and sends them, in their order, from a thread of its own.

    What cannot be sent is tried again, after waits as of a `Backoff`, for ever; what comes meanwhile waits, MOST_WAITING pieces
    at most, then the oldest are lost and counted. A piece may arrive twice where the answer to it was lost.

    Args:
        name: Where they go, without credentials.
        send: Sends some pieces and returns how many of them; raises OSError where that fails.
        most_waiting: Pieces that wait at most.
        backoff: Waits between attempts.

    Attributes:
        num_sent: Pieces that have arrived.
        num_lost: Pieces that never will.
        trouble: Why the last attempt failed; empty where it did not.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[str]], int],
        *,
        most_waiting: int = MOST_WAITING,
        backoff: Backoff | None = None,
    ) -> None:
        self.name, self._send, self._most = name, send, most_waiting
        self._backoff = backoff or Backoff(most_s=10.0)
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._closing = False
        self.num_sent = self.num_lost = 0
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="yolokkn-outbox", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take lines of text; each is a piece."""
        with self._changed:
            for line in text.splitlines():
                if len(self._waiting) >= self._most:
                    self._waiting.popleft()
                    self.num_lost += 1
                self._waiting.append(line)
            self._changed.notify_all()

    def close(self, sync: bool = False) -> None:
        """Send what waits, for TIMEOUT_S at most; the rest is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(TIMEOUT_S)
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        with self._changed:
            self.num_lost += len(self._waiting)
            self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_AT_ONCE))]
            try:
                count = self._send(batch)
            except OSError as error:
                self.trouble, count = error.strerror or str(error) or type(error).__name__, 0
            else:
                self.trouble = ""
                self._backoff.reset()
            with self._changed:
                self.num_sent += count
                left = batch[count:]
                room = max(self._most - len(self._waiting), 0)
                self.num_lost += max(len(left) - room, 0)
                self._waiting.extendleft(reversed(left[max(len(left) - room, 0) :]))
            if self.trouble and self._stop.wait(self._backoff.next()):
                return


def is_outbox(uri: str) -> bool:
    """Tell whether a place for results is one that lines are sent to.

    Example:
        >>> is_outbox("mqtt://broker/yolokkn/door"), is_outbox("out.jsonl")
        (True, False)
    """
    return scheme_of(uri) in SCHEMES


def open_outbox(uri: str) -> Outbox:
    """Open what sends lines to an address.

    Args:
        uri: `mqtt://user:password@broker:1883/topic` (a message a line, at least once; `mqtts` over TLS), or
            `webhook+https://host/path` (posts of JSON lines).

    Raises:
        SinkError: It is no such address.
        MissingDependencyError: The extra `mqtt` is not installed.
    """
    shown, parts = without_credentials(uri), urlsplit(uri)
    try:
        port = parts.port
    except ValueError:
        raise SinkError(f"open_sink: {shown}: the port must be a number") from None
    if not parts.hostname:
        raise SinkError(f"open_sink: {shown} must name a host")
    if parts.scheme.startswith("mqtt"):
        topic = unquote(parts.path.lstrip("/"))
        if not topic or "#" in uri or parts.query or any(sign in topic for sign in "#+\0"):
            raise SinkError(f"open_sink: {shown} must name a topic, without # and +, as mqtt://broker/yolokkn/door")
        return Outbox(shown, MqttSender(uri, topic))
    return Outbox(shown, WebhookSender(uri, port))


class WebhookSender:
    """Posts lines as one body of `application/x-ndjson`; an answer of 2xx means that they have arrived.

    Args:
        uri: `webhook+http://...` or `webhook+https://...`.
        port: Of it.
    """

    def __init__(self, uri: str, port: int | None) -> None:
        parts = urlsplit(uri.removeprefix("webhook+"))
        self._is_tls, self._host, self._port = parts.scheme == "https", parts.hostname or "", port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": "yolokkn"}
        if parts.username is not None:
            from base64 import b64encode

            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"

    def __call__(self, lines: Sequence[str]) -> int:
        """Post lines; returns how many."""
        connection: http.client.HTTPConnection
        if self._is_tls:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self._target, "".join(f"{line}\n" for line in lines).encode(), self._headers)
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"the answer is no HTTP: {type(error).__name__}") from None
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise OSError(f"the answer is {status}")
        return len(lines)


class MqttSender:
    """Publishes each line as a message of quality 1 (at least once); connects when there is something to send.

    Args:
        uri: `mqtt://...` or `mqtts://...`.
        topic: Where to.

    Raises:
        MissingDependencyError: The extra `mqtt` is not installed.
    """

    def __init__(self, uri: str, topic: str) -> None:
        try:
            import paho.mqtt.client  # noqa: F401 - asked for here, used by the first message
        except ImportError as error:
            advice = "run: pip install 'yolokkn[mqtt]'"
            raise MissingDependencyError(
                f"open_sink: the package paho-mqtt must be installed for MQTT; {advice}"
            ) from error
        parts = urlsplit(uri)
        self._is_tls, self._host = parts.scheme == "mqtts", parts.hostname or ""
        self._port = parts.port or (8883 if self._is_tls else 1883)
        self._user = None if parts.username is None else unquote(parts.username)
        self._password = None if parts.password is None else unquote(parts.password)
        self._topic = topic
        self._client: Any = None

    def __call__(self, lines: Sequence[str]) -> int:
        """Publish lines; returns how many the broker has confirmed."""
        client, sent = self._connected(), 0
        try:
            for line in lines:
                message = client.publish(self._topic, line, qos=1)
                message.wait_for_publish(TIMEOUT_S)
                if not message.is_published():
                    raise TimeoutError("the broker does not answer")
                sent += 1
        except (OSError, ValueError, RuntimeError) as error:
            self._leave()
            if not sent:
                raise OSError(str(error)) from None
        return sent

    def _connected(self) -> Any:
        import paho.mqtt.client as mqtt

        if self._client is not None and self._client.is_connected():
            return self._client
        self._leave()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        joined, refusal = threading.Event(), []

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refusal.append(str(reason))
            joined.set()

        client.on_connect = on_connect
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        if self._is_tls:
            client.tls_set_context(ssl.create_default_context())
        client.connect_timeout = TIMEOUT_S
        client.connect(self._host, self._port, keepalive=30)
        client.loop_start()
        self._client = client
        if not joined.wait(TIMEOUT_S) or refusal:
            self._leave()
            raise OSError(refusal[0] if refusal else "the broker does not answer")
        return client

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.loop_stop()
            client.disconnect()
