"""Pictures for papers: vector files with their fonts, and lines that are told apart in grey."""

import itertools
import re
import zlib

import numpy as np
import pandas as pd
import pytest
from histories import history
from matplotlib.colors import to_rgb

from fedtp_jax.plots.curves import compared_curves, learning_curves
from fedtp_jax.plots.style import GREYS, LINES, line_looks, to_vectors


def lightness(colour):
    """CIE L*, 0 to 100."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = np.dot(linear, [0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16


def test_the_first_colours_differ_in_grey():
    shades = sorted(map(lightness, LINES[:GREYS]))
    assert min(np.diff(shades)) > 10
    assert shades[-1] < 75  # and from white paper


@pytest.mark.parametrize("count", [4, 5, 12, 20])
def test_no_two_lines_look_alike_in_grey(count):
    for one, other in itertools.combinations(line_looks(count), 2):
        signs = [(look["linestyle"], look["marker"]) for look in (one, other)]
        assert signs[0] != signs[1] or abs(lightness(one["color"]) - lightness(other["color"])) > 10


def test_no_two_of_28_lines_look_alike():
    assert len({tuple(look.values()) for look in line_looks(28)}) == 28


def test_markers_stay_where_there_are_many_evaluations():
    curves = {name: pd.DataFrame({"x": range(200), "mean": 0.5, "std": np.nan}) for name in "abcde"}
    lines = compared_curves({"": curves}, [*curves], "accuracy", "").axes[0].lines
    assert {line.get_marker() for line in lines} == {"o", "s", "v", "D", "^"}
    assert all(line.get_markevery() == 0.1 for line in lines)  # apart, so that dashes are seen


def test_a_pdf_holds_its_fonts():
    content = to_vectors(learning_curves(history(10, 2)), "pdf")
    assert content.startswith(b"%PDF-")
    inner = b"".join(map(inflated, re.findall(rb"stream\r?\n(.*?)endstream", content, re.S)))
    assert b"/FontFile2" in content + inner  # TrueType, with which its text is found
    assert b"/Type3" not in content
    assert content == to_vectors(learning_curves(history(10, 2)), "pdf")


def inflated(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_an_svg_needs_no_font():
    content = to_vectors(learning_curves(history(10, 2)), "svg").decode()
    assert "<svg" in content and "<text" not in content and "<path" in content
    assert content == to_vectors(learning_curves(history(10, 2)), "svg").decode()
