"""`yolokkn info`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb
from yolokkn.cli.info_engine import engine_as_text, engine_as_values
from yolokkn.cli.model_options import add_model_options, import_deploy, load_model
from yolokkn.errors import printable
from yolokkn.layouts import LAYOUTS, UNNAMED_CLASSES, read_facts
from yolokkn.runtime.assets import DEFAULT_MODEL, EmbeddedModel, embedded_models, resolve_model
from yolokkn.runtime.backends import ENGINE_SUFFIXES
from yolokkn.runtime.engine_facts import engine_facts
from yolokkn.runtime.model import Model

EXAMPLES = """examples:
  yolokkn info
  yolokkn info yolox_nano.onnx
  yolokkn info yolo-fastest.cfg --json

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    known = "layouts that --layout takes:\n" + "\n".join(f"  {n:<14} {c.summary}" for n, c in LAYOUTS.items()) + "\n\n"
    parser = Parser(
        prog="yolokkn info",
        description="Say what a model file is: inputs, outputs, layout and why, classes, letterbox rule, cost. "
        "Without a model: list those that come with the package.",
        epilog=EXAMPLES + known + EXIT_CODES,
    )
    parser.add_argument("path", nargs="?", metavar="MODEL", help="the same as --model")
    parser.add_argument("--json", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="print JSON")
    add_model_options(parser, conf=None)
    args = parser.parse(argv)
    return run_verb("yolokkn info", run, args)


def run(args: argparse.Namespace) -> int:
    """Print what the model is."""
    args.model = args.model or args.path
    if not args.model:
        listed = [describe_embedded(model) for model in embedded_models().values()]
        print(json.dumps(listed, indent=2) if args.json else embedded_as_text(listed))
        return EXIT_OK
    if Path(args.model).suffix.lower() in ENGINE_SUFFIXES:
        engine = engine_facts(Path(args.model))
        known = engine_as_values(engine)
        print(json.dumps(known, indent=2) if args.json else engine_as_text(known))
        if engine.problem is not None and not engine.is_foreign:
            raise engine.problem
        return EXIT_OK
    facts = describe(load_model(args), str(resolve_model(args.model)))
    print(json.dumps(facts, indent=2) if args.json else as_text(facts))
    return EXIT_OK


def describe_embedded(model: EmbeddedModel) -> dict[str, Any]:
    """Return what the file of an embedded model says of itself, as plain values."""
    from yolokkn.graph import read_model

    facts = read_facts(read_model(model.path).metadata)
    return {
        "name": model.name,
        "is_default": model.name == DEFAULT_MODEL,
        "task": facts.task,
        "megabytes": round(model.path.stat().st_size / 1e6, 2),
        "input_size": None if facts.input_hw is None else list(facts.input_hw),
        "class_names": list(facts.class_names or ()),
        "summary": model.summary,
        "path": str(model.path),
        "card": None if model.card is None else str(model.card),
    }


def embedded_as_text(listed: list[dict[str, Any]]) -> str:
    """Return the list of embedded models for people."""
    if not listed:
        return "no model comes with this installation; yolokkn info MODEL tells about a file"
    lines = ["models that come with yolokkn (--model NAME; yolokkn info NAME tells more):"]
    for facts in listed:
        size = " x ".join(str(side) for side in facts["input_size"] or ()) or "any size"
        names = ", ".join(facts["class_names"][:8]) + (", ..." if len(facts["class_names"]) > 8 else "")
        default = " (the default of track and predict)" if facts["is_default"] else ""
        lines.append(f"  {facts['name']}{default}")
        lines.append(f"    {facts['task'] or '?'}, {size}, {facts['megabytes']:.1f} MB: {names or 'no class names'}")
        lines += [f"    {facts['summary']}"] if facts["summary"] else []
        lines += [f"    {facts['card']}"] if facts["card"] else []
    return "\n".join(lines)


def describe(model: Model, path: str) -> dict[str, Any]:
    """Return what is known of a model, as plain values."""
    backend, layout = model.backend, model.layout
    cost = model_cost_of(path, model.input_hw)
    size = f"{model.input_hw[0]} x {model.input_hw[1]}"
    return {
        "model": model.name,
        "backend": backend.name,
        "inputs": [str(s) for s in backend.inputs],
        "outputs": [str(s) for s in backend.outputs],
        "layout": layout.name,
        "layout_summary": layout.summary,
        "layout_reason": model.reason,
        "task": layout.task,
        "num_classes": len(model.class_names)
        or (None if layout.num_classes == UNNAMED_CLASSES else layout.num_classes),
        "class_names": list(model.class_names),
        "class_names_reason": model.names_reason,
        "num_keypoints": layout.num_keypoints,
        "preprocess": str(layout.preprocess),
        "input_size": size
        + (f", or smaller by the frame's aspect, multiples of {model.stride}" if model.rectangular else ""),
        "parameters": cost.parameters,
        "gflops": cost.gflops,
        "gflops_reason": cost.reason,
        "producer": backend.metadata.get("author") or backend.metadata.get("producer") or "",
    }


def model_cost_of(path: str, input_hw: tuple[int, int]) -> Any:
    """Count parameters and operations of a model file."""
    from yolokkn.graph import darknet_to_onnx, model_cost, parse_model, read_model

    file = Path(path)
    if file.suffix.lower() == ".safetensors":
        deploy = import_deploy(path)
        content, _ = deploy.build_onnx(deploy.load_network(file)[0], imgsz=input_hw, verify=False)
        parsed = parse_model(content)
    elif file.suffix.lower() in (".cfg", ".weights"):
        parsed = parse_model(darknet_to_onnx(file.with_suffix(".cfg"), file.with_suffix(".weights")))
    else:
        parsed = read_model(file)
    return model_cost(parsed, input_hw)


def as_text(facts: dict[str, Any]) -> str:
    """Return the facts as aligned lines."""
    names = [name.replace("\n", " ") for name in facts["class_names"]]
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    gflops = f"{facts['gflops']:.2f} GFLOPs" if facts["gflops"] is not None else f"GFLOPs: {facts['gflops_reason']}"
    rows = [
        ("model", facts["model"] + (f" ({facts['producer']})" if facts["producer"] else "")),
        *(("input" if i == 0 else "", text) for i, text in enumerate(facts["inputs"])),
        *(("output" if i == 0 else "", text) for i, text in enumerate(facts["outputs"])),
        ("layout", f"{facts['layout']}: {facts['layout_summary']}"),
        ("why", facts["layout_reason"]),
        ("task", facts["task"] + (f", {facts['num_keypoints']} keypoints" if facts["num_keypoints"] else "")),
        ("classes", f"{facts['num_classes'] or 'not told by the file'}" + (f": {shown}" if shown else "")),
        ("", facts["class_names_reason"]),
        ("picture", f"{facts['input_size']}; {facts['preprocess']}"),
        ("cost", f"{facts['parameters']:,} parameters, {gflops} at {facts['input_size'].split(',')[0]}"),
        ("backend", facts["backend"]),
    ]
    return "\n".join(f"{key:<9} {printable(str(value))}" for key, value in rows)
