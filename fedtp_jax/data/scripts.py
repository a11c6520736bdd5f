"""Scripts of plays as their speeches: Markdown, and both layouts of Project Gutenberg's complete works.

Every reader yields one (play, role, line) for each line that is spoken, in the order of the file. Headings,
lists of persons and stage directions are no speech; a speech goes on after a direction that interrupts it,
though no new role line says so.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

Speech = tuple[str, str, str]

# What a direction without brackets begins with. The lookahead spares "Alarum'd by his sentinel, the wolf".
_OPENER = re.compile(
    r"(Re-?enter|Enter|Exit|Exeunt|Flourish|Alarums?|Sennet|Hautboys|Tucket|Excursions|Retreat|Cornets|"
    r"Thunder|Dumb show|A dead march|Drums?|Trumpets?)(?=[\s.,;:_\]]|$)",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"\s*((ACT|Act|SCENE|Scene) [IVXL\d]+\s*([.,:]|$)|(THE )?(PROLOGUE|EPILOGUE|INDUCTION)\.?\s*$)"
)
_BY = re.compile(r"\s*by William Shakespeare\s*$", re.IGNORECASE)


def read_script(text: str, title: str) -> Iterator[Speech]:
    """The speeches of one file in whichever layout it has; `title` is for a play that names none."""
    lines = [line.replace("\t", "    ") for line in text.splitlines()]
    if any(map(_MARKDOWN_ROLE.match, lines)):
        return _markdown(lines, title)
    return _gutenberg(lines, title)


# ------------------------------------------------------------------------------------------ Markdown

_MARKDOWN_ROLE = re.compile(r"\s*\*\*([^*]+)\*\*\s*$")
_MARKS = re.compile(r"\\(?=[^\w\s])|[*_]")
# The opening mark is missing in some files: `[Aside]_`.
_BRACKETED = re.compile(r"[_*]*\\?\[[^\]]*\\?\][_*]*")
_BROKEN_ROLE = re.compile(r"[A-Z][A-Z' ]*$")


def _markdown(lines: list[str], title: str) -> Iterator[Speech]:
    """Roles in bold on their own line, directions in italics, `# Title` at the top.

    Where a role line was broken in two, its first half ends the speech before it ("BISHOP", then
    "**OF WINCHESTER**"), and so do running titles: a paragraph's last line in capitals is no speech unless
    it is the first line of its role.
    """
    play, role, direction, just_named = title, "", False, False
    heading = re.match(r"\s*# (.+)", next((line for line in lines if line.strip()), ""))
    if heading:
        play = heading[1].strip()
    for line, following in pairwise([*map(str.strip, lines), ""]):
        if named := _MARKDOWN_ROLE.match(line):
            role, direction, just_named = named[1].strip(), False, True
        elif not line or line.startswith("#"):
            # A direction ends at a blank line at the latest, lest a forgotten mark swallow the play.
            direction = False
            role = "" if line else role
        elif direction or _opens_direction(line):
            direction = not line.endswith(("_", "*", "]"))
        elif role and not _HEADING.match(line) and (just_named or following or not _BROKEN_ROLE.match(line)):
            just_named = False
            yield play, role, _MARKS.sub("", _BRACKETED.sub("", line))


def _opens_direction(line: str) -> bool:
    """Whether a line begins a direction that takes all of it; `_Et tu_, Brute` does not."""
    if line[0] not in "_*[\\" or line[:2] in ("\\-", "**"):
        return False
    if bare := _BRACKETED.match(line):
        return not line[bare.end() :].strip()
    if line[0] == "\\" and line[1:2] != "[":
        return False
    closing = line[0] if line[0] in "_*" else "]"
    return closing not in line[1:] or line.endswith(closing)


# ----------------------------------------------------------------------------------------- Gutenberg


def _gutenberg(lines: list[str], title: str) -> Iterator[Speech]:
    """Every work of a Project Gutenberg text, each in the layout that it has."""
    for play, body in _works(_without_licence(lines), title):
        indented, flush, alone = (
            sum(pattern.match(line) is not None for line in body)
            for pattern in (_OLD_ROLE[2], _OLD_ROLE[0], _NEW_ROLE)
        )
        if alone >= max(indented, flush):
            yield from _new_layout(play, body)
        else:
            yield from _old_layout(play, body, 0 if flush > indented else 2)


def _without_licence(lines: list[str]) -> list[str]:
    """The lines between Gutenberg's marks, without the notices in << >> of 1994."""
    kept: list[str] = []
    notice = False
    for line in lines:
        if re.match(r"\*\*\* ?START OF (THE|THIS) PROJECT", line):
            kept.clear()
        elif re.match(r"\*\*\* ?END OF (THE|THIS) PROJECT|End of (this|the) (Etext|Project)", line):
            break
        elif notice or line.lstrip().startswith("<<"):
            notice = ">>" not in line
        else:
            kept.append(line)
    return kept


def _works(lines: list[str], title: str) -> Iterator[tuple[str, list[str]]]:
    """Each work's title and lines.

    A work begins below "by William Shakespeare", its title being the nearest line above. Newer editions
    have that line only once; there the titles are those of the contents at the top.
    """
    begins = {i: _line_above(lines, i) or title for i, line in enumerate(lines) if _BY.match(line)}
    contents = _contents(lines)
    if len(contents) > 1:
        begins |= {
            i: line.strip() for i, line in enumerate(lines) if line[:1] != " " and _key(line) in contents
        }
    begins.setdefault(-1, title)  # what stands above the first work, or all
    for start, end in pairwise([*sorted(begins), len(lines)]):
        yield begins[start], lines[start + 1 : end]


