"""A folder of the user's images, whose folders' names say class, client and split; read by Pillow."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedtp_jax.config import ImageFolder
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError, in_one_line, user_path
from fedtp_jax.data.arrays import by_split, from_source
from fedtp_jax.data.dataset import Dataset

if TYPE_CHECKING:
    from PIL import Image

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
SPLITS = "train", "test"
GREY = {"1", "L"}  # of Pillow's modes


def read_image_folder(config: ImageFolder) -> Dataset:
    """The images below `directory`, in the order of their paths, uint8, of one channel if all are grey.

    Raises:
        UserError: no such folder, other folders than `levels` says, no images, unreadable ones, images of
            several sizes without `size`, or what `from_arrays` refuses.
    """
    root = _root(config)
    files, others = _files(config, root)
    if not files:
        raise UserError(
            f"data.directory: {root} holds no images ({', '.join(sorted(IMAGES))}) "
            f"{_deep(len(config.levels))}; data.levels is {list(config.levels)}"
        )
    if others:
        plural = "s that are no images are" if others > 1 else " that is no image is"
        warnings.warn(f"data.directory: {others} file{plural} left out", stacklevel=2)
    x = _pixels(config, [path for path, _ in files])
    names = {level: np.array([at[number] for _, at in files]) for number, level in enumerate(config.levels)}
    train = None
    if "split" in names:
        train = names["split"] == "train"
        for split, rows in (("train", train), ("test", ~train)):
            if not rows.any():
                raise UserError(
                    f"data.directory: {root} has no images in {split}; add some, or drop that level"
                )
    arrays: dict[str, Any] = by_split(x, names["class"], names.get("client"), train)
    return from_source("data.directory", str(root), **arrays, kind="image", name=root.name or "images")


def _root(config: ImageFolder) -> Path:
    levels = config.levels
    if "class" not in levels or len({*levels}) != len(levels):
        raise UserError(
            f"data.levels: {list(levels)}; expected class, and at most once each of client and split, such "
            "as [split, class]"
        )
    if config.directory is None:
        raise UserError("data.directory: missing; give the folder of images")
    root = user_path(config.directory)
    if not root.is_dir():
        raise UserError(f"data.directory: {root} is no folder; give the folder of images")
    return root


def _files(config: ImageFolder, root: Path) -> tuple[list[tuple[Path, tuple[str, ...]]], int]:
    """(path, the names of the folders that it lies in below `root`) of each image, and how many are none."""
    found, others = list[tuple[Path, tuple[str, ...]]](), 0
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        at = Path(folder).relative_to(root).parts
        for name in sorted(names):
            if name.startswith("."):
                continue
            if Path(name).suffix.lower() not in IMAGES:
                others += 1
                continue
            path = Path(folder) / name
            if len(at) != len(config.levels):
                raise UserError(
                    f"data.levels: {list(config.levels)}, but {path} lies {_deep(len(at))}, expected "
                    f"{_deep(len(config.levels))}; say what each level of folders means"
                )
            if "split" in config.levels and (split := at[config.levels.index("split")]) not in SPLITS:
                raise UserError(f"data.levels: the folder {split!r} is to be a split; expected train or test")
            found.append((path, at))
    return found, others


def _deep(folders: int) -> str:
    return f"{count_of(folders, 'folder')} deep"


def _pixels(config: ImageFolder, paths: list[Path]) -> np.ndarray:
    """[M, H, W, 1 or 3] uint8."""
    from PIL import Image

    size, images = config.size, list[np.ndarray]()
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise UserError(f"data.size: {list(size)}; expected height and width, such as [32, 32]")
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # so large that it may be an attack
                with Image.open(path) as packed:
                    image = grey_or_colour(packed)
                if size is not None and image.size != (size[1], size[0]):
                    image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        except Exception as error:  # Pillow raises nearly anything on a damaged file
            raise UserError(
                f"data.directory: {path} is no readable image ({in_one_line(error)}); mend or remove it"
            ) from error
        images.append(np.asarray(image))
        if images[-1].shape[:2] != images[0].shape[:2]:
            first, other = (f"{i.shape[0]}x{i.shape[1]}" for i in (images[0], images[-1]))
            raise UserError(
                f"data.size: missing, but {path} has {other} pixels and {paths[0]} {first}; give the height "
                "and width that all are brought to, such as [32, 32]"
            )
    return stacked(images)


def grey_or_colour(image: "Image.Image") -> "Image.Image":
    """The image in Pillow's mode L or RGB."""
    return image.convert("L" if image.mode in GREY else "RGB")


def stacked(images: list[np.ndarray]) -> np.ndarray:
    """[M, H, W, 1] of grey [H, W] images, [M, H, W, 3] if one of them is [H, W, 3]."""
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[..., None]
    return np.stack([i if i.ndim == 3 else np.repeat(i[..., None], 3, axis=2) for i in images])
