"""A compiled step as numbers that decide about it, and those as tables or JSON."""

import dataclasses
import importlib.metadata
import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from prolip.compile import hlo
from prolip.compile.flops import StepFlops, step_flops
from prolip.compile.program import Compiled
from prolip.compile.topology import Topology
from prolip.config import TrainConfig

GIB, MIB = 2**30, 2**20
OPINION = (
    "The time is the sum of the cycles that the compiler estimates for each operation, without the "
    "exchanges between devices: a compiler's opinion to rank layouts by. Nothing ran."
)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device, with the padding of its layouts."""

    arguments: int  # State and batch.
    temporaries: int
    peak: int  # All that is alive at once.
    reused: int  # Of the arguments, taken for results: the state is donated.
    program: int


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Exchanges of one kind and purpose in a step."""

    kind: str
    where: str
    dtype: str
    times: int
    nbytes: int  # Of the arrays exchanged.
    moved: int  # That a device sends at least.


@dataclasses.dataclass(frozen=True)
class Report:
    """What is known of the step without running it."""

    topology: str
    num_devices: int
    mesh: dict[str, int]
    global_batch: int
    pairs_per_device: int
    accumulation_steps: int
    block_rows: int
    text_block_rows: int
    remat: str
    fits: bool
    out_of_memory: str  # The compiler's sentence; "" where it fits.
    usable_bytes: int
    memory: Memory | None
    # Largest array with a side as long as the global batch: what the loss over pairs makes.
    largest_over_batch: str
    flops: StepFlops
    traffic: tuple[Traffic, ...]
    estimated_seconds: float | None
    estimated_mfu: float | None  # By all FLOPs that the method asks for.
    estimated_mfu_pairs: float | None  # By those of the pairs alone, without masked views and loss.
    compile_seconds: float
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = dataclasses.asdict(self)
        return values | {"flops": {**self.flops._asdict(), "total": self.flops.total}}


def summarize(
    config: TrainConfig,
    topology: Topology,
    mesh: Any,
    compiled: Compiled,
    *,
    estimate: bool = False,
) -> Report:
    """Reads a compiled step, or the reason why there is none."""
    num_devices = mesh.size
    flops = step_flops(config)
    memory, largest, seconds = None, "", None
    traffic: tuple[Traffic, ...] = ()
    if compiled.executable is not None:
        memory = read_memory(compiled.executable)
        program = hlo.parse(compiled.executable.as_text())
        traffic = tuple(group(hlo.collectives(program)))
        largest = largest_with_side(program, config.global_batch)
        cycles = hlo.cycles(program)
        if estimate and cycles and topology.chip.clock_hz:
            seconds = cycles / topology.chip.clock_hz
    possible = None if seconds is None else seconds * num_devices * topology.chip.peak_flops
    fits = memory is not None and memory.peak <= topology.chip.usable_bytes
    return Report(
        topology=topology.name,
        num_devices=num_devices,
        mesh=dict(mesh.shape),
        global_batch=config.global_batch,
        pairs_per_device=config.global_batch // num_devices,
        accumulation_steps=config.accumulation_steps,
        block_rows=config.model.block_rows,
        text_block_rows=config.model.text_block_rows,
        remat=config.model.remat,
        fits=fits,
        out_of_memory=compiled.out_of_memory,
        usable_bytes=int(topology.chip.usable_bytes),
        memory=memory,
        largest_over_batch=largest,
        flops=flops,
        traffic=traffic,
        estimated_seconds=seconds,
        estimated_mfu=possible and flops.total / possible,
        estimated_mfu_pairs=possible and flops.pairs / possible,
        compile_seconds=compiled.seconds,
        versions=_versions(topology.platform),
    )


def read_memory(executable: Any) -> Memory:
    """What the compiler says about the memory of one device."""
    stats = executable.memory_analysis()
    arguments, temporaries = stats.argument_size_in_bytes, stats.temp_size_in_bytes
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return Memory(
        arguments=arguments,
        temporaries=temporaries,
        # The temporaries are laid out at their peak already.
        peak=arguments + results + temporaries + stats.generated_code_size_in_bytes,
        reused=stats.alias_size_in_bytes,
        program=stats.generated_code_size_in_bytes,
    )


