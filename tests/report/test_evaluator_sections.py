"""Sections of the evaluators beside the first three, from what the evaluators really leave.

Long because all sections are of the one run that is evaluated here.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic_run
from test_report import Parsed, images

from prolip.config import CheckpointConfig, EvalConfig, ObjectiveConfig, TrainConfig
from prolip.evals import abstention, calibration, multiplicity, probe
from prolip.evals.context import Context, EvalResult
from prolip.evals.ledger import Ledger
from prolip.evals.sets.address import parse
from prolip.evals.sets.measure import measure
from prolip.evals.sets.opened import open_set
from prolip.gaussian import Gaussian
from prolip.report import plots, words, write_report
from prolip.report.read import read_run
from prolip.workdir import Workdir

sys.path.append(str(Path(__file__).parents[1] / "evals"))
import stand_ins

NAMES = ("abstention", "calibration", "probe", "multiplicity")
MODULES = (abstention, calibration, probe, multiplicity)
SKILLS = {"calibration/brier_skill": -0.2, "calibration/log_skill": 0.1}
QUALITY = "retrieval/text_to_image/map_at_r"


def gaussians(count, random, dim=8):
    mean = random.normal(size=(count, dim))
    log_var = random.normal(-4, 0.3, (count, dim)).astype(np.float32)
    return Gaussian((mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype("f4"), log_var)


def context(data, random):
    labels = {
        "shape": random.choice(["round", "square", "star"], data.num_images).tolist(),
        "<u>": random.choice(["small", "large"], data.num_images).tolist(),
        "colour": ["red"] * 10 + ["blue"] * (data.num_images - 10),
    }
    return Context(
        images=gaussians(data.num_images, random),
        texts=gaussians(len(data.captions), random),
        captions=data.captions,
        levels=[synthetic_run.LEVELS[level] for level in data.level],
        positives=data.positives,
        labels=labels,
        encode_text=lambda texts: gaussians(len(texts), random),
        config=EvalConfig(label_features=("shape", "colour", "<u>")),
        logit_scale=8.0,
        logit_bias=-1.0,
    )


@pytest.fixture(scope="module")
def data():
    return synthetic_run.invent(120, 40, np.random.default_rng(0))


@pytest.fixture(scope="module")
def workdir(data, tmp_path_factory):
    """Three steps, the second one the best, with all sections at each."""
    path, random = tmp_path_factory.mktemp("runs") / "run", np.random.default_rng(1)
    synthetic_run.write(path, data, random, steps=(100, 200, 300))
    classes = stand_ins.class_folders(tmp_path_factory.mktemp("classes"), end=".jpg")
    captions = stand_ins.karpathy(
        tmp_path_factory.mktemp("captions"), "dataset_flickr30k.json", "flickr30k-images"
    )
    opened = [
        open_set(parse(f"folder={classes} as=pets")),
        open_set(parse(f"flickr30k={captions} partial=yes")),
    ]
    ledger = Ledger(path, "config")
    for step in (100, 200, 300):
        given = context(data, random)
        for name, module in zip(NAMES, MODULES, strict=True):
            ledger.record(step, f"manifest{step}", name, module.evaluate(given))
        for one in opened:
            result = measure(
                one, gaussians(len(one.listing), random), given.encode_text, given.config
            )
            ledger.record(step, f"manifest{step}", one.evaluator, result)
        quality = {QUALITY: {100: 0.1, 200: 0.9, 300: 0.5}[step]}
        ledger.record(step, f"manifest{step}", "mine", EvalResult(quality | {"mine/x": 0.25}))
    return path


@pytest.fixture(scope="module")
def page(workdir):
    return write_report(workdir, images).read_text(encoding="utf8")


@pytest.fixture(scope="module")
def text(page):
    return " ".join(Parsed(page).text.split())


@pytest.fixture(scope="module")
def metrics(workdir):
    return read_run(workdir).metrics


def rows_of(page, name):
    """Cells of the table rows that begin with this name."""
    rows = re.findall(r"<tr>(?:(?!</tr>).)*</tr>", page, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    plain = [[re.sub(r"<[^>]+>", " ", cell).strip() for cell in row] for row in cells]
    return [row[1:] for row in plain if row and row[0].split() and row[0].split()[0] == name]


def test_the_page_stays_whole(page):
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "&lt;u&gt;" in page  # A label's name.
    assert not {"script", "link", "u"} & set(Parsed(page).tags)
    assert "prolip eval --workdir" not in page  # Nothing is missing.


def test_abstention_has_curves_and_every_number(page, metrics):
    assert page.count(">queries that are answered</text>") == 2
    for way in ("text_to_image", "image_to_text"):
        for error in ("recall@1", "r_precision"):
            for signal in ("uncertainty", "score"):
                name = f"abstention/{way}/{error}/{signal}"
                row = [
                    words.number(metrics[f"{name}/aurc"]),
                    words.number(metrics[f"{name}/excess"]),
                    words.signed(metrics[f"{name}/gain"]),
                ]
                assert row in [found[-3:] for found in rows_of(page, "1")], name


@pytest.mark.parametrize("wrong", [0, 1, 37, 99, 100])
def test_the_best_order_answers_all_that_are_right_first(wrong):
    errors = np.sort(np.arange(100) < wrong)
    answered = np.arange(1, 101)
    found = plots.best_order(answered / 100, wrong / 100)
    np.testing.assert_allclose(found, np.cumsum(errors) / answered, atol=1e-12)


def test_risk_coverage_names_its_lines():
    half = plots.Series(np.linspace(0.01, 1, 100), np.linspace(0, 0.5, 100))
    svg = plots.risk_coverage({"doubt": half}, 0.5, "x")
    assert all(name in svg for name in ("doubt", "chance", "best order"))


def test_calibration_has_its_diagram_and_errors(page, text, metrics):
    assert page.count(">probability that the model gives a pair</text>") == 2
    skills = [words.signed(metrics[f"calibration/{name}_skill"]) for name in ("brier", "log")]
    assert "(Brier skill {}, log-loss skill {})".format(*skills) in text
    assert f"are {words.number(metrics['calibration/ece_likely'])} apart on average" in text
    assert "untrained" not in text


def test_probabilities_of_a_softmax_loss_are_not_taken_at_their_word(workdir, tmp_path):
    config = TrainConfig(objective=TrainConfig().objective.__class__(ppcl=0.0, clip=1.0))
    Workdir(tmp_path).write_config(config)
    Ledger(tmp_path, "c").record(
        1, "m", "calibration", EvalResult(SKILLS, undefined={"calibration/ece_likely": "none is"})
    )
    text = " ".join(Parsed(write_report(tmp_path, images).read_text(encoding="utf8")).text.split())
    assert "the bias of the probabilities untrained" in text
    assert "no better than giving every pair the share of matches" in text
    assert "calibration/ece_likely: n/a, none is." in text


def test_calibration_of_an_earlier_version_is_not_praised(tmp_path):
    Ledger(tmp_path, "c").record(1, "m", "calibration", EvalResult({"calibration/ece": 0.003}))
    text = " ".join(Parsed(write_report(tmp_path, images).read_text(encoding="utf8")).text.split())
    assert "evaluated by an earlier version" in text


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"sets": 1.0}, None),
        ({"siglip": 1.0, "clip": 1.0}, None),
        ({"pcmepp": 1.0, "sets": 1.0}, None),
        ({"pcmepp": 1.0}, "The loss of this run, PCME++, trains scale and bias for a logit of its"),
        ({"pcme": 1.0, "clip": 1.0}, "The loss of this run, PCME, trains scale and bias for a"),
        ({"triplet": 1.0}, "has no sigmoid term"),
    ],
)
def test_probabilities_are_doubted_where_the_loss_trains_others_or_none(weights, said, tmp_path):
    objective = ObjectiveConfig(**({"ppcl": 0.0} | weights))
    Workdir(tmp_path).write_config(TrainConfig(objective=objective))
    Ledger(tmp_path, "c").record(1, "m", "calibration", EvalResult(SKILLS))
    text = " ".join(Parsed(write_report(tmp_path, images).read_text(encoding="utf8")).text.split())
    assert "Brier skill" in text
    if said is None:
        assert "say nothing of the model" not in text
    else:
        assert said in text
    assert ("untrained" in text) is ("triplet" in weights)


def test_probes_stand_beside_the_largest_class(page, metrics):
    for feature in ("shape", "colour"):
        values = [metrics[f"probe/{feature}/{name}"] for name in ("class_top1", "1_shot")]
        assert [*map(words.number, values)] in [row[:2] for row in rows_of(page, feature)]
        for name in ("top1", "majority"):
            assert words.share(metrics[f"probe/{feature}/{name}"]) in page
    assert "largest class" in page


def test_false_negatives_are_those_of_a_batch_of_the_run(page, text, data, metrics):
    rate = metrics["multiplicity/false_negative_rate"]
    assert f"{words.share(rate)} are matches" in text
    # 128 pairs, as the run's configuration has it: 128 * 127 others.
    [own] = [row for row in rows_of(page, "128") if row]
    assert own[0] == f"{128 * 127 * rate:,.0f}"
    mean = np.mean([len(row) for row in data.positives])
    assert f"A caption matches {words.number(float(mean))} images" in text


def test_ready_sets_have_their_numbers_and_what_was_measured(page, text, metrics, workdir):
    # The fifth of three classes is no question, so that no set has a column for it.
    columns = ("top1", "mean/top1", "class_top1")
    row = [words.number(metrics[f"sets/pets/{name}"]) for name in columns]
    assert row in rows_of(page, "pets")
    assert "6 images, 3 classes, prompts" in text
    for variant in ("", "mean/"):
        assert f"{metrics[f'sets/flickr30k/{variant}rsum']:.1f}" in text
    [about] = [
        artefact.notes["about"]
        for name, artefact in read_run(workdir).artefacts.items()
        if name.startswith("set-flickr30k-")
    ]
    assert f"{about['images']} images, {about['captions']} captions, a part of" in text


def test_sets_of_several_labels_have_their_own_columns(tmp_path):
    Workdir(tmp_path).write_config(TrainConfig())
    found = {"sets/voc/map": 0.61, "sets/imagenet/top1": 0.72, "sets/imagenet/real/top1": 0.83}
    Ledger(tmp_path, "c").record(1, "m", "set-x-0", EvalResult(found))
    page = write_report(tmp_path, images).read_text(encoding="utf8")
    head = ["top 1", "ReaL, top 1", "mAP"]
    assert head in rows_of(page, "Zero-shot")
    assert rows_of(page, "voc") == [[words.DASH, words.DASH, "0.610"]]
    assert rows_of(page, "imagenet") == [["0.720", "0.830", words.DASH]]


def test_a_hierarchy_stands_beside_the_other_sets(tmp_path):
    opened = open_set(parse(f"hierarcaps={stand_ins.hierarcaps(tmp_path / 'files')} partial=yes"))
    random = np.random.default_rng(3)
    result = measure(
        opened,
        gaussians(len(opened.listing), random),
        lambda texts: gaussians(len(texts), random),
        EvalConfig(),
    )
    Workdir(tmp_path).write_config(TrainConfig())
    Ledger(tmp_path, "c").record(1, "m", opened.evaluator, result)
    page = write_report(tmp_path, images).read_text(encoding="utf8")
    own = {
        variant: [
            words.number(result.metrics[f"sets/hierarcaps/traversal/{variant}{name}"])
            for name in ("precision", "recall")
        ]
        for variant in ("", "including/", "mean/")
    }
    assert "5 images, 20 captions, a part of" in page
    assert rows_of(page, "hierarcaps")[0][-2:] == own[""]
    assert rows_of(page, "the") == [own["including/"], own["mean/"]]


def test_the_best_step_is_marked_in_plots_and_table(page, text, workdir):
    run = read_run(workdir)
    assert run.best == 200 and run.step == 300
    assert f"Best: step 200, by {QUALITY} (0.900)" in text
    assert "best step 200" in text
    assert re.search(r'200<span class="tag">best</span>', page)
    line = {"": plots.Series(np.array([1, 2, 3]), np.array([0.1, 0.4, 0.2]))}
    plain, marked = plots.over_steps(line, "x"), plots.over_steps(line, "x", best=2)
    assert len(marked) > len(plain)
    # A step that the line doesn't have gets no ring.
    assert marked.count("<use") == plots.over_steps(line, "x", best=7).count("<use") + 1


def test_the_smallest_may_be_the_best(data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100, 200))
    rule = CheckpointConfig(best_metric="retrieval/text_to_image/recall@1", best_mode="min")
    Workdir(tmp_path).write_config(TrainConfig(checkpoint=rule))
    assert read_run(tmp_path).best == 100
    assert "best step" not in _without_rule(tmp_path)


def _without_rule(path):
    Workdir(path).write_config(TrainConfig(checkpoint=CheckpointConfig(best_metric="nothing/here")))
    return write_report(path, images).read_text(encoding="utf8")


def test_numbers_without_a_section_are_among_all_numbers(page, metrics):
    assert f"All {len(metrics)} numbers of step 300" in page
    assert rows_of(page, "mine/x") == [["0.250"]]


@pytest.mark.parametrize("wanted", NAMES)
def test_what_the_run_wants_and_lacks_is_named_with_its_command(wanted, data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100,))
    Workdir(tmp_path).write_config(TrainConfig())
    assert "prolip eval --workdir" not in write_report(tmp_path, images).read_text(encoding="utf8")
    Workdir(tmp_path).write_config(TrainConfig(eval=EvalConfig(evaluators=(wanted,))))
    assert "prolip eval --workdir" in write_report(tmp_path, images).read_text(encoding="utf8")


@pytest.mark.parametrize("name", NAMES)
def test_damaged_arrays_leave_the_numbers(name, data, tmp_path):
    synthetic_run.write(tmp_path, data, np.random.default_rng(1), steps=(100,))
    ledger = Ledger(tmp_path, "config")
    result = dict(zip(NAMES, MODULES, strict=True))[name].evaluate(
        context(data, np.random.default_rng(2))
    )
    ledger.record(100, "manifest100", name, result)
    path = next((tmp_path / "evals").glob(f"*/{name}.npz"))
    path.write_bytes(path.read_bytes()[:50])
    text = Parsed(write_report(tmp_path, images).read_text(encoding="utf8")).text
    known = next(value for key, value in result.metrics.items() if 0.01 < abs(value) < 0.99)
    assert words.number(known) in text


@pytest.mark.parametrize(
    ("doubt", "score", "said"),
    [
        (-0.3, None, "worse than leaving out any"),
        (0.0, None, "no better than leaving out any"),
        (0.4, 0.5, "gives more (+0.50)"),
        (0.4, 0.2, "gives less (+0.20)"),
        (0.4, 0.41, "gives as much (+0.41)"),
    ],
)
def test_the_sentence_says_what_abstaining_is_worth(doubt, score, said):
    assert said in words.abstention(doubt, score)
