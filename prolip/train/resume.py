"""Checks what must agree for a run to resume, and says what does not."""

import json
from collections.abc import Mapping
from typing import Any

from prolip.checkpoint.agreement import differing
from prolip.config import ConfigError, TrainConfig, to_dict
from prolip.data.records import DataError
from prolip.train.same_start import BY_HOST, processes, refuse
from prolip.workdir import Workdir, differences

# Keys that change how a run is done, not what it computes.
FREE = (
    "config.logging",
    "config.checkpoint",
    "config.eval",
    "config.mesh",
    "config.accumulation_steps",
    "config.non_finite",
    "config.max_skipped",
    "config.objective.measure_mismatch",
    "config.model.remat",
    "config.model.attention",
    "config.model.block_rows",
    "config.model.text_block_rows",
    "config.model.unroll",
    *BY_HOST,
    "config.data.max_bad_fraction",
)


def check_config(workdir: Workdir, config: TrainConfig, allow_changes: bool) -> list[str]:
    """Compares with the configuration that the run began with; gives what changes.

    Raises:
      ConfigError: something that the result depends on differs and `allow_changes` is not set.
    """
    if not workdir.config.exists():
        return []
    changed = list(differences(to_dict(workdir.read_config()), to_dict(config)))
    binding = [c for c in changed if not c.startswith(FREE)]
    if binding and not allow_changes:
        raise ConfigError(
            f"{workdir.path} holds a run with another configuration: "
            + "; ".join(binding[:5])
            + (f"; and {len(binding) - 5} more" if len(binding) > 5 else "")
            + ". Choose another --workdir, or go on with --allow-config-change."
        )
    return changed


def other_state(saved: TrainConfig, ours: TrainConfig) -> str:
    """Names the changed options that give the checkpoint's arrays other names or shapes.

    Returns:
      A sentence; "" if no such option has changed.
    """
    changed = differences(to_dict(saved), to_dict(ours))
    keys = ("config.optimizer.name", "config.optimizer.frozen", "config.model.")
    shaping = [c for c in changed if c.startswith(keys) and not c.startswith(FREE)]
    if not shaping:
        return ""
    return (
        f"{'; '.join(shaping[:5])}: the state in the checkpoint is of another kind, so the run "
        "can't resume with this change. Undo it, or start a new run from these weights: "
        "--config.init_from with this workdir, and another --workdir"
    )


def check_fingerprint(
    saved: Mapping[str, Any], ours: Mapping[str, Any], allow_changes: bool
) -> list[str]:
    """Compares what decides which samples come next.

    Raises:
      ConfigError: the data is not that of the checkpoint and `allow_changes` is not set.
    """
    # As JSON has it, where tuples are lists.
    changed = list(differences(saved, json.loads(json.dumps(ours)), "data"))
    if changed and not allow_changes:
        raise ConfigError(
            f"the data is not what the checkpoint was trained on: {'; '.join(changed)}. "
            "Going on would repeat or skip samples; --allow-config-change does it all the same."
        )
    return changed


def samples_seen(meta: Mapping[str, Any]) -> int:
    """Number of samples that a checkpoint was trained on, from its meta data.

    It is counted: steps before a change of the batch had other sizes.
    """
    samples = meta.get("samples")
    return int(meta["step"] * meta["data"]["global_batch"] if samples is None else samples)


def check_same_data(fingerprint: Mapping[str, Any]) -> None:
    """Every process calls it; copies on the disks of several machines may differ.

    Raises:
      DataError: some processes would read other samples than process 0, in the same batches.
    """
    if others := differing(json.dumps(fingerprint, sort_keys=True).encode()):
        refuse(
            DataError(
                f"other data than on process 0 is read by {processes(others)}: make the copies in "
                "config.data.data_dir the same"
            )
        )
