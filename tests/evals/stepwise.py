"""A writer of tiny checkpoints and an evaluator of them, in this process."""

import json

import jax.numpy as jnp
import numpy as np

from prolip.checkpoint import CheckpointStore
from prolip.evals.context import EvalResult
from prolip.evals.loop import evaluate_steps

NAMES = ("first", "second")


def save(workdir, steps, salt=0.0):
    with CheckpointStore(workdir / "checkpoints", write=True) as store:
        for step in steps:
            params = {"w": jnp.full(4, step + salt)}
            store.save(step, {"params": params}, {"step": step}, {})
            store.wait()


def metrics_of(step):
    return lambda name: EvalResult(
        {f"{name}/step": float(step)}, {"a": np.arange(step)}, {"n": step}
    )


def run(workdir, evaluate=metrics_of, **kwargs):
    said = []
    outcome = evaluate_steps(
        workdir,
        store=CheckpointStore(workdir / "checkpoints", write=False),
        evaluators=kwargs.pop("evaluators", NAMES),
        config=kwargs.pop("config", "c"),
        evaluate=evaluate,
        poll_seconds=0.02,
        say=said.append,
        **kwargs,
    )
    return outcome, said


def lines(workdir):
    return [json.loads(line) for line in (workdir / "evals.jsonl").read_text().splitlines()]
