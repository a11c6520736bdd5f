"""The commands that look at runs which are there: `fedtp compare | novel | export`, and `fedtp doctor`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from fedtp_jax.cli.output import (
    expect_picture,
    show,
    show_sheet,
    tell,
    unwritable,
    write_output,
    write_picture,
)
from fedtp_jax.core.counted import count_of
from fedtp_jax.core.errors import UserError

FORMATS = {".md": "markdown", ".csv": "csv", ".tex": "latex"}


def compare(
    runs: Annotated[
        Positional[tuple[Path, ...]],
        arg(metavar="RUNS...", help="folders of runs, of some seeds, of sweeps"),
    ],
    format: Annotated[
        Literal["terminal", "markdown", "csv", "latex"] | None,
        arg(help="default: by the ending of --out (.md, .csv, .tex), else terminal"),
    ] = None,
    out: Annotated[
        Path | None, arg(metavar="FILE", help="file for the table; default: standard output")
    ] = None,
    picture: Annotated[
        Path | None, arg(metavar="FILE", help="a .png, .pdf or .svg file for the learning curves")
    ] = None,
    html: Annotated[
        Path | None, arg(metavar="FILE", help="a page to explore: the table, curves to switch, the clients")
    ] = None,
    metric: Annotated[
        str | None,
        arg(
            metavar="METRIC",
            help="accuracy, in regression mae (the default): of all test examples, mean over the last "
            "evaluations; client_mean, worst_decile: of the last one; f1_macro, f1_macro_client_mean, ...: "
            "the same of evaluation.metrics; adapted_...: the same with evaluation.adapt; time_to_accuracy: "
            "seconds of the virtual clock (training.clock) until a target",
        ),
    ] = None,
    target: Annotated[
        float | None,
        arg(
            metavar="ACCURACY",
            help="accuracy (in regression mae) for time_to_accuracy, the metric where there is a target; "
            "default: the best that all runs of a column reach",
        ),
    ] = None,
) -> int:
    """Compare runs in a table, mean ± std over seeds, and as learning curves."""
    from fedtp_jax.comparison.compare import compare as compare_runs

    if not runs:
        raise UserError(
            "RUNS: got none; give folders of runs, of some seeds or of sweeps, such as runs/sweep"
        )
    expect_picture("--picture", picture)
    made = compare_runs(runs, metric, target)
    form = format or FORMATS.get(out.suffix.lower() if out else "", "terminal")
    if picture is not None:
        write_picture("--picture", picture, made.plot())
    if html is not None:
        write_output("--html", html, made.to_html())
    if form == "terminal":
        text = made.sheet.text()
    else:
        text = {"markdown": made.to_markdown, "csv": made.to_csv, "latex": made.to_latex}[form]()
    if out:
        write_output("--out", out, text)
    elif form == "terminal":
        show_sheet(made.sheet)
    else:
        tell(text.rstrip("\n"))
    for path in filter(None, (out, picture, html)):
        tell(f"wrote {path}", error=True)
    return 0


def novel(
    directory: Annotated[Positional[Path], arg(help="the folder of a run with training.held_out clients")],
    overrides: Annotated[
        Positional[tuple[str, ...]],
        arg(metavar="section.file=PATH ...", help="where files lie now, such as data.file=/data/mine.npz"),
    ] = (),
    clients: Annotated[tuple[int, ...], arg(help="ids among the held-out clients; default: all")] = (),
    modes: Annotated[
        tuple[Literal["zero_shot", "fit", "fine_tune", "local"], ...], arg(help="default: all that fit")
    ] = (),
    epochs: Annotated[int, arg(help="passes over a client's train examples")] = 10,
    learning_rate: Annotated[float | None, arg(help="default: training.learning_rate")] = None,
    embedding_learning_rate: Annotated[
        float | None, arg(help="default: the hypernetwork's, if of the clients' optimizer")
    ] = None,
    out: Annotated[Path | None, arg(help="CSV file to write, a row per client")] = None,
    export: Annotated[
        Path | None,
        arg(
            metavar="FILE", help="a .safetensors file of one client after one mode, as `fedtp export` writes"
        ),
    ] = None,
    overwrite: Annotated[bool, arg(help="replace the file of --export, if there is one")] = False,
) -> int:
    """What clients that never trained reach: at once, by fitting their embedding, by training everything."""
    from fedtp_jax.cli.tables import novel_table
    from fedtp_jax.config.load import from_dict
    from fedtp_jax.config.plain import to_dict
    from fedtp_jax.data.sources import load
    from fedtp_jax.engine.compilation_cache import keep_programs
    from fedtp_jax.evaluation.novel_modes import MODES
    from fedtp_jax.evaluation.novel_steps import Adaptation
    from fedtp_jax.export.safetensors_file import check_file, export_novel
    from fedtp_jax.results.result import Result
    from fedtp_jax.storage.csv_log import write_csv

    if export is not None:
        check_file(export, overwrite, "--export")
        if len(clients) != 1 or len(modes) != 1:
            raise UserError(
                "--export: is of one client after one mode; give both, such as --clients 3 --modes fit"
            )
    keep_programs()
    settings = Adaptation(epochs, learning_rate, embedding_learning_rate)
    result = Result.load(directory)
    settings_here = from_dict(to_dict(result.config), overrides)
    data = load(settings_here.data, settings_here.task.kind)
    reached = result.personalize_held_out(data, clients or None, modes or None, settings)
    show(novel_table(reached))
    whose = f"; the mean client is that of {reached.mean_of} that trained" if reached.words is MODES else ""
    who, how_long = count_of(len(reached.clients), "client"), count_of(epochs, "epoch")
    tell(f"{who} that never trained, {how_long}{whose}")
    if out is not None:
        try:
            write_csv(out, reached.clients)
        except OSError as error:
            raise unwritable("--out", out, error) from None
        tell(f"wrote {out}")
    if export is not None:
        export_novel(result, reached, 0, modes[0], export, overwrite)
        tell(f"wrote {export}")
    return 0


def export(
    directory: Annotated[Positional[Path], arg(help="the folder of a run")],
    client: Annotated[int, arg(help="whose variables")],
    out: Annotated[Path, arg(metavar="FILE", help="a .safetensors file to write")],
    overwrite: Annotated[bool, arg(help="replace the file, if there is one")] = False,
) -> int:
    """Write what a client would run now as a safetensors file, which needs no simulator to be read."""
    from fedtp_jax.export.safetensors_file import check_file, export_client
    from fedtp_jax.results.result import Result

    check_file(out, overwrite)  # before the run is read
    export_client(Result.load(directory), client, out, overwrite)
    tell(f"wrote {out}")
    return 0


def doctor(json: Annotated[bool, arg(help="print it as one JSON object")] = False) -> int:
    """Say what is installed, what the machine has, which data are found, and what is missing."""
    from fedtp_jax.cli.doctor import examine, findings_json, findings_lines

    findings = examine()
    if json:
        tell(jsonlib.dumps(findings_json(findings)))
    else:
        tell(findings_lines(findings))
    return 0
