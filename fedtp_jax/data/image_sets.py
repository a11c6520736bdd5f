"""The published sets of images: what they are called, how they are normalised, and how to get them."""

import dataclasses
import string


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A published set of images: how it is called, normalised, read from its files, and got."""

    title: str
    num_classes: int
    mean: tuple[float, ...]  # of the train examples / 255, as usually published; () for those of the examples
    std: tuple[float, ...]
    files: str  # what data.directory may hold
    page: str  # where they are published
    folders: tuple[str, ...] = ()  # where they lie without the user's doing
    package: str = ""
    first_label: int = 0  # in the files
    transposed: bool = False  # whether the files hold column after column
    class_names: tuple[str, ...] = ()

    @property
    def labels(self) -> range:
        """Those in the files."""
        return range(self.first_label, self.first_label + self.num_classes)


_IDX_FILES = "the four IDX files (train-images-idx3-ubyte[.gz], ...)"


def _emnist(split: str, characters: str, first_label: int = 0) -> ImageSet:
    return ImageSet(
        f"EMNIST ({split})",
        len(characters),
        (),
        (),
        f"the four IDX files (emnist-{split}-train-images-idx3-ubyte[.gz], ...), unpacked from gzip.zip,",
        "https://www.nist.gov/itl/products-and-services/emnist-dataset",
        first_label=first_label,
        transposed=True,
        class_names=() if characters == string.digits else tuple(characters),
    )


IMAGE_SETS = {
    "mnist": ImageSet(
        "MNIST", 10, (0.1307,), (0.3081,), _IDX_FILES, "https://storage.googleapis.com/cvdf-datasets/mnist/"
    ),
    "fashion_mnist": ImageSet(
        "Fashion-MNIST",
        10,
        (0.2860,),
        (0.3530,),
        _IDX_FILES,
        "https://github.com/zalandoresearch/fashion-mnist",
        folders=("/usr/share/datasets/fashion-mnist",),
        package="dataset-fashion-mnist",
    ),
    "cifar10": ImageSet(
        "CIFAR-10",
        10,
        (0.4914, 0.4822, 0.4465),
        (0.2023, 0.1994, 0.2010),
        "cifar-10-binary.tar.gz or cifar-10-python.tar.gz, packed or unpacked",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "cifar100": ImageSet(
        "CIFAR-100",
        100,
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        "cifar-100-binary.tar.gz or cifar-100-python.tar.gz, packed or unpacked",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    # small letters that look like their capitals are of one class with these: emnist-balanced-mapping.txt
    "emnist/balanced": _emnist("balanced", string.digits + string.ascii_uppercase + "abdefghnqrt"),
    "emnist/letters": _emnist("letters", string.ascii_uppercase, first_label=1),
    "emnist/digits": _emnist("digits", string.digits),
}
