"""A head for log_var on frozen towers: means keep their bits, the head is trained as ever.

Long because whole runs, over a checkpoint that is made here, stand beside single steps.
"""

import dataclasses
import io
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from test_step import IDS, assert_same, batch_of, config_of, gradients, setup

import prolip
from prolip import sharding
from prolip.cli import configuration
from prolip.config import (
    CheckpointConfig,
    ConfigError,
    LoggingConfig,
    MeshConfig,
    OptimizerConfig,
    TokenizerConfig,
    to_dict,
)
from prolip.convert import convert
from prolip.interop import resize
from prolip.models import two_tower
from prolip.train import assembly, frozen, loop
from prolip.train.state import init_state
from prolip.train.step import check, loss_and_grads, make_train_step
from prolip.workdir import Workdir

FIXTURES = Path(__file__).parents[1] / "fixtures"


def adapter_of(name="prolip", *, trained="log_var", **changes):
    """Of `test_step`'s experiment: the adapter, with the towers frozen or not."""
    config = config_of(name, **changes)
    model = dataclasses.replace(config.model, heads="adapter")
    kept = "towers" if trained == "log_var" else "none"
    optimizer = dataclasses.replace(config.optimizer, frozen=kept)
    return dataclasses.replace(config, model=model, optimizer=optimizer)


def names(tree):
    return {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}


def is_trained(name):
    return "log_var" in name or "logit" in name


@pytest.mark.parametrize("heads", ["paper", "deterministic", "adapter"])
def test_the_two_parts_are_all_and_nothing_twice(heads):
    model = dataclasses.replace(config_of().model, heads=heads)
    with jax.set_mesh(sharding.make_mesh(MeshConfig())):
        params = two_tower.build(model).init(jax.random.key(0))
    trained, rest = frozen.split(params, "towers")
    assert names(trained) == {name for name in names(params) if is_trained(name)}
    assert names(trained) | names(rest) == names(params)
    assert not names(trained) & names(rest)
    merged = frozen.merge(trained, rest)
    assert jax.tree.structure(merged) == jax.tree.structure(params)
    assert all(a is b for a, b in zip(*map(jax.tree.leaves, (merged, params)), strict=True))
    assert frozen.split(params, "none")[0] is params


@pytest.mark.slow
def test_gradients_are_those_of_the_head_when_all_is_trained():
    everything = gradients(adapter_of(trained="all"), 1)
    alone = gradients(adapter_of(), 1)
    assert all(map(is_trained, names(alone[1])))
    assert_same(alone, (everything[0], frozen.split(everything[1], "towers")[0]))


@pytest.mark.slow
def test_gradients_are_the_same_on_several_devices():
    # Not with split parameters: on simulated CPU devices, collectives of the two towers, which
    # nothing orders where no gradient goes back through them, can wait for each other for ever.
    assert_same(gradients(adapter_of(), 8), gradients(adapter_of(), 1))


@pytest.mark.slow
def test_accumulated_gradients_are_the_same_on_several_devices():
    parts = adapter_of("extended", accumulation_steps=2)
    assert_same(gradients(parts, 4), gradients(adapter_of("extended"), 1))


def test_there_is_no_way_back_through_frozen_towers():
    """By the compiler's count of operations: forward is a third of forward and backward."""

    def flops(config):
        model = two_tower.build(config.model)
        with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices()[:1])):
            params = jax.eval_shape(model.init, jax.random.key(0))
            key = jax.random.key(0)
            f = jax.jit(lambda p, b: loss_and_grads(model, config, IDS, p, b, key))
            return f.lower(params, batch_of()).compile().cost_analysis()["flops"]

    assert flops(adapter_of()) < 0.45 * flops(adapter_of(trained="all"))


def test_a_step_leaves_frozen_parameters_and_has_no_state_for_them():
    config = adapter_of(optimizer=OptimizerConfig(name="muon", warmup_steps=0, grad_clip_norm=1.0))
    mesh, model, optimizer, rate = setup(config, 2)
    with jax.set_mesh(mesh):
        state = init_state(model, optimizer, jax.random.key(0))
        before = jax.device_get(state.params)
        moments = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
        trained = frozen.split(state.params, "towers")[0]
        per_parameter = sum(x.size for x in moments)
        assert per_parameter <= 2 * sum(x.size for x in jax.tree.leaves(trained))
        step = make_train_step(model, optimizer, rate, config, IDS)
        for i in range(2):
            state, metrics = step(state, sharding.to_global(mesh, batch_of(seed=i)))
    assert bool(metrics["finite"])
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(state.params), strict=True
    ):
        key = jax.tree_util.keystr(path)
        assert np.array_equal(old, new) != is_trained(key), key


