#!/usr/bin/env bash
# Runs a command until it is done, on one machine: starts it again after the exit codes for which
# docs/exit_codes.md says so (75 to 77, 134, 137, 143). Errors of the user (1, 2), steps that were not
# finite (3) and records that can't be used (4) end it: starting again would not help.
# SIGTERM and Ctrl-C go on to the command, which saves; then both end.
#
#   launch/keep_running.sh prolip train --config emoji --workdir runs/emoji
#
# RESTARTS (default 100) is how often at the most, PAUSE (default 5) how many seconds lie between.
set -um # -m: the command gets a group of its own, so that signals reach it once, from here.
restarts=${RESTARTS:-100}
pause=${PAUSE:-5}
child=0
told=""
# shellcheck disable=SC2329 # Called by the traps below.
pass_on() {
  told=$1
  [ "$child" -ne 0 ] && kill -s "$1" "$child" 2>/dev/null
}
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT
for ((i = 0; i <= restarts; i++)); do
  "$@" &
  child=$!
  # One that came before there was somebody to tell.
  [ -n "$told" ] && kill -s "$told" "$child" 2>/dev/null
  wait "$child"
  code=$?
  while kill -0 "$child" 2>/dev/null; do # A signal ended the wait, not the command.
    wait "$child"
    code=$?
  done
  child=0
  case $code in
    0 | 1 | 2 | 3 | 4 | 130) exit "$code" ;; # 130: Ctrl-C, a person meant it.
  esac
  [ -n "$told" ] && exit "$code"
  echo "keep_running: ended with code $code; start $((i + 2)) in $pause s" >&2
  sleep "$pause"
  [ -n "$told" ] && exit "$code"
done
echo "keep_running: given up after $restarts restarts" >&2
exit "$code"
