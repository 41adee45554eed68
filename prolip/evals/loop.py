"""Evaluates the checkpoints of a workdir while a trainer may be writing to it.

Each checkpoint that is kept long enough is evaluated once, the oldest first, however often the
process is killed and however many of them run. The trainer and this loop meet only in files.
"""

import contextlib
import dataclasses
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prolip.checkpoint import CheckpointError, CheckpointStore, LeaseHeld, layout
from prolip.evals.context import EvalResult
from prolip.evals.ledger import Ledger
from prolip.exit_codes import RESTART

# Loads the model of a step and embeds the data; gives the function from name to result.
Evaluate = Callable[[int], Callable[[str], EvalResult]]
# For which a workdir must be missing to count as removed: mounts come back.
GONE_SECONDS = 10.0


@dataclasses.dataclass
class Outcome:
    """What a call of `evaluate_steps` did."""

    evaluated: list[int] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)  # "step/evaluator" -> error.
    damaged: dict[int, str] = dataclasses.field(default_factory=dict)  # Step -> what is wrong.
    stopped: bool = False  # By SIGTERM.
    code: int = 0  # Of process 0, in the others.

    @property
    def exit_code(self) -> int:
        """0 if all is well, 75 after SIGTERM, 1 if something failed or a step is damaged."""
        if self.stopped:
            return RESTART
        return 1 if self.failed or self.damaged else self.code


def evaluate_steps(
    workdir: str | os.PathLike[str],
    *,
    store: CheckpointStore,
    evaluators: Sequence[str],
    config: str,
    evaluate: Evaluate,
    step: int | None = None,
    watch: bool = False,
    poll_seconds: float = 5.0,
    say: Callable[[str], Any] = print,
    polled: Callable[[], Any] = lambda: None,
    results: str | os.PathLike[str] | None = None,
) -> Outcome:
    """Evaluates what is there and has not been evaluated, oldest step first.

    An evaluator that fails is recorded and the others go on; it is tried once by each process.
    A damaged checkpoint is named and passed over.

    Args:
      workdir: of the run.
      store: its checkpoints, opened for reading.
      evaluators: names of the evaluators, in the order in which they run.
      config: hash of the evaluation's configuration; see `ledger.config_hash`.
      evaluate: called with a step whose bytes are verified and that is not deleted meanwhile;
        what it returns is called with the name of each evaluator.
      step: the only step to evaluate; None takes all.
      watch: goes on until the trainer's `DONE` is there and every step is evaluated; a single
        `step` is not watched for.
      poll_seconds: between looks for new steps.
      say: gets a sentence for each event.
      polled: called whenever there was nothing to do.
      results: directory of the ledger; by default the workdir.

    Raises:
      CheckpointError: `step` does not exist, or the workdir is gone.
    """
    run = _Run(Ledger(results or workdir, config), store, tuple(evaluators), evaluate, say)
    done_file = Path(workdir) / "DONE"
    gone = _Gone(Path(workdir))
    try:
        with gone, _sigterm() as terminated:
            while not terminated.is_set():
                # Before the look for steps: after `DONE` no step comes.
                done = done_file.exists() or not watch or step is not None
                there = run.manifests() if step is None else {step: store.manifest_hash(step)}
                progress = next((True for item in there.items() if run.visit(*item)), False)
                if not progress:
                    if done and not run.waiting:
                        break
                    polled()
                    gone.check()
                    terminated.wait(poll_seconds)
                run.waiting = False
            run.outcome.stopped = terminated.is_set()
            run.ledger.reconcile()  # Lines of other evaluators that were killed.
    except _Terminated:
        run.outcome.stopped = True
    return run.outcome


class _Gone:
    """Ends an evaluation whose workdir has been removed, which no file would ever end."""

    def __init__(self, workdir: Path):
        self._workdir, self._since = workdir, float("inf")

    def check(self) -> None:
        """Raises CheckpointError once the workdir has been gone for `GONE_SECONDS`."""
        if self._workdir.is_dir():
            self._since = float("inf")
            return
        self._since = min(self._since, time.monotonic())
        if time.monotonic() - self._since >= GONE_SECONDS:
            raise CheckpointError(f"{self._workdir} is gone: nothing is left to evaluate")

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, FileNotFoundError) and not self._workdir.is_dir():
            raise CheckpointError(
                f"{self._workdir} is gone: it was removed while it was evaluated"
            ) from error


