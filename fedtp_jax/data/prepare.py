"""Make standard TFDS array_record folders of the published image sets, without TensorFlow."""

import contextlib
import hashlib
import http.client
import io
import ssl
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedtp_jax.core.errors import UserError, nearest, user_path
from fedtp_jax.data.archives import Originals, Split
from fedtp_jax.data.image_sets import IMAGE_SETS
from fedtp_jax.data.sources import find_originals, missing
from fedtp_jax.data.tfds import default_root, has_other_format, is_prepared

_TIMEOUT = 5.0  # seconds without a byte
_TRIES = 3
_NETWORK = (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)
_CHUNK = 1 << 20


def prepare(
    name: str, directory: str | Path | None = None, download: bool = False, data_dir: str | Path | None = None
) -> Path:
    """Leave the data set `name` as an array_record folder that the stock `tfds.data_source` reads.

    A folder that is there already is left alone. The files come from `directory`, else from where packages
    put them, else, only with `download`, from the addresses that TFDS has registered; downloads are checked
    against TFDS's sizes and SHA-256 sums, kept under <data_dir>/downloads/fedtp, and resumed after an
    interruption. Either the whole folder appears or nothing does.

    Args:
        name: "mnist", "fashion_mnist", "cifar10", "cifar100", or "emnist/" and its split.
        directory: folder with the original files.
        download: whether the network may be used.
        data_dir: TFDS's folder; default: TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Returns:
        The folder <data_dir>/<name>/<version>.

    Raises:
        UserError: unknown name, files missing or damaged, download failed, or data_dir cannot be written.
    """
    if name not in IMAGE_SETS:
        of_it = [one for one in IMAGE_SETS if one.startswith(f"{name}/")]
        raise UserError(
            f"prepare: {name!r} is no data set to prepare{nearest(name, of_it or IMAGE_SETS)}; "
            f"choose one of {', '.join(IMAGE_SETS)}"
        )
    root = user_path(data_dir) if data_dir is not None else default_root()
    if is_prepared(name, root):
        return max((root / name).glob("*/*.array_record*")).parent
    if has_other_format(name, root):
        raise UserError(
            f"data_dir: {root / name} is there in another TFDS format; name another data_dir, or move it away"
        )
    folder = user_path(directory) if directory is not None else None
    originals = find_originals(name, folder)
    if originals is None and download:
        originals = find_originals(name, _download(name, root / "downloads" / "fedtp" / _stem(name)))
    if originals is None:
        raise missing(name, folder, root)
    return _write(name, originals, root)


# ------------------------------------------------------------------------------------------- writing


def _write(name: str, originals: Originals, root: Path) -> Path:
    """Build the TFDS folder beside its place and move it there."""
    import tensorflow_datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{_stem(name)}-") as beside:
            builder = _builder(name, originals, beside)
            config = tensorflow_datasets.download.DownloadConfig(try_download_gcs=False)
            # TFDS prints two lines that name the temporary folder; its progress bars go to stderr.
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare(file_format="array_record", download_config=config)
            built = Path(builder.data_path)
            final = root / name / built.name
            final.parent.mkdir(parents=True, exist_ok=True)
            if not is_prepared(name, root):  # another process may have been faster
                built.rename(final)
    except OSError as error:
        raise UserError(f"data_dir: cannot write {root / name} ({error}); name another data_dir") from error
    return final


def _builder(name: str, originals: Originals, data_dir: str) -> Any:
    """The stock builder of `name`, but fed with `originals`: the stock one opens files through TensorFlow."""
    import tensorflow_datasets

    stock: Any = tensorflow_datasets.builder_cls(_stem(name))

    def split_generators(self: Any, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        for label, names in originals.names.items():
            self.info.features[label].names = names
        return {
            "train": _examples(name, "train", originals.train),
            "test": _examples(name, "test", originals.test),
        }

    with tensorflow_datasets.core.registered.skip_registration():
        local = type(stock)(
            stock.__name__, (stock,), {"name": _stem(name), "_split_generators": split_generators}
        )
    return local(data_dir=data_dir, config=name.partition("/")[2] or None, file_format="array_record")


def _stem(name: str) -> str:
    """Without the configuration, "emnist" of "emnist/letters"."""
    return name.partition("/")[0]


def _examples(name: str, split: str, data: Split) -> Iterator[tuple[int, dict[str, Any]]]:
    """Keys and examples as the stock builders yield them, with images already encoded as PNG."""
    for index, image in enumerate(data.x):
        example: dict[str, Any] = {label: int(values[index]) for label, values in data.labels.items()}
        example["image"] = _png(image)
        if name.startswith("cifar"):
            example["id"] = f"{split}_{index:05d}"
        yield index, example


def _png(image: np.ndarray) -> bytes:
    """[H, W, 1 or 3] uint8 -> PNG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


# --------------------------------------------------------------------------------------- downloading


def _registered(name: str) -> dict[str, tuple[str, int, str]]:
    """File name -> (address, bytes, SHA-256) of the original files, as TFDS has registered them."""
    import tensorflow_datasets

    infos = tensorflow_datasets.builder_cls(_stem(name)).url_infos
    return {url.rsplit("/", 1)[1]: (url, int(info.size), info.checksum) for url, info in infos.items()}


def _download(name: str, folder: Path) -> Path:
    """Fetch what is not yet in `folder`, unpack zip archives there, and return it."""
    try:
        for file, (url, size, checksum) in _registered(name).items():
            path = folder / file
            if not (path.is_file() and path.stat().st_size == size and _sha256(path) == checksum):
                _fetch(name, url, folder / f"{file}.part", size, checksum)
                (folder / f"{file}.part").replace(path)
            if path.suffix == ".zip":  # EMNIST's, of the files of all its splits
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder, [n for n in archive.namelist() if name.replace("/", "-") in n])
    except OSError as error:
        raise UserError(f"data_dir: cannot write {folder} ({error}); name another data_dir") from error
    return folder


def _fetch(name: str, url: str, part: Path, size: int, checksum: str) -> None:
    """Bring `part` to the registered content, going on from what an earlier try left.

    Raises:
        UserError: the network fails _TRIES times, or the content is not what TFDS has registered.
    """
    failure = ""
    for _ in range(_TRIES):
        try:
            _receive(url, part, size)
        except urllib.error.HTTPError as error:
            failure = f"HTTP {error.code} {error.reason}"
            error.close()
            if error.code == 416:  # what is left from before does not fit the file
                part.unlink(missing_ok=True)
            elif error.code < 500:
                break
        except _NETWORK as error:
            failure = str(getattr(error, "reason", "") or error or type(error).__name__)
        else:
            failure = f"{part.stat().st_size} bytes came, expected {size}"
        if part.is_file() and part.stat().st_size >= size:
            if part.stat().st_size == size and _sha256(part) == checksum:
                return
            failure = f"what came is not the registered file ({size} bytes, SHA-256 {checksum[:16]}...)"
            part.unlink()
    about = IMAGE_SETS[name]
    raise UserError(
        f"prepare: cannot download {url}: {failure}. Try again (it resumes), or get {about.files} from "
        f"{about.page} and run `fedtp prepare {name} --directory FOLDER`"
    )


def _receive(url: str, part: Path, size: int) -> None:
    """Append the rest of `url` to `part`; a server that ignores ranges starts it anew."""
    have = part.stat().st_size if part.is_file() else 0
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        resumed = have > 0 and response.status == 206
        received = have if resumed else 0
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if resumed else "wb") as file:
            # One byte too many is enough to know that it is another file.
            while received <= size and (chunk := response.read1(_CHUNK)):
                file.write(chunk)
                received += len(chunk)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
