#!/usr/bin/env bash
# Runs `prolip ARGUMENTS` on all workers of a spot TPU slice, asking for a new slice whenever it is taken away.
# README.md beside this file explains; the variables below are its options.
set -u
: "${NAME:?name of the slice}" "${ZONE:?zone of the slice}" "${WORKDIR_SHARE:?HOST:/EXPORT that the workers mount at /mnt/runs}"
accelerator=${ACCELERATOR:-v5litepod-16}
runtime=${RUNTIME:-v2-alpha-tpuv5-lite}
restarts=${RESTARTS:-100}
pause=${PAUSE:-60}
root=$(cd "$(dirname "$0")/../.." && pwd)
read -ra provisioning <<<"${PROVISIONING:---spot}" # Or --reserved.
tpu=(gcloud compute tpus)

state() {
  "${tpu[@]}" queued-resources describe "$NAME" --zone "$ZONE" --format 'value(state.state)' 2>/dev/null
}

remove() {
  "${tpu[@]}" queued-resources delete "$NAME" --zone "$ZONE" --force --quiet
}

await_slice() { # Asks for a slice if there is none, and waits until it is there.
  while true; do
    case $(state) in
      ACTIVE) return ;;
      "")
        "${tpu[@]}" queued-resources create "$NAME" --zone "$ZONE" --node-id "$NAME" \
          --accelerator-type "$accelerator" --runtime-version "$runtime" "${provisioning[@]}"
        ;;
      FAILED | SUSPENDED) remove ;; # A slice that was taken away does not come back.
    esac
    sleep "$pause"
  done
}

on_all() {
  "${tpu[@]}" tpu-vm ssh "$NAME" --zone "$ZONE" --worker all --command "$1"
}

install() {
  local archive
  archive=$(mktemp) || return
  # What is committed; `git stash create` would not travel.
  git -C "$root" archive --format tar.gz --output "$archive" HEAD &&
    "${tpu[@]}" tpu-vm scp "$archive" "$NAME:prolip.tar.gz" --zone "$ZONE" --worker all &&
    on_all "set -e
      mkdir -p prolip && tar -xzf prolip.tar.gz -C prolip
      sudo mkdir -p /mnt/runs
      mountpoint -q /mnt/runs || sudo mount -t nfs $(printf '%q' "$WORKDIR_SHARE") /mnt/runs
      python3 -m venv prolip/.venv && prolip/.venv/bin/pip install --quiet -e 'prolip[tpu]'"
  local code=$?
  rm -f "$archive"
  return "$code"
}

ended() { # Deletes the slice, and ends with the code given.
  [ -n "${KEEP:-}" ] || remove
  exit "$1"
}

# gcloud does not hand on exit codes, so each worker says its own.
options=
[ -z "${LIBTPU_INIT_ARGS:-}" ] || options="export LIBTPU_INIT_ARGS=$(printf '%q' "$LIBTPU_INIT_ARGS") && "
command="cd prolip && ${options}launch/keep_running.sh .venv/bin/prolip$(printf ' %q' "$@" --distributed auto)
  echo \"prolip ended with code \$?\""
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for ((i = 0; i <= restarts; i++)); do
  await_slice
  if install; then
    on_all "$command" 2>&1 | tee "$log"
    codes=$(tr -d '\r' <"$log" | sed -n 's/.*prolip ended with code \([0-9]*\)$/\1/p' | sort -nu)
    for code in $codes; do
      case $code in
        1 | 2 | 3 | 130) ended "$code" ;;
      esac
    done
    [ "$codes" = 0 ] && ended 0
    echo "run.sh: the slice or the run was interrupted; start $((i + 2)) in $pause s" >&2
  fi
  sleep "$pause"
done
echo "run.sh: given up after $restarts restarts" >&2
ended 75
