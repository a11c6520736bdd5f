"""Four CPU devices, so that every test may use as many; promotion between dtypes must be spelt out.

What makes the suite quick without changing what it looks at stands here too: see `shared_programs`.
"""

import dataclasses
import os
from importlib.metadata import version

# Tests compile hundreds of small programs and hardly run them: XLA need not optimise the code it emits, and
# its older emitters, which jaxlib 0.10 still has, compile in a third of the time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else "",
    ]
)

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

PROGRAMS = {}  # simulators whose programs later ones may use


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Many tests compile the same small programs: each is compiled once, by whichever process comes first.

    Processes that tests start use it as well, and leave the user's own alone.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    jax.config.update("jax_compilation_cache_dir", str(root / "jax_cache"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "jax_cache")


@pytest.fixture(autouse=True)
def shared_programs(request, monkeypatch):
    """Runs of one configuration share programs, as seeds do, and reports are written without their pictures.

    Tracing the same program again for every test takes as long as all the rest. A test marked `alone` traces
    its own, and draws what it shows.
    """
    if request.node.get_closest_marker("alone"):
        return
    from fedtp_jax.results import report
    from fedtp_jax.runs import run

    set_up = run.set_up

    def with_programs(config, data, share_with=None):
        own = [name for name in ("partition", "model", "method") if isinstance(getattr(config, name), Own)]
        if share_with or own or callable(getattr(config.training.optimizer, "value", None)):
            return set_up(config, data, share_with)
        key = repr(_without_what_no_program_knows(config)), data.fingerprint()
        made = set_up(config, data, PROGRAMS.get(key))
        PROGRAMS.setdefault(key, made[1])
        return made

    from fedtp_jax.config import Own

    monkeypatch.setattr(run, "set_up", with_programs)
    monkeypatch.setattr(report, "to_png", lambda figure: b"no picture")


def _without_what_no_program_knows(config):
    from fedtp_jax.config import Checkpoint

    training = dataclasses.replace(config.training, rounds=1)
    evaluation = dataclasses.replace(config.evaluation, every=1, last=1)
    return dataclasses.replace(
        config, seed=0, training=training, evaluation=evaluation, checkpoint=Checkpoint()
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The tiny run, never stopped: (result, folder). Whoever changes files does so in a copy."""
    from tiny import TINY  # not before JAX is set up

    from fedtp_jax import simulate

    path = tmp_path_factory.mktemp("whole") / "run"
    return simulate(TINY, out=path), path
