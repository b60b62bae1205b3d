"""Decides which layout a model has, and says why; an ambiguous or foreign model is an explained error."""

from __future__ import annotations

from dataclasses import dataclass, replace

from yolokkn.errors import LayoutError, did_you_mean
from yolokkn.layouts.base import Layout, ModelSignature
from yolokkn.layouts.channels import ChannelsLayout, ChannelsPoseLayout, ChannelsSegLayout, ChannelsSegPoseLayout
from yolokkn.layouts.heads import DarknetLayout, DistanceRawLayout, V5RawLayout
from yolokkn.layouts.metadata import ModelFacts
from yolokkn.layouts.queries import RfDetrLayout, RtDetrLayout
from yolokkn.layouts.rows import V5Layout, V5SegLayout, V6Layout, YoloxDecodedLayout, YoloxLayout
from yolokkn.layouts.tables import (
    DeepStreamLayout,
    EfficientNmsLayout,
    TableLayout,
    TablePoseLayout,
    TableSegLayout,
    TableSegPoseLayout,
)
from yolokkn.types import TASKS

LAYOUTS = {
    cls.name: cls
    for cls in (
        ChannelsLayout, ChannelsSegLayout, ChannelsPoseLayout, ChannelsSegPoseLayout, V5Layout, V5SegLayout, V6Layout,
        YoloxLayout, YoloxDecodedLayout, TableLayout, TableSegLayout, TablePoseLayout, TableSegPoseLayout, DeepStreamLayout,
        EfficientNmsLayout, RtDetrLayout, RfDetrLayout, DarknetLayout, V5RawLayout, DistanceRawLayout,
    )
}  # fmt: skip

ALIASES = {
    "v7": "v5", "v9": "v8", "v11": "v8", "v12": "v8", "v26": "v8", "11": "v8", "12": "v8", "26": "v8",
    "v10": "end2end", "nms": "end2end", "dfine": "rtdetr", "deim": "rtdetr",
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A layout, the reason why it was chosen, and whether that is certain or others might fit as well."""

    layout: Layout
    reason: str
    is_certain: bool


def layout_names() -> list[str]:
    """Return the names that `--layout` takes."""
    return [*LAYOUTS, *ALIASES]


def choose_layout(signature: ModelSignature, facts: ModelFacts, layout: str | None = None) -> Choice:
    """Choose what a model's outputs mean.

    Args:
        signature: The model's inputs and outputs, with the sizes that they have.
        facts: What the metadata or the caller says.
        layout: Name of a layout that overrules the search.

    Raises:
        ValueError: No layout has this name.
        LayoutError: The model fits no layout, or fits several, or not the named one.
    """
    if layout is not None:
        return _named(signature, facts, layout, f"--layout {layout}")
    if facts.layout in LAYOUTS or facts.layout in ALIASES:  # a foreign key of this name may mean anything
        return _named(signature, facts, facts.layout, f"the metadata says layout {facts.layout}")
    if facts.task is not None and facts.task not in TASKS:
        what = {"obb": "rotated boxes", "classify": "classifiers"}.get(facts.task, f"models of task {facts.task!r}")
        raise LayoutError(f"{signature.name}: {what} are not supported; seen: {_seen(signature)}")
    found = _fitting(signature, facts)
    certain = [choice for choice in found if choice.is_certain]
    choices = certain or found
    if len(choices) == 1:
        return choices[0]
    if not choices:
        raise LayoutError(_foreign(signature, facts))
    raise LayoutError(
        f"{signature.name}: its outputs can be read in several ways; choose one with --layout NAME (layout=NAME):\n"
        + "\n".join(f"  {c.layout.name:14} {c.reason}: {c.layout.num_classes} classes" for c in choices)
        + f"\n  seen: {_seen(signature)}"
    )


def _fitting(signature: ModelSignature, facts: ModelFacts) -> list[Choice]:
    """Return every layout that fits."""
    found = []
    for cls in LAYOUTS.values():
        try:
            fitted = cls.build(signature, facts)
        except LayoutError:
            continue
        recognition = cls.recognise(signature, facts)
        if recognition is not None and facts.task in (None, fitted.task):
            found.append(Choice(fitted, recognition.reason, recognition.certain))
    return found


def _named(signature: ModelSignature, facts: ModelFacts, name: str, reason: str) -> Choice:
    cls = LAYOUTS.get(ALIASES.get(name, name))
    if cls is None:
        hint = did_you_mean(name, layout_names())
        raise ValueError(f"layout: must be one of {', '.join(layout_names())}, got {name!r}{hint}")
    try:
        return Choice(cls.build(signature, facts), reason, is_certain=True)
    except LayoutError as error:
        raise LayoutError(
            f"{signature.name}: not the layout {name} ({reason}): {error}; seen: {_seen(signature)}"
        ) from None


def _seen(signature: ModelSignature) -> str:
    inputs = "; ".join(str(s) for s in signature.inputs)
    outputs = "; ".join(str(s) for s in signature.outputs)
    return f"inputs {inputs}; outputs {outputs}"


def _foreign(signature: ModelSignature, facts: ModelFacts) -> str:
    """Say why nothing fits: the names, the kind of model, or just what was seen and what is known."""
    if facts.class_names is not None:
        others = _fitting(signature, replace(facts, class_names=None))
        if others:
            layout = others[0].layout
            return (
                f"{signature.name}: its outputs have {layout.num_classes} classes (layout {layout.name}), "
                f"but {facts.num_classes} are named; seen: {_seen(signature)}"
            )
    hint = ""
    if len(signature.outputs) == 1 and len(signature.outputs[0].shape) <= 2:
        hint = " (its one output has no boxes: it looks like a classifier)"
    return (
        f"{signature.name}: not a model that yolokkn reads: it fits no known layout{hint}; seen: {_seen(signature)}; "
        f"known: {', '.join(LAYOUTS)} (yolokkn info --help describes them)"
    )
