"""What a run begins with: tokenizer, state and step, from a checkpoint, other weights or a seed."""

import functools
import json
from typing import Any

import jax

from prolip import sharding
from prolip.checkpoint import CheckpointStore
from prolip.config import ConfigError, TrainConfig, to_dict
from prolip.data.image import Form, Preprocessing
from prolip.data.pipeline import train_tokenizer
from prolip.data.tokenizer import Tokenizer, load_tokenizer
from prolip.interop import resize
from prolip.loading import load
from prolip.model import Model
from prolip.models import two_tower
from prolip.train import optimizer, step
from prolip.train.state import TrainState, abstract_state, from_items, init_state, to_items
from prolip.train.step import TextIds, make_train_step

CONFIG_ASSET = "config.json"
PREPROCESSING_ASSET = "preprocessing.json"


def checked_mesh(config: TrainConfig) -> jax.sharding.Mesh:
    """The mesh of a run, once all that can be refused without its data has been.

    Raises:
      ConfigError: something about the configuration or the machine doesn't fit.
    """
    mesh = sharding.make_mesh(config.mesh)
    step.check(config, mesh)
    two_tower.check(config.model)
    optimizer.check(config.optimizer, config.total_steps)
    return mesh


class Start:
    """The start of a run; `restored` is the step that it goes on from, None for a new one."""

    def __init__(self, config: TrainConfig, store: CheckpointStore, restored: int | None):
        self._config, self._store, self._restored = config, store, restored
        if restored is None and config.optimizer.frozen != "none" and not config.init_from:
            raise ConfigError(
                "config.optimizer.frozen: towers that are not trained need config.init_from, a "
                "checkpoint to take them from; without it they are random"
            )
        self._model = two_tower.build(config.model)
        self._optimizer = optimizer.make_optimizer(config.optimizer, config.total_steps)

    def tokenizer(self) -> Tokenizer:
        """That of the checkpoint, of the weights begun with, or the one that the config asks for.

        Raises:
          ConfigError: its vocabulary is larger than that of the text tower.
        """
        config = self._config
        if self._restored is not None:
            return load_tokenizer(self._store.assets(self._restored))
        length = config.model.text.length
        # Training one would give the ids other meanings than those that the weights know.
        if config.init_from and config.data.tokenizer.kind == "train":
            tokenizer = self._source.tokenizer.with_length(length)
        else:
            tokenizer = train_tokenizer(config.data, length)
        if tokenizer.vocab_size > config.model.text.vocab_size:
            raise ConfigError(
                f"config.model.text.vocab_size: {config.model.text.vocab_size} is less than the "
                f"{tokenizer.vocab_size} of the tokenizer"
            )
        return tokenizer

    def assets(self, tokenizer: Tokenizer) -> dict[str, bytes]:
        """What makes a checkpoint usable with nothing else; asked for before `state`."""
        config = self._config
        form: Form = "exact"
        if self._restored is not None:
            saved = json.loads(self._store.assets(self._restored)[PREPROCESSING_ASSET])
            form = Preprocessing.from_dict(saved).form
        elif config.optimizer.frozen == "towers":  # A picture keeps the mean that it has there.
            form = self._source.preprocessing.form
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
          ConfigError: `config.init_from` is another model.
        """
        like = abstract_state(self._model, self._optimizer, mesh)
        if self._restored is not None:
            wanted = to_items(like)
            items = {k: self._store.restore(self._restored, k, v) for k, v in wanted.items()}
            return from_items(items, like)
        # A key apart from those of the steps.
        key = jax.random.fold_in(jax.random.key(self._config.seed), 2**32 - 1)
        state = init_state(self._model, self._optimizer, key)
        if not self._config.init_from:
            return state
        source = self._source
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
        return state._replace(params=_begun_with(params, state.params, like.params))

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
