"""YAML from strangers: plain values, bounded; what is refused says where."""

from __future__ import annotations

import itertools
import json
import math
import random
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import scaled
from yolokkn.errors import ConfigurationError
from yolokkn.safe_yaml import MAX_DEPTH, MAX_NODES, dump_yaml, parse_yaml, read_yaml

DATA = """# a data set
path: ../coco  # where
train: [images/a, images/b]
names: {0: person, 1: "no", 2: 'it''s'}
kpt_shape: [17, 3]
base: &base
  lr: 1e-3
  steps: - 1
again: *base
text: |
  two
  lines
folded: >-
  one
  line
""".replace("steps: - 1", "steps: [-1, +2, 0x1F, 0o17, 010]")


def test_values_and_lines():
    found = parse_yaml(DATA, "data.yaml")
    assert found == {
        "path": "../coco",
        "train": ["images/a", "images/b"],
        "names": {0: "person", 1: "no", 2: "it's"},
        "kpt_shape": [17, 3],
        "base": {"lr": 0.001, "steps": [-1, 2, 31, 15, 10]},
        "again": {"lr": 0.001, "steps": [-1, 2, 31, 15, 10]},
        "text": "two\nlines\n",
        "folded": "one line",
    }
    assert found.where("names") == "data.yaml:4" and found["base"].where("lr") == "data.yaml:7"
    assert found["again"] is not found["base"] and found["again"]["steps"] is not found["base"]["steps"]
    assert json.loads(json.dumps(found))["text"] == "two\nlines\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("y", "y"), ("12:30:45", "12:30:45"), ("2023-07-30", "2023-07-30"), ("=", "="),
        ("1_000", "1_000"), ("true", True), ("False", False), ("~", None), ("null", None), ("", None), ("1e-3", 1e-3),
        ("-.5", -0.5), ("5.", 5.0), ("+1E5", 1e5), (".inf", math.inf), ("-.INF", -math.inf), ("'1'", "1"), ("! 1", "1"),
        ("!!str 1", "1"), ("!!int 1", 1), ("!!float 1.0", 1.0), ("'<<'", "<<"), ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)), ("{a: 1, 'b': [], c}", {"a": 1, "b": [], "c": None}), ("nul", "nul"),
        ("\ufeffa: 1", {"a": 1}), ("1.2.3", "1.2.3"), ("é", "é"),
    ],
)  # fmt: skip
def test_plain_words_mean_what_people_expect(text, value):
    found = parse_yaml(text.encode())
    assert found == value and type(found) in (type(value), *type(value).__subclasses__())


def test_nan():
    assert math.isnan(parse_yaml(".nan"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "x:3: the key 'a' is given twice, first in line 1"),
        ("a: 1\n'a': 3", "x:2: the key 'a' is given twice"),
        ("? [a]\n: 1", "x:1: a key must be text or an integer, got a list"),
        ("true: 1", "x:1: a key must be text or an integer, got true or false; write it in quotes"),
        ("1.5: 1", "x:1: a key must be text or an integer, got a number"),
        ("a: &a 1\n<<: {b: 1}", r"x:2: merge keys \(<<\) are not read"),
        ("a: 1\n---\nb: 2", "x:2: must hold one document"),
        ("a: *b", r"x:1: not YAML|x:1: \*b stands for nothing"),
        ("a: &a [*a]", r"x:1: \*a must not stand inside what it stands for"),
        ("a: &a {b: *a}", r"x:1: \*a must not stand inside"),
        ("a: 99999999999999999999", "x:1: an integer must fit into 64 bits"),
        ("a: 9223372036854775808", "x:1: an integer must fit into 64 bits"),
        ("a: 0x" + "f" * 1000, "x:1: an integer must fit into 64 bits"),
        ("a: " + "9" * 500_000, "x:1: an integer must fit into 64 bits"),
        ("a: 1e999", "x:1: 1e999 is too large for a number"),
        ("a: !!int b", "x:1: 'b' is not what its tag 'int' says"),
        ("a: !!seq b", "x:1: must hold plain values only, got the tag"),
        ("a: !!binary YQ==", "x:1: must hold plain values only, got the tag"),
        ("a: !!set {b}", "x:1: must hold plain values only"),
        ("a: !own b", "x:1: must hold plain values only, got the tag '!own'"),
        ("a: [1, 2", "x:1: not YAML"),
        ("a: b: c", "x:1: not YAML"),
        ("a:\n\t- b", "x:2: not YAML"),
        ('a: "\\UFFFFFFFF"', "x: not YAML|x:1: not YAML"),
        ('a: "\\ud800"', "x:1: text must not hold NUL or half a character"),
        ('a: "\\0"', "x:1: text must not hold NUL"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1", "x"),
        ("a\x00b", "x:1: not YAML"),
        ("a: \x1b[0m", "x:1: not YAML"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ConfigurationError, match="^" + message) as caught:
        parse_yaml(text, "x")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.system ['touch {canary}']",
        "!!python/object/new:os.system ['touch {canary}']",
        "!!python/name:os.system",
        "!!python/module:antigravity",
        "!!python/object:pathlib.Path {{}}",
        "!!python/tuple [1, 2]",
        "!!python/bytes YQ==",
        "!<tag:yaml.org,2002:python/object/apply:subprocess.check_output> [[touch, {canary}]]",
        "%TAG !e! tag:yaml.org,2002:python/object/apply:\n---\n!e!os.system ['touch {canary}']",
        "a: !!python/object/apply:eval [\"open('{canary}','w')\"]",
        "? !!python/object/apply:os.system ['touch {canary}']\n: 1",
    ],
)
def test_no_tag_makes_an_object(payload, tmp_path):
    canary = tmp_path / "canary"
    with pytest.raises(ConfigurationError, match=r"must hold plain values only, got the tag|a key must be text"):
        parse_yaml(payload.format(canary=canary))
    assert not canary.exists()


