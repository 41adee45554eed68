"""The live line of an embedding: how much is done, how fast, and when it ends."""

import time
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 5.0  # Between lines where there is no terminal.


class Words(NamedTuple):
    """What a line says."""

    verb: str = "embed"
    past: str = "embedded"
    unit: str = "items"
    first: str = "compiling"  # Until something is done.


EMBED = Words()


class EmbeddingLine:
    """A bar that stays in its line on a terminal; elsewhere a plain line now and then.

    Args:
      console: Where to.
      total: Items of this process.
      done: Those that were there before.
      words: What is done, to what.
    """

    def __init__(self, console: Console, total: int, done: int, words: Words = EMBED):
        self._console, self._total, self._done = console, total, done
        self._words = words
        self._began: tuple[float, int] | None = None  # Time and items of the first batch.
        self._printed = time.monotonic()
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn(f"[bold]{words.verb}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task("", total=total, completed=done, text=words.first)
            self._bar.start()

    @property
    def rate(self) -> float | None:
        """Items a second after the first batch, which compiles; None before the second one."""
        if self._began is None or self._done == self._began[1]:
            return None
        return (self._done - self._began[1]) / max(time.monotonic() - self._began[0], 1e-9)

    def advance(self, items: int) -> None:
        """Some more items are embedded."""
        self._done += items
        self._began = self._began or (time.monotonic(), self._done)
        rate, counts = self.rate, f"{self._done:,}/{self._total:,}"
        speed = f"  {rate:,.0f} {self._words.unit}/s" if rate else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, text=counts + speed)
            return
        now = time.monotonic()
        if now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            left = f"  {clock((self._total - self._done) / rate)} left" if rate else ""
            self._console.print(
                f"{self._words.past} {counts} ({self._done / self._total:.0%}){speed}{left}",
                highlight=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        """Leaves the line as it is."""
        if self._bar is not None:
            self._bar.stop()


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
