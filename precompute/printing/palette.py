"""The two colours of signed relevance, wherever it is drawn: heatmaps, overlays, bars and the words that name them.

Owns the colours on light and on dark ground. Must not know how a picture or a page is made.

Orange and dark blue stay apart for colour-blind eyes and on grey paper (their luminances differ by a factor above 2),
and unlike red neither looks like a warning.
"""

from __future__ import annotations

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

POSITIVE: Colour = (0xD9, 0x73, 0x0D)
"""What speaks for the explained class."""
NEGATIVE: Colour = (0x1F, 0x4E, 0x8C)
"""What speaks against it."""
POSITIVE_ON_DARK: Colour = (0xFF, 0xC2, 0x7A)
NEGATIVE_ON_DARK: Colour = (0x4F, 0x86, 0xD0)
POSITIVE_WORD = "orange"
NEGATIVE_WORD = "blue"


def hexadecimal(colour: Colour) -> str:
    """Write a colour for a style sheet: ``#d9730d``."""
    return "#" + "".join(f"{band:02x}" for band in colour)


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 (black) to 1 (white); WCAG 2.2, "relative luminance"."""
    linear = [band / 255 / 12.92 if band <= 10 else ((band / 255 + 0.055) / 1.055) ** 2.4 for band in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: Colour, second: Colour) -> float:
    """Contrast ratio of two colours, 1 to 21; WCAG 2.2, "contrast ratio"."""
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)
