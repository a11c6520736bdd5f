"""Text from plays to report: FedTP unchanged on a Transformer, names of roles, resume, prediction."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from benchmarks.paper import language as by_position
from fedtp_jax import Result, SimulationConfig, UserError, config, simulate
from fedtp_jax.data.sources import load
from fedtp_jax.data.text import ALPHABET

ROLES = {"ANN": "the cat sat on the mat", "BEN": "no dog may dig so deep", "CY": "all is well that ends"}
SETTINGS = SimulationConfig(
    partition=config.Natural(),
    model=config.Transformer(dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8),
    method=config.FedTP(hypernetwork=config.Hypernetwork(embedding=4, hidden=6, layers=1)),
    training=config.Training(rounds=4, cohort_size=2, local_steps=3, batch_size=16, learning_rate=0.1),
    evaluation=config.Evaluation(every=2, last=2),
    checkpoint=config.Checkpoint(every=2),
    engine=config.Engine(devices=1),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Three roles of ten lines each, in a play of the user's own."""
    folder = tmp_path_factory.mktemp("plays")
    lines = "\n\n".join(f"**{role}**\n{line} {n}" for n in range(10) for role, line in ROLES.items())
    (folder / "play.md").write_text(f"# Play, in Three Roles\n\n{lines}\n")
    return dataclasses.replace(SETTINGS, data=config.Shakespeare(directory=str(folder), window=5))


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("language") / "run"
    return simulate(settings, out=path), path


def test_roles_are_clients_by_name(run):
    result, path = run
    assert result.clients["name"].tolist() == [f"Play, in Three Roles: {role}" for role in ROLES]
    pd.testing.assert_frame_equal(Result.load(path).clients, result.clients)
    ticks = result.plot_clients().axes[0].get_xticklabels()
    assert {label.get_text() for label in ticks} == {
        "0 (Play, …ee Roles: ANN)",
        "1 (Play, …ee Roles: BEN)",
        "2 (Play, …ree Roles: CY)",
    }
    assert "Play, in Three Roles: BEN" in (path / "report.html").read_text()
    assert result.history["examples"].tolist() == [2 * 3 * 16] * 4  # clients, local steps, windows


def test_accuracy_is_that_of_characters(run, settings):
    result, _ = run
    data = load(settings.data)
    windows = data.test
    for client in range(3):
        start = windows.start[result.partition.test[client]]
        codes = windows.text[start[:, None] + np.arange(6)].astype(np.int32)
        logits = np.asarray(result.predict(client, codes[:, :-1]))
        assert logits.shape == (len(start), 5, len(ALPHABET))
        right = np.mean(logits.argmax(-1) == codes[:, 1:])
        assert result.clients["test_accuracy"][client] == pytest.approx(right, abs=1e-6)


def test_attention_is_generated_for_each_role_and_the_rest_shared(run):
    result, _ = run
    a, b = (result.variables(k)["params"] for k in (0, 1))
    assert not np.array_equal(
        a["block_0"]["attention"]["key"]["kernel"], b["block_0"]["attention"]["key"]["kernel"]
    )
    np.testing.assert_array_equal(a["embedding"], b["embedding"])


@pytest.mark.slow
def test_a_later_character_changes_no_earlier_prediction_unless_asked_for(run, settings):
    one = np.full((1, 5), ALPHABET.index("a"))
    other = one.copy()
    other[0, -1] = ALPHABET.index("z")
    causal = run[0]
    seeing = simulate(dataclasses.replace(settings, compat="reference"))
    for result, same in ((causal, True), (seeing, False)):
        first, second = (np.asarray(result.predict(0, x))[:, :4] for x in (one, other))
        assert np.array_equal(first, second) == same


def test_resume(run, settings, tmp_path):
    _, path = run

    def stop(progress):
        if progress.round == 3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        simulate(settings, out=tmp_path / "run", on_round=stop)
    simulate(settings, out=tmp_path / "run", resume=True)
    for name in ("metrics.csv", "clients.csv"):
        assert (path / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"partition": config.Iid(clients=2)}, r"partition\.name: 'iid' would ignore the groups"),
        ({"model": config.Vit()}, r"model\.name: vit takes images"),
        ({"method": config.FedRod()}, "method fedrod: needs one feature vector per example"),
        ({"method": config.FedProto()}, "method fedproto: needs one feature vector per example"),
        ({"model": config.Lstm()}, "method.generated: .* matches no leaf of the model"),
    ],
)
def test_what_does_not_go_with_text_is_refused_before_anything_is_written(
    change, message, settings, tmp_path
):
    change = {"training": dataclasses.replace(SETTINGS.training, cohort_size=2), **change}
    with pytest.raises(UserError, match=message):
        simulate(dataclasses.replace(settings, **change), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_papers_measure_reads_every_position(run):
    result, _ = run
    found = by_position.measure([result])
    assert found["position"].tolist() == [1, 2, 3, 4, 5]
    assert found["accuracy"].mean() == pytest.approx(result.accuracy["last"], abs=1e-5)
    assert list(by_position.table(found).columns) == ["model", 1, 2, 3, 4, 5]
    assert by_position.picture(found).axes[0].lines
