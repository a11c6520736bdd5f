"""One script for each simulator of `python -m benchmarks peers`, run in an environment of its own.

`work`, `torch_clients` and `jax_vit` are what the scripts share; they import nothing of fedtp_jax, which is
not there.
"""