# Whole runs: a deterministic checkpoint, adapters over it.


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Three steps over the deterministic towers of the fixture's size."""
    twin = configuration.load("emoji:siglip")
    data = dataclasses.replace(
        twin.data,
        data_dir=str(tmp_path_factory.mktemp("data")),
        tokenizer=TokenizerConfig(vocab_size=300),
    )
    return dataclasses.replace(
        twin,
        total_steps=3,
        global_batch=64,
        model=prolip.load(FIXTURES / "tiny_det").config,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
        data=data,
        checkpoint=CheckpointConfig(every=1),
        logging=LoggingConfig(tensorboard=False),
    )


def adapting(config, source, **changes):
    """The same experiment with what `emoji:adapter` has."""
    shipped = configuration.load("emoji:adapter")
    return dataclasses.replace(
        config,
        init_from=str(source),
        model=dataclasses.replace(config.model, heads="adapter", log_var_init=-6.0),
        objective=shipped.objective,
        optimizer=dataclasses.replace(shipped.optimizer, warmup_steps=1),
        **changes,
    )


def train(config, path):
    loop.train(config, str(path), console=Console(file=io.StringIO()))
    return prolip.load(path)


@pytest.fixture(scope="module")
def source(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "run"
    train(config, path)
    return path


@pytest.fixture(scope="module")
def adapted(config, source, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapted") / "run"
    train(adapting(config, source), path)
    return path


def pictures():
    """Of several shapes; two ways of reading differ in those with a palette or transparency."""
    rng = np.random.default_rng(0)
    shapes = [(40, 40), (64, 50), (33, 90)]
    images = [Image.fromarray(rng.integers(0, 256, (*s, 3)).astype(np.uint8)) for s in shapes]
    clear = Image.fromarray(rng.integers(0, 256, (45, 45, 4)).astype(np.uint8), "RGBA")
    return [*images, images[0].quantize(16), clear]


TEXTS = ["face", "cat with wry smile", "flags", "a", "woman: medium skin tone, red hair"]


def assert_same_means(gaussians, points):
    for embedded, point in zip(gaussians, points, strict=True):
        assert np.array_equal(embedded.mean, point.mean)
        assert np.isfinite(embedded.log_var).all() and not np.isfinite(point.log_var).any()


@pytest.mark.slow
def test_means_are_those_of_the_source_to_the_bit(source, adapted):
    points, gaussians = prolip.load(source), prolip.load(adapted)
    for size in (1, 3, 64):
        assert_same_means(
            (gaussians.encode_image(pictures(), size), gaussians.encode_text(TEXTS, size)),
            (points.encode_image(pictures(), size), points.encode_text(TEXTS, size)),
        )
    # Each of its own: the head has learnt something of its input.
    assert np.ptp(np.asarray(gaussians.encode_text(TEXTS).uncertainty)) > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*embedded otherwise")
def test_a_published_deterministic_checkpoint_is_adapted(config, source, tmp_path):
    """Its pictures are read in the released way, which the adapted model keeps."""
    convert(source, tmp_path / "hub", "hub", hub_id="me/emoji")
    settings = tmp_path / "hub" / "preprocessing.json"
    if settings.exists():  # As other people's checkpoints have it.
        settings.unlink()
    points = prolip.load(tmp_path / "hub")
    assert points.preprocessing.form == "released"
    begun = adapting(config, tmp_path / "hub")
    gaussians = train_until(2, begun, tmp_path / "run")
    assert_same_means(
        (gaussians.encode_image(pictures()), gaussians.encode_text(TEXTS)),
        (points.encode_image(pictures()), points.encode_text(TEXTS)),
    )
    data = Workdir(tmp_path / "run").read_config().data  # What evaluation reads.
    assert data.form == "released"
    # A run that goes on does not need the source any more, and reads pictures as before.
    (tmp_path / "hub").rename(tmp_path / "gone")
    again = train(begun, tmp_path / "run")
    assert again.preprocessing == gaussians.preprocessing
    assert np.array_equal(
        again.encode_image(pictures()).mean, gaussians.encode_image(pictures()).mean
    )


@pytest.mark.slow
def test_a_resumed_run_is_the_undisturbed_one(config, source, adapted, tmp_path):
    """With the checkpoint's state of the optimizer, which has what is trained alone."""
    whole = adapting(config, source)
    train_until(1, whole, tmp_path / "run")
    a, b = train(whole, tmp_path / "run"), prolip.load(adapted)
    for x, y in zip(*(jax.tree.leaves(m.params) for m in (a, b)), strict=True):
        assert np.array_equal(x, y)
    lines = [Path(p, "metrics.jsonl").read_text() for p in (tmp_path / "run", adapted)]
    assert lines[0] == lines[1]


def train_until(step, config, path):
    """As if it had been stopped there: the schedule is that of the whole run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "StopNotice", lambda: Notice(step))
        return train(config, path)


class Notice:
    """Asks to stop after a step."""

    signal = None

    def __init__(self, last):
        self._last = last

    def reached(self, step):
        return step >= self._last

    def close(self):
        pass


def test_what_can_not_be_adapted_is_refused_in_a_sentence(config, source, tmp_path):
    with pytest.raises(ConfigError, match=r"init_from, a checkpoint to take them from"):
        train(adapting(config, ""), tmp_path / "run")
    released = prolip.load(FIXTURES / "tiny").config
    with pytest.raises(ConfigError, match=r"variances of its own \(heads=released\)"):
        resize.fit({}, released, dataclasses.replace(released, heads="adapter"))
    other = adapting(config, source)
    text = dataclasses.replace(other.model.text, depth=3)
    other = dataclasses.replace(other, model=dataclasses.replace(other.model, text=text))
    with pytest.raises(ConfigError, match=r"text\.depth: 2 there, 3 here"):
        train(other, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("objective", "heads"),
    [("siglip", "adapter"), ("clip", "adapter"), ("siglip", "deterministic")],
)
def test_an_objective_that_trains_nothing_beside_frozen_towers_is_refused(objective, heads):
    config = adapter_of(objective)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, heads=heads))
    goal = dataclasses.replace(config.objective, inclusion_image_text=0.0)
    config = dataclasses.replace(config, objective=goal)
    with pytest.raises(ConfigError, match=r"only variances are trained; .* as emoji:adapter does"):
        check(config, sharding.make_mesh(MeshConfig(), jax.devices()[:1]))
    check(adapter_of(), sharding.make_mesh(MeshConfig(), jax.devices()[:1]))


@pytest.mark.slow
def test_the_hubs_layout_can_not_say_an_adapter(adapted, tmp_path):
    with pytest.raises(ConfigError, match="adapter"):
        convert(adapted, tmp_path / "hub", "hub")
    assert not (tmp_path / "hub").exists()


@pytest.mark.slow
def test_an_adapter_is_trained_further(config, adapted, tmp_path):
    further = train(adapting(config, adapted), tmp_path / "run")
    before = prolip.load(adapted)
    assert np.array_equal(further.encode_text(TEXTS).mean, before.encode_text(TEXTS).mean)
    assert not np.array_equal(further.encode_text(TEXTS).log_var, before.encode_text(TEXTS).log_var)


def test_log_variances_are_a_small_network_of_the_token_that_makes_the_mean():
    """head(gelu(hidden(CLS))) in NumPy; a projection that changes nothing shows the token."""
    config = adapter_of().model
    text = config.text
    model = two_tower.build(dataclasses.replace(config, embed_dim=text.width))
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        params = model.init(jax.random.key(0))
        params["text"]["mean"]["linear"] |= {"kernel": jnp.eye(text.width)}
        got = jax.jit(model.text)(params, sharding.to_global(mesh, batch_of(8).text))
    # The last norm has scale 1 and bias 0 still: its result has the length sqrt(width).
    cls = np.asarray(got.mean, np.float64) * text.width**0.5
    head = jax.tree.map(lambda x: np.asarray(x, np.float64), params["text"]["log_var"])
    linear = lambda x, p: x @ p["linear"]["kernel"] + p["linear"]["bias"]  # noqa: E731
    x = linear(cls, head["hidden"])
    x = x * 0.5 * (1 + np.vectorize(math.erf)(x / 2**0.5))
    np.testing.assert_allclose(got.log_var, linear(x, head["head"]), rtol=1e-4, atol=1e-4)


def test_the_way_to_read_images_is_settled_at_the_start_and_kept(config, source, tmp_path):
    def settled(config, path=tmp_path / "none"):
        return assembly.with_image_form(config, Workdir(path)).data

    from_published = adapting(config, FIXTURES / "tiny_det")
    assert settled(config).form == settled(adapting(config, source)).image_form == "exact"
    assert settled(from_published).form == "released"
    data = dataclasses.replace(config.data, image_form="exact")
    assert settled(dataclasses.replace(from_published, data=data)).form == "exact"
    # What is begun goes on without the source; a run of an earlier version as it was.
    run = Workdir(tmp_path)
    run.write_config(dataclasses.replace(from_published, data=settled(from_published)))
    gone = dataclasses.replace(from_published, init_from="gone")
    assert settled(gone, tmp_path).form == "released"
    values = to_dict(from_published)
    del values["data"]["image_form"]
    run.config.write_text(json.dumps(values))
    assert settled(gone, tmp_path).image_form == "source"


def test_names_that_evaluation_does_not_know_are_refused_before_training(config, tmp_path):
    for changes, said in (
        ({"label_features": ("grop",)}, r"eval\.label_features: .*did you mean 'group'"),
        ({"templates": ("{label}",)}, r"eval\.templates: .*'\{label\}'"),
        ({"evaluators": ("retreival",)}, r"eval\.evaluators.*mean 'retrieval'"),
    ):
        wrong = dataclasses.replace(config, eval=dataclasses.replace(config.eval, **changes))
        with pytest.raises(ConfigError, match=said):
            train(wrong, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
    assert assembly.check_label_features(config) == ""
