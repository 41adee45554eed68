"""A report has the run's numbers, survives what is missing, and lets nothing in or out."""

import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import synthetic_run

from prolip.config import ConfigError, TrainConfig, from_dict
from prolip.data import evaluation
from prolip.data.records import DataError
from prolip.report import compare, pictures, plots, words, write_report
from prolip.report.read import read_run

HOSTILE = '<script>alert("x")</script> & $\\frac$'


@pytest.fixture(scope="module")
def data():
    data = synthetic_run.invent(120, 40, np.random.default_rng(0))
    data.captions[:] = [f"{caption} {HOSTILE}" for caption in data.captions]
    return data


@pytest.fixture(scope="module")
def workdir(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a <b> run"
    synthetic_run.write(path, data, np.random.default_rng(1), steps=(100, 200, 300))
    return path


def images(indices):
    return [np.full((8, 8, 3), i, np.uint8) for i in indices]


@pytest.fixture(scope="module")
def page(workdir):
    return write_report(workdir, images).read_text(encoding="utf8")


class Parsed(HTMLParser):
    """Elements and addresses of a page; balanced or an error."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text, self._open = [], [], "", []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = ("src", "href", "xlink:href", "srcset")
        self.addresses += [value for name, value in attrs if name in named]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text += data


def test_page_has_the_numbers_of_the_newest_step(page, workdir):
    metrics, text = read_run(workdir).metrics, Parsed(page).text
    for name in ("recall@1", "recall@5", "map_at_r"):
        for task in ("text_to_image", "image_to_text", "text_to_image_multiple"):
            for variant in ("", "mean/"):
                assert words.number(metrics[f"retrieval/{task}/{variant}{name}"]) in text
    assert words.signed(metrics["uncertainty/text/matches_spearman"]) in text
    assert words.number(metrics["zero_shot/group/top1"]) in text
    assert "step 300 of 300" in text


def test_captions_are_shown_as_text(page, data):
    parsed = Parsed(page)
    assert "script" not in parsed.tags
    assert html.escape(HOSTILE, quote=False) in page.replace("&#34;", '"')
    assert data.captions[0] in parsed.text


def test_page_needs_nothing_from_outside(page):
    parsed = Parsed(page)
    assert parsed.addresses
    assert all(address.startswith(("data:image/", "#")) for address in parsed.addresses)
    assert not re.search(r"url\(\s*[\"']?(?!#)|@import", page)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)


def test_ids_are_unique_and_all_references_lead_somewhere(page):
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(ids)


def test_hits_are_framed_and_misses_are_not(page, workdir):
    shown = re.findall(r'<li class="(hit|miss)"><img [^>]*title="image (\d+)"', page)
    folder = next((workdir / "evals").glob("300-*"))
    notes = json.loads((folder / "retrieval.json").read_text())
    right = {
        (e["images"][i], e["hits"][i]) for e in notes["captions"] for i in range(len(e["hits"]))
    }
    assert {(int(image), kind == "hit") for kind, image in shown} <= right
    assert {kind for kind, _ in shown} == {"hit", "miss"}


def test_the_same_run_gives_the_same_page(page, workdir):
    assert write_report(workdir, images).read_text(encoding="utf8") == page


def test_no_images_leave_their_numbers_and_say_why(workdir):
    def missing(indices):
        raise OSError("the disk is gone")

    text = write_report(workdir, missing).read_text(encoding="utf8")
    assert "the disk is gone" in text
    assert "<img" not in text
    assert 'class="no-image"' in text


def test_pictures_are_numbered_as_the_evaluation_numbers_them(workdir, monkeypatch):
    asked = []

    def split(data, size, labels):
        asked.append(tuple(labels))
        raise DataError("not here")

    monkeypatch.setattr(evaluation, "eval_set", split)
    assert "not here" in write_report(workdir).read_text(encoding="utf8")
    assert set(asked) == {from_dict(TrainConfig, read_run(workdir).config).eval.label_features}


@pytest.mark.parametrize("part", ["retrieval", "zero_shot", "uncertainty"])
def test_a_missing_evaluator_is_named_with_its_command(part, data, tmp_path):
    others = [name for name in ("retrieval", "zero_shot", "uncertainty") if name != part]
    rng = np.random.default_rng(1)
    synthetic_run.write(tmp_path, data, rng, steps=(100,), evaluators=others)
    text = Parsed(write_report(tmp_path, images).read_text(encoding="utf8")).text
    assert "prolip eval --workdir" in text


def test_an_empty_directory_says_how_to_begin(tmp_path):
    text = Parsed(write_report(tmp_path).read_text(encoding="utf8")).text
    assert "prolip train" in text
    assert "prolip eval" in text
    assert "not evaluated yet" in text


def test_no_directory_is_an_error_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        write_report(tmp_path / "nowhere")


def test_torn_lines_and_numbers_that_are_none_are_left_out(data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100,))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 110, "loss": NaN, "finite": 0}\n{"step": 120, "loss": 0.')
    run = read_run(tmp_path)
    assert run.training["loss"].steps.tolist() == list(range(10, 101, 10))
    assert "not finite" in write_report(tmp_path, images).read_text(encoding="utf8")


@pytest.mark.parametrize("name", ["retrieval.json", "uncertainty.npz", "uncertainty.json"])
def test_a_damaged_artefact_counts_as_missing(name, data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100,))
    path = next((tmp_path / "evals").glob(f"*/{name}"))
    path.write_bytes(path.read_bytes()[:100])
    text = write_report(tmp_path, images).read_text(encoding="utf8")
    assert "prolip eval --workdir" in text


def test_failures_of_the_evaluator_are_told(data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100,))
    folder = next((tmp_path / "evals").glob("100-*"))
    failed = {"step": 100, "evaluator": "other", "manifest": "manifest100"}
    failed["error"] = "Traceback\nValueError: no <labels>"
    (folder / "other.failed.json").write_text(json.dumps(failed))
    text = write_report(tmp_path, images).read_text(encoding="utf8")
    assert "ValueError: no &lt;labels&gt;" in text


def test_a_step_that_is_half_evaluated_does_not_hide_the_one_before(data, tmp_path):
    rng = np.random.default_rng(1)
    synthetic_run.write(tmp_path, data, rng, steps=(100,))
    synthetic_run.write(tmp_path, data, rng, steps=(100, 200), evaluators=("retrieval",))
    run = read_run(tmp_path)
    assert run.step == 100
    assert sorted(run.evaluations) == [100, 200]


def test_no_uncertainty_is_said_and_not_drawn(data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100,))
    path = next((tmp_path / "evals").glob("*/uncertainty.npz"))
    with np.load(path) as stored:
        zero = {k: 0 * v if "uncertainty" in k else v for k, v in stored.items()}
    np.savez(path, **zero)
    text = write_report(tmp_path, images).read_text(encoding="utf8")
    assert "the same uncertainty" in text
    assert "Uncertainty and number of matches" not in text


def test_changed_options_are_listed_and_the_config_is_readable(page, workdir):
    from_dict(TrainConfig, read_run(workdir).config)
    text = Parsed(page).text
    assert "2 options differ from the defaults" in text
    assert "global_batch" in text


@pytest.mark.parametrize(
    ("rho", "said"),
    [
        (-0.4, "falls moderately"),
        (-0.05, "does not follow"),
        (0.09, "does not follow"),
        (0.2, "grows weakly"),
        (0.5, "grows moderately"),
        (0.7, "grows strongly"),
    ],
)
def test_the_sentence_says_what_the_correlation_is(rho, said):
    [sentence] = words.multiplicity({"uncertainty/text/matches_spearman": rho})
    assert said in sentence
    assert words.signed(rho) in sentence
    assert ("opposite" in sentence) == (rho < -0.1)


def test_a_stronger_tie_to_length_is_admitted():
    metrics = {"uncertainty/text/matches_spearman": 0.2, "uncertainty/text/length_spearman": 0.5}
    assert any("longer captions are more uncertain" in s for s in words.multiplicity(metrics))
    metrics["uncertainty/text/length_spearman"] = 0.1
    assert not any("length" in s for s in words.multiplicity(metrics))


def test_smoothing_keeps_straight_lines_and_means():
    line = np.linspace(3, -5, 240)
    np.testing.assert_allclose(plots.smooth(line)[20:-20], line[20:-20])
    noise = np.random.default_rng(0).normal(size=2400)
    assert plots.smooth(noise).std() < 0.12
    np.testing.assert_allclose(plots.smooth(np.full(7, 2.0)), 2.0)


def test_long_records_stay_small():
    steps = np.arange(200_000)
    values = np.sin(steps / 1e4)
    svg = plots.curves({"": plots.Series(steps, values)}, "x")
    assert len(svg) < 100_000


def test_images_come_by_position_and_no_further_than_needed():
    read = []

    def batches():
        for start in range(0, 100, 8):
            read.append(start)
            yield np.arange(start, start + 8, dtype=np.uint8)[:, None, None, None] * np.ones(
                (1, 2, 2, 3), np.uint8
            )

    found = pictures.from_batches(batches)([9, 3, 17])
    assert [int(image[0, 0, 0]) for image in found] == [9, 3, 17]
    assert read == [0, 8, 16]


def test_small_pictures_are_stored_exactly_and_large_ones_as_thumbnails():
    import base64
    import io

    from PIL import Image

    def opened(uri):
        return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))

    random = np.random.default_rng(0)
    small = random.integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(opened(pictures.encode(small))), small)
    large = np.zeros((300, 600, 3), np.uint8)
    assert opened(pictures.encode(large)).size == (128, 64)


def test_comparison_marks_the_best_and_leaves_gaps(workdir):
    recall = "retrieval/text_to_image_multiple/recall@1"
    rows = {row.name: row for row in compare({"ProLIP": workdir, "SigLIP": {recall: 0.9}})}
    assert rows[recall].best == ["SigLIP"]
    assert rows[recall].values["ProLIP"] == pytest.approx(0.51)
    assert rows["zero_shot/group/top1"].values["SigLIP"] is None
    assert rows["zero_shot/group/top1"].best == ["ProLIP"]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("metrics.jsonl", lambda text: text.replace('"step": 20', '"step": "x"', 1)),
        ("config.json", lambda text: text.replace('"data": {', '"data": 3, "x": {', 1)),
        ("evals/*/retrieval.done.json", lambda text: text.replace('"step"', '"stop"')),
        ("evals/*/retrieval.json", lambda text: text[:100]),
        (
            "evals/*/retrieval.json",
            lambda text: text.replace('"matches": ', '"matches": "x", "y": '),
        ),
        (
            "evals/*/uncertainty.json",
            lambda text: text.replace('"captions": [', '"captions": ["x"], "x": ['),
        ),
    ],
)
def test_a_damaged_file_is_named_and_left_out(file, damage, data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100,))
    [path] = tmp_path.glob(file)
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    page = write_report(tmp_path, images, output=tmp_path / "page.html").read_text("utf8")
    assert str(path.with_suffix("")).removesuffix(".done") in page
    assert "damaged" in page and "left out of this report" in page
    assert not (tmp_path / "report.html").exists()
