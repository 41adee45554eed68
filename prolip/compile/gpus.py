"""Public figures of GPUs, in the form that XLA wants where it can't ask the device."""

from typing import NamedTuple


class Gpu(NamedTuple):
    """A data-centre GPU of NVIDIA."""

    name: str
    capability: tuple[int, int]
    cores: int  # Streaming multiprocessors.
    clock_ghz: float
    memory_bytes: int
    memory_bandwidth: int
    l2_bytes: int
    shared_bytes: int  # Of a core.
    peak_flops: float  # Dense bfloat16.

    @property
    def target_config(self) -> str:
        """A `GpuTargetConfigProto` as text."""
        major, minor = self.capability
        return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {self.shared_bytes}
  shared_memory_per_block_optin: {self.shared_bytes - 1024}
  threads_per_core_limit: 2048
  core_count: {self.cores}
  fpus_per_core: {128 if major >= 9 else 64}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.memory_bandwidth}
  l2_cache_size: {self.l2_bytes}
  clock_rate_ghz: {self.clock_ghz}
  device_memory_size: {self.memory_bytes}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  cuda_compute_capability {{ major: {major} minor: {minor} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{self.name}"
"""


# Sources: NVIDIA's data sheets of A100, H100 and H200 (SXM).
GPUS = {
    "a100": Gpu(
        "NVIDIA A100-SXM4-80GB", (8, 0), 108, 1.41, 80 * 2**30, 2039 * 10**9, 40 * 2**20, 167936,
        312e12,
    ),
    "h100": Gpu(
        "NVIDIA H100 80GB HBM3", (9, 0), 132, 1.98, 80 * 2**30, 3352 * 10**9, 50 * 2**20, 233472,
        989e12,
    ),
    "h200": Gpu(
        "NVIDIA H200", (9, 0), 132, 1.98, 141 * 10**9, 4800 * 10**9, 50 * 2**20, 233472,
        989e12,
    ),
}  # fmt: skip

# Triton's products are tuned on the device, which is not there.
OPTIONS = {"xla_gpu_enable_triton_gemm": "false"}
