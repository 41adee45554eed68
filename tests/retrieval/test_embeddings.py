"""The folder of a collection: what is written is read, and damage is named."""

import dataclasses
import json

import numpy as np
import pytest

from prolip.data.records import DataError
from prolip.gaussian import Gaussian
from prolip.retrieval import embeddings
from prolip.retrieval.embeddings import Failure, Identity, Manifest, Rows


def rows(rng, count, first, dim=8):
    mean = rng.normal(size=(count, dim)).astype(np.float32)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    log_var = rng.normal(-4, 1, (count, dim)).astype(np.float32)
    return Rows(
        tuple(f"item {first + i}" for i in range(count)),
        Gaussian(mean, log_var),
        np.exp(log_var).sum(-1),
        tuple(f"/pictures/{first + i}.png" for i in range(count)),
        (None,) * count,
        (b"\xff\xd8",) * count,
    )


def collection(directory, parts, width="float32", variance="log_var"):
    first, described = 0, []
    for number, part in enumerate(parts):
        path = directory / embeddings.part_name(number)
        failures = [Failure(first + len(part), "broken", "damaged image")]
        items = len(part) + 1
        embeddings.write_part(
            path, part, failures, first_item=first, items=items, width=width, variance=variance
        )
        described.append(embeddings.describe_part(path)[0])
        first += items
    manifest = Manifest(
        format=embeddings.FORMAT,
        kind="image",
        count=sum(len(part) for part in parts),
        failed=len(parts),
        dim=8,
        width=width,
        variance=variance,
        model=Identity("weights", "tokenizer", "preprocessing"),
        checkpoint="runs/a",
        source="pictures",
        parts=tuple(described),
    )
    embeddings.write_manifest(directory, manifest)
    return manifest


@pytest.mark.parametrize("variance", ["log_var", "uncertainty"])
@pytest.mark.parametrize(("width", "tolerance"), [("float32", 0), ("float16", 2e-3)])
def test_what_is_written_is_read(tmp_path, width, tolerance, variance):
    rng = np.random.default_rng(0)
    parts = [rows(rng, 5, 0), rows(rng, 0, 5), rows(rng, 7, 5)]
    written = collection(tmp_path, parts, width, variance)
    manifest = embeddings.read_manifest(tmp_path)
    assert manifest == written
    read = list(embeddings.read_rows(tmp_path, manifest, batch=3))
    assert max(len(piece) for piece in read) == 3
    assert [i for piece in read for i in piece.ids] == [f"item {i}" for i in range(12)]
    for name in ("uris", "texts", "thumbnails"):
        expected = [x for part in parts for x in getattr(part, name)]
        assert [x for piece in read for x in getattr(piece, name)] == expected
    mean = np.concatenate([part.gaussian.mean for part in parts])
    np.testing.assert_allclose(
        np.concatenate([piece.gaussian.mean for piece in read]), mean, atol=tolerance
    )
    trace = np.concatenate([part.uncertainty for part in parts])
    got = np.concatenate([piece.uncertainty for piece in read])
    np.testing.assert_allclose(got, trace, rtol=max(tolerance, 1e-6))
    assert (read[0].gaussian.log_var is None) == (variance == "uncertainty")


def test_failures_are_in_their_part(tmp_path):
    collection(tmp_path, [rows(np.random.default_rng(0), 4, 0)])
    part, failures = embeddings.describe_part(tmp_path / "part-00000.parquet")
    assert (part.items, part.rows) == (5, 4)
    assert failures == [Failure(4, "broken", "damaged image")]


def test_only_the_columns_asked_for_are_read(tmp_path):
    manifest = collection(tmp_path, [rows(np.random.default_rng(0), 4, 0)])
    (read,) = embeddings.read_rows(tmp_path, manifest, columns=["uri"])
    assert read.thumbnails == (None,) * 4
    assert read.uris[3] == "/pictures/3.png"


def test_an_unfinished_collection_says_so(tmp_path):
    collection(tmp_path, [rows(np.random.default_rng(0), 4, 0)])
    (tmp_path / embeddings.MANIFEST).unlink()
    with pytest.raises(DataError, match="unfinished"):
        embeddings.read_manifest(tmp_path)
    with pytest.raises(DataError, match="no collection"):
        embeddings.read_manifest(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2"),
        ({"kind": "sound"}, "sound"),
        ({"count": 3}, "3 rows"),
        ({"model": {"weight": "x"}}, "did you mean"),
        ({"parts": 5}, "damaged"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, change, reason):
    manifest = collection(tmp_path, [rows(np.random.default_rng(0), 4, 0)])
    values = dataclasses.asdict(manifest) | change
    (tmp_path / embeddings.MANIFEST).write_text(json.dumps(values))
    with pytest.raises(DataError, match=reason):
        embeddings.read_manifest(tmp_path)


def test_every_flipped_byte_of_a_part_is_found(tmp_path):
    manifest = collection(tmp_path, [rows(np.random.default_rng(0), 4, 0)])
    path = tmp_path / "part-00000.parquet"
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DataError, match="part-00000"):
            list(embeddings.read_rows(tmp_path, manifest))
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        list(embeddings.read_rows(tmp_path, manifest))
