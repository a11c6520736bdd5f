"""Notebooks as pages, with what their cells print and draw; linked_files.py puts them into the site."""

import base64
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

SHOWN = ["image/png", "text/markdown", "text/plain"]  # tables of pandas as text, as on every other page


def as_markdown(path: Path, run: bool) -> str:
    """The Markdown of a notebook; with `run` of all its cells in turn, where an error in one is raised."""
    notebook = nbformat.read(path, as_version=4)
    if run:
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    exporter = MarkdownExporter(config=Config({"NbConvertBase": {"display_data_priority": SHOWN}}))
    text, resources = exporter.from_notebook_node(notebook)
    for name, picture in resources["outputs"].items():
        inline = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        text = text.replace(f"![png]({name})", f"![What the cell draws]({inline})")
    return f'{text}\n\n<a href="{path.name}" download>This page as a notebook</a>\n'
