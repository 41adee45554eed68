"""How far known matches that were not drawn are pushed away, by the loss that is in use.

With one caption drawn for each image, the softmax loss of image x_1 has the gradient
sum_j p_j g(y_j) - g(y_1), with p_j of every text in it; if y_1 to y_K all match, the ideal one is
sum_j (p_j - p*_j) g(y_j) with p*_j = 1/K for them. What is between the two grows with K.

Source: "Multiplicity is an inevitable and inherent challenge in multimodal learning", arXiv
2505.19614, section 3.1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from prolip import sharding
from prolip.config_objective import ObjectiveConfig
from prolip.gaussian import Gaussian
from prolip.losses.pairwise import Logit, Side, dot, point_side, sigmoid_slope, wide
from prolip.losses.pcmepp import as_ppcl, pcmepp_labels
from prolip.losses.positives import diagonal, known_pairs, pair_facts
from prolip.losses.soft_labels import PLAIN, SoftLabels, soft_labels
from prolip.losses.softmax import image_slope

MEASURED = ("clip", "ppcl", "siglip", "pcmepp")


def mismatch(
    slope: Float[Array, "images texts"],
    ideal: Float[Array, "images texts"],
    valid: Bool[Array, "images texts"],
    text_means: Float[Array, "texts dim"],
) -> dict[str, Float[Array, ""]]:
    """Three numbers of a batch; nothing is differentiated.

    * `mismatch/positives`: mean over images of K, the texts that are known to match it.
    * `mismatch/push`: mean over images of the sum of max(slope_ij, 0) over matches that were not
      drawn: of p_ij for a softmax, of the probability of a match for a sigmoid loss.
    * `mismatch/gradient`: |G - G*| / |G*|, with G = slope g(y) the gradients of all images, without
      the scale, G* those with the ideal slopes, and Frobenius norms: the batch as a whole, as that
      of one image is near zero where the image has been learnt. It is 0 where K = 1.

    Args:
      slope: of the loss in use, of each image, in its logits.
      ideal: of the same loss, were every known match a positive of equal share.
      valid: known matches, the drawn pairs among them.
      text_means: [B, D].
    """
    others = jnp.where(valid & ~diagonal(valid), jax.nn.relu(slope), 0)
    texts = sharding.replicate(wide(text_means))
    difference, wanted = (dot(x, texts) for x in (slope - ideal, ideal))
    norms = [jnp.sqrt((x**2).sum()) for x in (difference, wanted)]
    return {
        "mismatch/positives": valid.sum(1).mean(dtype=jnp.float32),
        "mismatch/push": others.sum(1).mean(),
        "mismatch/gradient": norms[0] / jnp.maximum(norms[1], 1e-12),
    }


def measured(
    config: ObjectiveConfig,
    image: Gaussian,
    text: Gaussian,
    logit: Logit,
    captions: jax.Array,
    caption: jax.Array,
    weight: jax.Array | None,
    image_id: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """`mismatch` of the first of CLIP, PPCL, SigLIP and PCME++ that has a weight.

    Of CLIP, the direction from images to texts. Dense: some arrays of [rows of a device, B].
    Arguments as for `objective`.
    """
    image, text, logit = jax.lax.stop_gradient((image, text, logit))
    name = next(term for term in MEASURED if getattr(config, term))

    def slope(extended: bool, labels: SoftLabels) -> jax.Array:
        facts = pair_facts(captions, caption, extended=extended, weight=weight, image=image_id)
        if name == "clip":
            return image_slope(image.mean, text.mean, logit.scale, *facts, labels)
        rows, columns = (
            point_side(g.mean) if name == "siglip" else Side(wide(g.mean), g.uncertainty)
            for g in (image, text)
        )
        of = as_ppcl(logit) if name == "pcmepp" else logit
        return sigmoid_slope(rows, columns, of, *facts, labels)

    labels = soft_labels(config)
    if name == "pcmepp":
        labels = pcmepp_labels(config.pseudo_positives, config.label_smoothing)
    valid = known_pairs(captions, caption, image_id)
    in_use = slope(config.positives == "extended", labels)
    return mismatch(in_use, slope(True, PLAIN), valid, text.mean)
