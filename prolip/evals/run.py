"""Evaluates the checkpoints of a workdir with the evaluators of its configuration."""

import time
from collections.abc import Callable
from typing import Any

from prolip.checkpoint import CheckpointError, CheckpointStore
from prolip.config import ConfigError, TrainConfig
from prolip.data.evaluation import eval_set
from prolip.evals.evaluators import evaluation_id, evaluator, step_evaluation
from prolip.evals.loop import Outcome, evaluate_steps
from prolip.model import load_step
from prolip.workdir import Workdir


def evaluate_workdir(
    workdir: Workdir,
    *,
    step: int | None = None,
    watch: bool = False,
    poll_seconds: float = 5.0,
    say: Callable[[str], Any] = print,
) -> Outcome:
    """Evaluates the step, or all that have not been, or all that a trainer goes on to write.

    Raises:
      ConfigError: no run there (when it isn't watched), or an evaluator that doesn't exist.
      CheckpointError: there is nothing to evaluate.
      DataError: the data set is not there.
    """
    config = _await_config(workdir, watch, poll_seconds, say)
    for name in config.eval.evaluators:
        try:
            evaluator(name)
        except ValueError as error:
            raise ConfigError(f"config.eval.evaluators: {error}") from error
    split = eval_set(config.data, config.model.image.image_size, config.eval.label_features)
    say(
        f"evaluating on {split.name}: {split.num_images} images, {len(split.captions)} captions, "
        f"by {', '.join(config.eval.evaluators)}"
    )
    with CheckpointStore(workdir.checkpoints, write=False) as store:
        if not watch and not store.steps():
            raise CheckpointError(f"{workdir.path} has no checkpoint to evaluate")

        def load(step: int) -> tuple[Any, Any]:
            model = load_step(store, step)
            return model, model.tokenizer

        return evaluate_steps(
            workdir.path,
            store=store,
            evaluators=config.eval.evaluators,
            config=evaluation_id(
                config.eval,
                config.data,
                {
                    "split": split.name,
                    "records": split.num_images,
                    "cleaning": config.data.tokenizer.cleaning,
                },
            ),
            evaluate=step_evaluation(load, split, config.eval),
            step=step,
            watch=watch,
            poll_seconds=poll_seconds,
            say=say,
        )


def _await_config(
    workdir: Workdir, watch: bool, poll_seconds: float, say: Callable[[str], Any]
) -> TrainConfig:
    if watch and not workdir.config.exists():
        say(f"waiting for a run in {workdir.path}")
        while not workdir.config.exists():
            time.sleep(poll_seconds)
    return workdir.read_config()
