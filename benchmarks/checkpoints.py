"""Checkpoints of a ViT-B/16 against plain files: python benchmarks/checkpoints.py.

Two tables. Weights: writes random ones to a temporary directory, converts them between both layouts
and back, and loads each in a process of its own; the peak is that of the whole process, Python and
JAX included, as a multiple of the file of weights. State of training (weights and AdamW's moments):
saves and restores it as `prolip train` does, in turn with one plain file of the same bytes, which
is written and flushed to the disk, or read. Files that are read lie in the system's cache.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import Time, json_argument, median, peak_memory, print_header, print_row, save

PARTS = ("weights", "state")
WRITE, READ = "plain write, flushed", "plain read"
SAVE, BLOCKED, RESTORE = "save", "of which the trainer waits", "restore, verified"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="vit_b16")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3, help="of saves and restores")
    parser.add_argument("--folder", type=Path, help="for the files; default: the system's")
    json_argument(parser)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        one(args.size, args.repeats, *args.step)
        return
    rows = []
    for part in args.parts:
        with tempfile.TemporaryDirectory(dir=args.folder, prefix="prolip-checkpoints-") as folder:
            table = weights if part == "weights" else state
            rows += table(args, folder)
    save(args.json, rows)


def weights(args: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
    """Loads and conversions."""
    hub, orbax, again = (f"{folder}/{name}" for name in ("hub", "orbax", "again"))
    in_process(args, "make", hub)
    size = (Path(hub) / "model.safetensors").stat().st_size
    print(f"{args.size}: {size / 1e6:,.0f} MB of weights\n")
    print_header("", "seconds", "peak MB", "x the file")
    rows = []
    for title, *step in (
        ("import only", "import"),
        ("load, Hub layout", "load", hub),
        ("convert to Orbax", "orbax", hub, orbax),
        ("load, Orbax", "load", orbax),
        ("convert to the Hub layout", "hub", orbax, again),
    ):
        found = in_process(args, *step)
        seconds, peak = found["seconds"], found["peak"]
        print_row(title, f"{seconds:.1f}", f"{peak / 1e6:,.0f}", f"{peak / size:.2f}")
        rows.append({"what": title, "bytes": size, "seconds": seconds, "peak_memory": peak})
    same = len({digest(Path(path)) for path in (hub, again)}) == 1
    print(f"\nweights after both conversions: {'the same bytes' if same else 'DIFFERENT'}\n")
    return rows


def state(args: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
    """Saves and restores, each against its plain file."""
    found = in_process(args, "state", folder)
    size, times = found["bytes"], {name: Time(*time) for name, time in found["times"].items()}
    print(f"{args.size}: {size / 1e6:,.0f} MB of weights and moments\n")
    print_header("", "seconds", "x plain", "cpu seconds", "MB/s")
    rows = []
    for name, (seconds, cpu) in times.items():
        floor = times[READ if name in (READ, RESTORE) else WRITE].seconds
        print_row(
            name,
            f"{seconds:.2f}",
            f"{seconds / floor:.2f}",
            f"{cpu:.2f}",
            f"{size / seconds / 1e6:,.0f}",
        )
        rows.append({"what": name, "bytes": size, "seconds": seconds, "cpu": cpu})
    return rows


def in_process(args: argparse.Namespace, *step: str) -> dict[str, Any]:
    """What a step in a process of its own gives."""
    options = ["--size", args.size, "--repeats", str(args.repeats)]
    command = [sys.executable, __file__, *options, "--step", *step]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(size: str, repeats: int, what: str, *paths: str) -> None:
    """A step in its own process; prints what it gives as JSON."""
    started = time.monotonic()
    found: dict[str, Any] = {}
    if what == "make":
        make(size, Path(paths[0]))
    elif what == "load":
        import prolip

        prolip.load(paths[0])
    elif what in ("orbax", "hub"):
        from prolip.convert import convert

        convert(paths[0], paths[1], what)
    elif what == "state":
        found = save_and_restore(size, repeats, Path(paths[0]))
    else:
        import jax

        import prolip.model

        jax.devices()
    print(json.dumps(found | {"seconds": time.monotonic() - started, "peak": peak_memory()}))


def make(size: str, path: Path) -> None:
    """Random weights in the Hub's layout."""
    import jax
    import numpy as np

    from prolip.interop import hub
    from prolip.models.sizes import SIZES

    config = dataclasses.replace(SIZES[size], heads="released")
    rng = np.random.default_rng(0)
    shapes = hub.abstract_params(config)
    params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), shapes)
    hub.write(path, config, params, None)


def save_and_restore(size: str, repeats: int, folder: Path) -> dict[str, Any]:
    """Times by name, and the bytes of the state."""
    import jax
    import numpy as np

    from prolip import sharding
    from prolip.checkpoint import CheckpointStore
    from prolip.config import CheckpointConfig, MeshConfig, OptimizerConfig
    from prolip.models import two_tower
    from prolip.models.sizes import SIZES
    from prolip.train.optimizer import make_optimizer
    from prolip.train.state import abstract_state, init_state, to_items

    mesh = sharding.make_mesh(MeshConfig())
    model, optimizer = two_tower.build(SIZES[size]), make_optimizer(OptimizerConfig(), 20_000)
    times: dict[str, list[Time]] = {name: [] for name in (WRITE, SAVE, BLOCKED, READ, RESTORE)}
    with jax.set_mesh(mesh):
        items = to_items(init_state(model, optimizer, jax.random.key(0)))
        wanted = to_items(abstract_state(model, optimizer, mesh))
        arrays = [np.asarray(x) for x in jax.tree.leaves(items)]
        store = CheckpointStore(
            folder / "checkpoints", write=True, keep=CheckpointConfig(keep_latest=1)
        )
        with store:
            for step in range(1, repeats + 2):
                spent = {WRITE: clocked(lambda: write(folder / "plain", arrays))}
                began = now()
                store.save(step, items, {}, {})
                spent[BLOCKED] = since(began)
                store.wait()
                spent[SAVE] = since(began)
                spent[READ] = clocked(lambda: read(folder / "plain"))
                # By another object: that which saved has no need to verify.
                spent[RESTORE] = clocked(lambda step=step: restore(folder, step, wanted))
                if step > 1:  # The first warms up.
                    for name, value in spent.items():
                        times[name].append(value)
    medians = {name: median(several) for name, several in times.items()}
    return {"bytes": sum(x.nbytes for x in arrays), "times": medians}


def restore(folder: Path, step: int, wanted: Any) -> None:
    """As a trainer that starts again: looks for the newest, verifies and reads it."""
    import jax

    from prolip.checkpoint import CheckpointStore

    with CheckpointStore(folder / "checkpoints", write=False) as store:
        assert store.latest() == step
        jax.block_until_ready({k: store.restore(step, k, v) for k, v in wanted.items()})


def write(path: Path, arrays: list[Any]) -> None:
    """One new file."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        for array in arrays:
            file.write(array.reshape(-1).view("uint8").data)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> None:
    """Into one piece of memory."""
    path.read_bytes()


def now() -> Time:
    """Both clocks."""
    return Time(time.perf_counter(), time.process_time())


def since(began: Time) -> Time:
    """What has passed on both."""
    return Time(*(after - before for after, before in zip(now(), began, strict=True)))


def clocked(way: Any) -> Time:
    """What one call takes."""
    began = now()
    way()
    return since(began)


def digest(path: Path) -> str:
    """Of the file of weights."""
    with (path / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
