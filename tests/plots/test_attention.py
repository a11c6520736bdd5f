"""Attention on images of any shape."""

import numpy as np
import pytest

from fedtp_jax import UserError
from fedtp_jax.plots.attention import attention_maps, patch_side
from fedtp_jax.plots.style import to_png


@pytest.mark.parametrize(
    ("height", "width", "patches", "side"),
    [(8, 32, 16, 4), (8, 16, 8, 4), (4, 16, 4, 4), (32, 32, 64, 4), (6, 4, 24, 1)],
)
def test_patches_lie_as_the_model_cuts_them(height, width, patches, side):
    assert patch_side(height, width, patches) == side
    looks = np.arange(patches)[None] / patches
    figure = attention_maps(np.zeros((1, height, width, 1), np.uint8), {"fedtp": looks})
    heat = figure.axes[1].images[1].get_array()
    assert heat.shape == (height, width)
    # the second patch stands right of the first, the last in the corner
    assert heat[0, -1] == looks[0, width // side - 1]
    assert heat[-1, -1] == looks[0, -1]
    to_png(figure)


@pytest.mark.parametrize("patches", [7, 5, 3])
def test_what_are_no_square_patches_is_said(patches):
    with pytest.raises(UserError, match=rf"images: 8 x 16 pixels are not {patches} square patches"):
        patch_side(8, 16, patches)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_any_channels_are_shown(channels, dtype):
    images = (
        np.random.default_rng(0).integers(0, 255, (2, 8, 8, channels)).astype(dtype)
        - (dtype == np.float32) * 90
    )
    to_png(attention_maps(images, {"vanilla": np.ones((2, 4)) / 4}))
