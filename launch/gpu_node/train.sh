#!/usr/bin/env bash
# Runs `prolip ARGUMENTS` on all GPUs of this machine until it is done; README.md beside this file explains the settings.
set -u
here=$(cd "$(dirname "$0")" && pwd)
export XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_enable_latency_hiding_scheduler=true"
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}
exec "$here/../keep_running.sh" "${PROLIP:-prolip}" "$@"
