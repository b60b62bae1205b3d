"""The best pipeline that a user could put together by hand: cv2 + ONNX Runtime, OpenVINO or MNN + powerboxes + pyxtrackers.

    python benchmarks/peers/setup.py by_hand
    build/peers/by_hand/bin/python benchmarks/peers/pipeline_by_hand.py --model yolox_nano.onnx --source vtest.avi \
        --engine onnxruntime --threads 2 --frames 300 --save found.json

For YOLOX (416, top-left, BGR 0 to 255, undecoded) and YOLOv8 (640, letterboxed, RGB 0 to 1) files. One script without
classes, as people write it, with what is known to be fast: buffers kept, decoding only of what passes the threshold, the
video decoded ahead in a thread of its own. It prints one line of JSON: milliseconds of each
frame, and the detections of the first frames.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import powerboxes
import pyxtrackers

SCORE, IOU, MAX_DETECTIONS, PAD = 0.1, 0.7, 300, 114


def open_engine(kind: str, path: str, threads: int):
    """Return the input's shape and what runs the network."""
    if kind == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        node = session.get_inputs()[0]
        return node.shape, lambda blob: session.run(None, {node.name: blob})[0]
    if kind == "mnn":
        return open_mnn(path, threads)
    import openvino

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", hints)
    request = compiled.create_infer_request()

    def run(blob):
        request.infer([blob], share_inputs=True)
        return request.get_output_tensor(0).data

    return list(compiled.inputs[0].shape), run


def open_mnn(path, threads):
    import MNN
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    node, outputs = session.get_inputs()[0], [o.name for o in session.get_outputs()]
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "model.mnn")
        tool = str(Path(sys.executable).with_name("mnnconvert"))
        command = [tool, "-f", "ONNX", "--modelFile", path, "--MNNModel", target, "--bizCode", "x"]
        subprocess.run(command, check=True, capture_output=True)
        settings = ({"backend": "CPU", "numThread": threads, "precision": "high"},)
        runtime = MNN.nn.create_runtime_manager(settings)
        net = MNN.nn.load_module_from_file(target, [node.name], outputs, runtime_manager=runtime)

    def run(blob):
        picture = MNN.expr.placeholder(node.shape, MNN.expr.NCHW)
        picture.write(blob)
        return np.array(net.forward([picture])[0].read())

    return node.shape, run


def yolox_grids(size):
    """Return each cell's corner and stride, in cells and pixels."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        y, x = np.mgrid[0 : size[0] // stride, 0 : size[1] // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_yolox(output, grids):
    cells, strides = grids
    rows = np.nonzero(output[:, 4] > SCORE)[0]
    scores = output[rows, 5:] * output[rows, 4:5]
    classes = scores.argmax(1)
    scores = scores[np.arange(len(rows)), classes]
    keep = scores > SCORE
    rows, scores, classes = rows[keep], scores[keep], classes[keep]
    centre = (output[rows, :2] + cells[rows]) * strides[rows, None]
    half = np.exp(output[rows, 2:4]) * strides[rows, None] / 2
    return np.concatenate([centre - half, centre + half], 1), scores, classes


def decode_v8(output):
    best = output[4:].max(0)
    rows = np.nonzero(best > SCORE)[0]
    classes, scores = output[4:, rows].argmax(0), best[rows]
    cx, cy, w, h = output[:4, rows]
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1), scores, classes


def decode_ahead(source):
    """Yield frames that a thread decodes ahead."""
    frames = queue.Queue(4)
    stopping = threading.Event()

    def read():
        video = cv2.VideoCapture(source)
        while not stopping.is_set():
            ok, frame = video.read()
            frames.put(frame if ok else None)
            if not ok:
                return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (frame := frames.get()) is not None:
            yield frame
    finally:
        stopping.set()
        while thread.is_alive():
            try:
                frames.get(timeout=0.05)
            except queue.Empty:
                pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--engine", choices=("onnxruntime", "openvino", "mnn"), default="onnxruntime")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--shown", type=int, default=20, help="frames whose detections are printed")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    shape, infer = open_engine(args.engine, args.model, args.threads)
    size = (shape[2], shape[3])
    tracker = pyxtrackers.BYTETracker(track_thresh=0.25)
    blob = np.empty(shape, np.float32)
    content, planes, grids, place = None, None, None, None
    times, found = [], []
    is_yolox = None
    for number, frame in enumerate(decode_ahead(args.source)):
        begin = time.perf_counter()
        h, w = frame.shape[:2]
        if content is None:
            output = infer(np.zeros(shape, np.float32))[0]
            is_yolox = output.shape[1] == 85
            gain = min(size[0] / h, size[1] / w)
            new = (int(w * gain), int(h * gain)) if is_yolox else (round(w * gain), round(h * gain))
            left = 0 if is_yolox else round((size[1] - new[0]) / 2 - 0.1)
            top = 0 if is_yolox else round((size[0] - new[1]) / 2 - 0.1)
            place = new, left, top, np.array([new[0] / w, new[1] / h] * 2, np.float32)
            scale = np.float32(1 if is_yolox else 1 / 255)
            blob[:] = PAD * scale
            content, grids = np.empty((new[1], new[0], 3), np.uint8), yolox_grids(size)
            planes = [np.empty((new[1], new[0]), np.uint8) for _ in range(3)]
        new, left, top, gains = place
        cv2.split(cv2.resize(frame, new, dst=content, interpolation=cv2.INTER_LINEAR), planes)
        for channel, plane in enumerate(planes if is_yolox else planes[::-1]):
            target = blob[0, channel, top : top + new[1], left : left + new[0]]
            np.multiply(plane, scale, out=target, dtype=np.float32)
        output = infer(blob)[0]
        boxes, scores, classes = decode_yolox(output, grids) if is_yolox else decode_v8(output)
        apart = boxes + classes[:, None].astype(np.float32) * np.float32(4096)
        kept = powerboxes.nms(apart, scores.astype(np.float64), IOU, SCORE)[:MAX_DETECTIONS]
        boxes, scores = (boxes[kept] - np.array([left, top, left, top], np.float32)) / gains, scores[kept]
        boxes = np.clip(boxes, 0, [w, h, w, h])
        tracker.update(np.concatenate([boxes, scores[:, None]], 1).astype(np.float64))
        times.append(begin)
        if number < args.shown:
            found.append([boxes.tolist(), scores.tolist(), classes[kept].tolist()])
        if number + 1 >= args.frames:
            break
    times.append(time.perf_counter())
    print(json.dumps({"ms": (np.diff(times) * 1e3).tolist(), "found": found}))


if __name__ == "__main__":
    main()
