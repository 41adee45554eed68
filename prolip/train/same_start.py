"""Checks that all processes of a run start with the same configuration, code and weights.

Each process applies its own updates to its copy of the parameters: another learning rate on one
host would make the copies drift apart without an error, another checkpoint interval would hang.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax

from prolip import distributed
from prolip.checkpoint.agreement import differing, texts_of_all
from prolip.config import ConfigError, TrainConfig, flatten, to_dict
from prolip.data.records import DataError

# Keys that may differ: paths on the host, and how it reads. The samples, which don't depend on
# them, are compared by `check_same_data`.
BY_HOST = (
    "config.data.data_dir",
    "config.data.index_dir",
    "config.data.num_threads",
    "config.data.num_workers",
    "config.data.prefetch",
    "config.data.cache",
)
FAILED = "failed"  # Instead of all keys of a process that can't start.
SHOWN = 5  # Keys, and processes of each value, that a message names.


def check_same_start(config: TrainConfig, allow_changes: bool) -> None:
    """Compares configuration, `--allow-config-change` and code; every process calls it.

    Raises:
      ConfigError: on every process, where one of them differs, with the keys and values; or where
        one can't start at all (`told_to_all`).
    """
    if jax.process_count() == 1:
        return
    mine = {k: v for k, v in flatten(to_dict(config)).items() if k not in BY_HOST}
    mine |= {
        "--allow-config-change": allow_changes,
        "the SHA-256 of prolip's source code": code_digest(),
        "the version of jax": jax.__version__,
    }
    _compare(mine)


@contextlib.contextmanager
def told_to_all() -> Iterator[None]:
    """Lets an error of one process alone, such as a damaged file, end the start of all.

    The others, which have no error, hear of it in `check_same_start`.
    """
    try:
        yield
    except ConfigError as error:
        if distributed.joined():
            # Also where another process is gone by now: this error is the one to be told.
            with contextlib.suppress(Exception):
                _compare({FAILED: str(error)})
        raise


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Ends the start of all processes where a file of one of them can't be used.

    Every process runs the block, in which none may wait for another. A process that ended alone
    would count as lost, and a launcher would start the others again.

    Raises:
      ConfigError, DataError: that of this process, or a sentence on that of another.
    """
    mine: ConfigError | DataError | None = None
    try:
        yield
    except (ConfigError, DataError) as error:
        mine = error
    reasons = texts_of_all("" if mine is None else str(mine))
    failed = [i for i, reason in enumerate(reasons) if reason]
    if mine is not None:
        refuse(mine)
    if failed:
        refuse(DataError(f"{processes(failed)} can't start: {reasons[failed[0]]}"))


def _compare(mine: Mapping[str, Any]) -> None:
    text = json.dumps(mine)
    if differing(text.encode()):
        refuse(ConfigError(disagreement([json.loads(other) for other in texts_of_all(text)])))


def check_same_weights(identity: Mapping[str, str]) -> None:
    """Compares the digests of what `config.init_from` is on each host; every process calls it.

    Raises:
      DataError: on every process, where one has read other weights than process 0.
    """
    if others := differing(json.dumps(dict(identity), sort_keys=True).encode()):
        refuse(
            DataError(
                f"config.init_from: {processes(others)} has other weights than process 0; make the "
                "copies on the hosts the same"
            )
        )


def disagreement(values: list[Mapping[str, Any]]) -> str:
    """Says which keys differ between processes, or which process can't start.

    Args:
      values: of each process by key; a key that a process lacks counts as None.
    """
    failed = [i for i, mine in enumerate(values) if FAILED in mine]
    if failed:
        return f"{processes(failed)} can't start: {values[failed[0]][FAILED]}"
    parts = []
    for key in sorted(set().union(*values)):
        holders: dict[str, list[int]] = {}
        for index, mine in enumerate(values):
            holders.setdefault(repr(mine.get(key)), []).append(index)
        if len(holders) > 1:
            listed = " and ".join(f"{v} on {processes(who)}" for v, who in holders.items())
            parts.append(f"{key} is {listed}")
    more = f"; and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return (
        f"the processes of this run differ: {'; '.join(parts[:SHOWN])}{more}. Start all of them "
        "with the same configuration file, options and version of prolip"
    )


def processes(indices: list[int]) -> str:
    """Names processes: "process 1, 3"."""
    more = f" and {len(indices) - SHOWN} more" if len(indices) > SHOWN else ""
    return f"process {', '.join(map(str, indices[:SHOWN]))}{more}"


def refuse(error: Exception) -> NoReturn:
    """Raises an error that all processes raise, once they have met to leave.

    Otherwise the first one that ends would count as lost, and a launcher would start the others
    again.
    """
    if distributed.joined():
        # Where the meeting fails the error is still the reason.
        with contextlib.suppress(Exception):
            distributed.leave()
    raise error


def code_digest() -> str:
    """SHA-256 of the paths and contents of the package's Python files."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()
