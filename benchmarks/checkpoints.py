"""Load time and peak memory of a ViT-B/16 in both layouts: python benchmarks/checkpoints.py.

Writes random weights to a temporary directory, converts them there and back, and loads each in a
process of its own. The peak is that of the whole process, Python and JAX included, as a multiple of
the file of weights.
"""

import argparse
import dataclasses
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="vit_b16")
    parser.add_argument("step", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        one(args.size, *args.step)
        return
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, __file__, "--size", args.size]
        hub, orbax, again = (f"{folder}/{name}" for name in ("hub", "orbax", "again"))
        subprocess.run([*run, "make", hub], check=True)
        size = (Path(hub) / "model.safetensors").stat().st_size
        print(f"{args.size}: {size / 1e6:,.0f} MB of weights\n")
        print("| | seconds | peak MB | x the file |\n|---|---|---|---|")
        for title, *step in (
            ("import only", "import"),
            ("load, Hub layout", "load", hub),
            ("convert to Orbax", "orbax", hub, orbax),
            ("load, Orbax", "load", orbax),
            ("convert to the Hub layout", "hub", orbax, again),
        ):
            words = subprocess.run([*run, *step], check=True, capture_output=True, text=True)
            seconds, peak = map(float, words.stdout.split()[-2:])
            print(f"| {title} | {seconds:.1f} | {peak / 1e6:,.0f} | {peak / size:.2f} |")
        same = len({digest(Path(path)) for path in (hub, again)}) == 1
        print(f"\nweights after both conversions: {'the same bytes' if same else 'DIFFERENT'}")


def one(size: str, what: str, *paths: str) -> None:
    """A step in its own process; prints seconds and peak bytes."""
    started = time.monotonic()
    if what == "make":
        make(size, Path(paths[0]))
    elif what == "load":
        import prolip

        prolip.load(paths[0])
    elif what in ("orbax", "hub"):
        from prolip.convert import convert

        convert(paths[0], paths[1], what)
    else:
        import jax

        import prolip.model

        jax.devices()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(time.monotonic() - started, peak)


def make(size: str, path: Path) -> None:
    import jax
    import numpy as np

    from prolip.interop import hub
    from prolip.models.sizes import SIZES

    config = dataclasses.replace(SIZES[size], heads="released")
    rng = np.random.default_rng(0)
    shapes = hub.abstract_params(config)
    params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), shapes)
    hub.write(path, config, params, None)


def digest(path: Path) -> str:
    with (path / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
