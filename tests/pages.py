"""What the pages of README.md and docs/ hold: blocks, command lines, links; and how a page is run.

`bash` and `python` blocks are run in the order of the page, in one folder; a `text` block right after one
shows lines of what it prints. Command lines in other blocks are only checked.
"""

import contextlib
import inspect
import io
import os
import re
import shlex
import subprocess
import sys

from paths import ROOT

from fedtp_jax import load_config
from fedtp_jax.cli import planning, results, runs
from fedtp_jax.cli.arguments import parse
from fedtp_jax.cli.watch import watch
from fedtp_jax.sweeps.combinations import read_sweep

COMMANDS = {
    "run": runs.run,
    "resume": runs.resume,
    "plan": planning.plan,
    "list": planning.list_,
    "partition": planning.partition,
    "prepare": planning.prepare,
    "sweep": runs.sweep,
    "watch": watch,
    "compare": results.compare,
    "novel": results.novel,
    "export": results.export,
    "doctor": results.doctor,
}
SYNOPSIS = re.compile(r"[\[{|]| (DIR|CONFIG|FILE|RUNS)|  +\S")  # a form to fill in, or a line that explains
MARKS = re.compile(r"\$\^\{\\dagger\}\$|\\textbf")  # of what is best and as good: they may move
NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?")


def blocks(page, *languages):
    """[(language, text)] of a page's fenced blocks, of all languages or of some."""
    return [(kind, text) for kind, text, _ in _fenced(page) if not languages or kind in languages]


def _fenced(page):
    """[(language, text, whether nothing stands between it and the block before)]."""
    found, end, content = [], 0, page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", content, re.S | re.M):
        found.append((block[1], block[2], not content[end : block.start()].strip()))
        end = block.end()
    return found


def command_lines(page):
    """The fedtp commands, as lists of words, that a page shows and nothing runs."""
    for _, text in blocks(page, "text", "sh"):
        for line in text.splitlines():
            command = re.match(r"(?:\s*srun )?\s*(fedtp .*)", line)
            if command and not SYNOPSIS.search(command[1].split("'")[0]):
                yield shlex.split(command[1])[1:]


def check_command(words):
    """The command exists, its flags parse, and its configuration or sweep with the overrides is sound."""
    made = parse(COMMANDS, words)
    given = inspect.signature(made.func).bind(*made.args, **made.keywords).arguments
    if "config" in given:
        load_config(ROOT / given["config"], given.get("overrides", ()))
    if "file" in given:
        read_sweep(ROOT / given["file"])


def links(page):
    """(target, file or None, heading or None) of every link to a file or heading of this repository."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            file, _, heading = target.partition("#")
            yield target, page.parent / file if file else page, heading


def headings(page):
    """The names by which a page's headings are linked to."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return [re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in found]


def run_page(page, folder, shorter=("", "")):
    """Run a page's blocks in `folder`, where it finds configs/; what they print must hold what is shown.

    `shorter`: (text, what is run instead) where a page trains for longer than its code needs to be tried.
    """
    (folder / "configs").symlink_to(ROOT / "configs")
    environment = with_command(folder)
    names, printed = {"__name__": "docs"}, ""
    for language, shown, follows in _fenced(page):
        text = shown.replace(*shorter)
        if language == "bash":
            printed = shell(text, folder, environment)
        elif language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(text, page.name, "exec"), names)
            printed = output.getvalue()
        elif language == "text" and follows:
            check_shown(text, printed)


def with_command(folder):
    """An environment in which `fedtp` and `python` are those that run the tests."""
    programs = folder / "programs"
    programs.mkdir()
    for name, arguments in (("fedtp", "-m fedtp_jax "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n')
        (programs / name).chmod(0o755)
    ours = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **ours}


def shell(text, folder, environment):
    """What the shell prints, both streams; it must end well."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def check_shown(shown, printed):
    """Every line shown is among the printed ones, but for numbers, marks and spaces."""
    lines = {tuple(words(line)) for line in printed.splitlines()}
    for line in shown.splitlines():
        assert not words(line) or tuple(words(line)) in lines, f"{line!r} is not in:\n{printed}"
        if re.fullmatch(r"\(\d+(, \d+)*,?\)", line):  # a shape
            assert line in printed.splitlines(), f"{line!r} is not in:\n{printed}"


def words(line):
    return re.findall(r"[^\W\d_]\w*", NUMBER.sub(" ", MARKS.sub(" ", line)))
