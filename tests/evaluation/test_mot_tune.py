"""The search for a tracker's settings."""

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from yolokkn.cli import main
from yolokkn.errors import DataError
from yolokkn.evaluation.mot_rerun import load_labelled
from yolokkn.evaluation.mot_tune import (
    Plan,
    Range,
    Search,
    Trial,
    default_space,
    measure_settings,
    parse_range,
    plan_digest,
    read_trials,
    trial_log,
)
from yolokkn.tracking import SETTINGS, create, read_tracker_file

pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """Two sequences of ten that walk through one another, with misses, weak scores and false boxes."""
    root = tmp_path_factory.mktemp("set")
    for seed, name in enumerate(("market", "square")):
        rng = np.random.default_rng(seed)
        start, speed = rng.uniform((0, 0), (600, 300), (10, 2)), rng.uniform(-6, 6, (10, 2))
        truth, found = [], []
        for frame in range(1, 61):
            for i, (x, y) in enumerate(start + speed * frame, 1):
                truth.append(f"{frame},{i},{x:.2f},{y:.2f},40,90,1,1,1\n")
                if rng.random() < 0.85:
                    dx, dy = rng.normal(0, 3, 2)
                    found.append(f"{frame},-1,{x + dx:.2f},{y + dy:.2f},40,90,{rng.uniform(0.1, 1):.3f}\n")
            x, y = rng.uniform((0, 0), (600, 300))
            found.append(f"{frame},-1,{x:.2f},{y:.2f},30,70,{rng.uniform(0.1, 0.6):.3f}\n")
        for part, lines in (("gt", truth), ("det", found)):
            (root / name / part).mkdir(parents=True)
            (root / name / part / f"{part}.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def sequences(where):
    return load_labelled(where, where)


def tune(where, folder, *more):
    target = folder / "best.yaml"
    argv = ["tune", "--gt", str(where), "--detections", str(where), "--tracker", "bytetrack", "--save", str(target)]
    return target, main([*argv, "--trials", "12", "--jobs", "1", *more])


@pytest.mark.parametrize("tracker", list(SETTINGS))
def test_every_setting_of_every_tracker_has_a_range_around_its_default(tracker):
    space, defaults = default_space(tracker), SETTINGS[tracker]()
    plan = Plan(tracker, space)
    assert plan.defaults() == {name: getattr(defaults, name) for name in space}
    left_out = {field.name for field in dataclasses.fields(defaults)} - set(space)
    assert left_out <= {"mask_weight", "proximity_thresh", "appearance_thresh"}  # files of detections have neither
    for end in ("low", "high"):
        values = {name: getattr(one, end) for name, one in space.items() if isinstance(one, Range)}
        values |= {"track_low_thresh": 0.0} if "track_low_thresh" in values else {}
        create(tracker, **{name: int(v) if space[name].whole else v for name, v in values.items()})


def test_a_search_that_is_cut_anywhere_goes_on_as_if_it_were_not(sequences):
    plan = Plan("bytetrack", default_space("bytetrack"), seed=3)
    straight = Search(plan, sequences)
    list(straight.run(16))
    for cut in (1, 7, 13):
        begun = Search(plan, sequences)
        list(begun.run(cut))
        resumed = Search(plan, sequences)
        resumed.take_up(begun.trials)
        list(resumed.run(16))
        assert resumed.trials == straight.trials
    other = Search(Plan("bytetrack", default_space("bytetrack"), seed=4), sequences)
    list(other.run(4))
    assert other.trials[0] == straight.trials[0]
    assert not [t for t in other.trials[1:] if t.settings in [s.settings for s in straight.trials[1:]]]
    assert straight.best.value > straight.trials[0].value


def test_processes_change_nothing(sequences):
    plan = Plan("sort", default_space("sort"))
    alone, two = Search(plan, sequences), Search(plan, sequences, processes=2)
    list(alone.run(3))
    list(two.run(3))
    assert alone.trials == two.trials


def test_values_are_what_the_measurement_says(sequences):
    plan = Plan("ocsort", {"inertia": Range(0.0, 0.5)}, {"iou_threshold": 0.2}, objective="IDF1", fill=5)
    search = Search(plan, sequences)
    for trial in search.run(4):
        assert list(trial.settings) == ["inertia"] and 0 <= trial.settings["inertia"] <= 0.5
        assert trial.value == measure_settings(plan, sequences, trial.settings).combined.figures()["IDF1"]


def test_settings_that_do_not_go_together_are_no_trial_to_learn_from(sequences):
    space = {"track_low_thresh": Range(0.3, 0.5), "track_high_thresh": Range(0.2, 0.4)}
    search = Search(Plan("bytetrack", space), sequences)
    trials = list(search.run(12))
    for trial in trials:
        assert (trial.value is None) == (trial.settings["track_low_thresh"] > trial.settings["track_high_thresh"])
    assert any(t.value is None for t in trials) and search.best.value is not None


def test_the_command_writes_settings_that_hold_what_it_says(where, tmp_path, capsys):
    target, code = tune(where, tmp_path, "--holdout", "square", "--track-buffer", "40")
    assert code == 0
    said = capsys.readouterr().out
    assert "1 tuned on, first" in said and "1 held out, best" in said
    rows = [json.loads(line) for line in target.with_suffix(".trials.jsonl").read_text().splitlines()]
    best = max((r for r in rows[1:] if r["value"] is not None), key=lambda r: r["value"])
    gt, det = where / "market" / "gt" / "gt.txt", where / "market" / "det" / "det.txt"
    argv = ["evaluate", "mot", "--gt", str(gt), "--detections", str(det), "--tracker", str(target)]
    assert main([*argv, "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())["sequences"]["COMBINED"]
    assert figures["HOTA"] == pytest.approx(best["value"], abs=1e-12)
    assert "track_buffer: 40" in target.read_text()
    assert "track_buffer" not in best["settings"]


def test_settings_that_are_all_refused_are_said_to_be(where, tmp_path, capsys):
    more = ["--search", "track_low_thresh=0.4:0.5", "--search", "track_high_thresh=0.2:0.3"]
    target, code = tune(where, tmp_path, *more)
    assert code == 1 and not target.exists()
    assert "bytetrack refused the settings of all 12 trials" in capsys.readouterr().err
    first_refused = ["--search", "track_low_thresh=0.3:0.5", "--search", "track_high_thresh=0.2:0.4", "--overwrite"]
    target, code = tune(where, tmp_path, *first_refused)
    assert code == 0 and target.exists()


def test_other_labels_are_another_search(where, sequences):
    plan = Plan("sort", default_space("sort"))
    digests = {
        plan_digest(plan, sequences),
        plan_digest(replace(plan, space=dict(reversed(plan.space.items()))), sequences),
    }
    one = sequences["market"]
    truth, given = one.truth, one.detections
    changed = [
        replace(one, truth=replace(truth, ids=truth.ids[::-1].copy())),
        replace(one, truth=replace(truth, counted=~truth.counted)),
        replace(one, truth=replace(truth, class_ids=truth.class_ids + 1)),
        replace(one, detections=replace(given, frame_rate=5.0)),
        replace(one, detections=replace(given, num_frames=61)),
        replace(one, detections=replace(given, scores=given.scores / 2)),
    ]
    digests |= {plan_digest(plan, {**sequences, "market": other}) for other in changed}
    assert len(digests) == 8


def test_how_the_camera_was_told_is_kept(where, tmp_path):
    target, code = tune(where, tmp_path, "--gmc-method", "none")
    assert code == 0 and read_tracker_file(target).gmc_method == "none"
    again = tmp_path / "again"
    again.mkdir()
    argv = ["tune", "--gt", str(where), "--detections", str(where), "--tracker", str(target), "--trials", "2"]
    assert main([*argv, "--search", "match_thresh", "--save", str(again / "best.yaml")]) == 2  # the file fixes it
    target.write_text("tracker_type: bytetrack\ngmc_method: none\n")
    assert main([*argv, "--search", "match_thresh", "--save", str(again / "best.yaml")]) == 0
    assert read_tracker_file(again / "best.yaml").gmc_method == "none"
    own = [
        *argv,
        "--search",
        "match_thresh",
        "--overwrite",
        "--gmc-method",
        "auto",
    ]  # the command line goes before the file
    assert main([*own, "--save", str(again / "best.yaml")]) == 0
    assert read_tracker_file(again / "best.yaml").gmc_method is None


def test_the_command_goes_on(where, tmp_path, capsys):
    target, code = tune(where, tmp_path)
    log = target.with_suffix(".trials.jsonl")
    whole, best = log.read_bytes(), target.read_bytes()
    assert code == 0
    assert tune(where, tmp_path)[1] == 1  # never over what is there
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:6]) + lines[6][:20])  # killed while it wrote
    target.unlink()
    assert tune(where, tmp_path, "--resume")[1] == 0
    assert (log.read_bytes(), target.read_bytes()) == (whole, best)
    assert tune(where, tmp_path, "--resume", "--seed", "1")[1] == 1
    assert "is of another search" in capsys.readouterr().err
    assert log.read_bytes() == whole
    log.unlink()
    assert tune(where, tmp_path, "--resume")[1] == 1  # nothing to go on with, and settings that would be lost
    assert target.read_bytes() == best


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--holdout", "markt"], "did you mean market"),
        (["--holdout", "market,square"], "must leave a sequence"),
        (["--search", "track_bufer"], "did you mean track_buffer"),
        (["--search", "track_buffer=9"], "must be given as track_buffer=low:high"),
        (["--search", "match_thresh=0.5:1.5"], "both within 0 and 1"),
        (["--search", "fuse_score=0:1"], "true or false"),
        (
            ["--search", "match_thresh", "--match-thresh", "0.7"],
            "--search match_thresh: its value must not be given as well",
        ),
        (["--interpolate", "-1"], "--interpolate must be 0 or more"),
        (["--resume", "--overwrite"], "must stand without --overwrite"),
        (["--seed", "-1"], "seed must be 0 or more"),
    ],
)
def test_wrong_usage(where, tmp_path, capsys, more, said):
    assert tune(where, tmp_path, *more)[1] == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_file_must_be_one_that_trackers_are_read_from(where, tmp_path, capsys):
    argv = ["tune", "--gt", str(where), "--detections", str(where), "--save", str(tmp_path / "kkn")]
    assert main(argv) == 2
    assert "--save must be a .yaml file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage", ["", "nonsense\n", '{"plan": 3}\n', "{}\n{}\n{}\n", "[1]\n", '{{"plan": "{digest}"}}\nx\n{trial}']
)
def test_damaged_logs_are_refused(sequences, tmp_path, damage):
    plan = Plan("sort", default_space("sort"))
    digest, log = plan_digest(plan, sequences), tmp_path / "log.jsonl"
    log.write_text(damage.format(digest=digest, trial=Trial(0, {}, 0.5).line()) if "digest" in damage else damage)
    with pytest.raises(DataError, match=r"log\.jsonl"):
        read_trials(log, digest)
    trials = [Trial(0, {"max_age": 3.5}, 0.25), Trial(1, {"max_age": 4.5}, None)]
    log.write_text(trial_log(plan, digest, trials))
    assert read_trials(log, digest) == trials


def test_ranges():
    assert parse_range("sort", "max-age=10:100") == ("max_age", Range(10.0, 100.0, log=True))
    assert parse_range("sort", "min_hits=1:6") == ("min_hits", Range(1.0, 6.0, log=True, whole=True))
    with pytest.raises(ValueError, match="low must be at most high"):
        Range(2, 1)
