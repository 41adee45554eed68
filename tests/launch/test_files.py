"""The files of launch/ are well formed, and their loops start again exactly when that can help."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parents[2] / "launch"
SCRIPTS = sorted(
    path
    for path in LAUNCH.rglob("*")
    if path.is_file() and path.read_text().startswith("#!/usr/bin/env bash")
)
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


def names(path: Path) -> str:
    return str(path.relative_to(LAUNCH))


@pytest.mark.parametrize("script", SCRIPTS, ids=names)
def test_script_is_well_formed(script):
    assert not run("bash", "-n", script).stderr
    found = run(SHELLCHECK, "--shell", "bash", script)
    assert found.returncode == 0, found.stdout
    assert os.access(script, os.X_OK) or script.suffix == ".sbatch"


def test_every_folder_is_explained_and_listed():
    overview = (LAUNCH / "README.md").read_text()
    for folder in (path for path in LAUNCH.iterdir() if path.is_dir()):
        assert (folder / "README.md").read_text().startswith("# ")
        assert f"({folder.name}/README.md)" in overview


def test_manifest_is_a_jobset_whose_pods_start_and_stop_together():
    [manifest] = yaml.safe_load_all((LAUNCH / "gke" / "train.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])
    policy = manifest["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    assert policy["rules"] == [
        {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    ]
    for replicated in manifest["spec"]["replicatedJobs"]:
        assert replicated["name"] and replicated["replicas"] >= 1
        job = replicated["template"]["spec"]
        assert job["parallelism"] == job["completions"] and job["backoffLimit"] == 0
        pod = job["template"]["spec"]
        assert pod["restartPolicy"] == "Never"  # What podFailurePolicy asks for.
        assert pod["terminationGracePeriodSeconds"] >= 30
        [container] = pod["containers"]
        [rule] = job["podFailurePolicy"]["rules"]
        assert rule["action"] == "FailJob"
        assert rule["onExitCodes"]["containerName"] == container["name"]
        assert rule["onExitCodes"]["operator"] == "In"
        assert not {0, 75, 76, 77, 134, 137} & set(rule["onExitCodes"]["values"])
        assert container["command"][0] == "prolip" and "--distributed=auto" in container["command"]
        topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
        chips = eval(topology.replace("x", "*"))
        assert chips == job["parallelism"] * container["resources"]["limits"]["google.com/tpu"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_xla_flags_are_known_to_this_jaxlib():
    """XLA ends a program that sets a flag it does not know."""
    text = "".join(path.read_text() for path in SCRIPTS)
    text += (LAUNCH / "gpu_node" / "README.md").read_text().replace("=N`", "=1`")
    flags = sorted(set(re.findall(r"--xla_\w+=\w+", text)))
    assert len(flags) >= 4
    code = "import jax; print(len(jax.devices()))"
    environment = {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    got = run(sys.executable, "-c", code, environment=environment)
    assert got.stdout.strip() == "1", got.stderr


@pytest.mark.parametrize(
    ("code", "restarts", "result", "requeued"),
    [(0, 0, 0, False), (1, 0, 1, False), (3, 0, 3, False), (75, 0, 0, True), (75, 100, 75, False)],
)
def test_slurm_job_goes_back_into_the_queue(code, restarts, result, requeued, tmp_path):
    fake(tmp_path, "srun", f'echo "$@" >> {tmp_path}/srun.txt; exit {code}')
    fake(tmp_path, "scontrol", f'echo "$@" >> {tmp_path}/scontrol.txt')
    got = run(
        *("bash", LAUNCH / "slurm" / "train.sbatch", "train", "--config", "a b"),
        environment={"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)},
        folder=tmp_path,
    )
    assert got.returncode == result, got.stderr
    assert "prolip train --config a b --distributed auto" in (tmp_path / "srun.txt").read_text()
    assert (tmp_path / "scontrol.txt").exists() == requeued


@pytest.mark.parametrize(("last", "result"), [(0, 0), (1, 1)])
def test_pod_script_asks_again_for_a_slice_that_was_taken_away(last, result, tmp_path):
    """One that is taken away during the run is asked for again, and released at the end."""
    (tmp_path / "state").write_text("")
    (tmp_path / "runs").write_text("")
    fake(
        tmp_path,
        "gcloud",
        f"""cd {tmp_path}
echo "$3 $4" >> calls
case "$3 $4" in
  "queued-resources describe") cat state ;;
  "queued-resources create") echo ACTIVE > state ;;
  "queued-resources delete") : > state ;;
  "tpu-vm ssh")
    case "$*" in *keep_running.sh*)
      printf x >> runs
      if [ "$(cat runs)" = x ]; then
        echo SUSPENDED > state; echo "prolip ended with code 75"
      else
        printf 'prolip ended with code {last}\\r\\nprolip ended with code {last}\\n'
      fi ;;
    esac ;;
esac""",
    )
    got = run(
        *(LAUNCH / "tpu_pod" / "run.sh", "train", "--config", "emoji"),
        environment={
            **{"NAME": "n", "ZONE": "z", "WORKDIR_SHARE": "host:/runs", "PAUSE": "0"},
            "RESTARTS": "3",
        },
        folder=tmp_path,
    )
    assert got.returncode == result, got.stderr
    assert (tmp_path / "runs").read_text() == "xx"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("queued-resources create") == 2
    assert calls.count("queued-resources delete") == 2 and calls[-1] == "queued-resources delete"


def fake(folder: Path, name: str, body: str) -> None:
    """A program of this name, first in the path of `run`."""
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(*command, environment=None, folder=None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), os.environ["PATH"]] if folder else [os.environ["PATH"]])
    return subprocess.run(
        list(map(str, command)),
        env={"PATH": path, "HOME": os.environ.get("HOME", "/"), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
