"""What viewers of the page cost: frames a second of a run without any and with some, in turns.

    python benchmarks/bench_web.py --source vtest.avi --viewers 10

Each viewer reads the live view of the stream as fast as it comes, and asks for the counts once a second, as the page does; all in
a process of their own. `--slow 500` adds clients that connect and never read. The source is read as fast as it can be: the worst
case, in which viewers, also those of this machine, and pipeline want the same processors.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time

import yolokkn
from yolokkn.web import Monitor, WebServer

VIEWER = """
import http.client, sys, threading, time
port, count = int(sys.argv[1]), int(sys.argv[2])
def watch():
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/api/live?streams=one&width=960")
            answer = connection.getresponse()
            while answer.read1(1 << 16): pass
            time.sleep(1)  # refused, or broken off: as the page does
        except OSError:
            time.sleep(0.2)
def ask():
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/api/streams")
            connection.getresponse().read()
            connection.close()
        except OSError:
            pass
        time.sleep(1)
for _ in range(count):
    threading.Thread(target=watch, daemon=True).start()
    threading.Thread(target=ask, daemon=True).start()
print("ready", flush=True)
time.sleep(1e6)
"""


def run(source: str, model: object, viewers: int, slow: int) -> float:
    """Return the frames a second of a run."""
    with yolokkn.track_streams({"one": source}, model=model, say=None) as streams:  # type: ignore[arg-type]
        monitor = Monitor(streams)
        with WebServer(monitor, port=0) as server:
            port = int(server.url.rstrip("/").rpartition(":")[2])
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(slow)]
            for client in clients:
                client.sendall(b"GET /api/live?streams=one HTTP/1.1\r\nHost: localhost\r\n\r\n")
            command = [sys.executable, "-c", VIEWER, str(port), str(viewers)]
            watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            watching.stdout.readline()  # type: ignore[union-attr]
            count, began = 0, 0.0
            for one in streams:
                monitor.took(one)
                count += 1
                if count == 20:
                    began = time.perf_counter()
            taken = time.perf_counter() - began
            watching.kill()
            watching.wait()
            for client in clients:
                client.close()
        ledger = streams.streams["one"].ledger
    return (ledger.num_frames - 20) / taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--model")
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--slow", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    model = yolokkn.load(args.model, score_threshold=0.1, num_requests=2)
    ratios = []
    for _ in range(args.rounds):
        alone = run(args.source, model, 0, 0)
        watched = run(args.source, model, args.viewers, args.slow)
        ratios.append(watched / alone)
        print(f"{alone:.1f} frames/s alone, {watched:.1f} with {args.viewers} viewers and {args.slow} slow clients")
    print(f"with viewers {statistics.median(ratios):.3f} of the speed (median of {args.rounds} pairs)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
