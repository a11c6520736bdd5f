"""Four CPU devices, so that every test may use as many; promotion between dtypes must be spelt out.

What makes the suite quick without changing what it looks at stands here too: see `Sharing`.
"""

import contextlib
import functools
import gc
import os
import resource
import sys
from importlib.metadata import version
from pathlib import Path

# Tests compile hundreds of small programs and hardly run them: XLA need not optimise the code it emits, and
# its older emitters, which jaxlib 0.10 still has, compile in a third of the time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_cpu_parallel_codegen_split_count=1",  # two processes share the cores already
        "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else "",
    ]
)

import jax
import pytest

CACHED, HOLDERS = type(functools.cache(len)), ("test_", "oracle_", "ragged_clients")  # of programs
MANY_MAPS = 20_000  # Linux allows a process 65,530 by default

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


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


class Sharing:
    """Lets runs of one configuration share programs, as seeds do, and writes reports without their pictures.

    Tracing and compiling the same programs again for every test takes longer than all the rest. A test
    that is marked `alone` has its own, and draws what it shows.
    """

    def __init__(self):
        self.on, self._simulators = True, {}

    @contextlib.contextmanager
    def off(self):
        """For fixtures that live longer than a test, which no mark of one reaches."""
        before, self.on = self.on, False
        try:
            yield
        finally:
            self.on = before

    def set_up(self, real):
        from fedtp_jax.core.identity import identity

        def set_up(config, data, share_with=None, init=None):
            if not self.on or share_with or self._has_own_parts(config):
                return real(config, data, share_with, init=init)
            facts = data.num_classes, data.mean, data.std, data.class_weights, init and identity(init)
            key = repr((_what_programs_know(config), facts)), data.fingerprint()
            made = real(config, data, self._simulators.get(key), init=init)
            self._simulators.setdefault(key, made[1])
            return made

        return set_up

    def forget(self):
        """Let go of the programs; who runs next has them compiled, or read, anew."""
        self._simulators.clear()

    def to_png(self, real):
        return lambda figure: b"no picture" if self.on else real(figure)

    @staticmethod
    def _has_own_parts(config):
        from fedtp_jax.config import Own

        optimizers = [part.optimizer for part in (config.training, config.server)]
        optimizers.append(getattr(getattr(config.method, "hypernetwork", None), "optimizer", None))
        return any(
            isinstance(part, Own) for part in (config.model, config.method, config.partition, *optimizers)
        )


@pytest.fixture(scope="session", autouse=True)
def sharing(compilation_cache):
    from fedtp_jax.pages import page  # not before JAX is set up
    from fedtp_jax.runs import run

    made = Sharing()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "set_up", made.set_up(run.set_up))
        patch.setattr(page, "to_png", made.to_png(page.to_png))
        yield made


@pytest.fixture(autouse=True)
def alone_if_asked_for(request, sharing):
    with sharing.off() if request.node.get_closest_marker("alone") else contextlib.nullcontext():
        yield


@pytest.fixture(autouse=True)
def room_for_programs(sharing):
    """Every compiled program is mapped into memory: where Linux allows no more maps, XLA ends the process."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") < MANY_MAPS:
        return
    for name in [name for name in sys.modules if name.startswith(HOLDERS)]:
        for value in [*vars(sys.modules[name]).values()]:
            if isinstance(value, CACHED) and value.__module__.startswith(HOLDERS):
                value.cache_clear()
    sharing.forget()
    jax.clear_caches()
    gc.collect()


def _what_programs_know(config):
    """The sections, and fields of sections, that programs are made of; who holds what is an argument."""
    from fedtp_jax.config import FeatureNoise, PartitionFile

    host = ("rounds", "participation", "clock", "held_out", "on_nonfinite", "schedule", "warmup_rounds")
    host += ("stop",)
    training = {name: value for name, value in vars(config.training).items() if name not in host}
    evaluation = config.evaluation
    measured = evaluation.batch_size, evaluation.knn, evaluation.adapt, evaluation.fit
    noisy = isinstance(config.partition, FeatureNoise | PartitionFile) and config.partition
    learnt = config.method, config.task, training, config.server, config.upload
    learnt += config.privacy, config.adversaries
    return config.model, learnt, measured, config.engine, config.compat, noisy


@pytest.fixture(scope="session")
def whole(sharing, tmp_path_factory):
    """The tiny run, never stopped: (result, folder). Whoever changes files does so in a copy."""
    from tiny_run import TINY

    from fedtp_jax import simulate

    path = tmp_path_factory.mktemp("whole") / "run"
    with sharing.off():  # its programs are counted
        return simulate(TINY, out=path), path


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """A run with every measure: (result, folder, [(round, accuracy, clients)] that a hook has heard)."""
    from measured_run import SETTINGS

    from fedtp_jax import simulate

    path, heard = tmp_path_factory.mktemp("measured") / "run", []

    def hear(progress):
        heard.append((progress.round, progress.test, progress.clients))

    return simulate(**SETTINGS, out=path, on_evaluation=hear), path, heard


@pytest.fixture
def limit():
    """Set how large a file may become, which stands for a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
