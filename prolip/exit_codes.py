"""Exit codes of the commands; launch/README.md tells what to do about each."""

USER_ERROR = 1  # The message says how to mend it.
NOT_FINITE = 3  # A step was not finite.
BAD_RECORDS = 4  # Done, but for records that can't be used; they are listed.
RESTART = 75  # Stopped by a signal and saved, or the workdir is being let go: start again.
STUCK = 76  # A watchdog saw no progress: start all processes again.
PEER_LOST = 77  # Another process of the run is gone: start all again.
INTERRUPTED = 130  # Ctrl-C, saved.
