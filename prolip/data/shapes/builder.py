"""Drawn shapes as a TFDS data set: exact matches for every caption, and two kinds of misalignment.

The knobs are those of arXiv 2504.10143: selection bias, the factors that captions never mention,
and perturbation bias, the factors that captions get wrong.
"""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from prolip.data.shapes.drawing import SIZE, draw
from prolip.data.shapes.factors import FACTORS, LEVELS, caption, combinations, perturbed, subsets

NAMES = tuple(FACTORS)
SEED = 0


@dataclasses.dataclass
class ShapesConfig(tfds.core.BuilderConfig):
    """How many pictures, and how their captions fail them."""

    train: int = 6000
    test: int = 1000
    mentioned: tuple[str, ...] = NAMES  # Factors that captions may mention: selection bias.
    wrong: tuple[str, ...] = ()  # Factors that training captions get wrong: perturbation bias.
    probability: float = 0.0  # That a mention of one of them is wrong.


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Pictures of coloured shapes with captions of every generality; made from a seed.

    Six factors: shape, colour, count, size, position, background. A picture has a caption for each
    single factor, each pair, some triples, and one for all that captions may mention: features
    `one`, `two`, `three`, `all`. No combination of factors is in both splits, nor twice in one.
    Captions of the test split are never wrong, so that a picture matches a caption exactly if it
    has it. Each factor is a feature too, whether captions mention it or not.

    `full` has captions that are always right; `mention_1` to `mention_5` mention the first factors
    only; `wrong_1` to `wrong_5` get the last ones of the mentioned order wrong half of the time;
    `tiny` is `full` with few pictures.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        ShapesConfig(name="full", description="Captions are right and may mention every factor."),
        ShapesConfig(name="tiny", description="As full, with few pictures.", train=256, test=64),
        *(
            ShapesConfig(
                name=f"mention_{k}",
                description=f"Captions mention {', '.join(NAMES[:k])} only.",
                mentioned=NAMES[:k],
            )
            for k in range(1, len(NAMES))
        ),
        *(
            ShapesConfig(
                name=f"wrong_{k}",
                description=f"Half of the mentions of {', '.join(NAMES[-k:])} are wrong.",
                wrong=NAMES[-k:],
                probability=0.5,
            )
            for k in range(1, len(NAMES))
        ),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        levels = {level: tfds.features.Sequence(text) for level in LEVELS}
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "id": text,
                    "image": tfds.features.Image(shape=(SIZE, SIZE, 3)),
                    **dict.fromkeys(NAMES, text),
                    **levels,
                }
            ),
            homepage="https://arxiv.org/abs/2504.10143",
            license="Apache-2.0",
            supervised_keys=None,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config, every = self.builder_config, combinations()
        # The test pictures are the first: the same ones whatever the size of the training split.
        order = np.random.default_rng(SEED).permutation(len(every))
        test, train = order[: config.test], order[config.test : config.test + config.train]
        return {
            "train": self._generate_examples(train, every, right=False),
            "test": self._generate_examples(test, every, right=True),
        }

    def _generate_examples(
        self, numbers: np.ndarray, every: list[dict[str, str]], right: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for number in numbers.tolist():
            values = every[number]
            # Streams of their own: the picture is the same in every config.
            image = draw(values, np.random.default_rng([SEED, number, 0]))
            texts = self._captions(values, np.random.default_rng([SEED, number, 1]), right)
            name = f"{number:05d}"
            yield name, {"id": name, "image": io.BytesIO(image), **values, **texts}

    def _captions(
        self, values: dict[str, str], random: np.random.Generator, right: bool
    ) -> dict[str, list[str]]:
        config = self.builder_config
        probability = 0.0 if right else config.probability
        return {
            level: [
                caption({name: said[name] for name in chosen})
                for chosen in subsets(config.mentioned, level)
                # Each caption errs by itself.
                for said in [perturbed(values, config.wrong, probability, random)]
            ]
            for level in LEVELS
        }
