"""The sets of a run beside its split: which of them, and their embedding by several processes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prolip.config import EvalConfig
from prolip.evals.context import ONE_SLOT, EvalResult
from prolip.evals.embed import embed_images, embed_texts
from prolip.evals.sets.address import addresses
from prolip.evals.sets.measure import measure
from prolip.evals.sets.opened import Opened, open_set
from prolip.evals.sets.pixels import Pixels
from prolip.gaussian import Gaussian
from prolip.watchdog import Alive, unwatched


def open_sets(texts: Sequence[str], threads: int = 4) -> list[Opened]:
    """The sets of `eval.sets`, read and counted before any of them is measured.

    Raises:
      ConfigError: words of another form, or a set that doesn't exist.
      DataError: files that are missing, or too few of them.
    """
    return [open_set(address, threads) for address in addresses(texts)]


class Sets:
    """Measures sets with one model after another.

    All processes call `use` and `embed` alike; `evaluate` is for process 0, which tells
    the others before which set comes, so that they embed their parts of it.
    """

    def __init__(
        self,
        sets: Sequence[Opened],
        config: EvalConfig,
        alive: Alive = unwatched,
        threads: int = 4,
    ):
        """Sets that are opened, block sizes, signs of life for a watchdog, threads that decode."""
        self.names = [opened.evaluator for opened in sets]
        self._sets, self._config, self._threads = sets, config, threads
        self._alive = alive
        self._model: Any = None

    def use(self, model: Any) -> None:
        """Takes the model that is measured from now on."""
        self._model = model

    def embed(self, number: int) -> Gaussian:
        """Float32 [images, dim] of a set on every process; each embeds its batches."""
        opened = self._sets[number]
        self._alive(f"embedding the set {opened.name}")
        pixels = Pixels(opened.listing, self._model.preprocessing, self._threads)
        keys = opened.listing.keys
        return embed_images(pixels, self._model, self._config.batch, self._alive, keys)

    def evaluate(self, name: str, announce: Callable[[int], Any]) -> EvalResult:
        """Embeds and measures the set of this name in `names`; `announce` is told its number."""
        number = self.names.index(name)
        announce(number)
        images = self.embed(number)

        def encode_text(texts: Sequence[str]) -> Gaussian:
            self._alive(f"prompts of the set {self._sets[number].name}")
            tokenize: Callable[[list[str]], np.ndarray] = self._model.tokenizer
            return embed_texts(texts, self._model, tokenize, self._config.batch)

        slots = getattr(self._model, "slots", ONE_SLOT)
        return measure(self._sets[number], images, encode_text, self._config, slots)
