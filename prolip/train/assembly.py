"""What a run begins with: tokenizer, state and step, from a checkpoint, other weights or a seed."""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from prolip import config_rules, sharding
from prolip.checkpoint import CheckpointStore
from prolip.checkpoint.errors import ContentsError
from prolip.config import ConfigError, EvalConfig, TrainConfig, from_dict, to_dict
from prolip.config_data import ImageForm
from prolip.data import captions
from prolip.data.image import Form, Preprocessing
from prolip.data.pipeline import train_tokenizer
from prolip.data.records import DataError
from prolip.data.sources.choose import open_source
from prolip.data.tokenizer import Tokenizer, load_tokenizer
from prolip.interop import resize
from prolip.loading import load, preprocessing_of
from prolip.model import Model
from prolip.models import two_tower
from prolip.train import optimizer, other_tokenizer, step
from prolip.train.resume import other_state
from prolip.train.same_start import check_same_weights
from prolip.train.state import (
    TrainState,
    abstract_state,
    from_items,
    init_state,
    name_prefix,
    to_items,
)
from prolip.train.step import TextIds, make_train_step
from prolip.workdir import Workdir

CONFIG_ASSET = "config.json"
PREPROCESSING_ASSET = "preprocessing.json"


def checked_mesh(config: TrainConfig) -> jax.sharding.Mesh:
    """The mesh of a run, once all that can be refused without its data has been.

    Raises:
      ConfigError: something about the configuration or the machine doesn't fit.
      DataError: captions, their weights and templates don't fit together.
    """
    config_rules.check(config)
    mesh = sharding.make_mesh(config.mesh)
    step.check(config, mesh)
    captions.check(config.data)
    # Made in Python, it was not checked when it was loaded; what is wrong would show in hours.
    from_dict(EvalConfig, to_dict(config.eval), "config.eval")
    two_tower.check(config.model)
    optimizer.check(config.optimizer, config.total_steps)
    return mesh


def with_image_form(config: TrainConfig, workdir: Workdir) -> TrainConfig:
    """The configuration with `data.image_form` settled: "exact" or "released".

    What a run has begun with stays; a run of an earlier version says nothing of it and goes on.
    """
    form: ImageForm = config.data.image_form
    if form != "source":
        return config
    if workdir.config.exists():
        form = workdir.read_config().data.image_form
    elif config.optimizer.frozen == "towers" and config.init_from:
        # The mean of a picture stays what it is there, so must its pixels.
        form = preprocessing_of(config.init_from).form
    else:
        form = "exact"
    return dataclasses.replace(config, data=dataclasses.replace(config.data, image_form=form))


def check_label_features(config: TrainConfig) -> str:
    """A sentence if `prolip eval` can't read the default label features, "" otherwise.

    Raises:
      ConfigError: the evaluation split lacks a label feature that the configuration names.
    """
    features = config.eval.label_features
    if not features:
        return ""
    try:
        open_source(config.data, config.data.eval_split, features)
        return ""
    except ConfigError:
        raise
    except DataError as error:
        reason = str(error)
    try:
        open_source(config.data, config.data.eval_split)
    except DataError:  # Evaluation may be for another day, or another machine.
        return ""
    sentence = f"config.eval.label_features: {reason}; () names none"
    if features != EvalConfig().label_features:
        raise ConfigError(sentence)
    return f"`prolip eval` will not run: {sentence}"


