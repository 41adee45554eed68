"""(e) What do captions that leave out, or get wrong, take away?"""

from prolip.data.shapes.factors import FACTORS
from prolip.experiments import columns, small
from prolip.experiments.study import Cell, Column, Study

VARIANTS = ("full", "mention_4", "wrong_4")
NAMES = tuple(FACTORS)
EVALUATORS = "config.eval.evaluators=('retrieval', 'uncertainty', 'probe')"


def _name(variant: str) -> str:
    kind, _, count = variant.partition("_")
    if kind == "mention":
        return f"never mentioned: {', '.join(NAMES[int(count) :])}"
    if kind == "wrong":
        return f"half wrong: {', '.join(NAMES[-int(count) :])}"
    return "right, of all factors"


STUDY = Study(
    name="misalignment",
    title="Captions that omit or err, on shapes",
    question=(
        "Are exactly the factors kept that captions neither omit nor get wrong? (arXiv 2504.10143; "
        "a linear probe of the image means for each factor. Knowing nothing has 0.14, 0.15, 0.36, "
        "0.34, 0.21 and 0.18.)"
    ),
    cells=tuple(
        Cell(_name(variant), f"shapes:{variant}", (*small.shapes(300), EVALUATORS))
        for variant in VARIANTS
    ),
    columns=(
        *(Column(f"probe/{name}/top1", name) for name in NAMES),
        columns.MAP_ALL,
        columns.SPEARMAN,
    ),
)
