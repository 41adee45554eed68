"""Collections as `prolip embed` writes them, of Gaussians that a test makes up."""

import numpy as np

from prolip.gaussian import Gaussian
from prolip.retrieval.embeddings import (
    FORMAT,
    Failure,
    Identity,
    Manifest,
    Rows,
    describe_part,
    part_name,
    write_manifest,
    write_part,
)


def write(
    folder, kind, ids, mean, log_var, texts=None, source="tars", model="a", uris=None, failed=()
):
    """A whole collection; `failed` are numbers of items that have no row."""
    folder.mkdir(parents=True)
    mean = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
    log_var = np.broadcast_to(np.asarray(log_var, np.float32), mean.shape)
    nothing = (None,) * len(ids)
    uncertainty = np.exp(log_var).sum(-1)
    columns = (uris or nothing, tuple(texts) if texts else nothing, nothing)
    rows = Rows(tuple(ids), Gaussian(mean, log_var), uncertainty, *columns)
    path = folder / part_name(0)
    failures = [Failure(item, f"item {item}", "damaged") for item in failed]
    items = len(ids) + len(failures)
    write_part(path, rows, failures, first_item=0, items=items, width="float32", variance="log_var")
    part, _ = describe_part(path)
    identity = Identity(model, "", "{}")
    about = (FORMAT, kind, len(ids), len(failures), mean.shape[1], "float32", "log_var", identity)
    write_manifest(folder, Manifest(*about, f"model {model}", source, (part,)))
    return str(folder)


def planted(folder, count=300, vague=60, dim=16, seed=0, model="a", noise=0.3):
    """Images and texts; the first `vague` captions are true of anything, and wide.

    Their means point anywhere, as of captions that say nothing. Records are called `0/00012`, as
    samples of tars.
    """
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, dim))
    texts = images.copy()
    texts[:vague] = rng.normal(size=(vague, dim))
    rng = np.random.default_rng(seed)
    images, texts = (x + noise * rng.normal(size=x.shape) for x in (images, texts))
    log_var = np.where(np.arange(count) < vague, -3.0, -5.0)[:, None] + rng.normal(
        0, 0.1, (count, dim)
    )
    ids = [f"0/{n:05}" for n in range(count)]
    words = ["picture" if n < vague else f"thing number {n}" for n in range(count)]
    return [
        write(folder / f"images_{model}", "image", ids, images, -6.0, model=model),
        write(folder / f"texts_{model}", "text", ids, texts, log_var, words, model=model),
    ]
