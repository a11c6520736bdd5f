"""What the user's own arrays must be, with one message for each that does not fit."""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from fedtp_jax.config.convert import show
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError

Kind = Literal["image", "series", "features", "tokens"]
EXACT = 2**24  # whole numbers up to it are exact in float32


def refuse_masked(field: str, value: object) -> None:
    """NumPy would drop the mask, and what it hides would be learnt from."""
    parts = value if isinstance(value, list | tuple) else [value]
    masked = [part for part in parts if isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part)]
    if masked:
        raise UserError(
            f"{field}: {sum(map(np.ma.count_masked, masked))} of its values are masked; fill them with "
            f"{field}.filled(...), or leave these examples out"
        )


def plain_array(field: str, value: ArrayLike, objects: bool = False) -> np.ndarray:
    """[M, ...] with an entry for each example; `objects`: it may hold Python's."""
    refuse_masked(field, value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise UserError(f"{field}: a ragged list; give every example the same shape") from None
    if array.dtype == object and not objects:
        raise UserError(
            f"{field}: holds Python objects (dtype object); give an array of numbers of one shape"
        )
    if array.ndim == 0:
        raise UserError(f"{field}: got {show(value)}; expected an array with an entry for each example")
    if array.size == 0:
        raise UserError(f"{field}: an empty array of shape {array.shape}; give at least one example")
    return array


def checked_inputs(field: str, value: ArrayLike, kind: Kind | None, gaps: bool = False) -> np.ndarray:
    """[M, ...] uint8 or finite float32, in the shape in which `kind`, any but tokens, is held.

    `gaps`: floats may be NaN, and masked, which is NaN from here on.
    """
    if gaps and isinstance(value, np.ma.MaskedArray) and value.dtype.kind == "f":
        value = value.filled(np.nan)
    x = plain_array(field, value)
    if x.ndim < 2:
        raise UserError(f"{field}: shape {x.shape}; expected [M, H, W, C], [M, H, W], [M, T, C] or [M, F]")
    if x.dtype != np.uint8:
        x = _finite(field, x, gaps)
    return _shaped(field, x, kind)


def _finite(field: str, x: np.ndarray, gaps: bool) -> np.ndarray:
    """Floats as float32; UserError for other numbers, and for what is not finite, `gaps` aside."""
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:
        raise UserError(f"{field}: dtype {x.dtype}; {_dtype_hint(field, x)}")
    given = x
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported below
        x = x.astype(np.float32)
    good = np.isfinite(x) | np.isnan(x) if gaps else np.isfinite(x)
    bad = ~good.reshape(len(x), -1).all(axis=1)
    if bad.any():
        what = "infinity" if gaps else "NaN or infinity"
        advice = "" if gaps or np.isinf(x).any() else ", or fill gaps with impute='mean'"
        hold = count_of(int(bad.sum()), f"of {len(x)} examples holds", f"of {len(x)} examples hold")
        raise UserError(
            f"{field}: {hold} {what}, first at index {bad.argmax()}; remove or replace them{advice}"
        )
    if given.dtype.itemsize == 8:
        _warn_of_blurred(field, given, x)
    return x


def _warn_of_blurred(field: str, given: np.ndarray, held: np.ndarray) -> None:
    """Say it when whole numbers, such as ids and timestamps, are not what they were in float32."""
    blurred = (given != held) & (given % 1 == 0)
    if blurred.any():
        largest = np.abs(given[blurred]).max()
        warnings.warn(
            f"{field}: {blurred.sum():,} whole numbers, up to {largest:.0f}, are not exact in float32, in "
            f"which inputs are held, and may fall together; subtract an offset to have them below {EXACT:,}",
            stacklevel=5,
        )


def _dtype_hint(field: str, x: np.ndarray) -> str:
    """How these become inputs, where that is certain."""
    numbers = f"other numbers as {field}.astype('float32')"
    if x.dtype.kind == "b":
        return f"give {field}.astype('float32')"
    if x.dtype.kind in "iu":
        low, high = int(x.min()), int(x.max())
        if max(-low, high) > EXACT:
            return (
                f"whole numbers above {EXACT:,} are not exact in float32, in which inputs are held: subtract "
                f"an offset first, then give {field}.astype('float32')"
            )
        if x.ndim == 2 and low >= 0:
            numbers = f"token ids with kind='tokens', or {numbers}"
        pixels = f"pixels 0 to 255 as {field}.astype('uint8') or " if low >= 0 and high <= 255 else ""
        return f"give {pixels}{numbers if pixels else numbers.removeprefix('other numbers as ')}"
    if x.dtype.kind == "c":
        return f"give real and imaginary parts, np.stack([{field}.real, {field}.imag], -1).astype('float32')"
    if x.dtype.kind == "f" or x.dtype.name == "bfloat16":
        return f"give {field}.astype('float32')"
    return "give numbers: pixels as uint8, or others as float32"


def _shaped(field: str, x: np.ndarray, kind: Kind | None) -> np.ndarray:
    """Grey images get their channel; UserError where shape and `kind` do not go together."""
    axes = {"image": (3, 4), "series": (3,), "features": (2,)}
    if kind is not None and (not isinstance(kind, str) or kind not in axes):
        raise UserError(f"kind: got {show(kind)}; choose image, series, features or tokens")
    if kind is not None and x.ndim not in axes[kind]:
        expected = {"image": "[M, H, W] or [M, H, W, C]", "series": "[M, T, C]", "features": "[M, F]"}[kind]
        raise UserError(f"{field}: shape {x.shape}; expected {expected} of kind {kind!r}")
    if x.ndim != 3 or kind == "series":
        return x
    if kind is None:
        _, height, width = x.shape
        raise UserError(
            f"kind: missing, but {field} {list(x.shape)} has two readings; say kind='image' for grey images "
            f"of {height} x {width} pixels, or kind='series' for {height} steps of {width} channels"
        )
    return x[..., None]


def warn_of_channels_first(x: np.ndarray) -> None:
    """Say it when images look like PyTorch's, [M, C, H, W]: they would be a few pixels high."""
    if x.ndim != 4:
        return
    _, first, height, width = x.shape
    if first in (1, 3, 4) and width > 4 and (height == width or (first == 3 and height > 4)):
        warnings.warn(
            f"x: {list(x.shape)} is taken for images of {first} x {height} pixels with {width} channels: "
            f"channels come last; if these are {first} channels, give x.transpose(0, 2, 3, 1)",
            stacklevel=3,
        )


def warn_of_pixels(x: np.ndarray) -> None:
    """Say it when float inputs that nobody normalises look like pixels 0 to 255."""
    if x.dtype == np.uint8 or x.ndim != 4:
        return
    low, high = float(x.min()), float(x.max())
    if low >= 0 and 2 < high <= 255 and (x[: 2**10] % 1 == 0).all():
        warnings.warn(
            f"x: whole numbers from {low:.0f} to {high:.0f} look like pixels, and as floats they enter the "
            "model as they are; give x.astype('uint8'), or mean and std",
            stacklevel=3,
        )


def per_channel(field: str, value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    """One number, or one for each channel, of which float32 holds each."""
    refuse_masked(field, value)
    try:
        given = np.atleast_1d(np.asarray(value))
        numbers = given.astype(np.float64) if given.dtype.kind in "iuf" else np.zeros(0)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape not in ((1,), (channels,)):
        raise UserError(
            f"{field}: {show(value)}; expected one number or {channels}, one for each entry of the last axis"
        )
    with np.errstate(over="ignore", under="ignore"):
        held = numbers.astype(np.float32)
    smallest = np.finfo(np.float32).tiny
    if not np.isfinite(held).all() or (field == "std" and (held < smallest).any()):
        positive = f" of at least {smallest:.1e}" if field == "std" else ""
        raise UserError(f"{field}: {show(value)}; expected finite numbers{positive}")
    return tuple(numbers.tolist())


def pixel_statistics(x: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of x / 255 for each entry of the last axis, exact from counts of the 256 values."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(x.shape[-1]):
        share = np.bincount(x[..., channel].ravel(), minlength=256) / (x.size // x.shape[-1])
        means.append(float(share @ values))
        stds.append(float(np.sqrt(share @ (values - means[-1]) ** 2)))
    # Rounding leaves a constant channel at 1e-17 instead of 0.
    return tuple(means), tuple(std if std > 1e-9 else 1.0 for std in stds)
