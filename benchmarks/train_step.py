"""One train step: pairs a second, utilization, memory; beside the same step in PyTorch.

    python benchmarks/train_step.py --batch 8 --remat none dots --masked-views off --torch

Compiles the step that `prolip train` runs, and times it on random pixels and tokens in turn with
one square matrix product, the loss alone, and PyTorch's step (benchmarks/torch_peer.py).
Utilization (MFU) counts what the method asks for, not what is computed again, against the rate of
that product in the same run, on CPUs by processor seconds, which other work disturbs less; and
against the maker's figure where there is one, which is for bfloat16. Memory is what the compiler
says. `--config.key=value` overrides a key. Long because what is timed together is built together.
"""

import argparse
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from timing import Time, in_turn, json_argument, print_header, print_row, save

from prolip import sharding
from prolip.cli import configuration
from prolip.compile.flops import step_flops
from prolip.compile.program import abstract_batch, compile_step
from prolip.compile.report import Memory, read_memory
from prolip.config import ConfigError, TrainConfig
from prolip.data.records import Batch
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective
from prolip.models import two_tower
from prolip.train.optimizer import make_optimizer
from prolip.train.progress import peak_flops
from prolip.train.state import init_state
from prolip.train.step import TrainStep, every

NO_TORCH = (
    "--torch needs PyTorch, which is not installed here. It is no dependency of prolip: install it "
    "into an environment of its own beside prolip."
)
PRODUCT, LOSS, TORCH = "matrix product", "loss alone", "PyTorch"
COLUMNS = (
    *("batch", "step", "ms", "samples/s", "cpu ms", "MFU, measured", "MFU, maker's"),
    *("temporary MiB", "peak MiB", "loss, part of the step"),
)


class Step(NamedTuple):
    """A compiled step."""

    executable: Any
    memory: Memory  # Of one device.


class Measured(NamedTuple):
    """What was timed at one batch size."""

    batch: int
    flops: int  # Of a step.
    product_flops: int  # Of the products of all devices.
    devices: int
    on_cpu: bool
    times: dict[str, Time]
    steps: dict[str, Step]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", default="vit_b16_datacomp")
    parser.add_argument("--batch", type=int, nargs="+", default=[8], help="pairs of all devices")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--remat", nargs="+", default=["dots"])
    parser.add_argument("--masked-views", choices=("on", "off"), default="on")
    parser.add_argument("--steps", type=int, default=5, help="that are timed")
    parser.add_argument("--product", type=int, help="rows of the product; default: by the device")
    parser.add_argument("--torch", action="store_true", help="PyTorch's step in turn with ours")
    json_argument(parser)
    args, overrides = parser.parse_known_args()
    if args.torch and args.masked_views == "on":
        parser.error("PyTorch's step has no masked views: --torch goes with --masked-views off")
    peer = import_peer() if args.torch else None
    try:
        config = configuration.load(args.config, overrides)
        rows = measure(config, args, peer)
    except ConfigError as error:
        parser.error(str(error))
    save(args.json, rows)