class Start:
    """The start of a run; `restored` is the step that it resumes from, None for a new one.

    Attributes:
      notes: Sentences for the user about options that have no effect, or another than they say.
    """

    def __init__(
        self,
        config: TrainConfig,
        store: CheckpointStore,
        restored: int | None,
        allow_changes: bool = False,
    ):
        self._config, self._store, self._restored = config, store, restored
        self._allow_changes = allow_changes
        self.notes = list(config_rules.notes(config))
        if restored is None and config.optimizer.frozen != "none" and not config.init_from:
            raise ConfigError(
                "config.optimizer.frozen: towers that are not trained need config.init_from, a "
                "checkpoint to take them from; without it they are random"
            )
        if restored is None and not config.init_from:
            config_rules.check_new(config)
        self._model = two_tower.build(config.model)
        self._optimizer = optimizer.make_optimizer(config.optimizer, config.total_steps)

    def tokenizer(self) -> Tokenizer:
        """That of the checkpoint, of the weights begun with, or the one that the config asks for.

        Raises:
          ConfigError: its vocabulary is larger than that of the text tower, or it gives texts other
            ids than the tokenizer that the weights were trained with.
        """
        config = self._config
        length = config.model.text.length
        if self._restored is not None:
            assets = self._store.assets(self._restored)
            tokenizer = load_tokenizer(assets)
            saved = _saved_config(assets).data.tokenizer
            if problem := other_tokenizer.of_resumed(config.data.tokenizer, saved, tokenizer):
                raise ConfigError(problem)
            return tokenizer
        # Training one would give the ids other meanings than those that the weights know.
        if config.init_from and config.data.tokenizer.kind == "train":
            tokenizer = self._source.tokenizer.with_length(length)
            self._refuse(other_tokenizer.of_options(config.data.tokenizer, tokenizer))
            self.notes.append(
                f"the tokenizer is that of config.init_from, with {tokenizer.vocab_size} entries"
            )
        else:
            tokenizer = train_tokenizer(config.data, length)
            if config.init_from and self._source.has_tokenizer:
                theirs = self._source.tokenizer.with_length(length)
                self._refuse(other_tokenizer.of_ids(tokenizer, theirs))
        if tokenizer.vocab_size > config.model.text.vocab_size:
            raise ConfigError(
                f"config.model.text.vocab_size: {config.model.text.vocab_size} is less than the "
                f"{tokenizer.vocab_size} of the tokenizer"
            )
        return tokenizer

    def assets(self, tokenizer: Tokenizer) -> dict[str, bytes]:
        """What makes a checkpoint usable with nothing else; asked for before `state`."""
        config = self._config
        form: Form = config.data.form
        if config.data.image_form == "source" and self._restored is not None:
            # A run of an earlier version, which noted it in its checkpoints alone.
            saved = json.loads(self._store.assets(self._restored)[PREPROCESSING_ASSET])
            form = Preprocessing.from_dict(saved).form
        size = config.model.image.image_size
        preprocessing = Preprocessing(size, config.data.mean, config.data.std, form)
        return {
            CONFIG_ASSET: json.dumps(to_dict(config), indent=2).encode(),
            PREPROCESSING_ASSET: json.dumps(preprocessing.to_dict(), indent=2).encode(),
            **tokenizer.files(),
        }

    def state(self, mesh: jax.sharding.Mesh) -> TrainState:
        """Laid out by the rules on `mesh`, which is set.

        Raises:
          CheckpointError: the checkpoint does not hold such a state.
          ConfigError: that is because of an option that changes the state, which is named; or
            `config.init_from` is another model.
          DataError: not all processes read the same weights.
        """
        like = abstract_state(self._model, self._optimizer, mesh)
        if self._restored is not None:
            return self._saved_state(self._restored, like)
        # A key apart from those of the steps.
        key = jax.random.fold_in(jax.random.key(self._config.seed), 2**32 - 1)
        state = init_state(self._model, self._optimizer, key)
        if not self._config.init_from:
            return state
        source = self._source
        if jax.process_count() > 1:
            check_same_weights(source.identity)
        # `Start` lives as long as the run, on whose devices the weights would stay.
        del self._source
        for name in ("mean", "std"):
            there, here = getattr(source.preprocessing, name), getattr(self._config.data, name)
            if there != here:
                raise ConfigError(
                    f"config.data.{name}: {here}, but the weights of config.init_from were trained "
                    f"with {there}"
                )
        params = resize.fit(jax.device_get(source.params), source.config, self._config.model)
        self.notes.append(
            f"logit_scale {source.logit_scale:.4g} and logit_bias "
            f"{float(params['logit_bias']):.4g} are those of config.init_from; "
            "config.model.logit_scale_init and logit_bias_init have no effect"
        )
        self._note_clipped_scale(source.logit_scale)
        return state._replace(params=_begun_with(params, state.params, like.params))

    def _saved_state(self, step: int, like: TrainState) -> TrainState:
        saved, ours = _saved_config(self._store.assets(step)), self._config
        prefix = name_prefix(self._store.names(step, "optimizer"))
        try:
            wanted = to_items(like, prefix)
            items = {k: self._store.restore(step, k, v) for k, v in wanted.items()}
        except ContentsError as error:
            if sentence := other_state(saved, ours):
                raise ConfigError(sentence) from error
            raise
        state = from_items(items, like, prefix)
        schedules = (saved.optimizer, saved.total_steps, ours.optimizer, ours.total_steps)
        if sentence := optimizer.rate_change(*schedules, step):
            self.notes.append(sentence)
        self._note_clipped_scale(float(np.exp(np.asarray(state.params["log_logit_scale"]))))
        return state

    def _note_clipped_scale(self, scale: float) -> None:
        largest = self._config.optimizer.max_logit_scale
        clipped = min(max(scale, 1.0), largest)
        if not math.isclose(scale, clipped, rel_tol=1e-4):  # Its log is stored, in float32.
            self.notes.append(
                f"logit_scale is {scale:.4g}, outside 1 to config.optimizer.max_logit_scale "
                f"({largest:g}): the first update sets it to {clipped:g}"
                + (
                    f"; --config.optimizer.max_logit_scale={math.ceil(scale)} keeps it"
                    * (scale > 1)
                )
            )

    def _refuse(self, problem: str) -> None:
        """Raises the sentence as ConfigError, or notes it where changes are allowed."""
        if problem and not self._allow_changes:
            raise ConfigError(
                f"{problem}; or go on with --allow-config-change, if that is what you want"
            )
        if problem:
            self.notes.append(problem)

    def train_step(self, tokenizer: Tokenizer) -> Any:
        """The jitted step."""
        config = self._config
        return make_train_step(
            self._model,
            self._optimizer,
            optimizer.schedule(config.optimizer, config.total_steps),
            config,
            TextIds(tokenizer.pad_id, tokenizer.mask_id),
        )

    @functools.cached_property
    def _source(self) -> Model:
        return load(self._config.init_from)


def _saved_config(assets: Mapping[str, bytes]) -> TrainConfig:
    """Configuration of the run at the time of a checkpoint."""
    return from_dict(TrainConfig, json.loads(assets[CONFIG_ASSET]), bounds=False)


def _begun_with(source: Any, initial: Any, like: Any) -> Any:
    """Parameters of the source in the layout of `like`; those that it lacks stay initial."""
    if not isinstance(like, dict):
        return _on_mesh(source, like)
    return {
        k: _begun_with(source[k], initial[k], like[k]) if k in source else initial[k] for k in like
    }


def _on_mesh(value: Any, like: Any) -> jax.Array:
    """A host array that every process has, to its shards."""
    return jax.make_array_from_callback(like.shape, like.sharding, lambda index: value[index])