@dataclasses.dataclass
class _Run:
    ledger: Ledger
    store: CheckpointStore
    evaluators: tuple[str, ...]
    evaluate: Evaluate
    say: Callable[[str], Any]
    outcome: Outcome = dataclasses.field(default_factory=Outcome)
    settled: set[tuple[int, str]] = dataclasses.field(default_factory=set)
    waiting: bool = False  # For another evaluator, or for a step that was on the move.

    def manifests(self) -> dict[int, str]:
        """The steps that are there, damaged ones too, with the hash of their manifests."""
        found = {}
        for step in layout.existing(self.store.directory).in_state():
            with contextlib.suppress(CheckpointError):  # Deleted since.
                found[step] = self._manifest(step)
        return found

    def visit(self, step: int, manifest: str) -> bool:
        """Evaluates a checkpoint if that is still to do; returns whether it was."""
        if (step, manifest) in self.settled:
            return False
        if not self.ledger.pending(step, manifest, self.evaluators):
            self.settled.add((step, manifest))
            return False
        try:
            with (
                self.store.read_lease(step, alone=True) as identity,
                self.ledger.claim(step, manifest),
            ):
                if identity != manifest:
                    return True  # Saved again since: another checkpoint.
                if self._is_good(step, manifest):
                    self._evaluate(step, manifest)
                    self.settled.add((step, manifest))
                return True
        except LeaseHeld:
            self.waiting = True
        except CheckpointError:
            # Deleted, or about to be: the next look tells, as the trainer takes a step back that
            # it finds leased.
            self.waiting = True
        return False

    def _manifest(self, step: int) -> str:
        try:
            return self.store.manifest_hash(step)
        except CheckpointError:
            pass
        # Twice, as in `_is_good`.
        try:
            return self.store.manifest_hash(step)
        except CheckpointError as e:
            path = layout.existing(self.store.directory).manifest(step)
            if path.exists() and step not in self.outcome.damaged:
                self.outcome.damaged[step] = str(e)
                self.say(f"step {step} is damaged and not evaluated: {e}")
            raise

    def _is_good(self, step: int, manifest: str) -> bool:
        # Twice, as the manifest can be away for a moment while the trainer sees the lease.
        for _ in range(2):
            damage = self.store.verify(step)
            if not damage:
                return True
            if self.store.manifest_hash(step) != manifest:
                return False
        files = [str(file) for file in damage]
        self.outcome.damaged[step] = "; ".join(files)
        self.ledger.record_damage(step, manifest, files)
        self.settled.add((step, manifest))
        self.say(f"step {step} is damaged and not evaluated: {'; '.join(files[:3])}")
        return False

    def _evaluate(self, step: int, manifest: str) -> None:
        names = self.ledger.pending(step, manifest, self.evaluators)
        if not names:
            return  # Another evaluator ended between the look and the claim.
        try:
            run = self.evaluate(step)
        except Exception as e:
            for name in names:
                self._failed(step, manifest, name, e)
            return
        for name in names:
            start = time.monotonic()
            try:
                result = run(name)
                if self.ledger.record(step, manifest, name, result):
                    seconds = time.monotonic() - start
                    self.say(f"step {step}: {name} is evaluated ({seconds:.1f} s)")
            except Exception as e:
                self._failed(step, manifest, name, e)
        if not self.ledger.pending(step, manifest, names):
            self.outcome.evaluated.append(step)

    def _failed(self, step: int, manifest: str, name: str, error: Exception) -> None:
        sentence = f"{type(error).__name__}: {error}"
        self.outcome.failed[f"{step}/{name}"] = sentence
        trace = "".join(traceback.format_exception(error))
        self.ledger.record_failure(step, manifest, name, trace)
        self.say(f"step {step}: {name} failed: {sentence}")


class _Terminated(BaseException):
    """SIGTERM, wherever the program is: what is on disk is right at any moment."""


@contextlib.contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets; in the main thread it also interrupts what is going on."""
    terminated = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield terminated
        return

    def on_signal(*_: Any) -> None:
        if terminated.is_set():
            return  # The first is being answered.
        terminated.set()  # Kept, should the exception be swallowed where none may be raised.
        raise _Terminated

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)
