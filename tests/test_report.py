"""Pictures, report and terminal table: what they show, looked up in the artists and in the parsed page."""

import io
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection, PathCollection, QuadMesh
from matplotlib.patches import StepPatch
from PIL import Image
from rich.console import Console

from fedtp_jax import plots
from fedtp_jax.pictures import embedding_map
from fedtp_jax.report import write_report
from fedtp_jax.tables import partition_table

VOID = {"meta", "img", "br", "hr", "link"}


def history(rounds, every):
    """A row per round, evaluated every `every` rounds and in the last."""
    t = np.arange(1, rounds + 1)
    evaluated = (t % every == 0) | (t == rounds)

    def test(values):
        return np.where(evaluated, values, np.nan)

    return pd.DataFrame(
        {
            "round": t,
            "drawn": 5,
            "clients": 5,
            "stragglers": 0,
            "void": 0,
            "excluded": 0,
            "excluded_clients": "",
            "examples": 6000,
            "train_loss": 2 / t,
            "test_accuracy": test(1 - 0.5 / t),
            "test_client_mean": test(1 - 0.6 / t),
            "test_client_std": test(np.full(rounds, 0.1)),
            "test_worst_decile": test(0.9 - 0.6 / t),
            "test_loss": test(3 / t),
            "clients_tested": test(np.full(rounds, 20.0)),
            "clients_without_test": test(np.zeros(rounds)),
        }
    )


def clients(correct, examples):
    """A row per client, as in clients.csv; `correct` of `examples` test examples are right."""
    correct, examples = np.asarray(correct), np.asarray(examples)
    tested = examples > 0
    accuracy = np.where(tested, correct / np.maximum(examples, 1), np.nan)
    return pd.DataFrame(
        {
            "client": np.arange(len(correct)),
            "train_examples": 5 * examples,
            "test_examples": examples,
            "test_correct": correct,
            "test_accuracy": accuracy,
            "test_loss": np.where(tested, 1.5, np.nan),
        }
    )


def line(axes, name):
    (found,) = [line for line in axes.lines if line.get_label().startswith(name)]
    return found


