"""Plots of a report as inline SVG: positions in per cent, so that they fit a phone and a desktop with text of one size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as escape_markup

from yolokkn.errors import printable

NUM_COLOURS = 8
_BAND = 18  # px of a bar, or of a mark with its interval


@dataclass(frozen=True)
class Series:
    """A line of a plot.

    Attributes:
        name: For the legend.
        points: (x, y, low, high) each, all above 0.
        number: From 0: decides the colour, and the pattern where there are more than colours.
        is_own: Drawn thick; others are dashed or dotted.
    """

    name: str
    points: Sequence[tuple[float, float, float, float]]
    number: int
    is_own: bool = True

    @property
    def kind(self) -> str:
        """Its classes: colour and pattern."""
        pattern = "" if self.is_own else f" peer{self.number // NUM_COLOURS % 2}"
        return f"stroke s{self.number % NUM_COLOURS}{pattern}"


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from `low` to `high`, both above 0."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], *, least_span: float = 2.0, room: float = 1.15) -> Axis:
        """Return an axis that holds all values, with some room."""
        found = list(values)
        low, high = min(found) / room, max(found) * room
        if high / low < least_span:
            middle, half = math.sqrt(low * high), math.sqrt(least_span)
            low, high = middle / half, middle * half
        return cls(low, high)

    def place(self, value: float) -> float:
        """Return where a value lies, 0 to 100."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return 100 * min(max(share, 0.0), 1.0)

    def ticks(self, most: int = 7) -> list[float]:
        """Return round values within the axis."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for steps in ((1, 2, 5), (1, 3), (1,)):
            found = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
            found = [value for value in found if self.low <= value <= self.high]
            if len(found) <= most:
                break
        return found


def escape(text: str) -> str:
    r"""Return a text from a file as text of the page: markup and control characters mean nothing.

    Example:
        >>> escape("<b>\x1b")
        '&lt;b&gt;\\x1b'
    """
    return escape_markup(printable(text))


def number(value: float) -> str:
    """Return a number as short as three digits allow.

    Example:
        >>> number(0.0123456), number(12.34), number(1234.5), number(2.0)
        ('0.0123', '12.3', '1234', '2')
    """
    if value >= 1000:
        return f"{value:.0f}"
    return f"{float(f'{value:.3g}'):g}" if value >= 1e-4 else f"{value:.1e}"


def stacked_bars(rows: Sequence[tuple[str, Sequence[float]]], unit: str, title: str) -> str:
    """Return horizontal bars, each of parts in the order of the colours.

    Args:
        rows: Label and values of each.
        unit: Of the values.
        title: Said to those who cannot see it.
    """
    longest = max((sum(values) for _, values in rows), default=0.0) or 1.0
    found = []
    for label, values in rows:
        at, parts = 0.0, []
        for colour, value in enumerate(values):
            width = 100 * value / longest
            parts.append(
                f'<rect class="fill c{colour % NUM_COLOURS}" x="{at:.3f}%" y="0" width="{width:.3f}%" height="18">'
                f"<title>{number(value)} {escape(unit)}</title></rect>"
            )
            at += width
        found.append(_row(label, f"{number(sum(values))} {unit}") + _svg(parts, 18, f"{title}: {label}"))
    return "".join(found)


def ratios(rows: Sequence[tuple[str, float, float, float, str]], title: str) -> str:
    """Return ratios with their intervals on one logarithmic axis; 1 is marked.

    Args:
        rows: Label, ratio, low, high, and what the figure says in words.
        title: Said to those who cannot see it.
    """
    axis = Axis.around([1.0, *(v for row in rows for v in row[1:4])])
    found = []
    for label, ratio, low, high, said in rows:
        kind = "better" if low > 1 else "worse" if high < 1 else "even"
        mark = (axis.place(low), axis.place(ratio), axis.place(high))
        found.append(
            _row(label, said) + _svg([*_grid(axis), *_whisker(mark, kind)], _BAND, f"{title}: {label}: {said}")
        )
    return "".join(found) + _axis(axis, "x")


def ranges(rows: Sequence[tuple[str, float, float]], unit: str, title: str) -> str:
    """Return from where to where each value goes, on one logarithmic axis, the lower end marked.

    Args:
        rows: Label, lower and upper end.
        unit: Of the values.
        title: Said to those who cannot see it.
    """
    axis = Axis.around([v for row in rows for v in row[1:]])
    found = []
    for label, low, high in rows:
        said = f"{number(low)} to {number(high)} {unit}"
        mark = (axis.place(low), axis.place(low), axis.place(high))
        found.append(
            _row(label, said) + _svg([*_grid(axis), *_whisker(mark, "own")], _BAND, f"{title}: {label}: {said}")
        )
    return "".join(found) + _axis(axis, f" {unit}")


def _row(label: str, figure: str) -> str:
    return f'<div class="row"><span>{escape(label)}</span><span class="figure">{escape(figure)}</span></div>'


def _grid(axis: Axis) -> list[str]:
    return [
        f'<line class="{"one" if tick == 1 else "grid"}" x1="{at}" x2="{at}" y1="0" y2="{_BAND}"/>'
        for tick in axis.ticks()
        for at in [f"{axis.place(tick):.2f}%"]
    ]


def _whisker(mark: tuple[float, float, float], kind: str) -> list[str]:
    low, middle, high = (f"{place:.2f}%" for place in mark)
    line = f'<line class="whisker {kind}" x1="{low}" x2="{high}" y1="{_BAND / 2}" y2="{_BAND / 2}"/>'
    return [line, f'<circle class="{kind}" cx="{middle}" cy="{_BAND / 2}" r="5"/>']


def _axis(axis: Axis, unit: str) -> str:
    parts = []
    for tick in axis.ticks():
        x = axis.place(tick)
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        parts.append(_text(x, 13, f"{number(tick)}{unit}", anchor, "tick"))
    return _svg(parts, 20, "axis")


def lines(series: Sequence[Series], x_label: str, y_label: str, title: str, height: int = 320) -> str:
    """Return lines over two logarithmic axes, each point with the interval that it stands for."""
    points = [point for one in series for point in one.points]
    x_axis = Axis.around([p[0] for p in points])
    y_axis = Axis.around([v for p in points for v in p[1:]])
    parts = _frame(x_axis, sorted({p[0] for p in points}), y_axis, height, x_label, y_label)

    def down(value: float) -> str:
        return f"{height * (1 - y_axis.place(value) / 100):.1f}"

    for one in series:
        kind = one.kind
        for (xa, ya, _, _), (xb, yb, _, _) in zip(one.points, one.points[1:], strict=False):
            ends = f'x1="{x_axis.place(xa):.2f}%" y1="{down(ya)}" x2="{x_axis.place(xb):.2f}%" y2="{down(yb)}"'
            parts.append(f'<line class="{kind}" {ends}/>')
        for x, y, low, high in one.points:
            at = f"{x_axis.place(x):.2f}%"
            whisker = f'x1="{at}" x2="{at}" y1="{down(low)}" y2="{down(high)}"'
            parts.append(f'<line class="{kind} thin" {whisker}/>')
            parts.append(
                f'<circle class="fill c{one.number % NUM_COLOURS}" cx="{at}" cy="{down(y)}" r="{3.5 if one.is_own else 2.5}">'
                f"<title>{escape(one.name)}: {number(x)}: {number(y)}</title></circle>"
            )
    return _svg(parts, height, title, below=40)


def scatter(
    points: Sequence[tuple[str, float, float, bool]], x_label: str, y_label: str, title: str, height: int = 300
) -> str:
    """Return named points: x on a logarithmic axis, y on a plain one; own ones are filled."""
    x_axis = Axis.around([p[1] for p in points], room=1.3)
    values = [p[2] for p in points]
    room = max((max(values) - min(values)) * 0.15, abs(max(values)) * 0.02, 1e-9)
    low, high = min(values) - room, max(values) + room
    parts = _frame(x_axis, x_axis.ticks(), None, height, x_label, y_label)
    for step in range(5):
        value = low + (high - low) * step / 4
        y = height * (1 - step / 4)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="-6" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for name, x, value, is_own in points:
        at, y = x_axis.place(x), height * (1 - (value - low) / (high - low))
        kind = "fill c0" if is_own else "stroke s1 hollow"
        parts.append(f'<circle class="{kind}" cx="{at:.2f}%" cy="{y:.1f}" r="5"/>')
        anchor, shift = ("end", -9) if at > 55 else ("start", 9)
        parts.append(f'<text x="{at:.2f}%" dx="{shift}" y="{y + 4:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
    return _svg(parts, height, title, below=40)


def legend(names: Sequence[str]) -> str:
    """Return the legend of parts, in the order of the colours."""
    items = (
        f'<li><svg width="14" height="14" aria-hidden="true"><rect class="fill c{index % NUM_COLOURS}" width="14" '
        f'height="14" rx="3"/></svg>{escape(name)}</li>'
        for index, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def line_legend(series: Sequence[Series]) -> str:
    """Return the legend of lines, as they are drawn; ours in bold."""
    items = (
        f'<li><svg width="26" height="14" aria-hidden="true"><line class="{one.kind}" x1="0" x2="26" y1="7" y2="7"/></svg>'
        f"{f'<b>{escape(one.name)}</b>' if one.is_own else escape(one.name)}</li>"
        for one in series
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _frame(
    x_axis: Axis, x_ticks: Sequence[float], y_axis: Axis | None, height: int, x_label: str, y_label: str
) -> list[str]:
    parts = [f'<text class="tick" x="0" y="-10">{escape(y_label)}</text>']
    for tick in y_axis.ticks() if y_axis is not None else ():
        y = height * (1 - y_axis.place(tick) / 100) if y_axis is not None else 0.0
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="-6" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick in x_ticks:
        x = x_axis.place(tick)
        parts.append(f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{height}"/>')
        parts.append(_text(x, height + 16, number(tick), "middle", "tick"))
    parts.append(_text(100, height + 34, x_label, "end", "tick"))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.2f}%" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], height: int, title: str, below: int = 0) -> str:
    head = f'<svg class="plot" role="img" aria-label="{escape(title)}" width="100%" height="{height + below}">'
    return f"{head}{''.join(parts)}</svg>"
