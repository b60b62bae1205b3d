"""What a model's outputs mean: one Layout per family, chosen by metadata, names and shapes, never by luck."""

from yolokkn.layouts.base import DecodeOptions, Extras, Layout, ModelSignature, Preprocess, TensorSpec
from yolokkn.layouts.detect import LAYOUTS, Choice, choose_layout, layout_names
from yolokkn.layouts.metadata import EXPORT_LAYOUTS, ExportLayout, ModelFacts, parse_names, read_facts
from yolokkn.layouts.tables import UNNAMED_CLASSES

__all__ = [
    "EXPORT_LAYOUTS",
    "LAYOUTS",
    "UNNAMED_CLASSES",
    "Choice",
    "DecodeOptions",
    "ExportLayout",
    "Extras",
    "Layout",
    "ModelFacts",
    "ModelSignature",
    "Preprocess",
    "TensorSpec",
    "choose_layout",
    "layout_names",
    "parse_names",
    "read_facts",
]
