"""A sweep on a disk that is full: what is missing is named, and the next call writes it."""

from commands import fedtp
from full_disk import full_for


def test_a_run_whose_report_does_not_fit_has_failed_and_the_next_sweep_finishes_it(file, capsys, monkeypatch):
    name = file(grid={"method.name": ["fedavg"]})
    with full_for(monkeypatch, "report.html"):
        code, _, err = fedtp(capsys, "sweep", name)
    assert code == 1
    folder = "runs/tiny/method=fedavg"
    told = f"{folder}: could not write seed-4/report.html; free space, then: fedtp resume {folder}"
    assert err.splitlines()[-1] == f"failed: method=fedavg: {told}"
    code, _, err = fedtp(capsys, "sweep", name)
    assert code == 0 and "method=fedavg, seed 4: accuracy" in err


def test_a_combination_whose_folder_cannot_be_made_does_not_end_the_others(file, capsys, monkeypatch):
    name = file(grid={"method.name": ["fedavg"]})
    with full_for(monkeypatch, "seeds.json"):
        code, _, err = fedtp(capsys, "sweep", name, "--processes", "2")
    assert code == 1 and "Traceback" not in err
    told = (
        "runs/tiny/method=fedavg: cannot be written (No space left on device); free space, then sweep again"
    )
    assert f"failed: method=fedavg: {told}" in err.splitlines()[-1]
