"""Filters find what was planted, keep as many as they say, and training reads what they write."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from embedded_sets import planted, write

from prolip.cli.main import main
from prolip.curation import embedded
from prolip.curation.filtering import FilterOptions, filter_pairs
from prolip.curation.thresholds import keep_between, keep_fraction, rank_mixture
from prolip.data.expression import Expression
from prolip.data.sources.keys import read_keys
from prolip.gaussian import inclusion

COUNT, VAGUE = 300, 60


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("filter"), COUNT, VAGUE)


def kept(sides, out, **options):
    filter_pairs(sides, out, FilterOptions(**options))
    return np.array([int(key.rpartition("/")[2]) for key in pq.read_table(out)["key"].to_pylist()])


@pytest.mark.parametrize(
    "by", ["uncertainty", "specificity", "similarity", "min(similarity, 1 - uncertainty)"]
)
def test_planted_captions_are_what_is_dropped(by, sides, tmp_path):
    found = kept(sides, tmp_path / "kept.parquet", by=by, keep=1 - VAGUE / COUNT)
    dropped = np.setdiff1d(np.arange(COUNT), found)
    assert (dropped < VAGUE).mean() > 0.95  # Precision.
    assert np.isin(np.arange(VAGUE), dropped).mean() > 0.95  # Recall.


def test_inclusion_is_the_test_of_each_image_in_its_own_text(sides, tmp_path):
    images, texts = (embedded.read(side, log_var=True) for side in sides)
    expected = np.diag(inclusion(embedded.gaussian(images), embedded.gaussian(texts)))
    out = tmp_path / "kept.parquet"
    filter_pairs(sides, out, FilterOptions(by="inclusion", keep=1.0))
    np.testing.assert_allclose(pq.read_table(out)["score"].to_numpy(), expected, rtol=1e-4)


def test_threshold_is_that_of_sorted_values_and_keeps_ties():
    values = np.array([5.0, 3.0, 3.0, 3.0, 1.0])
    # -sort(-x)[int(5 * 0.3)] = 3: what is equal to it stays.
    found = keep_fraction(values, 0.3)
    assert (found.threshold, found.ties) == (3.0, 3)
    assert found.mask.tolist() == [True, True, True, True, False]
    assert keep_fraction(values, 1.0).mask.all()
    assert keep_fraction(values, 0.1).mask.tolist() == [True, False, False, False, False]
    assert keep_between(values, 3.0, 4.0).mask.tolist() == [False, True, True, True, False]
    with pytest.raises(ValueError, match="above 0"):
        keep_fraction(values, 0.0)
    with pytest.raises(ValueError, match="number"):
        keep_fraction(np.array([np.nan]), 0.5)


def test_mixture_weighs_ranks_whatever_their_units():
    values = {"similarity": np.array([0.1, 0.2, 0.3]), "uncertainty": np.array([7e5, 7e5, 1e5])}
    found = rank_mixture(Expression("similarity - 0.5 * uncertainty", "--by"), values)
    np.testing.assert_allclose(found, [0 - 0.375, 0.5 - 0.375, 1.0])


def test_the_file_is_one_of_keys_and_tells_the_scores(sides, tmp_path, capsys):
    out = tmp_path / "kept.parquet"
    words = ["data", "filter", *sides, "--by", "uncertainty", "--below", "0.2", "--out", str(out)]
    assert main(words) == 0
    assert read_keys(out).to_pylist() == [f"0/{n:05}" for n in range(VAGUE, COUNT)]
    assert pq.read_table(out).column_names == ["key", "score", "uncertainty"]
    said = capsys.readouterr().out
    assert "240 of 300 records are kept (80 %)" in said and "at most 0.2" in said
    assert "` | picture | " in said  # An example of what is dropped.
    assert (tmp_path / "kept.md").read_text() == said


def test_a_run_trains_on_what_is_kept(tmp_path):
    """Keys of a table are its name and row; those of the filter are those of the source."""
    from prolip.config import DataConfig
    from prolip.data.sources.choose import open_train

    (tmp_path / "set.csv").write_text(
        "image,caption\n" + "".join(f"{n}.png,c{n}\n" for n in range(9))
    )
    rng = np.random.default_rng(0)
    log_var = np.linspace(-2, -9, 9)[:, None]
    ids, source = [str(n) for n in range(9)], str(tmp_path / "set.csv")
    texts = write(
        tmp_path / "texts", "text", ids, rng.normal(size=(9, 4)), log_var, ids, source=source
    )
    out = tmp_path / "kept.parquet"
    filter_pairs([texts], out, FilterOptions(keep=0.4))
    config = DataConfig(
        name="table", data_dir=str(tmp_path), train_split="set.csv", caption_features=("caption",),
        caption_weights=(1.0,), keep_keys=str(out), index_dir=str(tmp_path),
    )  # fmt: skip
    source = open_train(config)
    assert [source.key(i) for i in range(len(source))] == [f"set.csv::{n}" for n in (5, 6, 7, 8)]


def test_rows_of_a_table_are_not_its_ids(tmp_path):
    """Row 2 could not be embedded; ids are numbers that rows could have."""
    rng = np.random.default_rng(0)
    ids, log_var = ["3", "4", "0", "1"], np.array([-5.0, -5.0, -1.0, -1.0])[:, None]
    images = write(
        tmp_path / "i", "image", ids, rng.normal(size=(4, 2)), log_var, source="/data/set.csv",
        uris=[f"/data/{row}.png" for row in (0, 1, 3, 4)], failed=[2],
    )  # fmt: skip
    assert embedded.training_keys(embedded.read(images)) == [f"set.csv::{r}" for r in (0, 1, 3, 4)]
    out = tmp_path / "kept.parquet"
    filter_pairs([images], out, FilterOptions(by="image_uncertainty", keep=0.3))
    assert pq.read_table(out)["key"].to_pylist() == ["set.csv::0", "set.csv::1"]


def test_blanks_around_a_score_are_nothing(sides, tmp_path):
    plain = kept(sides, tmp_path / "a.parquet", by="uncertainty", keep=0.5)
    spaced = kept(sides, tmp_path / "b.parquet", by=" uncertainty ", keep=0.5)
    assert plain.tolist() == spaced.tolist()


def test_several_texts_of_a_record_count_by_their_mean(tmp_path):
    rng = np.random.default_rng(0)
    log_var = np.log([[0.1], [0.3], [0.25], [0.1]])
    ids = ["0/0", "0/1", "1", "2"]
    texts = write(
        tmp_path / "t", "text", ids, rng.normal(size=(4, 2)), log_var, ids, source="tfds:x:train"
    )
    out = tmp_path / "kept.parquet"
    filter_pairs([texts], out, FilterOptions(below=0.45))
    table = pq.read_table(out)
    assert table["key"].to_pylist() == ["0", "2"]
    np.testing.assert_allclose(table["score"].to_numpy(), [0.4, 0.2], rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["{0}", "{1}", "--by", "similarty", "--keep", "0.5"], "did you mean 'similarity'"),
        (["{1}", "--by", "similarity", "--keep", "0.5"], "needs embedded images too"),
        (["{1}", "--by", "uncertainty"], "give --keep FRACTION, or --above and --below"),
        (["{1}", "--by", "uncertainty", "--keep", "1.5"], "above 0 and at most 1"),
        (["{1}", "--by", "uncertainty", "--above", "9"], "nothing is kept"),
        (["{1}", "{1}", "--by", "uncertainty", "--keep", "0.5"], "are both texts"),
        (["{1}", "--by", "uncertainty < 3 and 1 / 0", "--keep", "0.5"], "comes to no number"),
        (["{1}", "--by", "3", "--keep", "0.5"], "names no score"),
        (["nowhere", "--by", "uncertainty", "--keep", "0.5"], "no collection of `prolip embed`"),
    ],
)
def test_mistakes_are_a_sentence(words, sentence, sides, tmp_path, capsys):
    words = [word.format(*sides) for word in words]
    assert main(["data", "filter", *words, "--out", str(tmp_path / "kept.parquet")]) == 1
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
