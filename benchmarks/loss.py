"""The pairwise loss against its dense form and against the products that it needs.

    python benchmarks/loss.py --batch 1024 4096 16384 --json results/bench/loss.json

Forward and backward in (mean, log_var) of both sides, scale and bias, float32, on one device. The
floor is three products of [B, D] with [B, B] sizes, run block by block as the loss does, and
nothing else. Medians; processor seconds too, since other work may share the machine.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import Time, in_turn, json_argument, print_header, print_row, save

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
    json_argument(parser)
    args = parser.parse_args()
    rows = []
    print_header("B", "form", "temporary MiB", "seconds", "x floor", "cpu seconds", "x floor")
    for batch in args.batch:
        data = inputs(batch, args.dim)
        forms: dict[str, Callable[..., Any]] = {"three products": floor, "ppcl": ppcl, "clip": clip}
        if batch <= args.dense_up_to:
            forms["ppcl, dense"] = dense
        programs = {k: jax.jit(f).lower(*data).compile() for k, f in forms.items()}
        timed = measure(programs, data, args.repeats)
        floor_time = timed["three products"]
        for name, (seconds, cpu) in timed.items():
            temporary = programs[name].memory_analysis().temp_size_in_bytes
            print_row(
                f"{batch:,}",
                name,
                f"{temporary / 2**20:,.0f}",
                f"{seconds:.3f}",
                f"{seconds / floor_time.seconds:.2f}",
                f"{cpu:.3f}",
                f"{cpu / floor_time.cpu:.2f}",
            )
            rows.append(dict(batch=batch, form=name, bytes=temporary, seconds=seconds, cpu=cpu))
    save(args.json, rows)


def inputs(batch: int, dim: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    mean = rng.standard_normal((2, batch, dim), np.float32)
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    log_var = rng.standard_normal((2, batch, dim), np.float32) - 10
    return mean, log_var, jnp.float32(14), jnp.float32(-10)


def measure(programs: dict[str, Any], data: tuple[Any, ...], repeats: int) -> dict[str, Time]:
    """Runs the programs in turn on the same arrays."""
    placed = jax.device_put(data)
    return in_turn({k: lambda p=p: p(*placed) for k, p in programs.items()}, repeats)


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
