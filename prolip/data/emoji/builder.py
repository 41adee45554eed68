"""The emoji set that the package ships, as a TFDS data set: pictures with Unicode's own words."""

import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow.parquet as pq
import tensorflow_datasets as tfds

SOURCE = pathlib.Path(__file__).with_name("emoji.parquet")
HELD_OUT = 0.15  # Part of the families in the test split.
FOLDS = 6  # Held-out parts that don't overlap; `plain` and `skin_tones` have the first.


@dataclasses.dataclass
class EmojiConfig(tfds.core.BuilderConfig):
    """Which emoji, and which part of them is held out."""

    skin_tones: bool = False
    fold: int = 0


class Emoji(tfds.core.GeneratorBasedBuilder):
    """Emoji 15.0 drawn by Noto Color Emoji, with names, keywords and groups from Unicode CLDR 41.

    `plain` has no skin-tone variants and each picture once; `skin_tones` has everything. A hash of
    the emoji's family (its skin tones and whatever looks the same) decides the split, so it is the
    same in both configs, and no family is on both sides. `fold_1` to `fold_5` are `plain` with
    other families held out, for means over several held-out parts.
    """

    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS = (
        EmojiConfig(name="plain", description="Without skin tones and equal pictures."),
        EmojiConfig(name="skin_tones", description="With all skin tones.", skin_tones=True),
        *(
            EmojiConfig(name=f"fold_{k}", description=f"As plain; other held-out part {k}.", fold=k)
            for k in range(1, FOLDS)
        ),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "id": text,  # Code points: "1F468-200D-1F52C".
                    "emoji": text,
                    "name": text,
                    "keywords": tfds.features.Sequence(text),
                    "group": text,
                    "subgroup": text,
                    "image": tfds.features.Image(shape=(64, 64, 3)),
                }
            ),
            homepage="https://www.unicode.org/emoji/",
            license="Pictures: SIL Open Font License 1.1. Words: Unicode License.",
            supervised_keys=None,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        rows = pq.read_table(SOURCE).to_pylist()
        test = held_out({rows[row["family"]]["id"] for row in rows}, self.builder_config.fold)
        return {
            "train": self._generate_examples(rows, test, in_test=False),
            "test": self._generate_examples(rows, test, in_test=True),
        }

    def _generate_examples(
        self, rows: list[dict[str, Any]], test: frozenset[str], in_test: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, row in enumerate(rows):
            variant = row["skin_tone"] or row["same_image"] != number
            if variant and not self.builder_config.skin_tones:
                continue
            if (rows[row["family"]]["id"] in test) == in_test:
                features = {name: row[name] for name in self.info.features if name != "image"}
                # Unicode's identifiers are words with hyphens: "face-smiling" is a smiling face.
                features["subgroup"] = row["subgroup"].replace("-", " ")
                yield row["id"], {**features, "image": io.BytesIO(row["image"])}


def held_out(families: Iterable[str], fold: int = 0) -> frozenset[str]:
    """The families of a test split, by the order of the hashes of the ids of the first emoji.

    Fold 0 has the lowest 15 %, fold 1 the next, and so on.
    """
    by_hash = sorted(families, key=lambda name: hashlib.sha256(name.encode()).digest())
    size = round(HELD_OUT * len(by_hash))
    return frozenset(by_hash[fold * size : (fold + 1) * size])
