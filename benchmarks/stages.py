"""The stages that peers are measured at: for each its cases, our way, the reference's outputs, and what counts as the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.process import Arrays, StageCase
from yolokkn import ops, tracking
from yolokkn.benchmark import against, differing
from yolokkn.benchmark.case import Run
from yolokkn.benchmark.crowds import crowd, to_and_fro
from yolokkn.benchmark.heads import v5_head, v8_head
from yolokkn.benchmark.kernels import near_grey, near_masks
from yolokkn.benchmark.mask_scenes import mask_scene
from yolokkn.benchmark.trackers import slow_twin
from yolokkn.geometry import Letterbox
from yolokkn.runtime.parity_models import open_models

IOU = 0.7
SCORE_SPREAD = 1e-4  # of a score: another order of operations
LEAST_SAME = 0.9  # of the reference's scores: peers treat ties and thresholds in their own ways
GREY_LEVELS = 1.05  # OpenCV rounds its pixels to 8 bits, with weights of 11 bits
LEAST_MASK_IOU = 0.99
SETTLED = 10  # frames after which trackers have confirmed whom they follow; before, they differ by design
TRACKED = (0.5, 1.5)  # times as many objects as ByteTrack's twin: other trackers with other ids, at the same work


def letterbox_cases() -> Iterator[StageCase]:
    rules = [
        ("1080p to 640 RGB 0-1", (1080, 1920), (640, 640), "letterbox", True, 1 / 255),
        ("720p to 640 RGB 0-1", (720, 1280), (640, 640), "letterbox", True, 1 / 255),
        ("768x576 to 416 top-left BGR 0-255", (576, 768), (416, 416), "topleft", False, 1.0),
        ("1440p to 640 RGB 0-1", (1440, 2560), (640, 640), "letterbox", True, 1 / 255),
        ("500x427 to 640 RGB 0-1, enlarged", (427, 500), (640, 640), "letterbox", True, 1 / 255),
    ]
    for name, image_hw, input_hw, rule, swap_rb, scale in rules:
        rng = np.random.default_rng(0)
        inputs = [{"image": rng.integers(0, 256, (*image_hw, 3), dtype=np.uint8)} for _ in range(3)]
        place = Letterbox.fit(image_hw, input_hw, rule)
        options: dict[str, Any] = {"swap_rb": swap_rb, "scale": (scale,) * 3}
        wanted = [{"blob": ops.reference.letterbox(inputs[0]["image"], place, **options)}]
        facts = {
            "input_hw": input_hw, "resized_hw": place.resized_hw, "pad_top": place.pad_top, "pad_left": place.pad_left,
            "swap_rb": swap_rb, "scale": scale,
        }  # fmt: skip
        for kept in (False, True):

            def own(place: Letterbox = place, options: dict[str, Any] = options, kept: bool = kept) -> Run:
                blob = np.full((3, *place.input_hw), 114 * options["scale"][0], np.float32)
                return lambda value: ops.letterbox(value["image"], place, out=blob, keep_padding=kept, **options)

            yield StageCase(
                f"{name}{', padding kept' if kept else ''}", "letterbox", inputs, {"": own},
                lambda _, run, i=inputs, w=wanted, s=scale: near_grey(run(i[0]) / (255 * s), w[0]["blob"] / (255 * s)),
                wanted, lambda f, w, s=scale: grey_apart(f, w, s), facts | {"kept": kept},
            )  # fmt: skip


def grey_apart(found: Arrays, wanted: Arrays, scale: float) -> str:
    apart = float(np.abs(found["blob"] - wanted["blob"]).max()) / scale
    return f"{apart:.2f} of 255 grey levels" if not apart <= GREY_LEVELS else ""


def decode_cases() -> Iterator[StageCase]:
    sparse, dense = (0.25, False), (0.001, True)
    v8, v8_heavy = v8_head(0, num_objects=40), v8_head(0, num_objects=40, background=-8.0)
    v5, v5_heavy = v5_head(0, num_objects=40, background=-11.0), v5_head(0, num_objects=40, background=-8.0)
    people = [v8_head(1, num_objects=n, num_classes=1, extras=51) for n in (15, 100)]
    yield decode_case("v8 84x8400, 0.25", "channels", v8, *sparse)
    yield decode_case("v8 84x8400, 0.001, several labels", "channels", v8, *dense)
    yield decode_case("v8 84x8400, more than 30000 candidates", "channels", v8_heavy, *dense)
    yield decode_case("v5 25200x85, 0.25", "rows", v5, *sparse)
    yield decode_case("v5 25200x85, 0.001, several labels", "rows", v5, *dense)
    yield decode_case("v5 25200x85, more than 30000 candidates", "rows", v5_heavy, *dense)
    yield decode_case("pose 56x8400, 15 people", "channels", people[0], *sparse, num_keypoints=17)
    yield decode_case("pose 56x8400, 100 people", "channels", people[1], *sparse, num_keypoints=17)


def decode_case(
    name: str, layout: str, output: np.ndarray, threshold: float, multi_label: bool, num_keypoints: int = 0
) -> StageCase:
    num_classes = 1 if num_keypoints else 80
    facts = {
        "layout": layout, "num_classes": num_classes, "score_threshold": threshold, "multi_label": multi_label,
        "num_keypoints": num_keypoints, "shape": list(output.shape),
    }  # fmt: skip
    inputs = [{"output": output}]
    wanted = decoded(ops.reference, facts)(inputs[0])
    own = {"": lambda: decoded(ops, facts)}
    return StageCase(
        name, "decode", inputs, own, lambda _, run: differing(run(inputs[0]), wanted), [{"scores": wanted[1]}],
        scores_apart, facts,
    )  # fmt: skip


def decoded(module: Any, facts: Mapping[str, Any]) -> Run:
    """Return the whole chain of a raw output, by the kernels or by the reference."""
    place = Letterbox.fit((720, 1280), (640, 640))
    options = {"score_threshold": facts["score_threshold"], "multi_label": facts["multi_label"]}
    num_classes, count = facts["num_classes"], facts["num_keypoints"] * 3

    def run(value: Arrays) -> tuple[np.ndarray, ...]:
        output = value["output"]
        if facts["layout"] == "channels":
            found = module.decode_channels(output, num_classes, **options)
        else:
            found = module.decode_rows(output, num_classes, objectness=True, **options)
        kept = module.nms(found.boxes, found.scores, found.class_ids, iou_threshold=IOU)
        boxes, scores = found.boxes[kept], found.scores[kept]
        if not count:
            return boxes, scores, found.class_ids[kept]
        columns = {"first": 4 + num_classes, "count": count, "channel_major": True}
        extras = module.gather_extras(output, found.anchor_index[kept], **columns)
        points = module.decode_keypoints(extras, facts["num_keypoints"], place)
        return module.inverse_letterbox(boxes, place), scores, points

    return run


def scores_apart(found: Arrays, wanted: Arrays) -> str:
    """Say how few of the reference's scores are among a peer's, one for one."""
    rest, hits, i = np.sort(found["scores"]), 0, 0
    scores = np.sort(wanted["scores"].astype(np.float64))
    for score in scores:
        while i < len(rest) and rest[i] < score * (1 - SCORE_SPREAD):
            i += 1
        if i < len(rest) and rest[i] <= score * (1 + SCORE_SPREAD):
            hits, i = hits + 1, i + 1
    share = hits / max(len(scores), 1)
    return "" if share > LEAST_SAME else f"{share:.0%} of the reference's {len(scores)} scores"


def mask_scenes() -> Iterator[tuple[str, Any, Any]]:
    for frame, hw in (("720p", (720, 1280)), ("1080p", (1080, 1920))):
        scene = mask_scene(50, hw, seed=50)
        yield f"50 at {frame}", scene, ops.assemble_masks(*scene)


def mask_cases() -> Iterator[StageCase]:
    for name, scene, _ in mask_scenes():
        place = scene.geometry
        facts = {
            "input_hw": place.input_hw, "gain_xy": [float(g) for g in place.gain_xy], "pad_left": place.pad_left,
            "pad_top": place.pad_top, "frame_hw": place.image_hw, "resized_hw": place.resized_hw,
        }  # fmt: skip
        inputs = [{"coeffs": scene.coeffs, "prototypes": scene.prototypes, "boxes": scene.boxes}]
        slow = ops.reference.assemble_masks(*scene)
        wanted = [{"pixels": slow.data != 0, "crops": slow.crops}]

        def own(place: Letterbox = place) -> Run:
            return lambda value: ops.assemble_masks(value["coeffs"], value["prototypes"], value["boxes"], place)

        yield StageCase(
            f"masks, {name}", "masks", inputs, {"": own}, lambda _, run, i=inputs, w=slow: near_masks(run(i[0]), w), wanted,
            masks_apart, facts,
        )  # fmt: skip


def masks_apart(found: Arrays, wanted: Arrays) -> str:
    """Say how little a peer's masks overlap the reference's: the mean over the masks."""
    x1, y1, x2, y2 = wanted["crops"].T.astype(int)
    ends = np.cumsum((x2 - x1) * (y2 - y1))
    if len(found["pixels"]) != len(wanted["pixels"]):
        return f"{len(found['pixels'])} pixels in the boxes against {len(wanted['pixels'])}"
    ious = []
    for a, b in zip(np.split(found["pixels"], ends[:-1]), np.split(wanted["pixels"], ends[:-1]), strict=True):
        union = np.count_nonzero(a | b)
        ious.append(np.count_nonzero(a & b) / union if union else 1.0)
    return "" if np.mean(ious) >= LEAST_MASK_IOU else f"mean IoU {np.mean(ious):.4f} of the masks"


def rle_cases() -> Iterator[StageCase]:
    for name, _, masks in mask_scenes():
        full = ops.paint_masks(masks)
        slow = ops.reference.encode_rle(masks)
        text = np.frombuffer(b"\n".join(rle["counts"] for rle in slow), np.uint8)
        wanted = {"counts": text} | plain_runs(full)

        def compare(found: Arrays, wanted: Arrays) -> str:
            return next((f"{k}: {said}" for k in found if (said := differing(found[k], wanted[k]))), "")

        yield StageCase(
            f"COCO run lengths, {name}", "rle", [{"full": full}],
            {"": lambda masks=masks: lambda value: ops.encode_rle(masks)},
            lambda _, run, w=slow: differing(run(None), w), [wanted], compare,
        )  # fmt: skip


def plain_runs(full: np.ndarray) -> Arrays:
    """Return each mask's run lengths down its columns, the first one of zeros, and how many there are."""
    runs = []
    for mask in full:
        flat = np.concatenate([[False], mask.T.ravel()])
        ends = np.concatenate([np.flatnonzero(flat[1:] != flat[:-1]), [mask.size]])
        runs.append(np.diff(ends, prepend=0))
    return {"runs": np.concatenate(runs).astype(np.int64), "lengths": np.array([len(one) for one in runs])}


