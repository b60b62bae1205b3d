"""The loader: what a batch holds follows from seed, epoch and number alone."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import torch

from tests.data.files import many_shapes, thing, write_coco, write_yolo
from yolokkn.data.augment import AugmentConfig
from yolokkn.data.cache import PictureCache
from yolokkn.data.collate import collate
from yolokkn.data.datasets import concat, open_dataset, remap
from yolokkn.data.loader import build_loader
from yolokkn.data.order import Plan
from yolokkn.geometry import Letterbox

CONFIG = AugmentConfig(degrees=5, mixup=0.2, copy_paste=0.3, noise=0.3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    torch.set_num_threads(1)
    return open_dataset(many_shapes(tmp_path_factory.mktemp("shapes"), 10), task="segment-pose")


def batches(dataset, epoch=0, **options):
    loader = build_loader(dataset, **{"batch_size": 4, "imgsz": 96, "augment": CONFIG, "workers": 0} | options)
    loader.set_epoch(epoch)
    return list(loader)


def same(a, b) -> bool:
    if len(a.targets) != len(b.targets) or a.image_ids != b.image_ids or not torch.equal(a.images, b.images):
        return False
    names = ("image_index", "boxes", "class_ids", "ignored", "masks", "has_mask", "keypoints")
    return all(torch.equal(getattr(a.targets, n), getattr(b.targets, n)) for n in names)


def test_a_batch_is_what_the_contract_says(dataset):
    (batch, *_rest) = batches(dataset)
    targets = batch.targets
    m = len(targets)
    assert batch.images.shape == (4, 3, 96, 96) and batch.images.dtype == torch.uint8 and len(batch.image_ids) == 4
    assert targets.boxes.shape == (m, 4) and targets.boxes.dtype == torch.float32
    assert targets.class_ids.dtype == targets.image_index.dtype == torch.int64 and targets.ignored.dtype == torch.bool
    assert targets.masks.shape == (m, 24, 24) and targets.masks.dtype == torch.bool and targets.has_mask.shape == (m,)
    assert targets.keypoints.shape == (m, 3, 3) and targets.keypoints.dtype == torch.float32
    assert (targets.image_index.diff() >= 0).all() and batch.letterboxes == ()
    moved = batch.to("cpu")
    assert same(moved, batch)


@pytest.mark.parametrize(("kind", "workers"), [("process", 1), ("process", 3), ("thread", 1), ("thread", 3)])
def test_workers_change_nothing(dataset, kind, workers):
    one = batches(dataset, epoch=2)
    other = batches(dataset, epoch=2, worker_kind=kind, workers=workers)
    assert len(one) == len(other) == 3 and all(map(same, one, other))


def test_epochs_and_seeds_differ_and_repeat(dataset):
    first, again = batches(dataset, 0), batches(dataset, 0)
    assert all(map(same, first, again))
    assert not same(first[0], batches(dataset, 1)[0]) and not same(first[0], batches(dataset, 0, seed=1)[0])


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_are_one_process(dataset, world_size):
    whole = batches(dataset, epoch=1)
    parts = [batches(dataset, epoch=1, rank=r, world_size=world_size) for r in range(world_size)]
    for i, batch in enumerate(whole):
        assert torch.equal(batch.images, torch.cat([p[i].images for p in parts]))
        assert batch.image_ids == tuple(name for p in parts for name in p[i].image_ids)
        assert torch.equal(batch.targets.boxes, torch.cat([p[i].targets.boxes for p in parts]))
        assert torch.equal(batch.targets.masks, torch.cat([p[i].targets.masks for p in parts]))


def test_resuming_in_an_epoch(dataset):
    whole = batches(dataset, epoch=1)
    loader = build_loader(dataset, batch_size=4, imgsz=96, augment=CONFIG, workers=0, start_batch=1)
    loader.set_epoch(1)
    rest = list(loader)
    assert len(rest) == 2 and all(map(same, whole[1:], rest)) and len(loader) == 3
    assert len(list(loader)) == 3  # only once
    loader.start_batch = 7
    with pytest.raises(ValueError, match="start_batch must be within 0 and 3, got 7"):
        iter(loader)


def test_every_picture_comes_and_batches_are_full(dataset):
    ids = [name for batch in batches(dataset) for name in batch.image_ids]
    assert len(ids) == 12 and set(ids) == set(dataset.image_ids)
    tiny = dataset.subset([0, 1])
    (batch,) = batches(tiny, batch_size=8)
    assert sorted(batch.image_ids) == ["0"] * 4 + ["1"] * 4
    assert len({image.numpy().tobytes() for image in batch.images}) == 8  # each time another picture


def test_evaluation_is_in_order_and_letterboxed(dataset):
    got = batches(dataset, augment=None, shuffle=False)
    assert [len(b.images) for b in got] == [4, 4, 2]
    assert tuple(name for b in got for name in b.image_ids) == dataset.image_ids
    geometry = got[0].letterboxes[1]
    assert geometry == Letterbox.fit((60, 80), (96, 96))
    mine = got[0].targets.boxes[got[0].targets.image_index == 1].numpy()
    np.testing.assert_allclose(geometry.to_frame(mine), dataset.load(1).boxes, atol=1e-3)
    ranks = [batches(dataset, augment=None, shuffle=False, rank=r, world_size=3) for r in range(3)]
    assert sorted(n for r in ranks for b in r for n in b.image_ids) == sorted(dataset.image_ids)
    small = batches(dataset.subset([0]), augment=None, shuffle=False, rank=0, world_size=2)
    assert small == []  # one picture for two ranks: the other has it


def test_large_pictures_are_reduced_to_what_the_runtime_sees(tmp_path):
    root = write_coco(tmp_path, [thing(1)], count=1)
    dataset = open_dataset(root)
    (batch,) = batches(dataset, imgsz=32, augment=None, shuffle=False)
    assert batch.letterboxes[0].image_hw == (60, 80)
    from yolokkn import ops

    planes = ops.letterbox(dataset.load(0).image, batch.letterboxes[0], scale=(1, 1, 1))
    assert np.abs(batch.images[0].numpy() - planes).max() <= 0.5


def test_multi_scale_is_decided_by_the_batch(dataset):
    got = batches(dataset, multi_scale=0.5, imgsz=128, batch_size=1)
    sizes = {tuple(b.images.shape[2:]) for b in got}
    assert len(sizes) > 2 and all(h == w and h % 32 == 0 and 64 <= h <= 192 for h, w in sizes)
    other = batches(dataset, multi_scale=0.5, imgsz=128, batch_size=1, worker_kind="thread", workers=2)
    assert all(map(same, got, other))


def test_unmixed_pictures_are_whole(dataset):
    mixed = AugmentConfig(hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, flip_lr=0, blur=0, noise=0, jpeg=0)
    whole = {b.image_ids[0]: b.images.int() for b in batches(dataset, augment=None, shuffle=False, batch_size=1)}

    def num_plain(config):
        got = batches(dataset, augment=config, batch_size=1)
        return sum(float((b.images.int() - whole[b.image_ids[0]]).abs().float().mean()) < 3 for b in got)

    assert num_plain(mixed.unmixed()) == len(whole) and num_plain(mixed) < 3


def test_weights_say_how_often(tmp_path, dataset):
    b = open_dataset(write_yolo(tmp_path, ["0 .5 .5 .5 .5\n"] * 4, yaml="names: [cat, dog]\n"))
    both = concat([remap(dataset, ["cat", "dog"]), b], weights=[1, 2.5])
    plan = Plan(len(both), 4, weights=both.weights)
    assert plan.num_drawn == 20 and plan.num_batches == 5
    counts = sum(np.bincount(plan.order(e), minlength=14) for e in range(8))
    assert (counts[:10] == 8).all() and (np.abs(counts[10:] - 20) <= 6).all() and counts[10:].sum() == 80
    got = batches(both, batch_size=7)
    assert got[0].targets.keypoints is not None and got[0].targets.has_mask is not None


def test_a_picture_that_breaks_later_is_said_and_grey(tmp_path):
    root = write_coco(tmp_path, [thing(1), thing(2, 1)], count=2)
    dataset = open_dataset(root)
    (root / "train" / "1.png").write_bytes(b"gone")
    with pytest.warns(UserWarning, match=r"1\.png must be an image.*a grey picture takes its place"):
        (batch,) = batches(dataset, batch_size=2, augment=None, shuffle=False)
    assert (batch.images[1] == 114).all() and batch.targets.image_index.tolist() == [0]


def test_cache_in_memory_is_bounded_and_right(dataset):
    size = 60 * 80 * 3
    for limit, kept in ((0, 0), (3 * size + 5, 3), (1 << 30, 10)):
        cache = PictureCache(dataset, (96, 96), limit)
        for _ in range(2):
            for i in range(len(dataset)):
                np.testing.assert_array_equal(cache.load(i).image, dataset.load(i).image)
        assert cache.used_bytes == kept * size
    with pytest.raises(ValueError, match="read-only"):
        cache.load(0).image[0, 0] = 1


def test_cache_in_a_folder_survives_and_distrusts(dataset, tmp_path):
    folder = tmp_path / "cache"
    for _ in range(2):
        cache = PictureCache(dataset, (32, 32), 1 << 30, folder)
        images = [cache.load(i).image for i in range(len(dataset))]
    files = sorted(folder.glob("*"))
    assert len(files) == 10 and all(f.suffix == ".px" for f in files) and images[0].shape == (24, 32, 3)
    files[0].write_bytes(files[0].read_bytes()[:-5])
    files[1].write_bytes(b"")
    fresh = PictureCache(dataset, (32, 32), 1 << 30, folder)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(fresh.load(i).image, image)
    assert batches(dataset, cache_folder=folder)[0].images.shape == (4, 3, 96, 96)


def test_processes_share_what_they_decode(dataset):
    loader = build_loader(dataset, batch_size=5, imgsz=96, augment=None, shuffle=False, workers=2)
    list(loader)
    assert loader.cache.used_bytes == 10 * 60 * 80 * 3


def test_arguments_are_checked(dataset):
    for bad, message in (
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"batch_size": 5, "world_size": 2}, "multiple of world_size 2"),
        ({"rank": 2, "world_size": 2}, "rank must be within 0 and 1"),
        ({"imgsz": 100}, "multiples of 32"),
        ({"worker_kind": "fibre"}, "worker_kind must be one of process, thread"),
        ({"multi_scale": 1.0}, "multi_scale"),
    ):
        with pytest.raises(ValueError, match=message):
            build_loader(dataset, **{"batch_size": 4, "imgsz": 96} | bad)
    with pytest.raises(ValueError, match="collate: samples must be of size"):
        collate([dataset.load(0)], (32, 32))


def test_nobody_is_left_behind(dataset):
    import threading

    loader = build_loader(dataset, batch_size=1, imgsz=96, augment=CONFIG, workers=2, worker_kind="thread")
    for _ in loader:
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("yolokkn-data")]


def test_partners_of_a_mosaic_come_by_their_weight(tmp_path):
    names = [f"{i} .5 .5 .9 .9\n" for i in (0, 1)]
    common = open_dataset(write_yolo(tmp_path / "a", names[:1] * 4, yaml="names: [cat, dog]\n"))
    never = open_dataset(write_yolo(tmp_path / "b", names[1:] * 40, yaml="names: [cat, dog]\n")).weighted(0.0)
    loader = build_loader([common, never], batch_size=4, imgsz=64, augment=AugmentConfig(mosaic9=0.5), workers=0)
    classes = [int(c) for batch in loader for c in batch.targets.class_ids]
    assert classes and set(classes) == {0}


def test_worker_processes_leave_no_signal_handler_behind(tmp_path):
    dataset = open_dataset(write_yolo(tmp_path, ["0 .5 .5 .5 .5\n"] * 4, yaml="names: [cat, dog]\n"))
    before = signal.getsignal(signal.SIGCHLD)
    loader = build_loader(dataset, batch_size=2, imgsz=64, workers=1, worker_kind="process", shuffle=False)
    assert len(list(loader)) == 2 and signal.getsignal(signal.SIGCHLD) is before