class Page(HTMLParser):
    """Fails on a tag that is not closed in order; collects tags, attributes and each element's text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.sources, self.text, self.rows = [], [], [], {}, []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
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
            if self.open[-1] in ("td", "th"):
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
        "embeddings": None,
        "headline": [("test accuracy", "93.1 %")],
        **changes,
    }
    path = tmp_path / "report.html"
    write_report(path, **given)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"], "no scratch file is left"
    text = path.read_text(encoding="utf-8")
    return Page(text), text


def test_learning_curves_show_every_evaluation_in_percent_and_every_rounds_loss():
    frame = history(150, 10)
    left, right = plots.learning_curves(frame).axes
    rounds = np.arange(10, 151, 10)
    assert len(left.lines) == 3
    np.testing.assert_array_equal(line(left, "all examples").get_xdata(), rounds)
    np.testing.assert_allclose(line(left, "all examples").get_ydata(), 100 - 50 / rounds)
    np.testing.assert_allclose(line(left, "mean of clients").get_ydata(), 100 - 60 / rounds)
    np.testing.assert_allclose(line(left, "worst tenth").get_ydata(), 90 - 60 / rounds)
    assert line(left, "all examples").get_label() == "all examples: 99.7 %"
    np.testing.assert_allclose(line(right, "train, each round").get_ydata(), frame["train_loss"])
    means = line(right, "train, mean over 5 rounds").get_ydata()
    assert means[75] == pytest.approx(frame["train_loss"][73:78].mean())
    np.testing.assert_array_equal(line(right, "test").get_xdata(), rounds)
    for axes, unit in ((left, "%"), (right, "nats")):
        assert axes.get_xlabel() == "communication round"
        assert unit in axes.get_ylabel()


def test_the_band_is_one_std_around_the_clients_mean_within_0_and_100_percent():
    left, _ = plots.learning_curves(history(20, 1)).axes
    (band,) = [item for item in left.collections if isinstance(item, FillBetweenPolyCollection)]
    corners = band.get_paths()[0].vertices
    at = {round_: corners[corners[:, 0] == round_, 1] for round_ in (2, 20)}
    assert (at[2].min(), at[2].max()) == pytest.approx((60, 80))
    assert (at[20].min(), at[20].max()) == pytest.approx((87, 100))


def test_a_single_evaluation_is_marked_with_an_error_bar():
    left, right = plots.learning_curves(history(1, 1)).axes
    assert line(left, "all examples").get_marker() == "o"
    (container,) = left.containers
    ((low, high),) = [segment[:, 1] for segment in container.lines[2][0].get_segments()]
    assert (low, high) == pytest.approx((30, 50))
    assert line(right, "train").get_marker() == line(right, "test").get_marker() == "o"


def test_many_evaluations_are_drawn_without_markers():
    left, _ = plots.learning_curves(history(1500, 5)).axes
    assert len(line(left, "all examples").get_xdata()) == 300
    assert line(left, "all examples").get_marker() in ("", "None")


def test_curves_survive_no_evaluation_and_a_diverged_round():
    frame = history(8, 4)
    frame.loc[:, frame.columns.str.startswith("test_")] = np.nan
    frame.loc[3, "train_loss"] = np.inf
    figure = plots.learning_curves(frame)
    left, right = figure.axes
    assert left.get_title(loc="left") == "No evaluation yet"
    assert np.isnan(right.lines[0].get_ydata()).tolist() == [k == 3 for k in range(8)]
    plots.to_png(figure)


def test_client_bars_are_sorted_and_leave_out_clients_without_test_examples():
    (axes,) = plots.client_accuracies(clients([9, 2, 0, 5], [10, 10, 0, 10])).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([20, 50, 90])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "0"]
    assert line(axes, "mean").get_ydata()[0] == pytest.approx(160 / 3)
    assert line(axes, "worst tenth").get_ydata()[0] == pytest.approx(20)
    assert axes.get_title(loc="left") == "Clients tested: 3, without test examples: 1"


def test_many_clients_are_drawn_as_steps_with_the_worst_tenth_apart():
    (axes,) = plots.client_accuracies(clients(np.arange(101)[::-1], np.full(101, 100))).axes
    everyone, worst = [patch.get_data().values for patch in axes.patches if isinstance(patch, StepPatch)]
    np.testing.assert_allclose(everyone, np.arange(101))
    np.testing.assert_allclose(worst, np.arange(11))  # a tenth of 101, rounded up
    assert line(axes, "worst tenth").get_ydata()[0] == pytest.approx(5)


def test_very_many_clients_are_drawn_as_means_of_neighbours():
    (axes,) = plots.client_accuracies(clients(np.arange(2503) % 101, np.full(2503, 100))).axes
    everyone, worst = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
    values = np.sort(np.arange(2503) % 101)
    assert len(everyone.values) <= 837
    np.testing.assert_allclose(everyone.values[:2], [values[:3].mean(), values[3:6].mean()])
    assert everyone.edges[-1] == 2502.5 and worst.edges[-1] == 250.5  # a tenth of 2503, rounded up
    for steps, end in ((everyone, 2503), (worst, 251)):
        assert steps.values @ np.diff(steps.edges) == pytest.approx(values[:end].sum())


def test_a_bubbles_area_is_proportional_to_its_count():
    counts = np.array([[100, 0, 25], [0, 1, 0]])
    figure = plots.partition_bubbles(counts, ["a$", "$b", "c"])
    (bubbles,) = [item for item in figure.axes[0].collections if isinstance(item, PathCollection)]
    assert bubbles.get_offsets().tolist() == [[0, 0], [0, 2], [1, 1]]  # client, class
    areas = bubbles.get_sizes()
    assert (areas / areas[0]).tolist() == pytest.approx([1, 0.25, 0.01])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["10", "50", "100"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a$", "$b", "c"]
    title = figure.axes[0].get_title(loc="left")
    assert title == "Clients: 2, classes: 3\nExamples per client: smallest 1, median 63, largest 125"
    plots.to_png(figure)


@pytest.mark.parametrize("shape", [(101, 10), (10, 41), (300, 100)])
def test_large_partitions_become_a_heat_map_of_the_counts(shape):
    counts = np.arange(np.prod(shape)).reshape(shape) % 7
    axes, bar = plots.partition_bubbles(counts).axes
    (mesh,) = [item for item in axes.collections if isinstance(item, QuadMesh)]
    np.testing.assert_array_equal(mesh.get_array().filled(0), counts.T)
    assert "examples" in bar.get_ylabel()


def test_a_heat_map_of_very_many_clients_averages_neighbours():
    counts = np.repeat(np.arange(2500)[:, None], 2, 1)
    axes, bar = plots.partition_bubbles(counts).axes
    (mesh,) = [item for item in axes.collections if isinstance(item, QuadMesh)]
    assert mesh.get_array().shape == (2, 834)
    assert mesh.get_array()[0, [1, 833]].tolist() == [4, 2499]  # clients 3 to 5, and the last one alone
    assert "mean of 3 clients" in bar.get_ylabel()


@pytest.mark.parametrize("shape", [(1, 2), (5, 2), (50, 10), (100, 40), (1, 60)])
def test_png_of_any_partition(shape):
    counts = np.random.default_rng(0).poisson(3, shape)
    figure = plots.partition_bubbles(counts)
    png = plots.to_png(figure, dpi=50)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert Image.open(io.BytesIO(png)).size == pytest.approx(50 * figure.get_size_inches(), abs=1)
    assert plots.to_png(plots.partition_bubbles(counts), dpi=50) == png


def test_report_holds_all_parts_and_loads_nothing(tmp_path):
    page, text = report(tmp_path, notes=["one client was excluded"])
    assert page.tags.count("img") == 3
    assert all(source.startswith("data:image/png;base64,iVBORw0KGgo") for source in page.sources)
    assert "http://" not in text and "https://" not in text and "url(" not in text
    assert "script" not in page.tags and "link" not in page.tags
    assert page.text["h1"] == page.text["title"] == "a run"
    assert page.text["li"] == "one client was excluded"
    assert page.text["pre"] == "seed: 0\n"
    for row in (["test accuracy", "93.1 %"], ["versions: jax", "0.10"], ["devices", "2 x cpu"]):
        assert row in page.rows


def test_report_shows_embeddings_where_there_are_any(tmp_path):
    page, text = report(tmp_path, embeddings=embedding_map(np.eye(3), np.arange(3)))
    assert page.tags.count("img") == 4
    assert "Client embeddings" in text


def test_report_tables_show_the_last_five_evaluations_and_the_worst_ten_clients(tmp_path):
    page, _ = report(tmp_path, history=history(40, 5), clients=clients(np.arange(12), np.full(12, 20)))
    start = next(k for k, row in enumerate(page.rows) if row[0] == "round")
    assert [row[0] for row in page.rows[start + 1 : start + 6]] == ["20", "25", "30", "35", "40"]
    assert page.rows[start + 5][6:9] == ["6,000", "0.0500", "98.75"]  # examples, train loss, accuracy in %
    assert page.rows[start + 6][:2] == ["client", "train examples"]
    assert [row[0] for row in page.rows[start + 7 : start + 17]] == [str(k) for k in range(10)]
    assert page.rows[start + 9] == ["2", "100", "20", "2", "10.00", "1.5000"]
    assert page.rows[start + 17] == ["versions: jax", "0.10"]


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
    assert "<script" not in text
    assert page.tags.count("img") == 3
    assert page.text["h1"] == page.text["title"] == page.text["pre"] == page.text["li"] == evil
    assert [evil, evil] in page.rows and [f"{evil}: {evil}", evil] in page.rows


def test_report_of_a_run_without_evaluation_and_of_one_client(tmp_path):
    frame = history(3, 3)
    frame.loc[:, frame.columns.str.startswith("test_")] = np.nan
    page, _ = report(tmp_path, history=frame, clients=clients([0], [0]), counts=np.array([[4, 0, 1]]))
    assert "No evaluation yet." in page.text["p"] and "No client has test examples." in page.text["p"]
    assert "ul" not in page.tags
    page, _ = report(tmp_path, history=history(1, 1), clients=clients([1], [2]), counts=np.array([[4, 0, 1]]))
    assert ["0", "10", "2", "1", "50.00", "1.5000"] in page.rows


def test_a_missing_loss_is_a_dash(tmp_path):
    frame = history(4, 2)
    frame.loc[3, ["train_loss", "test_loss"]] = np.nan
    page, _ = report(tmp_path, history=frame)
    (row,) = [row for row in page.rows if row[0] == "4" and row[1] == "5"]
    assert row[7] == row[12] == "\N{EN DASH}"


def test_a_failed_write_keeps_the_old_report(tmp_path, monkeypatch):
    _, old = report(tmp_path)
    monkeypatch.setattr("os.replace", lambda *args: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        report(tmp_path, title="new")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == old


def rendered(table, width=200):
    """The words of each line of the table that holds any."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    return [line.split() for line in text.splitlines() if any(c.isalnum() for c in line)], " ".join(
        text.split()
    )


def test_partition_table_has_a_column_per_class():
    lines, text = rendered(partition_table(np.array([[0, 1200, 5], [7, 0, 0], [0, 0, 0]]), limit=2))
    assert lines[0] == ["client", "0", "1", "2", "total"]
    assert lines[1:3] == [["0", "·", "1,200", "5", "1,205"], ["1", "7", "·", "·", "7"]]
    assert "and 1 more client with 0 examples" in text


def test_partition_table_summarises_many_classes():
    counts = np.zeros((40, 21), int)
    counts[:, 20], counts[:, 3] = 2000, 4
    counts[1] = 0
    lines, text = rendered(partition_table(counts))
    assert lines[0] == ["client", "classes", "largest", "class", "total"]
    assert lines[1] == ["0", "2", "20", "(2,000)", "2,004"]
    assert lines[2] == ["1", "·", "·", "0"]
    assert len(lines) == 1 + 30 + 1
    assert "and 10 more clients with 20,040 examples" in text
    assert "more" not in rendered(partition_table(counts[:30]))[1]


def test_a_narrow_terminal_loses_no_digit():
    _, text = rendered(partition_table(np.full((1, 20), 123456)), width=60)
    assert "…" not in text
