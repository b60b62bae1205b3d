"""Every layout that a test of layouts meets can be written down and read again."""

import json

import pytest

import yolokkn
from yolokkn.layouts.archive import layout_from_plain, layout_to_plain


@pytest.fixture(autouse=True)
def layouts_survive_being_written_down(monkeypatch):
    load = yolokkn.load

    def loaded(*args, **kwargs):
        model = load(*args, **kwargs)
        plain = layout_to_plain(model.layout)
        again = layout_from_plain(json.loads(json.dumps(plain)))
        assert type(again) is type(model.layout) and layout_to_plain(again) == plain
        return model

    monkeypatch.setattr(yolokkn, "load", loaded, raising=False)
