"""Options of the objective: the weights of its terms, and what counts as a match."""

import dataclasses
from typing import Annotated, Literal

from prolip.config_bounds import Bound, Count, Fraction, FractionAboveZero, NotNegative, Positive

Form = Literal["exact", "released"]
Positives = Literal["paired", "extended"]
TripletNegatives = Literal["hardest", "all"]
FalseNegatives = Literal["count", "weight", "relabel"]
NoisyPairs = Literal["keep", "reweight"]


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the terms of the loss; a weight of zero leaves the term out of the total."""

    # Terms that look at all pairs of the global batch.
    ppcl: NotNegative = 1.0
    siglip: NotNegative = 0.0
    clip: NotNegative = 0.0
    # PCME++ and PCME begin well with config.model.logit_scale_init=5 and logit_bias_init=5.
    pcmepp: NotNegative = 0.0
    pcme: NotNegative = 0.0
    triplet: NotNegative = 0.0
    sets: NotNegative = 0.0  # SigLIP on the similarity of the sets of config.model.slots.
    sets_diversity: NotNegative = 0.0  # Keeps the slots of an image, and of a text, apart.
    bottleneck: NotNegative = 1e-4
    inclusion_image_text: NotNegative = 1e-7
    inclusion_masked: NotNegative = 1e-3
    # A text in the next more general one of its batch, by the captions known for each image.
    inclusion_text_text: NotNegative = 0.0
    inclusion_scale: Positive = 1000.0
    inclusion_eps: float = -20.0
    form: Form = "exact"  # Of the inclusion, bottleneck and PCME terms.
    # "extended": every known valid pair of the batch is a positive, not the drawn pair alone; the
    # captions of all rows of an image are known to belong to it.
    positives: Positives = "paired"
    # Part of the target of each row that is spread over the batch; in PPCL, SigLIP, PCME++ and
    # CLIP.
    label_smoothing: Annotated[float, Bound(least=0, below=1)] = 0.0
    # Pairs that were not drawn and look like a match, in PPCL, SigLIP and CLIP: they count as
    # mismatches, weigh one minus their probability, or become matches where they score at least
    # what the drawn pair does.
    false_negatives: FalseNegatives = "count"
    # "reweight": each drawn pair weighs the probability that it is no wrong pair, by a mixture of
    # two Gaussians over the losses of the batch; in PPCL, SigLIP and CLIP.
    noisy_pairs: NoisyPairs = "keep"
    pseudo_positives: NotNegative = 0.1  # Weight, within PCME++, of targets with relabelled pairs.
    pcme_samples: Count = 8  # Of each Gaussian.
    triplet_margin: NotNegative = 0.2  # Of cosines.
    triplet_negatives: TripletNegatives = "hardest"  # VSE++; "all" is VSE0.
    # Logs how far known matches that were not drawn are pushed away: `mismatch/...`.
    measure_mismatch: bool = False
    mask_every: Count = 8  # Every eighth row of the global batch gets masked views.
    mask_image_keep: FractionAboveZero = 0.75  # Part of the patches that a masked image keeps.
    mask_text_drop: Fraction = 0.75  # Probability that a token of a masked text is replaced.
    # The released code adds inclusion and bottleneck once per process of its ring: 32 reproduces
    # the effective weights of the published runs.
    reference_world_size: Count = 1
