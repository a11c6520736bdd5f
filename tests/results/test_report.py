"""The report: what it shows, looked up in the parsed page."""

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest
from histories import clients, history
from tiny_run import TINY

from fedtp_jax import simulate
from fedtp_jax.plots.clients import Embedded
from fedtp_jax.results.report import write_report

VOID = {"meta", "input", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """Fails on a tag that is not closed in order; collects tags, attributes and each element's text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.sources, self.text, self.rows = [], [], [], {}, []
        self.attributes = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.setdefault(tag, set()).update(name for name, _ in attrs)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data
            if {"td", "th"} & {*self.open}:
                self.rows[-1][-1] += data


def report(tmp_path, **changes):
    """Write a report and parse it."""
    given = {
        "title": "a run",
        "config_yaml": "seed: 0\n",
        "environment": {"versions": {"jax": "0.10"}, "devices": ["cpu", "cpu"], "python": "3.11"},
        "history": history(30, 5),
        "clients": clients([9, 5, 0], [10, 10, 0]),
        "counts": np.array([[3, 0], [1, 2], [0, 4]]),
        "embedded": None,
        "headline": [("test accuracy", "93.1 %")],
        **changes,
    }
    path = tmp_path / "report.html"
    write_report(path, **given)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"], "no scratch file is left"
    text = path.read_text(encoding="utf-8")
    return Page(text), text


@pytest.mark.alone
def test_report_holds_all_parts_and_loads_nothing(tmp_path):
    page, text = report(tmp_path, notes=["one client was excluded"])
    assert page.tags.count("img") == 3
    assert all(source.startswith("data:image/png;base64,iVBORw0KGgo") for source in page.sources)
    assert "http://" not in text and "https://" not in text and "url(" not in text
    assert "link" not in page.tags and "src" not in page.attributes["script"]
    assert "default-src 'none'" in text and "unsafe" not in text.partition("<style>")[0]
    assert page.text["h1"] == page.text["title"] == "a run"
    assert page.text["li"] == "one client was excluded"
    assert page.text["pre"] == "seed: 0\n"
    for row in (["test accuracy", "93.1 %"], ["versions: jax", "0.10"], ["devices", "2 x cpu"]):
        assert row in page.rows


def test_report_shows_embeddings_where_there_are_any(tmp_path):
    page, text = report(
        tmp_path, embedded=Embedded(np.eye(3)[:, :2], ("", ""), ["0", "1", "2"], ["0", "1", "2"])
    )
    assert page.tags.count("img") == 4
    assert "Client embeddings" in text


def test_report_tables_show_the_last_five_evaluations_and_all_clients(tmp_path):
    page, _ = report(tmp_path, history=history(40, 5), clients=clients(np.arange(12), np.full(12, 20)))
    start = next(k for k, row in enumerate(page.rows) if row[0] == "round")
    assert [row[0] for row in page.rows[start + 1 : start + 6]] == ["20", "25", "30", "35", "40"]
    assert page.rows[start + 5][4:9] == [
        "100.00",
        "0",
        "0",
        "6,000",
        "0.0500",
    ]
    assert page.rows[start + 6] == ["versions: jax", "0.10"]
    (head,) = [k for k, row in enumerate(page.rows) if row[:3] == ["", "client", "train examples"]]
    assert [row[1] for row in page.rows[head + 1 : start]] == [str(k) for k in range(12)], "worst first"
    assert page.rows[head + 3] == ["", "2", "100", "20", "2", "10.00", "1.5000"]


def test_report_escapes_whatever_it_is_given(tmp_path):
    evil = "</title></pre></td><script>alert('&amp;')</script><img src=x onerror=\"y\"> {title} $a$"
    page, text = report(
        tmp_path,
        title=evil,
        config_yaml=evil,
        environment={evil: {evil: [evil]}},
        headline=[(evil, evil)],
        notes=[evil],
    )
    assert text.count("<script") == 6, "three charts, the table has none: ours alone"
    assert "alert" not in page.text["script"]
    assert page.tags.count("img") == 3
    assert page.text["h1"] == page.text["title"] == page.text["pre"] == page.text["li"] == evil
    assert [evil, evil] in page.rows and [f"{evil}: {evil}", evil] in page.rows


def test_report_of_a_run_without_evaluation_and_of_one_client(tmp_path):
    frame = history(3, 3)
    frame.loc[:, frame.columns.str.startswith(("test_", "clients_tested"))] = np.nan
    page, _ = report(tmp_path, history=frame, clients=clients([0], [0]), counts=np.array([[4, 0, 1]]))
    assert "No evaluation yet." in page.text["p"]
    assert "ul" not in page.tags
    page, _ = report(tmp_path, history=history(1, 1), clients=clients([1], [2]), counts=np.array([[4, 0, 1]]))
    assert ["", "0", "10", "2", "1", "50.00", "1.5000"] in page.rows


def test_a_run_in_which_everybody_trained_has_a_report(tmp_path):
    training = dataclasses.replace(TINY.training, rounds=1, cohort_size=6)
    result = simulate(dataclasses.replace(TINY, training=training), out=tmp_path / "run")
    assert result.history["test_accuracy_untrained"].isna().all()
    assert result.history["test_accuracy_untrained"].dtype == float
    assert (tmp_path / "run/report.html").is_file()


def test_a_missing_loss_is_a_dash(tmp_path):
    frame = history(4, 2)
    frame.loc[3, ["train_loss", "test_loss"]] = np.nan
    page, _ = report(tmp_path, history=frame)
    (row,) = [row for row in page.rows if row[0] == "4" and row[1] == "5"]
    assert row[8] == row[13] == "\N{EN DASH}"


def test_a_failed_write_keeps_the_old_report(tmp_path, monkeypatch):
    _, old = report(tmp_path)
    monkeypatch.setattr("os.replace", lambda *args: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        report(tmp_path, title="new")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == old


def test_names_of_clients_are_in_the_table_of_the_worst(tmp_path):
    table = clients([9, 5, 0], [10, 10, 0])
    table.insert(1, "name", ["Ann", "<Ben>", "Cy"])
    page, _ = report(tmp_path, clients=table)
    (row,) = [row for row in page.rows if row[2:3] == ["<Ben>"]]
    assert row[1] == "1"
