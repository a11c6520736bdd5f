"""What a run is given to start from: in all its forms, through folders, and beside runs that drew theirs."""

import dataclasses
import json
import pickle
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from commands import fedtp
from flax.serialization import to_bytes
from safetensors.numpy import save_file
from tiny_run import TINY, Stopped, same_files, same_state, stop_after

from fedtp_jax import Result, UserError, compare, config, simulate
from fedtp_jax.config.plain import to_yaml
from fedtp_jax.core import tree
from fedtp_jax.core.identity import identity
from fedtp_jax.core.rng import Purpose
from fedtp_jax.export import export_client
from fedtp_jax.export.given_leaves import given_leaves
from fedtp_jax.export.torch_names import vit_leaves
from fedtp_jax.learning.given import check_given

SHORT = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, rounds=2))
FEDAVG, FEDPER = (dataclasses.replace(SHORT, method=kind()) for kind in (config.FedAvg, config.FedPer))


def other(shapes):
    """Leaves that no seed draws."""
    random = np.random.default_rng(5)
    drawn = {path: random.normal(size=leaf.shape).astype(np.float32) for path, leaf in shapes.items()}
    return {path: abs(leaf) if path.endswith("/var") else leaf for path, leaf in drawn.items()}


def same_leaves(a, b):
    assert sorted(a) == sorted(b)
    for path, leaf in a.items():
        np.testing.assert_array_equal(leaf, b[path], err_msg=path)


@pytest.fixture(scope="module")
def given(fedavg):
    """Variables of the tiny model, {path: leaf}."""
    return other(fedavg[0]._built[0].leaf_shapes())


@pytest.fixture(scope="module")
def fedavg(tmp_path_factory):
    path = tmp_path_factory.mktemp("init") / "fedavg"
    return simulate(FEDAVG, out=path), path


@pytest.mark.parametrize("settings", [FEDAVG, FEDPER], ids=["fedavg", "fedper"])
def test_given_what_the_seed_would_draw_the_run_is_the_same(settings):
    drawn = simulate(settings)
    key = jax.random.fold_in(jax.random.key(settings.seed), Purpose.MODEL)
    given = simulate(settings, init=drawn._built[0].init(key))
    pd.testing.assert_frame_equal(drawn.history, given.history)
    same_state(drawn.state, given.state)


def test_every_form_of_the_same_variables_is_one(fedavg, tmp_path):
    result, path = fedavg
    nested = result.variables(0)
    flat = tree.flatten(nested)
    (tmp_path / "flax.msgpack").write_bytes(to_bytes(nested))
    save_file({name: np.asarray(leaf) for name, leaf in flat.items()}, tmp_path / "plain.safetensors")
    export_client(result, 3, tmp_path / "client.safetensors")
    files = [tmp_path / name for name in ("flax.msgpack", "plain.safetensors", "client.safetensors")]
    for init in (nested, flat, result, path, str(path), *files):
        found = given_leaves(init, TINY.model)
        same_leaves(found, flat)
        assert identity(found) == identity(given_leaves(nested, TINY.model))


def test_of_a_personalised_result_the_mean_client_is_taken(tmp_path):
    result = simulate(FEDPER)
    trained = np.flatnonzero(result.state.rows.trained)
    each = [tree.flatten(result.variables(client)) for client in trained]
    mean = tree.flatten(result.mean_variables())
    assert 0 < len(trained) < 6
    for path, leaf in mean.items():
        np.testing.assert_allclose(leaf, np.mean([one[path] for one in each], axis=0), atol=1e-6)


def test_a_model_of_the_method_beside_the_given_one_is_left_out(given):
    assert check_given({**given, "personal_head/kernel": np.zeros(3)}, given).keys() == given.keys()


