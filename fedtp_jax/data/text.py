"""Speaking roles as a federated data set for next-character prediction: every role is a client.

The characters are those of Python's `string.printable`; a character's code is its position there. The last
fifth of a role's lines is its test text, as in the FedTP authors' code. Lines are joined by a newline; the
authors' code joins them by a space, which loses the verse.
"""

import string
import unicodedata
from collections.abc import Sequence

import numpy as np

from fedtp_jax import config as cfg
from fedtp_jax.core.errors import UserError
from fedtp_jax.data.dataset import Dataset, Windows
from fedtp_jax.data.plays import Role

ALPHABET = string.printable

# Typography that Unicode's compatibility forms leave as it is.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u02bc\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        **dict.fromkeys("\u2014\u2015", "--"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
        "Æ": "AE",
        "æ": "ae",
        "Œ": "OE",
        "œ": "oe",
        "Ø": "O",
        "ø": "o",
        "ß": "ss",
        "Ð": "D",
        "ð": "d",
        "Þ": "Th",
        "þ": "th",
    }
)

# Of the FedTP authors' code; every other character has 1, and the loss multiplies all of them by 8.
_WEIGHTS = {
    "\n": 0.43795308843799086,
    " ": 0.042500849608091536,
    ",": 0.6559597911540539,
    ".": 0.6987226398690805,
    "I": 0.9777491725556848,
    "a": 0.2226022051965085,
    "c": 0.813311655455682,
    "d": 0.4071860494572223,
    "e": 0.13455606165058104,
    "f": 0.7908671114133974,
    "g": 0.9532922255751889,
    "h": 0.2496906467588955,
    "i": 0.27444893060347214,
    "l": 0.37296488139109546,
    "m": 0.569937324017103,
    "n": 0.2520734570378263,
    "o": 0.1934141300462555,
    "r": 0.26035705948768273,
    "s": 0.2534775933879391,
    "t": 0.1876471355731429,
    "u": 0.47430062920373184,
    "w": 0.7470615815733715,
    "y": 0.6388302610200002,
}
CLASS_WEIGHTS = tuple(8 * _WEIGHTS.get(character, 1.0) for character in ALPHABET)


def from_roles(config: cfg.Shakespeare, roles: Sequence[Role], source: str) -> Dataset:
    """The data set whose client k is the k-th of `roles` that says enough.

    A role is left out if it has fewer than `config.min_lines` lines, or if its train or its test text is not
    longer than a window. Both splits are `Windows`, one character apart, that never cross from one role into
    another; clients are numbered alike in both.

    Args:
        config: window (characters), min_lines, class_weights.
        roles: sorted as the clients shall be.
        source: where the roles come from.

    Raises:
        UserError: a character is not in the alphabet, or no role says enough.
    """
    names, train, test = [], [], []
    for role in roles:
        if len(role.lines) < config.min_lines:
            continue
        parts = [encode("\n".join(lines), role, source) for lines in split(role.lines)]
        if min(map(len, parts)) > config.window:
            names.append(f"{role.play}: {role.name}")
            train.append(parts[0])
            test.append(parts[1])
    if not names:
        raise UserError(
            f"data.window: none of the {len(roles)} roles in {source} has {config.min_lines} lines and more "
            f"than {config.window} characters to train on and to test; lower data.window or data.min_lines"
        )
    return Dataset(
        "shakespeare",
        windows(train, config.window),
        windows(test, config.window),
        num_classes=len(ALPHABET),
        source=source,
        group_names=tuple(names),
        class_weights=CLASS_WEIGHTS if config.class_weights else None,
    )


def split(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The first lines, to train on, and the last fifth, at least one, to test on."""
    # As the authors' code rounds: 1 - 0.8 is a little less than 0.2, so 50 lines give 9 to the test.
    last = max(1, int((1 - 0.8) * len(lines)))
    return lines[:-last], lines[-last:]


def encode(text: str, role: Role, source: str) -> np.ndarray:
    """[characters] uint8 codes; curly quotes, dashes and accented letters become their plain forms.

    Raises:
        UserError: a character has no plain form in the alphabet; the message says who speaks it and where.
    """
    content = text if text.isascii() else plain(text)
    codes = _CODES[np.frombuffer(content.encode(), np.uint8)]
    if (codes == _NO_CODE).any():
        line, character = next(
            (line, character)
            for line in text.split("\n")
            for character in line
            if not set(plain(character)) <= set(ALPHABET)
        )
        raise UserError(
            f"data.directory: {role.name} in {role.play!r} of {source} says {character!r} "
            f"(U+{ord(character):04X}) in the line {line!r}, which string.printable lacks; replace it"
        )
    return codes


def plain(text: str) -> str:
    """The text without typography and accents, as far as they have plain forms."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


_NO_CODE = 255
_CODES = np.full(256, _NO_CODE, np.uint8)
_CODES[[ord(character) for character in ALPHABET]] = np.arange(len(ALPHABET))


def windows(texts: Sequence[np.ndarray], length: int) -> Windows:
    """The windows of `length` characters in each of `texts`, [characters] uint8; the k-th is client k's."""
    sizes = np.array([len(text) for text in texts], np.int64)
    counts = np.maximum(sizes - length, 0)
    begins = np.cumsum(sizes) - sizes
    client = np.repeat(np.arange(len(texts), dtype=np.int32), counts)
    first = np.cumsum(counts) - counts
    start = np.arange(counts.sum()) + np.repeat(begins - first, counts)
    return Windows(np.concatenate(texts), start.astype(np.int32), length, client)
