"""Numbers of ready sets: those of the evaluators, for a model, for a run, and by processes."""

import dataclasses
import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import stand_ins
from small_model import PREPROCESSING, save, small_model
from toy import make_set, rows

import prolip
from prolip.cli.main import main
from prolip.config import DataConfig, EvalConfig, TrainConfig, to_dict
from prolip.data.sources.choose import open_source
from prolip.evals import ledger
from prolip.evals.benchmarks import annotations
from prolip.evals.retrieval import retrieval
from prolip.evals.sets import known, prompts
from prolip.evals.sets import measure as sets_measure
from prolip.evals.sets.address import parse
from prolip.evals.sets.layouts import stored
from prolip.evals.sets.measure import classes_of, measure
from prolip.evals.sets.one_model import evaluate_model
from prolip.evals.sets.opened import open_set
from prolip.evals.sets.pixels import Pixels
from prolip.evals.zero_shot import class_embeddings, class_logits, prompts_of, zero_shot
from prolip.workdir import Workdir


@pytest.fixture(scope="module")
def model():
    return small_model(devices=2)


@pytest.fixture(scope="module")
def workdir(model, tmp_path_factory):
    """A run without data of its own."""
    path = tmp_path_factory.mktemp("run")
    save(model, path)
    return path


def embedded(model, opened):
    batches = list(Pixels(opened.listing, PREPROCESSING).images(1000))
    return model.image(np.concatenate(batches))


def test_classification_is_that_of_the_evaluator_in_any_blocks(model, tmp_path):
    opened = open_set(parse(f"folder={stand_ins.tars(tmp_path)} prompts=openai partial=yes"))
    images = embedded(model, opened)
    texts = prompts_of(opened.listing.names, opened.prompts.templates)
    classes = class_embeddings(model.text(model.tokenizer(texts)), 3)
    expected = zero_shot(images, classes, opened.listing.labels)
    for block in (1, 100, 1024):
        result = measure(opened, images, model.encode_text, EvalConfig(block=block))
        own = {f"sets/folder/{name}": value for name, value in expected.items()}
        assert result.metrics == pytest.approx(own)
        best = class_logits(images, classes).argmax(1)
        assert result.arrays["predicted"].tolist() == best.tolist()
    about = result.notes["about"]
    assert (about["prompts"], about["templates"], about["classes"]) == ("openai v1", 80, 3)
    assert about["listing_sha256"] == opened.listing.digest()


def test_prompts_are_cleaned_when_they_are_whole(model):
    # The tokenizer of the model removes punctuation and case from the final text.
    names, templates = ["King_Charles Spaniel"], ["A photo of a {}."]
    one = classes_of(names, templates, model.encode_text, 64)
    other = classes_of(["king charles spaniel"], ["a photo of a {}"], model.encode_text, 64)
    np.testing.assert_array_equal(one.mean, other.mean)


def test_retrieval_is_that_of_all_captions_and_images(model, tmp_path):
    root = stand_ins.karpathy(tmp_path, "dataset_coco.json", "val2014", captions=7)
    opened = open_set(parse(f"coco={root} partial=yes"))
    images = embedded(model, opened)
    result = measure(opened, images, model.encode_text, EvalConfig())
    captions = opened.listing.captions
    texts = model.encode_text(captions.texts)
    positives = [[row] for row in captions.image_of_text]
    for name, value in retrieval(images, texts, positives).items():
        assert result.metrics[f"sets/coco/{name}"] == pytest.approx(value)
    recalls = [
        result.metrics[f"sets/coco/{way}/recall@{k}"]
        for way in ("text_to_image", "image_to_text")
        for k in (1, 5, 10)
    ]
    assert result.metrics["sets/coco/rsum"] == pytest.approx(100 * sum(recalls))


def test_a_whole_coco_has_its_benchmarks_too(model, tmp_path, monkeypatch):
    root = stand_ins.karpathy(tmp_path, "dataset_coco.json", "val2014")
    small = dataclasses.replace(known.BY_NAME["coco"], images=3, captions=15)
    monkeypatch.setitem(known.BY_NAME, "coco", small)
    opened = open_set(parse(f"coco={root}"))
    images, config = embedded(model, opened), EvalConfig()
    monkeypatch.setattr(sets_measure, "coco", lambda *given, **_: {"ids": float(sum(given[2]))})
    monkeypatch.setattr(annotations, "location", lambda: tmp_path)
    assert measure(opened, images, model.encode_text, config).metrics["sets/coco/ids"] == 30
    monkeypatch.setattr(annotations, "location", lambda: None)
    assert "prolip[eval]" in measure(opened, images, model.encode_text, config).notes["without"]


def test_tfds_sets_are_read_from_their_records(tmp_path, monkeypatch):
    make_set(tmp_path, rows(5))
    read = functools.partial(DataConfig, image_feature="picture")
    monkeypatch.setattr(stored, "DataConfig", read)
    small = dataclasses.replace(
        known.BY_NAME["folder"], tfds=stored.Prepared("toy", "train", "kind")
    )
    monkeypatch.setitem(known.BY_NAME, "folder", small)
    opened = open_set(parse(f"folder=tfds:{tmp_path}"))
    assert opened.listing.names == ("round", "square")
    assert opened.listing.keys == tuple("01234")
    source = open_source(
        read(name="toy", data_dir=str(tmp_path), caption_features=("kind",)), "train"
    )
    labels = [source[n].captions[0][0] for n in range(5)]
    assert [opened.listing.classes[c] for c in opened.listing.labels] == labels


