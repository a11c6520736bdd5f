"""Brings into the site what pages link to beside docs/: a hook of mkdocs.yml.

Pages are written for the repository, where links lead to files. A linked page comes in with all that it links
to, code as a page that shows it, a folder as a list of its code, a notebook as a page with what its cells
print and draw. The README is the site's first page.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebooks import as_markdown

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()[^)\s#:]+(?=[#)])")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cff": "yaml"}
PLACES = {"README.md": "index.md", "docs/README.md": "all_pages.md"}  # both would be the first page

origins: dict[str, str] = {}  # a page of the site: the file of the repository that it is
run_notebooks = True


def on_startup(command: str, **_: object) -> None:
    """Notebooks are run for a site, not at every change of a page that `mkdocs serve` shows."""
    global run_notebooks
    run_notebooks = command == "build"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README and what pages link to, until nothing new is found."""
    files.remove(files.src_uris["README.md"])
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    origins.update({place(path): path for path in pages})
    found, waiting = set(), [*pages, *PLACES]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        text = page_of(path)
        if place(path) not in files.src_uris:
            content = {"abs_src_path": str(ROOT / path)} if text is None else {"content": text}
            files.append(File.generated(config, place(path), **content))
            origins[place(path)] = path
        waiting += filter(None, (file_of(link, path) for link in LINK.findall(text or "")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links lead to where their files are in the site; code is no answer to a search."""
    origin, folder = origins[page.file.src_uri], posixpath.dirname(page.file.src_uri)
    if Path(origin).suffix in LANGUAGES:
        page.meta["search"] = {"exclude": True}

    def moved(link: re.Match[str]) -> str:
        found = file_of(link[0], origin)
        return posixpath.relpath(place(found), folder or ".") if found else link[0]

    return LINK.sub(moved, markdown)


def file_of(link: str, origin: str) -> str | None:
    """What a link in a file leads to, a folder's README standing for the folder; None: nowhere."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    if posixpath.basename(path) == "README.md":
        path = posixpath.dirname(path)
    if (ROOT / path).is_dir():
        return posixpath.join(path, "README.md")
    return path if (ROOT / path).is_file() else None


def place(path: str) -> str:
    """Where a file of the repository is in the site."""
    becomes_page = Path(path).suffix in {*LANGUAGES, ".ipynb"}
    return PLACES.get(path, f"{path.removeprefix('docs/')}{'.md' * becomes_page}")


def page_of(path: str) -> str | None:
    """The Markdown of a page, of code, or of the list of a folder's code; None for pictures and the like."""
    file = ROOT / path
    if file.suffix == ".ipynb":
        return as_markdown(file, run_notebooks)
    if file.suffix in LANGUAGES:
        return f"# `{path}`\n\n~~~~ {LANGUAGES[file.suffix]}\n{file.read_text(encoding='utf-8')}\n~~~~\n"
    if file.name == "README.md" and not file.exists():
        names = sorted(one.name for one in file.parent.iterdir() if one.suffix in LANGUAGES)
        return "\n".join([f"# `{posixpath.dirname(path)}/`\n", *(f"- [`{name}`]({name})" for name in names)])
    return file.read_text(encoding="utf-8") if file.suffix == ".md" else None
