"""The pairwise loss against its dense form and against the products that it needs.

    python benchmarks/loss.py --batch 1024 4096 16384 --json results/loss.json

Forward and backward in (mean, log_var) of both sides, scale and bias, float32, on one device. The
floor is three products of [B, D] with [B, B] sizes, run block by block as the loss does, and
nothing else. Medians; processor seconds too, since other work may share the machine.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prolip import losses
from prolip.gaussian import Gaussian
from prolip.losses import streamed
from prolip.losses.pairwise import Logit, streamed_ppcl
from prolip.losses.positives import pair_facts
from prolip.losses.softmax import streamed_clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dense-up-to", type=int, default=8192, help="rows; it is B x B")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print("| B | form | temporary MiB | seconds | x floor | cpu seconds | x floor |")
    print("|---|---|---|---|---|---|---|")
    for batch in args.batch:
        data = inputs(batch, args.dim)
        forms: dict[str, Callable[..., Any]] = {"three products": floor, "ppcl": ppcl, "clip": clip}
        if batch <= args.dense_up_to:
            forms["ppcl, dense"] = dense
        timed = measure(
            {k: jax.jit(f).lower(*data).compile() for k, f in forms.items()}, data, args
        )
        for name, (memory, seconds, cpu) in timed.items():
            _, base, base_cpu = timed["three products"]
            print(
                f"| {batch:,} | {name} | {memory / 2**20:,.0f} | {seconds:.3f} | "
                f"{seconds / base:.2f} | {cpu:.3f} | {cpu / base_cpu:.2f} |"
            )
            rows.append(dict(batch=batch, form=name, bytes=memory, seconds=seconds, cpu=cpu))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def inputs(batch: int, dim: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    mean = rng.standard_normal((2, batch, dim), np.float32)
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    log_var = rng.standard_normal((2, batch, dim), np.float32) - 10
    return mean, log_var, jnp.float32(14), jnp.float32(-10)


def measure(
    programs: dict[str, Any], data: tuple[Any, ...], args: argparse.Namespace
) -> dict[str, tuple[int, float, float]]:
    """Temporary bytes, and median seconds of the clock and of the processor; runs in turn."""
    placed = jax.device_put(data)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for repeat in range(args.repeats + 1):
        for name, program in programs.items():
            clock, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(program(*placed))
            if repeat:  # The first warms up.
                times[name].append((time.perf_counter() - clock, time.process_time() - cpu))
    return {
        name: (
            program.memory_analysis().temp_size_in_bytes,
            *(statistics.median(column) for column in zip(*times[name], strict=True)),
        )
        for name, program in programs.items()
    }


def floor(mean: Any, log_var: Any, scale: Any, bias: Any) -> Any:
    """Three products in blocks, and no more than the additions that join them."""
    images, texts = mean

    def one(carry: Any, columns: Any) -> tuple[Any, Any]:
        pairs = images @ columns.T
        return carry + pairs @ columns, pairs.T @ images

    count, _ = streamed.chunking(len(images), len(texts))
    parts = texts.reshape(count, -1, texts.shape[1])
    return jax.lax.scan(one, jnp.zeros_like(images), parts)


def ppcl(*x: Any) -> Any:
    def loss(mean: Any, log_var: Any, scale: Any, bias: Any) -> Any:
        facts = pair_facts(*no_captions(mean), extended=False)
        images, texts = (Gaussian(mean[i], log_var[i]) for i in range(2))
        return streamed_ppcl(images, texts, Logit(scale, bias), *facts)[0]

    return jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(*x)


def clip(*x: Any) -> Any:
    def loss(mean: Any, log_var: Any, scale: Any, bias: Any) -> Any:
        facts = pair_facts(*no_captions(mean), extended=False)
        return streamed_clip(*mean, scale, *facts)[0]

    return jax.value_and_grad(loss, argnums=(0, 2))(*x)


def dense(*x: Any) -> Any:
    def loss(mean: Any, log_var: Any, scale: Any, bias: Any) -> Any:
        images, texts = (Gaussian(mean[i], log_var[i]) for i in range(2))
        return losses.ppcl(images, texts, scale, bias)

    return jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(*x)


def no_captions(mean: Any) -> tuple[Any, Any]:
    ids = jnp.zeros(mean.shape[1], jnp.int32)
    return ids[:, None], ids


if __name__ == "__main__":
    main()
