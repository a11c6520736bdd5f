"""Accelerators that are not there, described well enough for XLA to compile for them.

Figures are the makers': a bound made of them is one on what the hardware could do, and no estimate.
TPUs: Google Cloud's pages "TPU v5e", "TPU v5p", "TPU v6e" (cloud.google.com/tpu/docs); what a program may
take of a TPU's memory is what its compiler itself names where one takes more. GPUs: NVIDIA's data sheets of
A100 80GB SXM, H100 SXM and H200 SXM, products without sparsity; what XLA must know of a GPU to compile for it
are the fields of its GpuDeviceInfoProto, with the values that XLA itself keeps for these GPUs.
"""

from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import NamedTuple

from fedtp_jax.core.errors import UserError

GIB = 2.0**30
PREALLOCATED = 0.75  # of a GPU's memory: what JAX takes unless XLA_PYTHON_CLIENT_MEM_FRACTION says another
MOST_DEVICES = 8
CUDNN = 9, 28, 1  # the version that programs for GPUs are compiled for


class Target(NamedTuple):
    """A kind of accelerator.

    Attributes:
      title: its full name.
      memory: bytes that programs may take of a device.
      bandwidth: bytes a second between a device's memory and its cores.
      products: {precision: multiplications and additions a second} of matrix products, as JAX does them by
        default: of float32 operands a TPU makes bfloat16, a GPU TF32.
      cache: bytes between memory and cores that hold what they may, where no program says what; 0 if none.
      topology: {devices: its name for the compiler} (TPU).
      spec: what XLA must know of it to compile (GPU).
    """

    title: str
    memory: float
    bandwidth: float
    products: dict[str, float]
    cache: int = 0
    topology: Mapping[int, str] = MappingProxyType({})
    spec: str = ""

    @property
    def is_tpu(self) -> bool:
        return not self.spec


def _tpu(title: str, memory: float, bandwidth: float, products: float, *topology: str) -> Target:
    both = dict.fromkeys(("float32", "bfloat16"), products)
    return Target(
        title, memory, bandwidth, both, topology=dict(zip((4, MOST_DEVICES), topology, strict=True))
    )


def _gpu(
    title: str,
    memory: int,
    bandwidth: float,
    bfloat16: float,
    cores: int,
    shared: int,
    clock: float,
    major: int,
) -> Target:
    cache = 52_428_800 if major == 9 else 41_943_040
    lanes = 128 if major == 9 else 64
    spec = f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: {shared}
  shared_memory_per_block_optin: {shared - 1024}
  core_count: {cores} fpus_per_core: {lanes} clock_rate_ghz: {clock}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: {bandwidth:.0f} l2_cache_size: {cache} device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: {CUDNN[0]} minor: {CUDNN[1]} patch: {CUDNN[2]} }}
runtime_version {{ major: 13 minor: 0 patch: 0 }}
device_description_str: "{title}"
"""
    products = {"float32": bfloat16 / 2, "bfloat16": bfloat16}  # TF32 is half of bfloat16
    return Target(title, PREALLOCATED * memory, bandwidth, products, cache, spec=spec)


TARGETS = {
    "tpu-v5e": _tpu("TPU v5e", 15.75 * GIB, 819e9, 197e12, "v5e:2x2", "v5e:2x4"),
    "tpu-v5p": _tpu("TPU v5p", 95.74 * GIB, 2765e9, 459e12, "v5p:2x2x1", "v5p:2x2x2"),
    "tpu-v6e": _tpu("TPU v6e", 31.25 * GIB, 1640e9, 918e12, "v6e:2x2", "v6e:2x4"),
    "a100": _gpu("NVIDIA A100-SXM4-80GB", 85_100_068_864, 2.039e12, 312e12, 108, 167_936, 1.41, 8),
    "h100": _gpu("NVIDIA H100 80GB HBM3", 84_942_979_072, 3.35e12, 989.4e12, 132, 233_472, 1.98, 9),
    "h200": _gpu("NVIDIA H200 141GB HBM3e", 151_397_597_184, 4.8e12, 989.4e12, 132, 233_472, 1.98, 9),
}
# Without a GPU nothing is timed to choose between kernels, and Triton's products fail on some shapes then.
WITHOUT_TRITON = {"xla_gpu_enable_triton_gemm": False}


def check_installed(name: str) -> None:
    """Raise UserError unless what compiles for the target `name` is installed."""
    version = metadata.version("jaxlib")
    if TARGETS[name].is_tpu:
        wheels, install = ["libtpu"], "pip install 'fedtp_jax[targets]'"
    else:
        # as an extra they would bring all of CUDA, some GB that only a GPU needs: pip alone can leave it out
        wheels = [f"{wheel}=={version}" for wheel in ("jax-cuda13-plugin", "jax-cuda13-pjrt")]
        wheels += ["nvidia-cuda-nvcc", "nvidia-nvvm"]
        install = f"pip install --no-deps {' '.join(wheels)}"
    missing = [wheel for wheel in wheels if not _is_installed(*wheel.split("=="))]
    if missing:
        raise UserError(
            f"--target {name}: the compiler for it is not installed: {', '.join(missing)}; {install}"
        )


def _is_installed(wheel: str, version: str = "") -> bool:
    try:
        return metadata.version(wheel) == version or not version
    except metadata.PackageNotFoundError:
        return False
