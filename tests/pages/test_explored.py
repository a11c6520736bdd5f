"""Pages to explore, in a browser: charts are drawn, boxes hide curves, clicks sort, nothing is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from chromium import CHROMIUM, browser
from histories import clients, history
from tiny_run import TINY

from fedtp_jax import compare, config, simulate
from fedtp_jax.plots.clients import Embedded
from fedtp_jax.results.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium or Chrome to look at pages with")
BLUE = [0, 114, 178]  # of the first curve
PIXELS = """[...document.querySelectorAll("figure.chart canvas")].map((canvas) => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let k = 0; k < data.length; k += 4)
    if (data[k + 3] > 200 && COLOUR.every((c, i) => Math.abs(data[k + i] - c) < 12)) count += 1;
  return count;
})"""
COLUMN = """[...document.querySelectorAll("table.sorted tbody tr")].filter((row) => !row.hidden)
  .map((row) => row.cells[INDEX].textContent)"""
SORT = "document.querySelectorAll('table.sorted thead button')[INDEX].click()"
EVIL = "</script><script>document.title = 'taken'</script><b onclick=x>"


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


def blue(chart):
    """JavaScript for how many pixels of a chart have the first curve's colour."""
    return PIXELS.replace("COLOUR", str(BLUE)) + f"[{chart}]"


def column(seen, index):
    """The shown rows' texts."""
    return seen.js(COLUMN.replace("INDEX", str(index)))


def report(tmp_path, **changes):
    """A report of three clients whose texts are as bad as can be."""
    table = clients([9, 5, 0], [10, 10, 0])
    table.insert(1, "name", ["Ann", EVIL, "Cy"])
    given = {
        "title": EVIL,
        "config_yaml": EVIL,
        "environment": {},
        "history": history(30, 5).assign(virtual_time=np.arange(30) ** 2.0),
        "clients": table,
        "clients_history": pd.concat([table.assign(round=t) for t in (5, 10, 15)]),
        "counts": np.array([[3, 0], [1, 2], [0, 4]]),
        "class_names": ["shirt", EVIL],
        "embedded": Embedded(np.eye(3)[:, :2], ("a", "b"), ["shirt", EVIL, "shirt"], ["shirt", EVIL]),
        "headline": [],
        **changes,
    }
    write_report(tmp_path / "report.html", **given)
    return tmp_path / "report.html"


def test_boxes_hide_curves_and_a_choice_moves_them_to_virtual_time(tmp_path, seen):
    seen.open(report(tmp_path))
    assert seen.js("document.querySelectorAll('figure.chart canvas').length") == 6
    assert seen.js("document.title") == EVIL, "no text of a run is a script"
    box = "document.querySelector('input[value=\"all examples\"]').click()"
    drawn = seen.js(blue(0))
    assert drawn > 100, "the curve of all examples"
    seen.js(box)
    seen.wait(f"{blue(0)} === 0")
    seen.js(box)
    seen.wait(f"{blue(0)} > {drawn} / 2")
    seen.js("over = document.querySelector('select'); over.value = 'virtual_time'")
    seen.js("over.dispatchEvent(new Event('change', {bubbles: true}))")
    seen.wait(f"{blue(0)} > 100 && {blue(0)} !== {drawn}")
    assert seen.errors == []


def test_the_pointer_tells_values(tmp_path, seen):
    seen.open(report(tmp_path))
    seen.js("document.querySelector('figure.chart').scrollIntoView()")
    canvas = "document.querySelector('figure.chart canvas')"
    at = seen.js(f"(({{x, y}}) => [x, y])({canvas}.getBoundingClientRect())")
    for step in (0, 5):  # a pointer that moves
        where = {"x": at[0] + 250 + step, "y": at[1] + 60}
        seen.call("Input.dispatchMouseEvent", type="mouseMoved", **where)
    seen.wait("document.querySelector('#vg-tooltip-element.visible') !== null")
    told = seen.js("document.querySelector('#vg-tooltip-element').textContent")
    assert "communication round" in told and "accuracy (%)" in told and "virtual time" in told
    assert "undefined" not in told and ("all examples" in told or "mean of clients" in told)
    assert seen.errors == []


