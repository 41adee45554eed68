"""Exit codes of the commands; docs/exit_codes.md has the cause of each and what to do about it."""

from typing import NamedTuple

USER_ERROR = 1  # The message says how to mend it.
USAGE = 2  # argparse: the command line can't be read.
NOT_FINITE = 3
BAD_RECORDS = 4
RESTART = 75
STUCK = 76
PEER_LOST = 77
INTERRUPTED = 130
ABORTED = 134  # 128 + SIGABRT
KILLED = 137  # 128 + SIGKILL
TERMINATED = 143  # 128 + SIGTERM


class ExitCode(NamedTuple):
    """The meaning of an exit code to whoever started the command."""

    cause: str
    restart: bool  # Whether the same command again can help, without a person.


EXIT_CODES = {
    0: ExitCode("done", False),
    USER_ERROR: ExitCode("an error that the message says how to mend", False),
    USAGE: ExitCode("unknown or missing options", False),
    NOT_FINITE: ExitCode("a training step was not finite", False),
    BAD_RECORDS: ExitCode("done, except for records that can't be used, which are listed", False),
    RESTART: ExitCode("stopped by SIGTERM and saved, or the workdir is still in use", True),
    STUCK: ExitCode("the watchdog saw no progress", True),
    PEER_LOST: ExitCode("another process of the run is gone, or never came", True),
    INTERRUPTED: ExitCode("Ctrl-C; training has saved", False),
    ABORTED: ExitCode("JAX aborted the process because another one is gone", True),
    KILLED: ExitCode("killed, by a person or for want of memory", True),
    TERMINATED: ExitCode("SIGTERM with nothing to save, or a second one", True),
}
