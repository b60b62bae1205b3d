"""Configurations from mappings: every key and kind checked, errors that say where."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolokkn.configuration import build, dump_yaml, parse_yaml, read_yaml, to_mapping
from yolokkn.errors import ConfigurationError


@dataclass(frozen=True)
class Schedule:
    epochs: int = 10
    warmup: float = 0.5
    decay: Literal["cosine", "linear"] = "cosine"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"Schedule: epochs must be 1 or more, got {self.epochs}")


@dataclass(frozen=True)
class Run:
    name: str
    imgsz: tuple[int, int] = (640, 640)
    anchors: tuple[tuple[float, ...], ...] = ()
    amp: bool = False
    schedule: Schedule = field(default_factory=Schedule)
    fine: Schedule | None = None
    save: Path | None = None
    size: int | float | str = 1
    names: dict[int, str] = field(default_factory=dict)
    flags: list[bool] = field(default_factory=list)
    anything: Any = None


FULL = Run(
    "a", (384, 640), ((1.0, 2.5), ()), True, Schedule(3, 1.0, "linear"), Schedule(), Path("x/y"), 2.5, {0: "no"}, [True]
)


def test_nested_kinds_and_the_way_back():
    mapping = to_mapping(FULL)
    assert mapping["schedule"] == {"epochs": 3, "warmup": 1.0, "decay": "linear"} and mapping["save"] == "x/y"
    assert build(Run, mapping) == FULL
    assert build(Run, parse_yaml(dump_yaml(mapping))) == FULL
    assert build(Run, {"name": "a"}) == Run("a")
    one = build(Run, {"name": "a", "schedule": {"warmup": 1}, "size": 1})
    assert type(one.schedule.warmup) is float and type(one.size) is int


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"name": "a", "imgzs": 3}, "x.yaml: unknown key 'imgzs'; did you mean imgsz?; there are name, imgsz, "),
        ({"name": "a", "schedule": {"epoch": 3}}, "x.yaml: unknown key 'schedule.epoch'; did you mean epochs?; there"),
        ({"name": "a", 3: 3}, "x.yaml: unknown key '3'; there are"),
        ({}, "x.yaml: the key 'name' must be given"),
        ({"name": 3}, "x.yaml: name must be text, got 3"),
        ({"name": "a", "imgsz": 640}, "x.yaml: imgsz must be a list, got 640"),
        ({"name": "a", "imgsz": [640]}, "x.yaml: imgsz must be a list of 2, got [640]"),
        ({"name": "a", "imgsz": [640, True]}, "x.yaml: imgsz[1] must be an integer, got true"),
        ({"name": "a", "imgsz": [640, 1.0]}, "x.yaml: imgsz[1] must be an integer, got 1.0"),
        ({"name": "a", "anchors": [[1], [2, "3"]]}, "x.yaml: anchors[1][1] must be a number, got '3'"),
        ({"name": "a", "amp": "yes"}, "x.yaml: amp must be true or false, got 'yes'"),
        ({"name": "a", "amp": None}, "x.yaml: amp must be true or false, got nothing"),
        ({"name": "a", "schedule": 3}, "x.yaml: schedule must be keys with values, got 3"),
        ({"name": "a", "fine": {"epochs": "3"}}, "x.yaml: fine.epochs must be an integer, got '3'"),
        ({"name": "a", "schedule": {"warmup": math.inf}}, "x.yaml: schedule.warmup must be a finite number, got inf"),
        ({"name": "a", "schedule": {"epochs": 0}}, "x.yaml: schedule: Schedule: epochs must be 1 or more, got 0"),
        (
            {"name": "a", "schedule": {"decay": "cosin"}},
            "x.yaml: schedule.decay must be one of cosine, linear, got 'cosin'; did you mean cosine?",
        ),
        ({"name": "a", "save": 3}, "x.yaml: save must be a path, got 3"),
        ({"name": "a", "size": [1]}, "x.yaml: size must be an integer or a number or text, got [1]"),
        ({"name": "a", "names": {"0": "b"}}, "x.yaml: names: the key '0' must be an integer, got '0'"),
        ({"name": "a", "names": ["b"]}, "x.yaml: names must be keys with values, got ['b']"),
        (["name"], "x.yaml: must hold keys with values, got ['name']"),
        ({"name": "a", "save": {str(i): 0 for i in range(99)}}, "x.yaml: save must be a path, got keys with values (0"),
    ],
)
def test_what_does_not_fit_is_named(mapping, message):
    with pytest.raises(ConfigurationError) as caught:
        build(Run, mapping, "x.yaml")
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 300


def test_errors_name_file_and_line(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: a\nschedule:\n  epochs: 3\n  decay: quick\n")
    with pytest.raises(ConfigurationError, match=r"run.yaml:4: schedule.decay must be one of cosine, linear"):
        build(Run, read_yaml(path))
    path.write_text("name: a\nschedule:\n  epochs: 0\n")
    with pytest.raises(ConfigurationError, match=r"run.yaml: schedule: Schedule: epochs must be 1 or more, got 0"):
        build(Run, read_yaml(path))


def test_what_is_no_configuration_is_the_programmers_error():
    with pytest.raises(TypeError, match="build: dataclass_type must be a dataclass"):
        build(dict, {})

    @dataclass
    class Odd:
        when: complex = 1j

    with pytest.raises(TypeError, match="build: the field when must be of a kind that configurations hold"):
        build(Odd, {"when": 1})
    with pytest.raises(TypeError, match="to_mapping: value must be made of plain kinds, got complex"):
        to_mapping(Odd())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*Run.__dataclass_fields__, *Schedule.__dataclass_fields__, "imgzs"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, plain | st.dictionaries(names, plain, max_size=3), max_size=6))
def test_anything_is_built_or_refused(mapping):
    try:
        made = build(Run, {"name": "a"} | mapping)
    except ConfigurationError:
        return
    assert build(Run, to_mapping(made)) == made or mapping.get("anything") is not None
