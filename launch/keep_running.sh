#!/usr/bin/env bash
# Runs a command until it is done, on one machine: starts it again when it was stopped by a signal after
# a save (exit code 75, as `prolip train` and `prolip eval` give), or killed, or lost its machine's device.
# Errors of the user (1, 2) and steps that were not finite (3) end it: starting again would not help.
#
#   launch/keep_running.sh prolip train --config emoji --workdir runs/emoji
#
# RESTARTS (default 100) is how often at the most, PAUSE (default 5) how many seconds lie between.
set -u
restarts=${RESTARTS:-100}
pause=${PAUSE:-5}
for ((i = 0; i <= restarts; i++)); do
  "$@"
  code=$?
  case $code in
    0 | 1 | 2 | 3) exit "$code" ;;
    130) exit 130 ;; # Ctrl-C: a person meant it.
  esac
  echo "keep_running: ended with code $code; start $((i + 2)) in $pause s" >&2
  sleep "$pause"
done
echo "keep_running: given up after $restarts restarts" >&2
exit "$code"