def test_clients_are_sorted_searched_and_ticked(tmp_path, seen):
    seen.open(report(tmp_path))
    assert column(seen, 2) == [EVIL, "Ann", "Cy"], "worst first, and below who was not tested"
    seen.js(SORT.replace("INDEX", "0"))
    assert column(seen, 1) == ["0", "1", "2"]
    seen.js(SORT.replace("INDEX", "0"))
    assert column(seen, 1) == ["2", "1", "0"]
    seen.js("search = document.querySelector('input[type=search]'); search.value = 'ann'")
    seen.js("search.dispatchEvent(new Event('input'))")
    assert column(seen, 2) == ["Ann"]
    sky = blue(2).replace(str(BLUE), "[86, 180, 233]")
    both = seen.js(sky)
    assert both > 1000, "the bar of the better client"
    seen.js("document.querySelector('table.sorted input[value=\"1\"]').click()")
    seen.wait(f"{sky} < {both} / 10")
    assert seen.errors == []


def test_one_evaluation_is_a_point_and_regression_has_no_percent(tmp_path, seen):
    measured = {f"test_{name}": f"test_mae_{name}" for name in ("client_mean", "client_std", "worst_decile")}
    table = history(1, 1).rename(columns={"test_accuracy": "test_mae", **measured})
    table["test_mae_trained"] = 0.9
    people = clients([9, 5, 0], [10, 10, 0]).rename(columns={"test_accuracy": "test_mae"})
    page = report(tmp_path, history=table, clients=people, clients_history=None)
    seen.open(page)
    assert seen.js(blue(0)) > 8
    assert '"value":[0.9]' in page.read_text("utf-8") and '"value":[90' not in page.read_text("utf-8")
    assert seen.errors == []


@pytest.mark.alone
def test_without_scripts_it_is_the_pictures(tmp_path, seen):
    page = report(tmp_path)
    seen.open(page, scripts=False)
    seen.wait("document.querySelectorAll('img').length === 5")
    seen.wait("[...document.querySelectorAll('img')].every((image) => image.naturalWidth > 100)")
    assert seen.js("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert seen.js("getComputedStyle(document.querySelector('figure.chart')).display") == "none"


@pytest.mark.alone
def test_many_clients_and_rounds_stay_small(tmp_path, seen):
    rng, many = np.random.default_rng(0), 1000
    rounds, numbers = np.repeat(np.arange(5, 1501, 5), many), np.tile(np.arange(many), 300)
    every = pd.DataFrame({"round": rounds, "client": numbers})
    page = report(
        tmp_path,
        history=history(1500, 5),
        clients=clients(rng.integers(0, 100, many), np.full(many, 100)),
        clients_history=every.assign(test_accuracy=rng.random(len(every))),
        counts=rng.integers(0, 9, (many, 100)),
        class_names=[],
        embedded=Embedded(rng.random((many, 2)), ("a", "b"), ["0"] * many, ["0"]),
    )
    assert page.stat().st_size < 3_000_000
    assert "Thinned out" in page.read_text("utf-8")
    seen.open(page)
    assert len(column(seen, 1)) == many
    assert seen.errors == []


def test_a_comparison_switches_runs_and_measures(tmp_path, seen):
    method = config.FedAvg, config.Local
    runs = {made.__name__: simulate(dataclasses.replace(TINY, method=made())) for made in method}
    compared = compare(runs)
    page = tmp_path / "compared.html"
    page.write_text(compared.to_html(), encoding="utf-8")
    seen.open(page)
    assert column(seen, 1)[:2] == [" FedAvg", " Local"]
    assert seen.js(blue(0)) > 50
    seen.js("document.querySelector('table.sorted input[value=FedAvg]').click()")
    seen.wait(f"{blue(0)} === 0")
    seen.js("document.querySelector('table.sorted input[value=FedAvg]').click()")
    shown = seen.js("[...document.querySelector('select').options].map((option) => option.value)")
    assert shown[0] == "Test accuracy" and {"Test loss", "Mean of the clients' test accuracies"} < {*shown}
    seen.js("over = document.querySelector('select'); over.value = 'Test loss'")
    seen.js("over.dispatchEvent(new Event('change', {bubbles: true}))")
    seen.wait(f"{blue(0)} > 50")
    assert len(column(seen, 1)) == 2 + 6, "two runs, six clients that are the same in both"
    assert seen.errors == []