def bombs():
    letters = "abcdefghi"
    lists = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lists += [f"{n}: &{n} [" + ", ".join([f"*{p}"] * 10) + "]" for p, n in itertools.pairwise(letters)]
    maps = ["a: &a {x: 1}"]
    maps += [f"k{i}: &k{i} {{x: *{p}, y: *{p}}}" for i, p in enumerate(["a", *(f"k{j}" for j in range(40))])]
    return {
        "a thousand million laughs": "\n".join(lists),
        "doubling maps": "\n".join(maps),
        "a wide alias": "a: &a [" + "1, " * 1000 + "]\nb: [" + "*a, " * 1000 + "]",
        "a long text many times": "a: &a " + "x" * 1000 + "\nb: [" + "*a, " * 200_000 + "]",
        "many values": "[" + "1," * (MAX_NODES + 1) + "]",
        "deep lists": "[" * 5000,
        "deep maps": "{a: " * 5000,
        "deep blocks": "\n".join(" " * i + "a:" for i in range(300)),
        "deep dashes": "- " * 3000,
        "a tower of aliases": "a0: &a0 [1]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 2000)),
        "deep keys": "? " * 3000,
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_at_little_cost(name):
    text = bombs()[name]
    begin = time.process_time()
    with pytest.raises(ConfigurationError, match=r"must hold at most|must be nested at most|not YAML"):
        parse_yaml(text)
    assert time.process_time() - begin < 15  # 2 s on a quiet machine: most of it is PyYAML's reading of 50,000 values


def test_the_limits_are_exact():
    assert len(parse_yaml("[" + "1," * (MAX_NODES - 1) + "]")) == MAX_NODES - 1
    with pytest.raises(ConfigurationError, match="at most"):
        parse_yaml("[" + "1," * MAX_NODES + "]")
    parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ConfigurationError, match="nested at most"):
        parse_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_files(tmp_path):
    path = tmp_path / "a.yaml"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_yaml(path)
    with pytest.raises(ConfigurationError, match="must be a file"):
        read_yaml(tmp_path)
    path.write_bytes(b"a: 1\nb: \xff\xfe")
    with pytest.raises(ConfigurationError, match=r"a.yaml:2: must be UTF-8 text, got the byte 0xff"):
        read_yaml(path)
    path.write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(ConfigurationError, match=r"a.yaml:1: must be UTF-8 text"):
        read_yaml(path)
    path.write_text("a: " + "b" * 200)
    with pytest.raises(ConfigurationError, match="must have at most 100 bytes"):
        read_yaml(path, max_bytes=100)
    for text, seen in (("", "nothing"), ("# nothing", "nothing"), ("- 1", "a list"), ("a", "text"), ("3", "a number")):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=f"must hold keys with values .*, got {seen}"):
            read_yaml(path)
    path.write_text("a: 1")
    assert read_yaml(path) == {"a": 1}


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
    | st.sampled_from(["1e-3", "0o17", "0x1f", "no", "12:30", "", "~", "<<", "1_0", "- a", "a: b", "#", "5.", "2023-01-01"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abc<", max_size=3) | st.integers(-9, 9), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=scaled(500), deadline=None)
@given(plain)
def test_what_is_written_is_read_back(value):
    text = dump_yaml(value)
    assert parse_yaml(text) == value
    assert yaml.safe_load(text) == value  # readers of YAML 1.1 agree


def test_other_kinds_are_not_written():
    assert parse_yaml(dump_yaml({"a": (1, 2)})) == {"a": [1, 2]}
    with pytest.raises(TypeError, match="dump_yaml: value must be of plain kinds"):
        dump_yaml({"a": {1, object()}, "b": object()})


def test_mutated_files_are_read_or_refused():
    rng = random.Random(0)
    pieces = [
        b"&a ", b"*a", b"!!python/object:x ", b"[", b"{", b"- ", b": ", b"\n", b"\t", b"\xff", b'"\\x', b"<<: ", b"? ", b"|",
        b">", b"%YAML 1.1", b"---", b"...", b"#", b"'", b"9" * 40, b"1e400", b"\\U0011", b"\xef\xbb\xbf", b"\0",
    ]  # fmt: skip
    outcomes = {"read": 0, "refused": 0}
    for _ in range(scaled(5000)):
        text = bytearray(DATA.encode())
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(text) + 1)
            kind = rng.randrange(4)
            if kind == 0:
                text[at:at] = rng.choice(pieces)
            elif kind == 1:
                del text[at : at + rng.randint(1, 30)]
            elif kind == 2 and at < len(text):
                text[at] = rng.randrange(256)
            else:
                end = rng.randrange(len(text) + 1)
                text[at:at] = text[min(at, end) : max(at, end)][:80]
        try:
            found = parse_yaml(bytes(text))
            outcomes["read"] += 1
            json.dumps(found)
        except ConfigurationError as error:
            assert str(error).startswith("<text>")
            outcomes["refused"] += 1
    assert min(outcomes.values()) > scaled(500)


@settings(max_examples=scaled(1000), deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("ab&*![]{}:-?|>#'\"%@,\n \\0x1", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        json.dumps(parse_yaml(text))
    except ConfigurationError:
        pass
