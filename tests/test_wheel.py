"""The built wheel does from an empty folder what the checkout does."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import prolip

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what a wheel of this checkout installs."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def run(installed, cwd, *words):
    env = os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_runs_as_a_module_and_says_its_version(installed, tmp_path):
    assert run(installed, tmp_path, "-m", "prolip", "--version").split() == [
        "prolip",
        prolip.__version__,
    ]


def test_every_configuration_is_found_by_name_outside_the_checkout(installed, tmp_path):
    program = (
        "import sys; from pathlib import Path; import prolip;"
        "from prolip.cli.configuration import load, shipped;"
        "assert Path(prolip.__file__).is_relative_to(sys.argv[1]), prolip.__file__;"
        "assert shipped().is_relative_to(sys.argv[1]);"
        "print(*[load(name).total_steps > 0 and name for name in sys.argv[2:]])"
    )
    names = run(installed, tmp_path, "-c", program, str(installed), *CONFIGS).split()
    assert names == CONFIGS


def test_data_files_travel(installed):
    files = {
        str(path.relative_to(ROOT / "prolip"))
        for path in (ROOT / "prolip").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {str(p.relative_to(installed / "prolip")) for p in (installed / "prolip").rglob("*")}
    assert files <= shipped


def test_public_names_are_what_dir_lists():
    assert set(dir(prolip)) == {*prolip.__all__, "__version__"}
    assert all(hasattr(prolip, name) for name in dir(prolip))