def test_one_model_gives_a_table_and_a_file(workdir, tmp_path, capsys):
    root = stand_ins.class_folders(tmp_path / "pets", ("cat", "great_dane"), each=6)
    target = tmp_path / "out.json"
    words = [
        "--set",
        f"folder={root} as=pets",
        "--set",
        f"cub={stand_ins.cub(tmp_path)} partial=yes",
    ]
    assert main(["eval", "--model", str(workdir), *words, "--json", str(target)]) == 0
    said = capsys.readouterr().out
    assert "pets: 12 images, 2 classes by the prompts simple v1" in said and "top1" in said
    found = json.loads(target.read_text())
    assert set(found["sets"]) == {"pets", "cub"}
    assert found["metrics"]["sets/pets/num_images"] == 12
    assert found["sets"]["cub"]["about"]["partial"] is True
    assert found["model"]["weights"] == prolip.load(workdir).identity["weights"]
    again = evaluate_model(workdir, [f"folder={root} as=pets"], EvalConfig(batch=5))
    for name, value in again["metrics"].items():
        assert found["metrics"][name] == pytest.approx(value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "imagenot=/x"], "did you mean 'imagenet'"),
        (["--set", "imagenet"], "write NAME=WHERE"),
        (["--set", "imagenet=/nowhere"], "prolip eval --list imagenet"),
        ([], "--set NAME=WHERE"),
        (["--set", "cub=/x", "--watch"], "--watch is for a --workdir"),
        (["--set", "cub=/x", "--batch", "0"], "at least 1"),
    ],
)
def test_slips_are_one_sentence(words, said, workdir, capsys):
    assert main(["eval", "--model", str(workdir), *words]) == 1
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


@pytest.mark.parametrize("name", [*known.BY_NAME])
def test_each_set_says_how_to_get_its_files(name, capsys):
    assert main(["eval", "--list", name]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert known.BY_NAME[name].how_to in said and f"--set {name}=" in said


def test_the_list_has_all_sets_and_refuses_others(capsys):
    assert main(["eval", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("imagenet_v2", "50,889 images", "flickr30k", "retrieval"))
    assert main(["eval", "--list", "imagenet_z"]) == 1
    assert "did you mean" in capsys.readouterr().err


@pytest.fixture
def run(model, tmp_path):
    """A workdir with a split of its own, and a configuration that names a set."""
    root = stand_ins.class_folders(tmp_path / "pets", ("cat", "great_dane"), each=6)
    path = tmp_path / "run"
    save(model, path)
    data = make_set(tmp_path / "toy", rows(9))
    config = TrainConfig(
        model=model.config,
        data=data,
        eval=EvalConfig(
            evaluators=("retrieval",), label_features=(), sets=(f"folder={root} as=pets",)
        ),
    )
    Workdir(path).config.write_text(json.dumps(to_dict(config)))
    (path / "DONE").write_text('{"step": 1}')
    return path, root


def entries(path):
    return {entry.evaluator: entry for entry in ledger.entries(path)}


def test_sets_of_a_run_are_entries_of_its_ledger_and_measured_once(run, capsys):
    path, root = run
    assert main(["eval", "--workdir", str(path), "--watch"]) == 0
    first = entries(path)
    (name,) = (name for name in first if name.startswith("set-pets-"))
    assert set(first) == {"retrieval", name}
    assert first[name].metrics["sets/pets/num_images"] == 12
    capsys.readouterr()
    words = ["--set", f"folder={root} as=pets prompts=siglip", "--set", f"folder={root} as=more"]
    assert main(["eval", "--workdir", str(path), *words]) == 0
    said = capsys.readouterr().out
    assert "retrieval is evaluated" not in said  # What is done stays done.
    second = entries(path)
    assert set(second) > set(first) and len(second) == 4
    assert all(second[name] == first[name] for name in first)
    model = prolip.load(path)
    pixels = Pixels(open_set(parse(f"folder={root}")).listing, PREPROCESSING)
    images = model.image(np.concatenate([*pixels.images(4)]))
    names = ["cat", "great dane"]
    classes = classes_of(names, prompts.read("siglip").templates, model.encode_text, 64)
    best = class_logits(images, classes).argmax(1)
    (other,) = (n for n in second if n.startswith("set-pets-") and n != name)
    expected = (best == np.repeat([0, 1], 6)).mean()
    assert second[other].metrics["sets/pets/top1"] == pytest.approx(expected)


def test_a_damaged_image_fails_its_set_alone(run, capsys):
    path, root = run
    (root / "cat" / "cat_3.JPEG").write_bytes(b"?")
    assert main(["eval", "--workdir", str(path)]) == 1
    assert "cat/cat_3.JPEG: not a JPEG" in capsys.readouterr().out
    assert set(entries(path)) == {"retrieval"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["--model", "--workdir"])
def test_two_processes_give_the_numbers_of_one(kind, run, tmp_path):
    path, root = run
    alone, target = tmp_path / "alone.json", tmp_path / "two.json"
    words = ["--set", f"folder={root} as=pets"]
    if kind == "--model":
        words += ["--batch", "5"]
        assert main(["eval", "--model", str(path), *words, "--json", str(alone)]) == 0
        words += ["--json", str(target)]
    launch = ["launch", "local", "--processes", "2", "--devices-per-process", "1", "--"]
    command = [sys.executable, "-m", "prolip.cli.main", *launch, "eval", kind, str(path), *words]
    done = subprocess.run(
        command,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if kind == "--model":
        one, two = (json.loads(file.read_text())["metrics"] for file in (alone, target))
    else:
        (name,) = (name for name in entries(path) if name.startswith("set-"))
        two = entries(path)[name].metrics
        one = evaluate_model(path, words[1:], EvalConfig())["metrics"]
    assert two == pytest.approx(one)
    assert two["sets/pets/num_images"] == 12
