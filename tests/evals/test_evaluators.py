"""Evaluators on synthetic embeddings whose right answers are known, and on released numbers."""

import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

import prolip.evals
from prolip import gaussian
from prolip.config import EvalConfig
from prolip.evals import metrics, zero_shot
from prolip.evals.context import Context, variance_trace
from prolip.evals.given import transpose
from prolip.evals.registry import EVALUATORS, evaluator
from prolip.evals.retrieval import query_metrics
from prolip.evals.uncertainty import level_order, text_uncertainty
from prolip.gaussian import Gaussian


def gaussians(rng, count, dim=8, log_var=None):
    mean = rng.normal(size=(count, dim)).astype(np.float32)
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    log_var = rng.normal(-3, 1, (count, dim)) if log_var is None else np.full((count, dim), log_var)
    return Gaussian(mean, log_var.astype(np.float32))


@pytest.fixture
def context(rng):
    images = gaussians(rng, 60)
    group = np.arange(60) % 3
    captions = [f"group {g}" for g in range(3)] + [f"image number {i}" for i in range(60)]
    positives = [np.flatnonzero(group == g) for g in range(3)] + [np.array([i]) for i in range(60)]

    def encode(texts):
        own = np.random.default_rng([len(text) for text in texts])
        return gaussians(own, len(texts))

    return Context(
        images=images,
        texts=gaussians(rng, len(captions)),
        captions=captions,
        levels=["group"] * 3 + ["name"] * 60,
        positives=positives,
        labels={"group": [f"g{g}" for g in group], "subgroup": [f"s{i % 7}" for i in range(60)]},
        encode_text=encode,
        config=EvalConfig(block=7),
        logit_scale=10.0,
        logit_bias=-5.0,
    )


def test_retrieval_is_that_of_the_similarity_matrix_both_ways(rng):
    images, texts = gaussians(rng, 40), gaussians(rng, 25)
    relevant = rng.random((25, 40)) < 0.08
    result = prolip.evals.retrieval(images, texts, relevant, block=6)
    as_jax = [Gaussian(*map(jnp.asarray, g)) for g in (images, texts)]
    ways = {
        "text_to_image": (as_jax[1], as_jax[0], relevant),
        "image_to_text": (as_jax[0], as_jax[1], relevant.T),
    }
    for task, (queries, gallery, positives) in ways.items():
        for variant, scores in (
            ("", gaussian.similarity(queries, gallery)),
            ("", -gaussian.csd(queries, gallery)),
            ("mean/", queries.mean @ gallery.mean.T),
        ):
            expected = metrics.retrieval_metrics(np.asarray(scores), positives)
            own = {k: result[f"{task}/{variant}{k}"] for k in expected}
            assert own == pytest.approx(expected, abs=1e-6)


def test_multiple_counts_only_texts_with_several_matches(rng):
    images, texts = gaussians(rng, 12), gaussians(rng, 5)
    lists = [[0], [1, 2], [], [3, 4, 5], [2]]
    result = prolip.evals.retrieval(images, texts, lists)
    assert result["text_to_image/num_queries"] == 4
    assert result["text_to_image/num_without_positives"] == 1
    assert result["text_to_image_multiple/num_queries"] == 2
    assert result["image_to_text/num_queries"] == 6
    assert result["image_to_text_multiple/num_queries"] == 5
    several = Gaussian(texts.mean[[1, 3]], texts.log_var[[1, 3]])
    alone = prolip.evals.retrieval(images, several, [lists[1], lists[3]])
    for name in ("recall@1", "map_at_r", "mean/recall@5"):
        for way in ("text_to_image", "image_to_text"):
            assert result[f"{way}_multiple/{name}"] == alone[f"{way}/{name}"]


def test_zero_variance_ranks_as_the_means_do(rng):
    images, texts = gaussians(rng, 30, log_var=-np.inf), gaussians(rng, 20, log_var=-np.inf)
    result = prolip.evals.retrieval(images, texts, [[i] for i in range(20)])
    for name, value in result.items():
        if "/mean/" not in name:
            assert value == result[name.replace("/", "/mean/", 1)]


def test_identical_items_tie_in_every_block_size(rng):
    # Eleven copies of each of nine images: any rounding that differs by column would reorder them.
    base = gaussians(rng, 9, dim=97)
    images = Gaussian(*(np.tile(field, (11, 1)) for field in base))
    texts = gaussians(rng, 33, dim=97)
    lists = [np.array([i % 99]) for i in range(33)]
    results = [prolip.evals.retrieval(images, texts, lists, block=b) for b in (1, 5, 64)]
    assert results[0] == results[1] == results[2]


