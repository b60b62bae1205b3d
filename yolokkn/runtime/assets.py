"""The models that come with the package: files of `yolokkn/assets`, known by their names."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from yolokkn.errors import ModelError, did_you_mean
from yolokkn.tracking import SETTINGS

FOLDER = Path(__file__).parents[1] / "assets"
DEFAULT_MODEL = "person-vehicle"
TRACKER_SETTINGS: dict[str, dict[str, float]] = {
    "person-vehicle": {"track_high_thresh": 0.4, "new_track_thresh": 0.55, "score_threshold": 0.4},
    "person-segment": {"track_high_thresh": 0.3, "new_track_thresh": 0.4, "score_threshold": 0.3},
}
"""What suits the scores of a model better than a tracker's own defaults; its card says why."""


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that comes with the package.

    Attributes:
        name: What `yolokkn.load` and `--model` call it.
        path: Its ONNX file.
        card: Its model card (data, licence, figures, failures); None where there is none.
    """

    name: str
    path: Path
    card: Path | None

    @property
    def summary(self) -> str:
        """The first paragraph of its card after the title, as one line."""
        if self.card is None:
            return ""
        paragraphs = self.card.read_text("utf-8").split("\n\n")
        texts = [" ".join(p.split()) for p in paragraphs if p.strip() and not p.lstrip().startswith(("#", "|", "---"))]
        return texts[0] if texts else ""


def embedded_models() -> dict[str, EmbeddedModel]:
    """Return the models that come with this installation by name, the default first.

    Example:
        >>> all(model.path.suffix == ".onnx" for model in embedded_models().values())
        True
    """
    found = sorted(FOLDER.glob("*.onnx"), key=lambda path: (path.stem != DEFAULT_MODEL, path.stem))
    cards = {path.stem: path.with_suffix(".md") for path in found}
    return {p.stem: EmbeddedModel(p.stem, p, c if (c := cards[p.stem]).is_file() else None) for p in found}


def resolve_model(model: Any) -> Any:
    """Return what to load: the default for None, the file of an embedded model for its name, else what came.

    A file that exists under the name is that file.

    Raises:
        ModelError: No model is given and this installation carries no default.
        FileNotFoundError: There is neither such a file nor such an embedded model.
    """
    if model is None:
        return _default()
    if not isinstance(model, (str, Path)) or Path(model).exists():
        return model
    name, models = str(model), embedded_models()
    if name in models:
        return models[name].path
    if Path(name).name != name or Path(name).suffix:
        return model
    hint = did_you_mean(name, models) or ("; models that come with yolokkn: " + (", ".join(models) or "none"))
    raise FileNotFoundError(f"model: no such file: {name}{hint}")


def tracker_settings(model: Any, tracker: str) -> dict[str, float]:
    """Return the settings of a tracker that suit an embedded model (or None, the default one) better than its defaults.

    Example:
        >>> tracker_settings("somebody.onnx", "kkn")
        {}
    """
    name = DEFAULT_MODEL if model is None else str(model) if isinstance(model, str) else ""
    known = {field.name for field in fields(SETTINGS[tracker])} if tracker in SETTINGS else set()
    if model is not None and Path(name).exists():
        return {}
    return {key: value for key, value in TRACKER_SETTINGS.get(name, {}).items() if key in known}


def _default() -> Path:
    models = embedded_models()
    if DEFAULT_MODEL in models:
        return models[DEFAULT_MODEL].path
    there = ", ".join(models) or "none"
    raise ModelError(
        f"model: must be given, since this installation carries no default model {DEFAULT_MODEL!r} "
        f"(models that come with it: {there}); name an .onnx file: --model FILE"
    )