def polygon_cases() -> Iterator[StageCase]:
    for name, _, masks in mask_scenes():
        points = [sum(len(contour) for contour in one) for one in ops.mask_polygons(masks)]  # its twin needs 20 s
        inputs = [{"data": masks.data, "crops": masks.crops}]
        yield StageCase(
            f"polygons, {name}", "polygons", inputs, {"": lambda masks=masks: lambda value: ops.mask_polygons(masks)},
            lambda _, run, p=points: differing([sum(len(c) for c in one) for one in run(None)], p),
            [{"points": np.array(points)}], differing,
        )  # fmt: skip


def track_cases(counts: tuple[int, ...] = (10, 50, 100, 300, 1000)) -> Iterator[StageCase]:
    names = ("bytetrack", *(name for name in tracking.TRACKERS if name != "bytetrack"))  # the one that every peer has
    for count in counts:
        frames = [frame._asdict() for frame in to_and_fro(list(crowd(count, 90)))]
        num_checked = 24 if count <= 100 else 16 if count <= 300 else 12
        own = {name: lambda name=name: tracked_by(tracking.create(name)) for name in names}

        def check(name: str, run: Run, checked: list[Any] = frames[:num_checked]) -> str:
            return against(lambda: tracked_by(slow_twin(name, 30.0)), checked)(run)

        twin = tracked_by(slow_twin("bytetrack", 30.0))
        wanted = [{"tracked": np.array([np.count_nonzero(twin(value) > 0)])} for value in frames[:num_checked]]
        wanted[:SETTLED] = [{"tracked": np.array([-1])}] * SETTLED
        yield StageCase(
            f"{count} objects", "track", frames, own, check, wanted, tracked_apart, shown={"objects": count}
        )