def test_a_run_that_was_given_variables_is_resumed_and_loaded_with_them(given, tmp_path):
    """Of its clients two never train: their heads stay what was given."""
    settings = dataclasses.replace(FEDPER, checkpoint=config.Checkpoint(every=1))
    whole, run = tmp_path / "whole", tmp_path / "run"
    result = simulate(settings, init=given, out=whole)
    with pytest.raises(Stopped):
        simulate(settings, init=given, out=run, on_round=stop_after(1))
    with pytest.raises(UserError, match=r"was started from other variables .* leave init out, for the run's"):
        simulate(settings, init={**given, "params/head/bias": np.zeros(10)}, out=run, resume=True)
    resumed = simulate(settings, out=run, resume=True)
    same_files(whole, run)
    same_state(result.state, resumed.state)
    assert (whole / "init.npz").read_bytes() == (run / "init.npz").read_bytes()
    absent = int(np.flatnonzero(result.state.rows.trained == 0)[0])
    saved = tmp_path / "saved"
    Result.load(run).save(saved)
    for one in (result, Result.load(run), Result.load(saved), pickle.loads(pickle.dumps(result))):
        same_leaves(tree.flatten(one.variables(absent)), tree.flatten(result.variables(absent)))
        np.testing.assert_array_equal(
            one.variables(absent)["params"]["head"]["bias"], given["params/head/bias"]
        )
    (run / "init.npz").unlink()
    with pytest.raises(UserError, match=r"init\.npz: is lost or was changed"):
        Result.load(run)
    with pytest.raises(UserError, match="give its init, which is lost"):
        simulate(settings, out=run, resume=True)
    simulate(settings, out=run, init=given, resume=True)
    same_state(Result.load(run).state, result.state)


def test_runs_that_start_elsewhere_are_compared_apart_and_seeds_start_alike(given, fedavg, tmp_path, capsys):
    save_file(given, tmp_path / "given.safetensors")
    (tmp_path / "fedavg.yaml").write_text(to_yaml(FEDAVG))
    out = str(tmp_path / "seeds")
    arguments = (str(tmp_path / "fedavg.yaml"), "--init", str(tmp_path / "given.safetensors"), "--out", out)
    code, *_ = fedtp(capsys, "run", *arguments, "--seeds", "0", "1", "--quiet")
    assert code == 0
    inputs = [
        json.loads((tmp_path / "seeds" / f"seed-{k}" / "environment.json").read_text())["inputs"]
        for k in (0, 1)
    ]
    assert inputs[0]["init.identity"] == inputs[1]["init.identity"] == identity(given)
    made = compare([fedavg[1], out])
    assert sorted(made.table["seeds"]) == [1, 2]
    assert set(made.table["init.identity"]) == {"drawn", f"given {identity(given)[:6]}"}
    # killed before its first run had a folder
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "seeds" / f"seed-{seed}")
    for result in simulate(FEDAVG, seeds=[0, 1], out=out, resume=True):
        same_leaves(result.init, given)


def test_a_pytorch_state_of_the_authors(given, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra `benchmarks` alone")
    state = authors_vit(given)
    torch.save({name: torch.tensor(value) for name, value in state.items()}, tmp_path / "vit.pt")
    same_leaves(given_leaves(tmp_path / "vit.pt", TINY.model), given)
    torch.save({"net": state}, tmp_path / "whole.pth")
    with pytest.raises(UserError, match=r"init: .*whole\.pth"):
        given_leaves(tmp_path / "whole.pth", TINY.model)


def authors_vit(leaves):
    """The state of the authors' ViT with these leaves of one of depth 1."""
    of = {path.removeprefix("params/"): leaf for path, leaf in leaves.items()}
    layer = "transformer.layers.0."
    linear = {
        "to_patch_embedding.1": "patch_embedding",
        "mlp_head.1": "head",
        f"{layer}0.fn.to_out.0": "block_0/attention/out",
        f"{layer}1.fn.net.0": "block_0/mlp/up",
        f"{layer}1.fn.net.3": "block_0/mlp/down",
    }
    norm = {
        "mlp_head.0": "head_norm",
        f"{layer}0.norm": "block_0/attention_norm",
        f"{layer}1.norm": "block_0/mlp_norm",
    }
    qkv = [of[f"block_0/attention/{name}/kernel"] for name in ("query", "key", "value")]
    return {
        "pos_embedding": of["position_embedding"],
        "cls_token": of["class_token"],
        f"{layer}0.fn.to_qkv.weight": np.concatenate(qkv, axis=1).T,
        **{f"{torch}.weight": of[f"{ours}/kernel"].T for torch, ours in linear.items()},
        **{f"{torch}.weight": of[f"{ours}/scale"] for torch, ours in norm.items()},
        **{f"{torch}.bias": of[f"{ours}/bias"] for torch, ours in (linear | norm).items()},
    }


def test_the_authors_names_are_those_of_their_files(given):
    same_leaves(vit_leaves(authors_vit(given)), given)
    with pytest.raises(UserError, match=r"init: conv1\.weight \[3\] is no tensor of the FedTP authors' ViT"):
        vit_leaves({"conv1.weight": np.zeros(3)})
