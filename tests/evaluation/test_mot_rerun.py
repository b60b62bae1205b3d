"""Trackers run and measured at once, on all frames and on fewer."""

import numpy as np
import pytest

from yolokkn import tracking
from yolokkn.cli import main
from yolokkn.errors import DataError
from yolokkn.evaluation.mot import evaluate_mot
from yolokkn.evaluation.mot_rerun import keep_all, keep_by_chance, keep_rate, load_labelled, measure_tracker


@pytest.fixture
def sequence(tmp_path):
    """Two that walk side by side for 40 frames of 20 a second, detected as they are."""
    folder = tmp_path / "set" / "walk"
    (folder / "gt").mkdir(parents=True)
    (folder / "det").mkdir()
    rows = [(f, i, 100 * i + 2 * f, 50, 40, 90) for f in range(1, 41) for i in (1, 2)]
    (folder / "gt" / "gt.txt").write_text("".join(f"{f},{i},{x},{y},{w},{h},1,1,1\n" for f, i, x, y, w, h in rows))
    (folder / "det" / "det.txt").write_text("".join(f"{f},-1,{x},{y},{w},{h},0.9\n" for f, i, x, y, w, h in rows))
    (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=20\nseqLength=40\n")
    return tmp_path / "set"


def run(tracker, where, **options):
    return measure_tracker(
        load_labelled(where, where, **options), lambda rate: tracking.create(tracker, frame_rate=rate)
    )


def test_rates_keep_even_frames():
    assert keep_rate(10)(9, 30.0).tolist() == [1, 4, 7]
    assert keep_rate(20)(6, 30.0).tolist() == [1, 3, 4, 6]
    assert keep_rate(30)(4, 30.0).tolist() == [1, 2, 3, 4]
    assert len(keep_rate(29.97)(3000, 29.97)) == 3000
    for fps, rate in ((31, 30.0), (0, 30.0), (10, 0.0)):
        with pytest.raises(DataError, match="--fps must be above 0 and at most the sequence's"):
            keep_rate(fps)(9, rate)


def test_chance_is_the_seed_s():
    kept = keep_by_chance(0.3, 5)(10_000, 0.0)
    assert 6_800 < len(kept) < 7_200
    assert kept[0] == 1
    np.testing.assert_array_equal(kept, keep_by_chance(0.3, 5)(10_000, 0.0))
    assert kept.tolist() != keep_by_chance(0.3, 6)(10_000, 0.0).tolist()
    assert len(keep_by_chance(0.0)(50, 0.0)) == 50


@pytest.mark.parametrize("thinning", [keep_rate(20), keep_rate(7), keep_by_chance(0.5, 1)])
def test_what_is_easy_stays_perfect(sequence, thinning):
    metrics = run("kkn", sequence, thinning=thinning)
    figures = metrics.combined.figures()
    kept = len(thinning(40, 20.0))
    assert metrics.combined.num_truths == metrics.combined.num_results == 2 * kept
    assert (figures["HOTA"], figures["IDF1"], figures["MOTA"]) == pytest.approx((1, 1, 1))


def test_without_thinning_it_is_track_and_evaluate(shared_data, tmp_path):
    where = str(shared_data / "mot17")
    metrics = run("botsort", where)
    assert main(["track", "--detections", where, "--tracker", "botsort", "--save", f"mot:{tmp_path}/", "--quiet"]) == 0
    written = evaluate_mot(where, tmp_path)
    assert metrics.combined.figures() == pytest.approx(written.combined.figures(), abs=1e-3)


def test_kkn_keeps_its_figures_at_a_third_of_the_frames(shared_data):
    where = shared_data / "mot17"
    for with_cameras in (True, False):
        full, third = (
            run("kkn", where, thinning=thinning, with_cameras=with_cameras).combined.figures()["HOTA"]
            for thinning in (keep_all, lambda length, rate: np.arange(1, length + 1, 3))
        )
        assert third > 0.9 * full


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ([], 2, "give --results DIR, or --detections DIR"),
        (["--results", "r", "--detections", "d"], 2, "give --results DIR, or --detections DIR"),
        (["--results", "r", "--fps", "5"], 2, "--fps is for a tracker that is run"),
        (["--results", "r", "--track-buffer", "5"], 2, "--track-buffer is for a tracker that is run"),
        (["--detections", "SEQ", "--fps", "5", "--drop-rate", "0.1"], 2, "--fps must stand without --drop-rate"),
        (["--detections", "SEQ", "--drop-rate", "1"], 2, "--drop-rate must be at least 0 and below 1"),
        (["--detections", "SEQ", "--fps", "50"], 1, "the sequence has 20 frames a second"),
        (["--detections", "SEQ", "--tracker", "knn"], 2, "did you mean 'kkn'"),
        (["--detections", "SEQ", "--max-age", "5"], 2, "settings of kkn must be among"),
    ],
)
def test_refusals(sequence, capsys, options, code, text):
    argv = [str(sequence) if option == "SEQ" else option for option in options]
    assert main(["evaluate", "mot", "--gt", str(sequence), *argv]) == code
    assert text in capsys.readouterr().err


def test_the_command_line(sequence, capsys):
    where = str(sequence)
    assert main(["evaluate", "mot", "--gt", where, "--detections", where, "--fps", "5", "--tracker", "sort"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[:2] == ["walk", "100.00"]


def test_truth_goes_on_after_the_last_detection(tmp_path):
    (tmp_path / "gt").mkdir()
    (tmp_path / "det").mkdir()
    (tmp_path / "gt" / "a.txt").write_text("".join(f"{f},1,{f},50,40,90,1,1,1\n" for f in range(1, 11)))
    (tmp_path / "det" / "a.txt").write_text("".join(f"{f},-1,{f},50,40,90,0.9\n" for f in range(1, 9)))
    metrics = measure_tracker(load_labelled(tmp_path / "gt", tmp_path / "det"), lambda rate: tracking.create("sort"))
    figures = metrics.combined.figures()
    assert (metrics.combined.num_truths, figures["CLR_TP"], figures["CLR_FN"]) == (10, 8, 2)


def test_the_sequence_is_told_of_where_its_truth_lies(sequence, tmp_path):
    (tmp_path / "mine").mkdir()
    det = (sequence / "walk" / "det" / "det.txt").read_text()
    (tmp_path / "mine" / "walk.txt").write_text(det)
    (sequence / "walk" / "gmc.txt").write_text("5 1 0 4 0 1 0\n")
    found = load_labelled(sequence, tmp_path / "mine")["walk"].detections
    assert (found.frame_rate, found.num_frames, list(found.cameras)) == (20.0, 40, [5])
    (tmp_path / "mine" / "walk.txt").write_text(det + "41,-1,0,0,9,9,0.9\n")
    with pytest.raises(DataError, match=r"walk\.txt: frames must be within 1 and 40"):
        load_labelled(sequence, tmp_path / "mine")
