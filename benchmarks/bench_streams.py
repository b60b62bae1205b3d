"""Many live streams at once: real RTSP servers, one of which is killed and started again all the while.

    python benchmarks/bench_streams.py --clip vtest.avi --streams 8 --fps 15 --seconds 600

Wants what `tests/streams/install.sh` brings. Says for each stream the age of its results (from decoder to sinks), how many
frames came, were processed and were dropped (that must add up), how far its frames lag behind their own clock at the end, and
the longest time without a result; and for the process its memory, threads and descriptors over the time.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import yolokkn

SERVER = Path(__file__).parents[1] / "tests" / "streams" / "rtsp_server.py"
PYTHON = "/usr/bin/python3"  # the one that has GStreamer's bindings
DOWN_S = 2.0


def encoded(clip: str, fps: int, seconds: float, folder: Path) -> Path:
    """Write a clip as H.264 of so many frames a second, repeated until it is long enough."""
    import av

    path = folder / "clip.mkv"
    with av.open(clip) as source:
        frames = [frame.to_ndarray(format="yuv420p") for frame in source.decode(video=0)]
    with av.open(str(path), "w", options={"live": "1"}) as out:  # without a duration, as what a camera sends
        stream = out.add_stream(
            "libx264", rate=fps, options={"preset": "veryfast", "tune": "zerolatency", "g": str(fps)}
        )
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0] * 2 // 3, frames[0].shape[1], "yuv420p"
        for number in range(int(fps * seconds)):
            frame = av.VideoFrame.from_ndarray(frames[number % len(frames)], format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


class Server:
    """One RTSP server, a process of its own."""

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def start(self) -> None:
        command = [PYTHON, str(SERVER), str(self.port), str(self._clip)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the RTSP server does not start; tests/streams/install.sh brings what it wants")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Watch:
    """What came of each stream: the longest time between two results, and how late frames are by their own clock."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.longest: dict[str, float] = {}
        self.lag: dict[str, list[float]] = {}

    def took(self, stream: str, timestamp_s: float) -> None:
        now = time.monotonic()
        self.longest[stream] = max(self.longest.get(stream, 0.0), now - self.last.get(stream, now))
        self.last[stream] = now
        lags = self.lag.setdefault(stream, [now - timestamp_s, 0.0])
        lags[1] = now - timestamp_s - lags[0]


def resources() -> tuple[float, int, int]:
    """Return resident MiB, threads and descriptors of this process."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"]), len(os.listdir("/proc/self/fd"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", required=True)
    parser.add_argument("--model")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--kill-every", type=float, default=20.0, help="seconds between the ends of the last server; 0: never"
    )
    parser.add_argument("--save", help="write the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = encoded(args.clip, args.fps, args.seconds + 60, Path(folder))
        servers = [Server(clip) for _ in range(args.streams)]
        try:
            figures = measure(args, servers)
        finally:
            for server in servers:
                server.kill()
    print(table(figures))
    if args.save:
        Path(args.save).write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def measure(args: argparse.Namespace, servers: list[Server]) -> dict:
    watch, samples, kills, back = Watch(), [], 0, []
    over = threading.Event()
    names = {f"s{i + 1}": server.url for i, server in enumerate(servers)}

    def follow() -> None:
        for stream, frame, _ in streams:
            watch.took(stream, frame.timestamp_s)

    def kill() -> None:
        nonlocal kills
        last = f"s{len(servers)}"
        while args.kill_every and not over.wait(args.kill_every - DOWN_S):
            servers[-1].kill()
            kills += 1
            over.wait(DOWN_S)
            servers[-1].start()
            began = time.monotonic()
            while watch.last.get(last, 0.0) < began and not over.wait(0.02):
                pass
            back.append(time.monotonic() - began)

    with yolokkn.track_streams(names, model=args.model, say=lambda line: print(line, file=sys.stderr)) as streams:
        threads = [threading.Thread(target=target) for target in (follow, kill)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while time.monotonic() - began < args.seconds:
            time.sleep(min(10.0, args.seconds / 10))
            samples.append((time.monotonic() - began, *resources()))
        over.set()
        threads[1].join()
        streams.close()
        threads[0].join()
        made = streams.streams
    rows = []
    for name, stream in made.items():
        status, age = stream.status(), stream.ledger.age()
        rows.append(
            {
                "stream": name,
                "came": stream.source.num_given,
                "processed": status.num_frames,
                "dropped": status.dropped,
                "adds_up": stream.source.num_given == status.num_frames + sum(status.dropped.values()),
                "age_p50_ms": round(age.p50_ms, 2),
                "age_p99_ms": round(age.p99_ms, 2),
                "age_max_ms": round(age.max_ms, 2),
                "lag_ms": round(watch.lag[name][1] * 1e3, 1),
                "longest_gap_ms": round(watch.longest[name] * 1e3, 1),
                "connections": status.num_connections,
            }
        )
    return {
        "seconds": args.seconds,
        "fps": args.fps,
        "kills": kills,
        "back_s": [round(s, 2) for s in back],
        "streams": rows,
        "resources": [[round(t), round(mib, 1), threads, fds] for t, mib, threads, fds in samples],
    }


def table(figures: dict) -> str:
    lines = [
        f"{'stream':<8}{'came':>8}{'done':>8}{'dropped':>9}{'p50':>8}{'p99':>8}{'max':>8}{'lag':>9}{'gap':>9}   (ms)"
    ]
    for row in figures["streams"]:
        dropped = sum(row["dropped"].values())
        lines.append(
            f"{row['stream']:<8}{row['came']:>8}{row['processed']:>8}{dropped:>9}{row['age_p50_ms']:>8.1f}{row['age_p99_ms']:>8.1f}"
            f"{row['age_max_ms']:>8.1f}{row['lag_ms']:>9.1f}{row['longest_gap_ms']:>9.1f}"
            + ("" if row["adds_up"] else "   DOES NOT ADD UP")
        )
    first, last = figures["resources"][min(1, len(figures["resources"]) - 1)], figures["resources"][-1]
    lines.append(
        f"memory {first[1]} -> {last[1]} MiB, threads {first[2]} -> {last[2]}, descriptors {first[3]} -> {last[3]}"
    )
    if figures["back_s"]:
        back = sorted(figures["back_s"])
        lines.append(
            f"killed {figures['kills']} times, back {back[len(back) // 2]} s after the server (median), {back[-1]} s at most"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
