"""What a run says: how it begins, then a live line of loss, speed, waits and when it ends."""

import time
from typing import NamedTuple

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from prolip.config import TrainConfig
from prolip.models import count
from prolip.workdir import Workdir

# Peak bfloat16 FLOP/s of one device, by the start of `device_kind`; makers' data sheets.
PEAKS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
}
PLAIN_SECONDS = 10.0  # Between lines where there is no terminal.
MEMORY = 0.9  # Part of the smoothed step time that each step keeps.


class Rates(NamedTuple):
    """Speed of the run, smoothed over about ten steps."""

    samples_per_second: float
    samples_per_second_per_device: float
    model_flops_utilization: float | None  # None where the peak of the device is not known.
    data_wait: float  # Part of the time that the loop waited for the next batch.
    seconds_left: float


class Speedometer:
    """Smooths step times; the first step after a start compiles and is left out."""

    def __init__(self, global_batch: int, flops_per_pair: int):
        self._batch, self._flops = global_batch, flops_per_pair
        self._devices = jax.device_count()
        self._last: float | None = None
        self._seconds = self._wait = 0.0

    def step(self, now: float, wait: float) -> None:
        """A step was dispatched at `now` (seconds) after waiting `wait` for its batch."""
        last, self._last = self._last, now
        if last is None:
            return
        keep = MEMORY if self._seconds else 0.0
        self._seconds = keep * self._seconds + (1 - keep) * (now - last)
        self._wait = keep * self._wait + (1 - keep) * wait

    def pause(self) -> None:
        """Time until the next step is not training (a save that blocks, say)."""
        self._last = None

    def rates(self, steps_left: int) -> Rates | None:
        """Rates by now; None before the second step."""
        if not self._seconds:
            return None
        speed = self._batch / self._seconds
        peak = peak_flops()
        return Rates(
            speed,
            speed / self._devices,
            speed * self._flops / (peak * self._devices) if peak else None,
            min(self._wait / self._seconds, 1.0),
            steps_left * self._seconds,
        )


class ProgressLine:
    """A bar that stays in its line on a terminal; elsewhere a plain line now and then."""

    def __init__(self, console: Console, total_steps: int, step: int):
        self._console, self._total = console, total_steps
        self._printed = 0.0
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]train"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task("", total=total_steps, completed=step, text="compiling")
            self._bar.start()

    def update(self, step: int, loss: float, rates: Rates | None) -> None:
        """Shows the state after `step` steps."""
        text = describe(loss, rates)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=text)
            return
        now = time.monotonic()
        if now - self._printed >= PLAIN_SECONDS or step == self._total:
            self._printed = now
            left = f"  {clock(rates.seconds_left)} left" if rates and step < self._total else ""
            self._console.print(
                f"step {step}/{self._total}  {text}{left}", highlight=False, soft_wrap=True
            )

    def close(self) -> None:
        """Leaves the line as it is."""
        if self._bar is not None:
            self._bar.stop()


def describe(loss: float, rates: Rates | None) -> str:
    """One line without the step."""
    if rates is None:
        return f"loss {loss:.4f}"
    parts = [
        f"loss {loss:.4f}",
        f"{rates.samples_per_second:,.0f} samples/s",
        f"{rates.samples_per_second_per_device:,.0f}/device",
        f"data wait {rates.data_wait:.0%}",
    ]
    if rates.model_flops_utilization is not None:
        parts.insert(3, f"MFU {rates.model_flops_utilization:.1%}")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def peak_flops() -> float | None:
    """Peak of this process's devices, if the table has them."""
    kind = jax.devices()[0].device_kind
    return next(
        (PEAKS[k] for k in sorted(PEAKS, key=len, reverse=True) if kind.startswith(k)), None
    )


def announce(
    console: Console, config: TrainConfig, workdir: Workdir, first: int, mesh: jax.sharding.Mesh
) -> None:
    """The first lines of a run: what begins, or goes on, on what."""
    sizes = count.count(config.model)["total"]
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items() if size > 1) or "one"
    start = f"resuming at step {first}" if first else "starting"
    device = jax.devices()[0].device_kind
    console.print(
        f"{start}: {config.total_steps} steps of {config.global_batch} pairs, "
        f"{sizes.parameters / 1e6:.1f} M parameters, {config.model.dtype}, "
        f"{jax.device_count()} x {device} (mesh: {shape}), workdir {workdir.path}",
        highlight=False,
        soft_wrap=True,
    )
    if first >= config.total_steps:
        console.print("the run is complete: nothing to train", highlight=False)
