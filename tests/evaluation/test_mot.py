"""Tracking metrics against loops over the papers' definitions, against TrackEval's figures, and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation import reference_mot as reference
from tests.evaluation.mot_scenes import as_text, scene, table
from yolokkn.errors import DataError
from yolokkn.evaluation.mot import ALPHAS, RULES, MotTable, evaluate_mot, measure_sequence
from yolokkn.evaluation.mot_tables import apply_rules, read_table

TRACKEVAL = Path(__file__).parent / "trackeval_figures.json"


def walk(name, frames, left=0.0, top=0.0, size=10.0):
    return [(f, name, left + f, top, left + f + size, top + size) for f in frames]


def figures(truth, results, **options):
    return measure_sequence(table(truth), table(results), **options).figures()


def test_a_perfect_result_is_perfect():
    rows = walk(1, range(1, 6)) + walk(2, range(2, 9), top=50)
    found = figures(rows, [(f, name + 7, *box) for f, name, *box in rows])
    assert [found[k] for k in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1")] == pytest.approx([1.0] * 7)
    assert [found[k] for k in ("IDSW", "Frag", "ML", "CLR_FP", "CLR_FN")] == [0] * 5 and found["MT"] == 2


def test_one_switch_in_the_middle_by_hand():
    found = figures(walk(1, range(1, 11)), walk(5, range(1, 6)) + walk(6, range(6, 11)))
    assert (found["IDSW"], found["Frag"], found["MOTA"]) == (1, 0, pytest.approx(0.9))
    assert found["IDF1"] == pytest.approx(0.5), "five of ten boxes bear the one name"
    assert (found["DetA"], found["AssA"], found["HOTA"]) == pytest.approx((1.0, 0.5, np.sqrt(0.5)))


def test_a_gap_is_a_fragment_and_no_switch():
    found = figures(walk(1, range(1, 11)), walk(5, [1, 2, 3, 7, 8, 9, 10]) + walk(9, [4, 5, 6], top=500))
    assert (found["Frag"], found["IDSW"], found["CLR_FN"], found["CLR_FP"]) == (1, 0, 3, 3)
    assert (found["MT"], found["PT"], found["ML"]) == (0, 1, 0)


def test_a_frame_without_results_does_not_end_a_match():
    """TrackEval looks back to the last frame with boxes on both sides."""
    found = figures(walk(1, range(1, 11)), walk(5, [1, 2, 3, 7, 8, 9, 10]))
    assert (found["Frag"], found["CLR_FN"]) == (0, 3)


def test_a_match_is_kept_though_another_box_is_nearer():
    truth = [(1, 1, 0, 0, 10, 10), (2, 1, 0, 0, 10, 10)]
    results = [(1, 5, 0, 0, 10, 10), (2, 5, 0, 0, 10, 14), (2, 6, 0, 0, 10, 10)]
    found = figures(truth, results)
    assert (found["IDSW"], found["CLR_TP"], found["CLR_FP"]) == (0, 2, 1)
    assert found["MOTP"] == pytest.approx((1 + 10 / 14) / 2)


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_the_definitions(seed):
    truth, results = apply_rules(*scene(seed), "mot17")
    measured = measure_sequence(truth, results)
    tp, fn, fp, switches, fragments, mt, pt, ml, total = reference.clear(truth, results)
    found = measured.figures()
    assert [found[k] for k in ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "Frag", "MT", "PT", "ML")] == [
        tp, fn, fp, switches, fragments, mt, pt, ml,
    ]  # fmt: skip
    assert found["MOTP"] == pytest.approx(total / max(1, tp), abs=1e-12)
    assert [found[k] for k in ("IDTP", "IDFN", "IDFP")] == list(reference.identity(truth, results))
    for mine, wanted in zip((measured.hota.det_a, measured.hota.ass_a, measured.hota.loc_a),
                            reference.hota(truth, results, ALPHAS), strict=True):  # fmt: skip
        np.testing.assert_allclose(mine, wanted, atol=1e-12)


@pytest.mark.parametrize("empty", ["truth", "results", "both", "apart"])
def test_nothing_to_match(empty):
    boxes = table(walk(1, range(1, 4)))
    truth, results = {
        "truth": (table([]), boxes), "results": (boxes, table([])), "both": (table([]), table([])),
        "apart": (boxes, table(walk(4, range(11, 14)))),
    }[empty]  # fmt: skip
    found = measure_sequence(truth, results).figures()
    assert found["HOTA"] == found["IDF1"] == found["CLR_TP"] == 0 and found["LocA"] == 1
    assert (found["CLR_FN"], found["CLR_FP"]) == (len(truth), len(results))
    assert all(np.isfinite(value) for value in found.values())


def test_a_result_on_a_distractor_is_no_false_one():
    truth = table(walk(1, range(1, 5)) + walk(2, range(1, 5), top=40), class_ids=[1] * 4 + [8] * 4)
    results = table(walk(7, range(1, 5)) + walk(8, range(1, 5), top=41) + walk(9, range(1, 5), top=90))
    by_rules = {name: measure_sequence(truth, results, rules=name).figures() for name in RULES}
    assert {name: (f["CLR_TP"], f["CLR_FP"], f["CLR_FN"]) for name, f in by_rules.items()} == {
        "mot15": (8, 4, 0), "mot16": (4, 4, 0), "mot17": (4, 4, 0), "mot20": (4, 4, 0), "dancetrack": (4, 8, 0),
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"rules must be one of .* got 'mot71'; did you mean mot17\?"):
        measure_sequence(truth, results, rules="mot71")


def write(folder: Path, seeds) -> Path:
    for seed in seeds:
        truth, results = scene(seed)
        gt = folder / "gt" / f"S-{seed}" / "gt"
        gt.mkdir(parents=True)
        (gt / "gt.txt").write_text(as_text(truth, True))
        (gt.parent / "seqinfo.ini").write_text(f"[Sequence]\nname=S-{seed}\nframeRate=30\nseqLength=40\n")
        (folder / "results").mkdir(exist_ok=True)
        (folder / "results" / f"S-{seed}.txt").write_text(as_text(results, False))
    return folder


@pytest.mark.parametrize("rules", ["mot17", "mot20", "mot15"])
def test_equal_to_trackeval(tmp_path, rules):
    """The figures were written by TrackEval 1.3.0 from the same files; see `with_trackeval.py`."""
    recorded = json.loads(TRACKEVAL.read_text())[rules]
    write(tmp_path, [int(name[2:]) for name in recorded if name != "COMBINED"])
    found = evaluate_mot(tmp_path / "gt", tmp_path / "results", rules=rules).to_dict()["sequences"]
    assert found.keys() == recorded.keys()
    num_compared = 0
    for name, wanted in recorded.items():
        for key, value in wanted.items():
            mine = found[name]["by_alpha"][key] if isinstance(value, list) else found[name][key]
            np.testing.assert_allclose(mine, value, rtol=0, atol=1e-6, err_msg=f"{name} {key}")
            num_compared += 1
    assert num_compared == 37 * len(recorded)


def test_files_are_found_and_refused(tmp_path):
    write(tmp_path, [1, 2])
    whole = evaluate_mot(tmp_path / "gt", tmp_path / "results")
    alone = evaluate_mot(tmp_path / "gt/S-2", tmp_path / "results")
    file = evaluate_mot(tmp_path / "gt/S-2/gt/gt.txt", tmp_path / "results/S-2.txt")
    assert list(whole.sequences) == ["S-1", "S-2"] and list(alone.sequences) == list(file.sequences) == ["S-2"]
    assert whole.sequences["S-2"].figures() == alone.combined.figures() == file.combined.figures()
    assert whole.table().splitlines()[-1].startswith("COMBINED") and len(alone.table().splitlines()) == 2
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/S-1.txt").write_text((tmp_path / "gt/S-1/gt/gt.txt").read_text())
    assert evaluate_mot(tmp_path / "flat", tmp_path / "results").sequences.keys() == {"S-1"}
    with pytest.raises(FileNotFoundError, match=r"has no S-1\.txt and 1 more"):
        evaluate_mot(tmp_path / "gt", tmp_path / "gt")
    with pytest.raises(FileNotFoundError, match="has neither"):
        evaluate_mot(tmp_path / "results/S-1", tmp_path / "results")
    broken = tmp_path / "results/S-2.txt"
    for content, why in (
        ("1,2,0,0,5,5,1\n1,2,3,3,5,5,1\n", "got 2 twice in frame 1"),
        ("1,2,0,0,5,nan,1\n", r"S-2\.txt:1 must hold finite numbers"),
        ("1,2,0,0,5,5,1\n1.5,2,0,0,5,5,1\n", r"S-2\.txt:2 must hold numbers \(frame, id"),
        ("99,2,0,0,5,5,1\n", "frames must be within 1 and 40, got 99"),
        ("one,two\n", "7 to 10 columns"),
    ):
        broken.write_text(content)
        with pytest.raises(DataError, match=why):
            evaluate_mot(tmp_path / "gt", tmp_path / "results")


def test_odd_but_legal_lines_are_read_as_others(tmp_path):
    regular, odd = tmp_path / "a.txt", tmp_path / "b.txt"
    regular.write_text("1,3,1.5,2,10,20,0.5,-1,-1,-1\n2,3,1,2,10,20,0.5,-1,-1,-1\n")
    odd.write_text("\n2 3 1 2 10 20 0.5 -1 -1 -1\n1, 3, 1.5, 2, 10, 20, 0.5, -1, -1, -1,\n")
    for one, other in zip(vars(read_table(regular)).values(), vars(read_table(odd)).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    (tmp_path / "empty.txt").write_text("")
    assert len(read_table(tmp_path / "empty.txt")) == 0


def test_long_sequences_in_parts_are_the_same(monkeypatch):
    truth, results = scene(3)
    whole = measure_sequence(truth, results).figures()
    monkeypatch.setattr("yolokkn.evaluation.mot_pairs._PAIRS_AT_ONCE", 5)
    assert measure_sequence(truth, results).figures() == whole


def test_inputs_stay_as_they_are():
    truth, results = scene(4)
    before = [v.copy() for t in (truth, results) for v in vars(t).values()]
    measure_sequence(truth, results)
    for value, copy in zip((v for t in (truth, results) for v in vars(t).values()), before, strict=True):
        np.testing.assert_array_equal(value, copy)
    assert isinstance(truth, MotTable)


def test_the_command_prints_and_writes(tmp_path, capsys):
    from yolokkn.cli import main

    write(tmp_path, [1, 2])
    arguments = ["evaluate", "mot", "--gt", f"{tmp_path}/gt", f"results={tmp_path}/results"]
    assert main([*arguments, "--json", f"{tmp_path}/f.json", "--plot", f"{tmp_path}/hota.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["sequence", "HOTA", "DetA"] and lines[-1].startswith("COMBINED")
    written = json.loads((tmp_path / "f.json").read_text())["sequences"]["COMBINED"]
    assert f"{100 * written['HOTA']:.2f}" == lines[-1].split()[1]
    assert (tmp_path / "hota.png").read_bytes().startswith(b"\x89PNG")
    assert main([*arguments, "--plot", f"{tmp_path}/hota.png"]) == 1, "nothing is replaced unasked"
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--plot", f"{tmp_path}/hota.bmp"]) == 2
    assert "must end in .png" in capsys.readouterr().err


def test_classes_are_whole(tmp_path):
    (tmp_path / "gt.txt").write_text("1,1,0,0,9,9,1,1.5,1\n")
    with pytest.raises(DataError, match=r"gt\.txt: classes must be whole numbers, got 1\.5"):
        read_table(tmp_path / "gt.txt", is_truth=True)
