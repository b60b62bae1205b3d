"""Colours of drawings: far apart, stable by identity, with text that can be read on them."""

from __future__ import annotations

import colorsys
from functools import lru_cache

Colour = tuple[int, int, int]
_GOLDEN = 0.61803398875
SHADES = ((0.82, 1.0), (0.62, 0.82), (0.95, 0.72))

TURNS = ((0.0, 1.0, 1.0), (0.07, 0.8, 1.0), (-0.06, 1.0, 0.75), (0.035, 0.55, 1.0), (-0.1, 0.75, 0.95), (0.1, 1.0, 0.7))


def bgr_of(hue: float, saturation: float, value: float) -> Colour:
    """Convert hue, saturation and value, each in [0, 1], to BGR bytes."""
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


@lru_cache(maxsize=4096)
def colour_of(number: int) -> Colour:
    """Return the BGR colour of a class or track: neighbours in number lie far apart in hue.

    Hues step by the golden ratio, so that any run of numbers spreads evenly over the circle; saturation and brightness
    change every few numbers.

    Example:
        >>> colour_of(3) == colour_of(3), colour_of(3) == colour_of(4)
        (True, False)
    """
    hue = (0.56 + number * _GOLDEN) % 1.0
    saturation, value = SHADES[(number // 7) % len(SHADES)]
    return bgr_of(hue, saturation, value)


@lru_cache(maxsize=4096)
def shade_of(number: int, rank: int) -> Colour:
    """Return the colour of the rank-th object of a class: near the class's colour, apart from its neighbours' in rank.

    Example:
        >>> shade_of(3, 0) == colour_of(3), shade_of(3, 1) == colour_of(3)
        (True, False)
    """
    blue, green, red = colour_of(number)
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    turn, paler, darker = TURNS[rank % len(TURNS)]
    return bgr_of((hue + turn) % 1.0, saturation * paler, value * darker)


@lru_cache(maxsize=4096)
def text_colour_on(background: Colour) -> Colour:
    """Return black or white, whichever can be read on a BGR background.

    Example:
        >>> text_colour_on((255, 255, 255)), text_colour_on((128, 0, 0))
        ((0, 0, 0), (255, 255, 255))
    """
    blue, green, red = ((channel / 255) ** 2.2 for channel in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (0, 0, 0) if luminance > 0.18 else (255, 255, 255)
