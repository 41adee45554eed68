"""An index in half precision says how many answers that changes."""

import json

import numpy as np
import pytest
from gaussians import gaussians, write_collection

from prolip import Index
from prolip.cli.main import main
from prolip.gaussian import Gaussian
from prolip.retrieval.probes import probes
from prolip.retrieval.rounding import as_if_unrounded
from prolip.retrieval.vectors import ArrayColumn, Vectors

COUNT, DIM = 600, 64


def crowded(rng, spread):
    """Items around one centre: the smaller the spread, the nearer they are to each other."""
    mean = gaussians(rng, 1, DIM).mean + spread * gaussians(rng, COUNT, DIM).mean
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    return Gaussian(mean.astype(np.float32), np.full((COUNT, DIM), -9, np.float32))


@pytest.mark.parametrize("spread", [0.02, 10.0])
def test_the_share_of_changed_lists_is_that_of_brute_force(tmp_path, spread):
    gaussian = crowded(np.random.default_rng(0), spread)
    directory = write_collection(tmp_path / "c", gaussian)
    index = Index.build(directory, width="float16")
    vectors = Vectors(ArrayColumn(gaussian.mean), ArrayColumn(np.zeros(COUNT, np.float32)))
    queries = probes(vectors, np.arange(COUNT)).mean.astype(np.float64)
    lists = []
    for mean in (gaussian.mean, gaussian.mean.astype(np.float16)):
        scores = queries @ mean.astype(np.float64).T
        lists.append(np.argsort(-scores, axis=1, kind="stable")[:, :10])
    expected = (lists[0] != lists[1]).any(1).mean()
    about = index.description.rounding
    assert (about.changed, about.queries, about.measured) == (pytest.approx(expected), 100, True)
    assert expected > 0.6 if spread < 1 else expected < 0.3
    folder = directory / "index" / index.description.folder
    assert sorted(path.name for path in folder.iterdir()) == ["items.arrow", "mean", "uncertainty"]


def test_float32_changes_nothing_and_says_nothing(tmp_path):
    index = Index.build(write_collection(tmp_path / "c", crowded(np.random.default_rng(0), 0.02)))
    assert index.description.rounding is None


@pytest.mark.parametrize("width", ["float16", "float32"])
def test_what_a_rounded_collection_lost_is_estimated(tmp_path, width):
    gaussian = crowded(np.random.default_rng(0), 0.05)
    rounded = write_collection(tmp_path / "half", gaussian, width="float16")
    known = Index.build(write_collection(tmp_path / "full", gaussian), width="float16")
    about = Index.build(rounded, width=width).description.rounding
    assert not about.measured
    assert about.changed == pytest.approx(known.description.rounding.changed, abs=0.15)


def test_unrounded_numbers_round_to_what_they_are_of():
    rng = np.random.default_rng(0)
    half = gaussians(rng, 50, DIM).mean.astype(np.float16)
    half[7] = half[3]
    drawn = as_if_unrounded(half.astype(np.float32))
    assert (drawn.astype(np.float16) == half).mean() > 0.995  # But at ends of an interval.
    assert (drawn != half).mean() > 0.99
    np.testing.assert_array_equal(drawn[7], drawn[3])


def test_the_command_says_what_half_precision_changes_and_what_keeps_the_order(tmp_path, capsys):
    gaussian = crowded(np.random.default_rng(0), 0.02)
    full = write_collection(tmp_path / "full", gaussian)
    half = write_collection(tmp_path / "half", gaussian, width="float16")
    assert main(["index", str(full), "--width", "float16"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    about = json.loads((full / "index" / "index.json").read_text())["rounding"]
    assert f"changes the order of {about['changed']:.0%} of top-10 lists" in said
    assert "`--width float32` keeps it" in said
    assert main(["index", str(half)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "an estimated" in said and "`prolip embed --width float32`" in said
    assert main(["index", str(full)]) == 0
    assert "Half precision" not in capsys.readouterr().out