def _line_above(lines: list[str], index: int) -> str:
    return next((line.strip() for line in reversed(lines[max(0, index - 8) : index]) if line.strip()), "")


def _contents(lines: list[str]) -> set[str]:
    """Keys of the titles in the indented list that follows the first "Contents"."""
    titles: set[str] = set()
    start = next((i for i, line in enumerate(lines) if line.strip().lower() == "contents"), len(lines))
    for line in lines[start + 1 :]:
        if line.strip() and not line.startswith("  "):
            break
        if line.strip():
            titles.add(_key(line))
    return titles


def _key(title: str) -> str:
    """A title without case, punctuation and spacing, in which the contents may differ from the play."""
    return re.sub(r"[\W_]+", "", title).casefold()


# A direction at the end of a line stands apart from the speech.
_TRAILING = re.compile(rf"\s{{3,}}<?{_OPENER.pattern}.*$", re.IGNORECASE)
_BRACKETS = re.compile(r"\[[^\]]*\]?")
# Base indent -> a role line of 1994. In most plays it is indented by two (now and then a little more or
# less) and its speech goes on indented by four; in The Comedy of Errors it is flush.
_OLD_ROLE = {
    2: re.compile(r"(?:  (?=\S)| {1,4}(?=[A-Z '\u2019-]{3,}\.))([A-Za-z][A-Za-z '\u2019-]*)\. +(\S.*)"),
    0: re.compile(r"((?!ACT |SCENE )[A-Z][A-Z '\u2019-]+)\. +(\S.*)"),
}


def _old_layout(play: str, lines: list[str], base: int) -> Iterator[Speech]:
    """1994: "  HAMLET. To be" and "    or not to be"; whatever is not indented is no speech."""
    matches = [_OLD_ROLE[base].match(line) for line in lines]
    times = Counter(named[1].upper() for named in matches if named)
    role, direction, open_bracket, previous = "", False, False, ""
    for line, named in zip(lines, matches, strict=True):
        above, previous = previous, line
        # A line of a poem may look like "So be it. ..."; a role in small letters speaks more than once.
        if named and (named[1].isupper() or times[named[1].upper()] > 1) and not _HEADING.match(line):
            role, spoken, direction, open_bracket = named[1], named[2], False, False
        elif not line.startswith(" ") or not line.strip():
            direction = open_bracket = False
            role = "" if _HEADING.match(line) else role
            continue
        else:
            direction = _is_old_direction(line, above, direction)
            spoken = "" if direction else line.strip()
        spoken, open_bracket = _without_brackets(spoken, open_bracket)
        spoken = _TRAILING.sub("", spoken)
        if role and spoken.strip():
            yield play, role, spoken


def _is_old_direction(line: str, above: str, within: bool) -> bool:
    """Directions stand to the right or below an empty line, their further lines to the right of them all."""
    text = line.strip()
    right = line.startswith(" " * 10)
    apart = right or not above.strip() or text.rstrip(".") in ("Exit", "Exeunt")
    return (within and right) or (apart and _OPENER.match(text) is not None)


def _without_brackets(text: str, within: bool) -> tuple[str, bool]:
    """The text outside of [ ], and whether a bracket is left open; `within`: one is open before."""
    if within:
        _, closed, text = text.partition("]")
        if not closed:
            return "", True
    return _BRACKETS.sub("", text), text.rfind("[") > text.rfind("]")


_UPPER = r"[A-ZÀ-Þ][A-ZÀ-Þ'\u2019.-]*"
_NEW_ROLE = re.compile(rf"(?!(?:ACT|SCENE)\b)({_UPPER}(?:,? (?:{_UPPER}|of|and|the|de|&))*|All|Both)\.$")
_PERSONS = re.compile(r"(dramatis person|persons represented|characters in the play)", re.IGNORECASE)


def _new_layout(play: str, lines: list[str]) -> Iterator[Speech]:
    """Since about 2018: "HAMLET." alone on a line, its speech below, directions in brackets or on their own.

    Names in the list of persons look like roles, so nothing is read from there to the next act.
    """
    role, listing, direction, open_bracket, just_named, previous = "", False, False, False, False, ""
    for line, following in pairwise([*lines, ""]):
        text, above, previous = line.strip(), previous, line.strip()
        if not text:
            direction = open_bracket = just_named = False
            continue
        listing = listing or _PERSONS.match(text) is not None
        if (
            (not above or direction)
            and not listing
            and following.strip()
            and (named := _NEW_ROLE.match(text))
        ):
            role, direction, just_named = named[1], False, True
            continue
        if _HEADING.match(text) and not just_named:
            role, listing = "", False
            continue
        if not above and not just_named:
            alone = line[0] == "_" == text[-1] and not following.strip()
            direction = alone or _OPENER.match(text.lstrip("_")) is not None
        spoken, open_bracket = _without_brackets(text, open_bracket)
        if role and not listing and not direction and spoken.strip(" _"):
            just_named = False
            yield play, role, spoken.replace("_", "")
