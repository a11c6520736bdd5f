"""README.md and docs/: blocks run and print what they show, command lines are valid, links lead on."""

import importlib.util
import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import yaml
from pages import blocks, check_command, command_lines, headings, links, run_page, with_command
from paths import ROOT

from fedtp_jax import Result

PAGES = sorted((ROOT / "docs").glob("*.md"))
README = ROOT / "README.md"
SHORTER = {"gallery": ('"rounds": 60', '"rounds": 10'), "tutorial": ("rounds: 40", "rounds: 20")}
RUN = [page for page in PAGES if blocks(page, "bash", "python")]


@pytest.fixture
def services(monkeypatch):
    """Stand-ins for W&B and MLflow, with what docs/trackers.md calls; [(name, round, numbers)]."""
    heard = []

    def log(name):
        return lambda numbers, step: heard.append((name, step, numbers))

    ended = {name: lambda name=name: heard.append((name, None, "end")) for name in ("wandb", "mlflow")}
    run = types.SimpleNamespace(log=log("wandb"), finish=ended["wandb"])
    wandb, mlflow = types.ModuleType("wandb"), types.ModuleType("mlflow")
    wandb.init = lambda *, project, config=None: run
    mlflow.set_experiment = lambda experiment_name: None
    mlflow.start_run = lambda: None
    mlflow.log_params = lambda params: None
    mlflow.log_metrics, mlflow.end_run = log("mlflow"), ended["mlflow"]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return heard


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch, services):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    run_page(page, tmp_path, SHORTER.get(page.stem, ("", "")))
    if page.stem == "trackers":
        for name in ("wandb", "mlflow"):
            told = [(step, numbers) for who, step, numbers in services if who == name][:5]
            assert [step for step, _ in told] == [1, 2, 3, 4, None]
            assert 0 <= told[3][1]["test_accuracy"] <= 1


@pytest.mark.slow
def test_an_export_is_loaded_and_run_without_the_simulator(tmp_path):
    page, environment = ROOT / "docs" / "export.md", with_command(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for _, text in blocks(page, "bash"):
        subprocess.run(["bash", "-euc", text], cwd=tmp_path, env=environment, check=True)
    images = np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8, 1)
    np.save(tmp_path / "images.npy", images)
    last = [
        "import sys",
        "assert not [name for name in sys.modules if name.startswith('fedtp_jax')]",
        "np.save('logits.npy', model.apply(variables, normalised(np.load('images.npy'))))",
    ]
    (tmp_path / "load.py").write_text("\n".join([text for _, text in blocks(page, "python")] + last))
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "load.py"], cwd=tmp_path, env=alone, check=True)
    result = Result.load(tmp_path / "runs" / "exported")
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), result.predict(7, images), atol=1e-4)


def test_the_job_script_goes_back_into_the_queue_and_goes_on(tmp_path):
    script = next(text for _, text in blocks(ROOT / "docs" / "slurm.md", "sh") if text.startswith("#!"))
    (tmp_path / "job").write_text(script)
    stand_ins = {
        "srun": 'exec "$@"',
        "scontrol": 'echo "scontrol $*" >> said',
        # the first is stopped by a signal, the second comes to its end
        "fedtp": 'echo "fedtp $*" >> said; [ $1 = resume ] && exit; mkdir -p $4; > $4/config.yaml; exit 130',
    }
    for name, text in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_PER_TASK": "8",
    }
    codes = [subprocess.run(["bash", "job"], cwd=tmp_path, env=environment).returncode for _ in range(2)]
    assert codes == [130, 0]
    assert (tmp_path / "said").read_text().splitlines() == [
        "fedtp run configs/shakespeare.yaml --out runs/7",
        "scontrol requeue 7",
        "fedtp resume runs/7",
    ]


def test_what_makes_a_page_shorter_is_in_it():
    for name, (text, _) in SHORTER.items():
        assert sum(text in code for _, code in blocks(ROOT / "docs" / f"{name}.md")) == 1


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_command_lines_that_are_only_shown_are_valid(page):
    for words in command_lines(page):
        check_command(words)


def test_command_lines_are_found():
    pages = [README, *PAGES]
    found = [" ".join(words) for page in pages for words in command_lines(page)]
    assert len(found) >= 20
    assert "resume $out" in found
    assert any("--process-id 1" in line for line in found)


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target, file, heading in links(page):
        assert file.exists(), target
        assert not heading or heading in headings(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_is_in_the_index(page):
    index = (ROOT / "docs" / "README.md").read_text()
    assert page.name == "README.md" or f"]({page.name})" in index


def test_the_settings_page_is_what_the_code_says():
    committed = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert committed == made_by("make_reference").page(), "run: python docs/make_reference.py"


def test_the_methods_pages_are_what_the_code_says(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    pages = (ROOT / "docs" / "methods").iterdir()
    committed = {page.name: page.read_text(encoding="utf-8") for page in pages}
    assert committed == made_by("make_methods").pages(), "run: python docs/make_methods.py"


def made_by(script):
    """The module of a script in docs/."""
    spec = importlib.util.spec_from_file_location(script, ROOT / "docs" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.M)[1]
    assert (citation["title"], citation["version"], citation["license"]) == ("fedtp_jax", version, "MIT")
    assert citation["preferred-citation"]["doi"] == "10.1109/TNNLS.2023.3269062"