def tracked_by(tracker: Any) -> Run:
    return lambda value: tracker.update(value["boxes"], value["scores"], value["class_ids"])


def tracked_apart(found: Arrays, wanted: Arrays) -> str:
    if wanted["tracked"][0] < 0:
        return ""
    least, most = (share * max(int(wanted["tracked"][0]), 1) for share in TRACKED)
    count = int(found["tracked"][0])
    return (
        ""
        if least <= count <= most
        else f"{count} objects tracked where ByteTrack's twin tracks {wanted['tracked'][0]}"
    )


def network_cases(model: str, images: list[np.ndarray], threads: int) -> Iterator[StageCase]:
    """One run of a network: ours on each backend, the peers as their own users call them."""
    opened = open_models(model, backends=["onnxruntime"], threads=threads)
    mine = opened.models["onnxruntime"]
    inputs = [mine.workspace().feeds(image) for image in images]
    first = mine.picture.name
    wanted = [opened.plain.backend.run(inputs[0])]
    facts = {
        "model": str(Path(model).resolve()), "threads": threads, "input": first, "outputs": list(wanted[0]),
        "input_shape": list(inputs[0][first].shape),
    }  # fmt: skip
    yield StageCase(
        f"{Path(model).name} on {threads} threads", "network", inputs, {"": lambda: mine.backend.run},
        lambda _, run: outputs_apart(run(inputs[0]), wanted[0]), wanted, outputs_apart, facts, threads,
    )  # fmt: skip


def outputs_apart(found: Arrays, wanted: Arrays) -> str:
    for name, value in wanted.items():
        other = found.get(name)
        if other is None or other.size != value.size:
            return f"output {name}: {None if other is None else other.shape} against {value.shape}"
        beyond = np.abs(other.reshape(value.shape) - value) > 1e-3 + 1e-3 * np.abs(value)
        if beyond.any():
            return f"output {name}: {np.count_nonzero(beyond)} of {value.size} values beyond 0.001 + 0.1%"
    return ""


STAGES: Mapping[str, Callable[[], Iterator[StageCase]]] = {
    "letterbox": letterbox_cases,
    "decode": decode_cases,
    "masks": mask_cases,
    "rle": rle_cases,
    "polygons": polygon_cases,
    "track": track_cases,
}
