"""Two CPU devices, so that every test may use one or two; promotion between dtypes must be spelt out."""

import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_default_matmul_precision", "highest")
