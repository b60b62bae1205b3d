"""A real RTSP server (gst-rtsp-server); run by the system's Python, which has GStreamer's bindings.

python3 rtsp_server.py PORT             a live test picture, encoded here
python3 rtsp_server.py PORT CLIP.mkv    its H.264 at its own pace, to each client from its beginning; as live, without an end
"""

import socket
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
CLIP = "( tcpclientsrc host=127.0.0.1 port={} ! matroskademux ! rtph264pay name=pay0 pt=96 config-interval=1 )"


def fed(path: str) -> int:
    """Serve a file at a local port, returned: of what comes over TCP nobody knows how long it is, as of what a camera sends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=feed, args=(connection,), daemon=True).start()

    def feed(connection: socket.socket) -> None:
        try:
            with connection, open(path, "rb") as file:
                connection.sendfile(file)
        except OSError:
            pass  # the client has left

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    clip = sys.argv[2] if len(sys.argv) > 2 else None
    factory.set_launch(PIPELINE if clip is None else CLIP.format(fed(clip)))
    factory.set_shared(clip is None)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