def group(collectives: Iterable[hlo.Collective]) -> list[Traffic]:
    """Sums over exchanges of the same kind, dtype and part of the step, the largest first."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    for found in collectives:
        dtype = max(found.arrays, key=lambda a: a.nbytes).dtype if found.arrays else ""
        total = sums.setdefault((found.kind, where(found.source), dtype), [0, 0, 0])
        for i, value in enumerate((found.times, found.nbytes, found.moved)):
            total[i] += value
    rows = [Traffic(*key, *map(int, total)) for key, total in sums.items()]
    return sorted(rows, key=lambda row: -row.moved)


def where(source: str) -> str:
    """The part of the step that an operation belongs to, by the name that JAX gave it."""
    if "shard_map" in source:
        # The loss makes its gradients in its forward pass; the towers, by `sharding.per_device`,
        # exchange in their backward pass alone, which accumulation runs outside of autodiff.
        forward = "jvp(" in source and "transpose(" not in source
        return "loss" if forward else "backward"
    for mark, name in (("transpose(", "backward"), ("jvp(", "forward")):
        if mark in source:
            return f"{name}, by layer" if "while" in source else name
    return "update" if source else "compiler"


def largest_with_side(program: hlo.Program, side: int) -> str:
    """The largest array that has a dimension of this length, as the compiler writes it."""
    found = [array for array in hlo.arrays(program) if side in array.shape]
    if not found:
        return "none"
    array = max(found, key=lambda a: a.nbytes)
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"


def print_report(report: Report, console: Console) -> None:
    """One table of facts and one of exchanges."""
    table = Table(title=f"Train step on {report.num_devices} devices of {report.topology}")
    table.add_column("what")
    table.add_column("value", justify="right")
    for name, value in _facts(report):
        table.add_row(name, value)
    console.print(table)
    if report.traffic:
        console.print(traffic_table(report.traffic))
    if report.estimated_seconds is not None:
        console.print(OPINION, highlight=False)


def traffic_table(rows: Iterable[Traffic]) -> Table:
    """Exchanges of a step, one kind in a row."""
    table = Table(title="Exchanges between devices in one step")
    for name in ("exchange", "where", "dtype"):
        table.add_column(name)
    for name in ("times", "arrays MiB", "sent by a device MiB"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.kind,
            row.where,
            row.dtype,
            f"{row.times}",
            f"{row.nbytes / MIB:,.1f}",
            f"{row.moved / MIB:,.1f}",
        )
    return table


def _facts(report: Report) -> Iterable[tuple[str, str]]:
    yield "mesh", " ".join(f"{axis}={size}" for axis, size in report.mesh.items())
    yield "global batch", f"{report.global_batch:,}"
    yield "pairs of a device", f"{report.pairs_per_device:,}"
    blocks = str(report.block_rows or "all")
    if report.text_block_rows:
        blocks += f" (texts {report.text_block_rows})"
    yield (
        "accumulation steps, rows of a block, remat",
        f"{report.accumulation_steps}, {blocks}, {report.remat}",
    )
    usable = f"of {report.usable_bytes / GIB:.2f} GiB"
    if report.memory is None:
        needs = re.search(r"\(([\d.]+)([KMGT])\)", report.out_of_memory)
        yield "fits", f"no: {needs[1]} {needs[2]}iB {usable}" if needs else "no"
        yield "the compiler says", report.out_of_memory
    else:
        memory = report.memory
        yield "fits", f"{'yes' if report.fits else 'no'}: {memory.peak / GIB:.2f} {usable}"
        yield "arguments", f"{memory.arguments / GIB:.2f} GiB"
        yield "of them reused for results", f"{memory.reused / GIB:.2f} GiB"
        yield "temporaries", f"{memory.temporaries / GIB:.2f} GiB"
        yield "largest array over the global batch", report.largest_over_batch
    tera = {name: value / 1e12 for name, value in report.flops._asdict().items()}
    yield "FLOPs of a step", f"{report.flops.total / 1e12:,.1f} TF"
    yield "  pairs, masked views, loss", " + ".join(f"{value:,.1f}" for value in tera.values())
    if report.estimated_seconds is not None:
        assert report.estimated_mfu is not None and report.estimated_mfu_pairs is not None
        rate = report.global_batch / report.estimated_seconds / report.num_devices
        yield "estimated time of a step", f"{1e3 * report.estimated_seconds:,.1f} ms"
        yield "estimated pairs/s of a device", f"{rate:,.0f}"
        yield (
            "estimated MFU (by pairs alone)",
            f"{report.estimated_mfu:.1%} ({report.estimated_mfu_pairs:.1%})",
        )
    elif report.memory is not None and report.topology[:1] in "ahb":
        yield "estimated time", "this compiler gives no cycles"
    yield "compiled in", f"{report.compile_seconds:,.0f} s"
    yield "versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())


def _versions(platform: str) -> dict[str, str]:
    names = ["jax", "libtpu"] if platform == "tpu" else ["jax", "jax-cuda12-plugin"]
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