def import_peer() -> Any:
    """PyTorch's step; both shall find room on the same device."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import torch_peer
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise SystemExit(NO_TORCH) from None
    return torch_peer


def measure(config: TrainConfig, args: argparse.Namespace, peer: Any) -> list[dict[str, Any]]:
    """Prints a table for all batches and gives its rows."""
    mesh = sharding.make_mesh(config.mesh)
    if peer is not None and mesh.devices.size > 1:
        raise ConfigError("--torch compares one device: hide the others")
    device = mesh.devices.flat[0]
    print(
        f"{args.config}, {args.dtype}, masked views {args.masked_views}, "
        f"{mesh.devices.size} x {device.device_kind}\n"
    )
    print_header(*COLUMNS)
    rows, notes = [], [""]
    for batch in args.batch:
        configs = {f"remat {r}": variant(config, batch, r, args) for r in args.remat}
        with jax.set_mesh(mesh):
            measured = one_batch(configs, mesh, args, peer)
        found = [row(measured, name) for name in measured.times if name not in (PRODUCT, LOSS)]
        for values in found:
            print_row(*cells(values))
        rows += [{"device": device.device_kind, "dtype": args.dtype} | values for values in found]
        notes += sentences(measured)
    print(*notes, sep="\n")
    return rows


def variant(config: TrainConfig, batch: int, remat: str, args: argparse.Namespace) -> TrainConfig:
    """The configuration with the options of the command line."""
    words = [f"model.dtype={args.dtype}", f"model.remat={remat}", f"global_batch={batch}"]
    if args.masked_views == "off":
        words.append("objective.inclusion_masked=0.0")
    return configuration.override(config, [f"config.{word}" for word in words])


def one_batch(
    configs: dict[str, TrainConfig], mesh: Any, args: argparse.Namespace, peer: Any
) -> Measured:
    """Times the steps of these configurations, which have one state, with all else in turn."""
    config = next(iter(configs.values()))
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    size = args.product or (4096 if on_cpu else 8192)
    steps = {name: compiled(c, mesh) for name, c in configs.items()}
    batch, held = random_batch(config, mesh), [initial_state(config)]
    ways: dict[str, Callable[[], Any]] = {
        PRODUCT: product(size, args.dtype, mesh),
        LOSS: loss_alone(config, mesh),
    }
    for name, step in steps.items():
        ways[name] = functools.partial(advance, step.executable, held, batch)
    if peer is not None:
        ways[TORCH] = peer.make_step(config, batch)
    # An accelerator is asked for several calls at once, as in training: the host is ahead of it.
    times = in_turn(ways, args.steps, calls=1 if on_cpu else 10)
    devices, flops = mesh.devices.size, step_flops(config).total
    product_flops = 2 * size**3 * devices
    return Measured(config.global_batch, flops, product_flops, devices, on_cpu, times, steps)


def compiled(config: TrainConfig, mesh: Any) -> Step:
    """What `prolip train` runs."""
    found = compile_step(config, mesh)
    if found.executable is None:
        raise ConfigError(f"batch {config.global_batch}: {found.out_of_memory}")
    return Step(TrainStep(found.executable, config.seed), read_memory(found.executable))


def random_batch(config: TrainConfig, mesh: Any) -> Batch:
    """On the mesh; every text is another."""
    rng = np.random.default_rng(0)
    like = abstract_batch(config, mesh)
    own = np.arange(1, config.global_batch + 1, dtype=np.int32)
    vocabulary = config.model.text.vocab_size
    rows = Batch(
        image=rng.integers(0, 256, like.image.shape, np.uint8),
        text=rng.integers(0, vocabulary, like.text.shape, np.int32),
        caption=own,
        captions=np.pad(own[:, None], ((0, 0), (0, like.captions.shape[1] - 1))),
        index=own,
        image_id=np.stack([own, own], 1),
    )
    return sharding.to_global(mesh, rows)


def initial_state(config: TrainConfig) -> Any:
    """Random weights and the optimizer's start."""
    optimizer = make_optimizer(config.optimizer, config.total_steps)
    return init_state(two_tower.build(config.model), optimizer, jax.random.key(config.seed))


def advance(executable: Any, held: list[Any], batch: Batch) -> Any:
    """One step; it takes the memory of the state that is held for the next one."""
    held[0], metrics = executable(held[0], batch)
    return metrics["loss"]


def product(size: int, dtype: str, mesh: Any) -> Callable[[], Any]:
    """A square product on every device at once, as precise as those of the towers."""
    rng = np.random.default_rng(0)
    rows = size * sharding.batch_shards(mesh)
    a, b = (
        rng.standard_normal((n, size), np.float32).astype(jnp.dtype(dtype)) for n in (rows, size)
    )
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    placed = sharding.to_global(mesh, a), jax.device_put(b, everywhere)
    run = jax.jit(jnp.matmul)
    return lambda: run(*placed)


