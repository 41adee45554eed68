"""Every script in benchmarks/ still runs, at sizes that measure nothing, and writes its figures."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SIZES = {"width": 64, "depth": 1, "num_heads": 2, "mlp_dim": 64}
SMALL = " ".join(
    ["--config.model.embed_dim=64"]
    + [f"--config.model.{t}.{k}={v}" for t in ("image", "text") for k, v in SIZES.items()]
)
# Less to compile than Muon and blends.
QUICK = "--config.optimizer.name=adamw --config.data.augment.mixup=0.0"
# Script -> arguments, and how many rows it writes.
RUNS = {
    "loss": ("--batch 64 --dim 8 --repeats 1", 4),
    "retrieval": ("--images 500 --texts 1000 --dim 8 --repeats 1", 3),
    "search": ("--items 2000 --dim 8 --repeats 1", 1),
    "checkpoints": ("--size tiny --repeats 1 --parts state", 5),
    "input_pipeline": ("--images 32 --samples 64 --batch 16 --repeats 1 --kinds threads", 3),
    "train_step": (f"--batch 64 --steps 1 --product 64 {SMALL}", 1),
    "tars": ("--tars 25 --pairs 10 --steps 4 --batch 16 --kills 1", 8),
    "emoji_matches": ("", 7),
    "startup": (f"--repeats 1 --starts first {SMALL} {QUICK}", 1),
}
# The others need a trained run, run for minutes whatever the options, are what these import, or are
# run elsewhere (`planted_captions` in tests/curation/test_audit.py).
OTHERS = {
    "commands",
    "damaged_tars",
    "eccv",
    "emoji",
    "emoji_neighbours",
    "inclusion",
    "pictures",
    "planted_captions",
    "timing",
    "torch_peer",
    "webdataset_peer",
}


def main_of(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_every_benchmark_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == RUNS.keys() | OTHERS


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_benchmark_writes_its_rows(name, monkeypatch, tmp_path, capfd):
    words, count = RUNS[name]
    path = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words.split(), "--json", str(path)])
    main_of(name, monkeypatch)()
    record = json.loads(path.read_text())
    assert words in record["command"]
    assert len(record["rows"]) == count
    table = [line for line in capfd.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == count + 2
    for row in record["rows"]:
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert numbers and all(math.isfinite(x) and x > 0 for x in numbers), row


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("train_step", "--torch --masked-views off", "PyTorch, which is not installed"),
        ("input_pipeline", "--torch --images 2", "PyTorch, torchvision and webdataset"),
    ],
)
def test_without_pytorch_a_sentence_says_so(monkeypatch, name, words, sentence):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words.split()])
    with pytest.raises(SystemExit, match=sentence):
        main_of(name, monkeypatch)()
