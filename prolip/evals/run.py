"""Evaluates the checkpoints of a workdir with the evaluators of its configuration."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from prolip import distributed
from prolip.checkpoint import CheckpointError, CheckpointStore
from prolip.config import ConfigError, TrainConfig
from prolip.data.evaluation import EvalSet, eval_set
from prolip.data.image import Form
from prolip.data.labels import named_alike
from prolip.evals.context import EvalResult
from prolip.evals.evaluators import evaluation_id, step_evaluation
from prolip.evals.loop import Evaluate, Outcome, evaluate_steps
from prolip.evals.registry import evaluator
from prolip.evals.sets.address import addresses
from prolip.evals.sets.running import Sets, open_sets
from prolip.evals.together import Leader, follow
from prolip.exit_codes import RESTART
from prolip.loading import load_step, preprocessing_of
from prolip.watchdog import Signs, unwatched
from prolip.workdir import Workdir

REMIND_SECONDS = 300.0  # Between sentences while there is no run to watch.


def evaluate_workdir(
    workdir: Workdir,
    *,
    step: int | None = None,
    watch: bool = False,
    poll_seconds: float = 5.0,
    say: Callable[[str], Any] = print,
    signs: Signs | None = None,
    sets: Sequence[str] = (),
    results: Path | None = None,
    evaluators: Sequence[str] = (),
) -> Outcome:
    """Evaluates the step, or all that have not been, or all that a trainer goes on to write.

    Of several processes each embeds a part of the images; process 0 alone decides what is
    evaluated, does the rest and writes the ledger.

    Args:
      workdir: of the run.
      step: the only one to evaluate.
      watch: goes on until the trainer says that it is done.
      poll_seconds: between looks for new steps.
      say: gets a sentence for each event.
      signs: of life, for a watchdog.
      sets: evaluation sets besides those of the configuration; one of the same name counts instead.
      results: directory for the results; by default the workdir.
      evaluators: instead of the evaluators and sets of the configuration; `sets` still count. What
        is in the ledger stays, as an evaluation's identity does not depend on which others ran.

    Raises:
      ConfigError: no run there (when it isn't watched), or an evaluator or set that doesn't exist.
      CheckpointError: there is nothing to evaluate.
      DataError: the data set is not there, or a set beside it is not whole.
    """
    say = say if jax.process_index() == 0 else lambda _: None
    addresses(sets)  # A slip is told before a run is waited for.
    config = _await_config(workdir, watch, poll_seconds, say, signs)
    names = evaluators or config.eval.evaluators
    for name in names:
        try:
            evaluator(name)
        except ValueError as error:
            given_by = "--evaluators" if evaluators else "config.eval.evaluators"
            raise ConfigError(f"{given_by}: {error}") from error
    form = _image_form(config, workdir)
    split = eval_set(config.data, config.model.image.image_size, config.eval.label_features, form)
    say(
        f"evaluating on {split.name}: {split.num_images} images, {len(split.captions)} captions, "
        f"by {', '.join(names)}"
    )
    for note in (*split.notes, *label_notes(split)):
        say(note)
    threads = max(1, config.data.num_threads)
    opened = open_sets((*(() if evaluators else config.eval.sets), *sets), threads)
    for one in opened:
        say(f"evaluating on {one.sentence}")
    with CheckpointStore(workdir.checkpoints, write=False) as store:
        if not watch and not store.steps():
            raise CheckpointError(f"{workdir.path} has no checkpoint to evaluate")

        beside = Sets(opened, config.eval, signs.alive if signs else unwatched, threads)

        def load(step: int) -> tuple[Any, Any]:
            model = load_step(store, step)
            beside.use(model)
            return model, model.tokenizer

        evaluate = watched(step_evaluation(load, split, config.eval), signs)
        if jax.process_index():
            return Outcome(code=follow(evaluate, signs.idle if signs else unwatched, beside.embed))
        leader = Leader(evaluate)

        def polled() -> None:
            if signs:
                signs.alive("the look for new steps")
            leader.idle()

        outcome = evaluate_steps(
            workdir.path,
            store=store,
            evaluators=(*names, *beside.names),
            config=evaluation_id(
                config.eval,
                config.data,
                split.identity | {"cleaning": config.data.tokenizer.cleaning},
            ),
            evaluate=with_sets(leader, beside),
            step=step,
            watch=watch,
            poll_seconds=poll_seconds,
            say=say,
            polled=polled,
            results=results,
        )
        if outcome.stopped and distributed.joined():
            # The others are told by a signal too, or by the end of this process.
            distributed.abandon(RESTART)
        leader.end(outcome.exit_code)
        return outcome


def label_notes(split: EvalSet) -> Iterator[str]:
    """Sentences on classes of a split that prompts can't ask for."""
    for feature, labels in split.labels.items():
        classes = sorted({label for label in labels if label})
        if missing := labels.count(""):
            yield f"{feature}: {missing:,} of {len(labels):,} images have no label and don't count"
        if alike := named_alike(classes, classes):
            yield f"{feature}: {alike}"
        if classes and all(label.isdecimal() for label in classes):
            yield (
                f"{feature}: classes are called by numbers ({', '.join(classes[:3])}, ...), which "
                "say nothing in a zero-shot prompt; name a feature with their names"
            )


def with_sets(leader: Leader, beside: Sets) -> Evaluate:
    """What the leader evaluates, with the sets beside the split as further evaluators.

    A set is embedded when its turn comes: of a step whose sets are done already, none is.
    """

    def embed(step: int) -> Callable[[str], EvalResult]:
        run = leader.evaluate(step)

        def evaluator(name: str) -> EvalResult:
            if name not in beside.names:
                return run(name)
            return beside.evaluate(name, leader.set)

        return evaluator

    return embed


def watched(evaluate: Evaluate, signs: Signs | None) -> Evaluate:
    """The same with signs of life before each of its parts."""
    if signs is None:
        return evaluate

    def embed(step: int) -> Callable[[str], EvalResult]:
        signs.alive(f"embedding with step {step}")
        run = evaluate(step)

        def evaluator(name: str) -> EvalResult:
            signs.alive(f"the evaluator {name} of step {step}")
            return run(name)

        return evaluator

    return embed


def _image_form(config: TrainConfig, workdir: Workdir) -> Form:
    """Form in which the run's models read images; earlier versions have it in checkpoints only."""
    if config.data.image_form == "source":
        with contextlib.suppress(CheckpointError):
            return preprocessing_of(workdir.path).form
    return config.data.form


def _await_config(
    workdir: Workdir,
    watch: bool,
    poll_seconds: float,
    say: Callable[[str], Any],
    signs: Signs | None,
) -> TrainConfig:
    if watch and not workdir.config.exists():
        say(f"waiting for a run in {workdir.path}")
        began = told = time.monotonic()
        while not workdir.config.exists():
            if signs:
                signs.alive("the look for a run")
            time.sleep(poll_seconds)
            if time.monotonic() - told >= REMIND_SECONDS:
                told = time.monotonic()
                say(f"still no run in {workdir.path} after {(told - began) / 60:.0f} min")
    return workdir.read_config()
