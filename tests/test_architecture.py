"""Imports go one way, heavy packages stay where they are needed, files stay short."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "prolip").rglob("*.py"))

# Level of each module, by its longest prefix. A module imports its own folder and lower levels;
# from level 2 on also its own level, where FORBIDDEN does not say otherwise.
LEVELS = {
    "prolip.gaussian": 0,
    "prolip.blocks": 0,
    "prolip.slot_similarity": 0,
    "prolip.config": 0,
    "prolip.config_bounds": 0,
    "prolip.config_data": 0,
    "prolip.config_eval": 0,
    "prolip.config_objective": 0,
    "prolip.config_rules": 0,
    "prolip.exit_codes": 0,
    "prolip.regular_files": 0,
    "prolip.distributed": 0,
    "prolip.sharding": 0,
    "prolip.watchdog": 0,
    "prolip.workdir": 0,
    "prolip.losses": 1,
    "prolip.models": 1,
    "prolip.data": 1,
    "prolip.data.importing": 3,
    "prolip.evals.metrics": 1,
    "prolip.checkpoint": 2,
    "prolip.evals": 2,
    "prolip.interop": 2,
    "prolip.loading": 2,
    "prolip.model": 2,
    "prolip.compile": 3,
    "prolip.convert": 3,
    "prolip.curation": 3,
    "prolip.demo": 3,
    "prolip.train": 2,
    "prolip.evals.loop": 3,
    "prolip.evals.run": 3,
    "prolip.train.loop": 3,
    "prolip.report": 3,
    "prolip.retrieval": 3,
    "prolip.experiments": 4,
    "prolip.cli": 4,
    "prolip": 4,
}
KNOWS_NO_MODEL = ("data", "evals", "interop", "losses", "model", "models", "train")
# They meet in a checkpoint directory; checkpoints are trees and files, of any model.
FORBIDDEN = {
    "prolip.train": ("prolip.evals", "prolip.report"),
    "prolip.evals": ("prolip.train", "prolip.report"),
    "prolip.report": ("prolip.train",),
    "prolip.retrieval": ("prolip.train", "prolip.report"),
    "prolip.curation": ("prolip.train", "prolip.report"),
    "prolip.interop": ("prolip.train", "prolip.evals"),
    "prolip.checkpoint": tuple(f"prolip.{name}" for name in KNOWS_NO_MODEL),
}
BANNED = {"tensorflow", "torch", "pickle", "cloudpickle", "dill"}
HEAVY = {"grain", "matplotlib", "orbax", "pyarrow", "tensorflow_datasets", "wandb"}


class Import(NamedTuple):
    module: str  # That imports.
    name: str  # That is imported.
    where: str  # file:line


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, also those inside functions, by full name."""
    module, place = module_name(path), path.relative_to(ROOT)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, f"{place}:{node.lineno}")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield Import(module, full if full in MODULES else base, f"{place}:{node.lineno}")


def inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def level(module: str) -> int | None:
    """Level by the longest prefix; None for a new part of the package that has none yet."""
    known = [prefix for prefix in LEVELS if prefix != "prolip" and inside(module, prefix)]
    if known:
        return LEVELS[max(known, key=len)]
    return LEVELS["prolip"] if module in ("prolip", "prolip.__main__") else None


def folder(module: str) -> str:
    """The part of the package that a module belongs to: `prolip.evals` for `prolip.evals.loop`."""
    return ".".join(module.split(".")[:2])


def violation(found: Import) -> str:
    """What is wrong with an import inside the package, or "" if nothing is."""
    own, other = level(found.module), level(found.name)
    if own is None or other is None:
        return ""  # `test_every_module_has_a_level` names it.
    for part, strangers in FORBIDDEN.items():
        if inside(found.module, part) and any(inside(found.name, s) for s in strangers):
            return f"{part} must not know {found.name}"
    if other < own:
        return ""
    same = folder(found.module) == folder(found.name)
    if other == own and (same or own != 1):
        return ""
    return f"{found.module} (level {own}) imports {found.name} (level {other})"


def test_imports_go_one_way():
    found = [(i.where, violation(i)) for f in FILES for i in imports(f) if inside(i.name, "prolip")]
    wrong = [f"{where}: {what}" for where, what in found if what]
    assert not wrong, "imports against the levels of CONTRIBUTING.md:\n" + "\n".join(wrong)


def test_every_module_has_a_level():
    new = sorted(module for module in MODULES if level(module) is None)
    assert not new, f"give these a level in LEVELS of {Path(__file__).name}: {', '.join(new)}"


@pytest.mark.parametrize(
    ("module", "name", "right"),
    [
        ("prolip.losses.pairwise", "prolip.gaussian", True),
        ("prolip.losses.pairwise", "prolip.losses.softmax", True),
        ("prolip.losses.pairwise", "prolip.models.vit", False),
        ("prolip.evals.metrics", "prolip.evals.retrieval", False),
        ("prolip.evals.retrieval", "prolip.evals.metrics", True),
        ("prolip.evals.retrieval", "prolip.train.step", False),
        ("prolip.train.step", "prolip.train.loop", False),
        ("prolip.train.loop", "prolip.evals.ledger", False),
        ("prolip.checkpoint.store", "prolip.models.vit", False),
        ("prolip.report.page", "prolip.evals.ledger", True),
        ("prolip.gaussian", "prolip", False),
        ("prolip.cli.main", "prolip.train.loop", True),
    ],
)
def test_the_rule_finds_what_it_should(module, name, right):
    assert (violation(Import(module, name, "")) == "") is right


def test_no_other_framework_and_no_pickle():
    wrong = [
        f"{i.where}: {i.name}" for f in FILES for i in imports(f) if i.name.split(".")[0] in BANNED
    ]
    assert not wrong, "the package must run without these:\n" + "\n".join(wrong)


def test_only_loops_and_commands_print():
    """Everything below returns or raises, so that it can be used inside another program."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if (level(module_name(path)) or 0) < 3
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not wrong, "print() below the loops:\n" + "\n".join(wrong)


@pytest.mark.parametrize("module", ["prolip", "prolip.config"])
def test_import_is_light(module):
    code = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy = HEAVY & set(loaded.stdout.split())
    assert not heavy, f"`import {module}` imports {', '.join(sorted(heavy))}"


def test_files_are_short():
    lengths = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for folder in ("prolip", "tests", "tools", "configs", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    }
    long = [f"{path}: {lines} lines" for path, lines in lengths.items() if lines > 400]
    assert not long, "split these into files of one idea each:\n" + "\n".join(long)