def loss_alone(config: TrainConfig, mesh: Any) -> Callable[[], Any]:
    """All terms of the loss and their gradients in the embeddings, of the step's shapes."""
    goal, rng = config.objective, np.random.default_rng(0)
    own = np.arange(1, config.global_batch + 1, dtype=np.int32)

    def embeddings(rows: int) -> tuple[Gaussian, Gaussian]:
        mean = rng.standard_normal((2, rows, config.model.embed_dim), np.float32)
        mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
        log_var = rng.standard_normal(mean.shape, np.float32) - 10
        return Gaussian(mean[0], log_var[0]), Gaussian(mean[1], log_var[1])

    rows = config.global_batch
    views = embeddings(rows // goal.mask_every) if goal.inclusion_masked else None
    weight = rng.random(rows, np.float32) if config.data.augment.mixup else None
    captions = np.pad(own[:, None], ((0, 0), (0, config.data.max_captions - 1)))

    def loss(whole: Any, masked: Any, scale: Any, bias: Any, facts: Any) -> Any:
        originals = None
        if masked is not None:
            originals = jax.tree.map(lambda x: every(x, goal.mask_every), whole)
        return objective(goal, Embeddings(*whole, originals, masked), scale, bias, *facts)[0]

    placed = sharding.to_global(mesh, (embeddings(rows), views))
    facts = sharding.to_global(mesh, (captions, own, weight))
    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)))
    return lambda: run(*placed, jnp.float32(14), jnp.float32(-10), facts)


def row(measured: Measured, name: str) -> dict[str, Any]:
    """What is known of a step; PyTorch's memory and its loss alone are not looked at."""
    seconds, cpu = measured.times[name]
    rate, peak = rate_of(measured, measured.product_flops, PRODUCT), peak_flops()
    values = {
        "batch": measured.batch,
        "step": name,
        "seconds": seconds,
        "cpu": cpu,
        "samples_per_second": measured.batch / seconds,
        "flops": measured.flops,
        "product_flops_per_second": rate,
        "mfu_measured": rate_of(measured, measured.flops, name) / rate,
    }
    if peak:
        values["mfu_maker"] = measured.flops / seconds / (peak * measured.devices)
    if name in measured.steps:
        memory = measured.steps[name].memory
        values |= {"temporary_bytes": memory.temporaries, "peak_bytes": memory.peak}
        values["loss_share"] = measured.times[LOSS].seconds / seconds
    return values


def rate_of(measured: Measured, flops: int, name: str) -> float:
    """FLOP/s of one of the ways: of all devices, or of a processor."""
    time = measured.times[name]
    return flops / (time.cpu if measured.on_cpu else time.seconds)


def cells(row: dict[str, Any]) -> list[str]:
    """The row under COLUMNS."""

    def part(name: str) -> str:
        return f"{row[name]:.1%}" if name in row else "–"

    def mebibytes(name: str) -> str:
        return f"{row[name] / 2**20:,.0f}" if name in row else "–"

    return [
        f"{row['batch']:,}",
        row["step"],
        f"{row['seconds'] * 1e3:,.1f}",
        f"{row['samples_per_second']:,.2f}",
        f"{row['cpu'] * 1e3:,.1f}",
        part("mfu_measured"),
        part("mfu_maker"),
        mebibytes("temporary_bytes"),
        mebibytes("peak_bytes"),
        f"{row['loss_share']:.2%}" if "loss_share" in row else "–",
    ]


def sentences(measured: Measured) -> list[str]:
    """The rate of the product, and how the steps stand to PyTorch's."""
    times, rate = measured.times, rate_of(measured, measured.product_flops, PRODUCT)
    unit = "GFLOP a processor second" if measured.on_cpu else "GFLOP/s"
    words = [f"Batch {measured.batch}: the matrix product runs at {rate / 1e9:,.1f} {unit}."]
    if TORCH in times:
        for name in measured.steps:
            clock, cpu = (a / b for a, b in zip(times[name], times[TORCH], strict=True))
            words.append(
                f"{name}: {clock:.2f} x the seconds of PyTorch, {cpu:.2f} x its processor seconds."
            )
    return words


if __name__ == "__main__":
    main()