def test_retrieval_ignores_the_order_of_its_inputs(rng):
    images, texts = gaussians(rng, 30), gaussians(rng, 20)
    relevant = rng.random((20, 30)) < 0.1
    i, t = rng.permutation(30), rng.permutation(20)
    shuffled = prolip.evals.retrieval(
        Gaussian(*(f[i] for f in images)), Gaussian(*(f[t] for f in texts)), relevant[t][:, i]
    )
    straight = prolip.evals.retrieval(images, texts, relevant)
    assert shuffled == pytest.approx(straight, abs=1e-12, nan_ok=True)


def test_transpose_turns_the_relation_around(rng):
    relevant = rng.random((9, 14)) < 0.2
    lists = [np.flatnonzero(row) for row in relevant]
    back = transpose(lists, 14)
    assert [row.tolist() for row in back] == [np.flatnonzero(c).tolist() for c in relevant.T]


def test_memory_does_not_grow_with_queries_times_targets(rng):
    images, texts = gaussians(rng, 1500), gaussians(rng, 1000)
    lists = [np.array([i]) for i in range(1000)]
    prolip.evals.retrieval(*(Gaussian(*(f[:9] for f in g)) for g in (images, texts)), lists[:9])
    tracemalloc.start()
    prolip.evals.retrieval(images, texts, lists, block=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1500 * 1000 * 4 / 2  # One float32 score matrix would be twice as much.


def test_a_positive_that_does_not_exist_is_named(rng):
    with pytest.raises(ValueError, match="text 1 matches image 9"):
        prolip.evals.retrieval(gaussians(rng, 4), gaussians(rng, 2), [[0], [9]])


def test_zero_shot_agrees_with_the_released_code(request):
    """Made with naver-ai/prolip `src/prolip_train/zero_shot{,_unc}.py` on random weights."""
    data = np.load(request.path.parent / "zero_shot_released.npz")
    prompts = Gaussian(*(data[f"prompt_{f}"].reshape(18, -1) for f in ("mean", "log_var")))
    classes = zero_shot.class_embeddings(prompts, 6)
    np.testing.assert_allclose(classes.mean, data["classifier"].T, atol=1e-6)
    np.testing.assert_allclose(np.exp(classes.log_var), data["class_vars"].T, rtol=1e-5)
    images = Gaussian(data["image_mean"], data["image_log_var"])
    mean_only = zero_shot.class_logits(images, classes, mean_only=True)
    np.testing.assert_allclose(mean_only, data["logits"], atol=1e-4)
    np.testing.assert_allclose(
        zero_shot.class_logits(images, classes), data["logits_csd"], rtol=1e-5, atol=1e-4
    )

    images = Gaussian(data["cls_image_mean"], data["cls_image_log_var"])
    classes = Gaussian(data["cls_classifier"].T, np.log(data["cls_class_vars"].T))
    result = zero_shot.zero_shot(images, classes, data["cls_labels"])
    assert (result["mean/top1"], result["mean/top5"]) == (0.675, 0.95)
    assert (result["top1"], result["top5"]) == (0.655, 0.95)
    assert result["mean/bins_pearson_top1"] == pytest.approx(-0.9523370957809926)
    assert result["bins_pearson_top1"] == pytest.approx(-0.9135278308245417)


def test_equal_prompts_make_the_class_that_one_makes(rng):
    one = gaussians(rng, 5)
    three = Gaussian(*(np.repeat(field, 3, axis=0) for field in one))
    for a, b in zip(
        zero_shot.class_embeddings(one, 5), zero_shot.class_embeddings(three, 5), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)
    exact = zero_shot.class_embeddings(gaussians(rng, 4, log_var=-np.inf), 2)
    assert np.isneginf(exact.log_var).all()


def test_text_uncertainty_finds_the_relation_that_was_put_in():
    matches = np.array([40, 30, 9, 7, 1, 1, 1])
    levels = ["group", "group", "keyword", "keyword", "name", "name", "name"]
    assert level_order(levels, matches) == ["group", "keyword", "name"]
    lengths = np.arange(7)
    result = text_uncertainty(np.log(matches + 1.0), matches, levels, lengths)
    assert result["matches_spearman"] == pytest.approx(1)
    assert result["matches_spearman_multiple"] == pytest.approx(1)
    assert result["level_spearman"] > 0.9
    assert result["length_spearman"] < -0.9
    assert result["matches/keyword"] == 8
    upside_down = text_uncertainty(-matches.astype(float), matches, levels, lengths)
    assert upside_down["matches_spearman"] == pytest.approx(-1)
    assert upside_down["level_spearman"] < -0.9


def test_every_evaluator_gives_finite_metrics_and_named_artefacts(context):
    results = {name: run(context) for name, run in EVALUATORS.items()}
    for name, result in results.items():
        assert all(key.startswith(f"{name}/") for key in result.metrics)
        assert np.isfinite(list(result.metrics.values())).all()
    assert "retrieval/text_to_image/map_at_r" in results["retrieval"].metrics
    assert "retrieval/text_to_image_multiple/recall@1" in results["retrieval"].metrics
    assert "zero_shot/group/top1" in results["zero_shot"].metrics
    assert results["zero_shot"].metrics["zero_shot/subgroup/num_classes"] == 7
    assert "uncertainty/text/matches_spearman" in results["uncertainty"].metrics
    assert "uncertainty/inclusion_auc" in results["uncertainty"].metrics
    assert "abstention/text_to_image/recall@1/score/aurc" in results["abstention"].metrics
    assert "calibration/brier_skill" in results["calibration"].metrics
    assert results["probe"].metrics["probe/group/num_classes"] == 3
    # 3 captions of 20 images and 60 of one: a caption of each image is its group's.
    rate = results["multiplicity"].metrics["multiplicity/false_negative_rate"]
    assert rate == pytest.approx(19 / 59 / 2)

    rows = query_metrics(context.texts, context.images, context.positives)
    examples = results["retrieval"].notes["captions"]
    assert {example["level"] for example in examples} == {"group", "name"}
    for example in examples:
        assert example["hits"][0] == rows.recall[example["index"], 0]
    by_bin = results["uncertainty"].arrays["text_bins_recall@1"]
    assert by_bin.mean() == pytest.approx(rows.recall[:, 0].mean(), abs=0.1)
    least = results["uncertainty"].notes["least_certain_images"][0]
    assert least == np.argmax(variance_trace(context.images))


def test_abstention_gains_where_doubt_is_of_the_wrong_queries(context):
    """Texts at their image are found; those elsewhere are not, and are the wider ones."""
    images, wrong = context.images, np.arange(60) % 4 == 0
    mean = np.where(wrong[:, None], -images.mean, images.mean)
    log_var = np.where(wrong[:, None], -2.0, -4.0) * np.ones((60, 8), np.float32)
    own = [np.array([i]) for i in range(60)]
    given = context._replace(
        images=Gaussian(images.mean, np.full((60, 8), -9, np.float32)),
        texts=Gaussian(mean, log_var.astype(np.float32)),
        positives=own,
    )
    found = EVALUATORS["abstention"](given).metrics
    assert found["abstention/text_to_image/recall@1/mean"] == 0.25
    assert found["abstention/text_to_image/recall@1/uncertainty/gain"] == pytest.approx(1)
    backwards = given._replace(texts=Gaussian(mean, -6 - given.texts.log_var))
    worse = EVALUATORS["abstention"](backwards).metrics
    assert worse["abstention/text_to_image/recall@1/uncertainty/gain"] < 0


def test_probes_refuse_a_label_that_is_not_there(context):
    other = context._replace(config=EvalConfig(label_features=("colour",)))
    with pytest.raises(ValueError, match="known labels: group, subgroup"):
        EVALUATORS["probe"](other)


def test_a_deterministic_model_leaves_out_what_is_not_defined(context):
    certain = [Gaussian(g.mean, np.full_like(g.log_var, -np.inf)) for g in context[:2]]
    names = EVALUATORS["uncertainty"](context._replace(images=certain[0], texts=certain[1])).metrics
    assert not any("inclusion" in name for name in names)
    assert "uncertainty/text/matches_spearman" not in names
    assert names["uncertainty/text/mean"] == 0


def test_names_that_do_not_exist_are_answered_with_the_nearest(context):
    with pytest.raises(ValueError, match="did you mean 'zero_shot'"):
        evaluator("zeroshot")
    other = context._replace(config=EvalConfig(label_features=("colour",)))
    with pytest.raises(ValueError, match="known labels: group, subgroup"):
        EVALUATORS["zero_shot"](other)
