"""Four CPU devices, so that every test may use as many; promotion between dtypes must be spelt out."""

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
