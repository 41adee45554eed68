"""(b) What do inclusion and bottleneck do?"""

from prolip.experiments import columns, small
from prolip.experiments.study import Cell, Study

NO_VIB = "config.objective.bottleneck=0"
NO_IMAGE_TEXT = "config.objective.inclusion_image_text=0"
NO_TEXT_TEXT = "config.objective.inclusion_text_text=0"


def _cell(name: str, *changes: str) -> Cell:
    return Cell(name, "emoji", (*small.emoji(), small.EVALUATORS, *changes))


STUDY = Study(
    name="ablation",
    title="Inclusion and bottleneck on emoji",
    question=(
        "What do the inclusion terms and the variational bottleneck add to PPCL? (arXiv "
        "2410.18857, sections 3.2 and 3.3.)"
    ),
    cells=(
        _cell("PPCL alone", NO_VIB, NO_IMAGE_TEXT, NO_TEXT_TEXT),
        _cell("PPCL, bottleneck", NO_IMAGE_TEXT, NO_TEXT_TEXT),
        _cell("PPCL, bottleneck, image in text", NO_TEXT_TEXT),
        _cell("PPCL, bottleneck, text in text", NO_IMAGE_TEXT),
        _cell("ProLIP"),
        _cell("ProLIP without bottleneck", NO_VIB),
        _cell("ProLIP with masked views", "config.objective.inclusion_masked=1e-3"),
    ),
    columns=(
        *(columns.R_AT_1, columns.MAP_AT_R, columns.MAP_ALL),
        *columns.UNCERTAINTY,
    ),
)
