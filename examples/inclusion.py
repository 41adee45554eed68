"""What does a caption include? python examples/inclusion.py runs/demo "animals nature" face

The inclusion test, log of (integral of p_a^2 p_b / integral of p_a p_b^2), is greater than 0 where
a lies inside b rather than b inside a. It compares two items about the same thing; it doesn't tell
whether they are, since a narrow Gaussian far away passes too. So: those near the caption by the
sampled distance, and of them those that lie inside it.
"""

import argparse
from pathlib import Path

import numpy as np

import prolip
from prolip.data.evaluation import eval_set
from prolip.workdir import Workdir

NEAR = 30

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workdir", help="of a run, as runs/demo")
parser.add_argument("captions", nargs="*", default=["animals nature", "face"])
args = parser.parse_args()
workdir, queries = args.workdir, args.captions
config = Workdir(Path(workdir)).read_config()
model = prolip.load(workdir)
split = eval_set(config.data, config.model.image.image_size)
captions = [caption.text for caption in split.captions]

texts = model.encode_text(captions)
images = model.encode_image(np.concatenate(list(split.images(256))))
outer = model.encode_text(queries)


def nearest_inside(items):
    """For each query the items near it, nearest first, and whether each lies inside it."""
    # A block at a time: the same for a million items.
    distance = prolip.in_blocks(prolip.csd, outer, items)
    inside = prolip.in_blocks(prolip.inclusion, items, outer).T > 0
    near = np.argsort(distance, axis=1)[:, :NEAR]
    return near, np.take_along_axis(inside, near, 1)


near_texts, text_inside = nearest_inside(texts)
near_images, image_inside = nearest_inside(images)
for q, query in enumerate(queries):
    print(f"{query!r}: uncertainty {float(outer.uncertainty[q]):.5f}")
    for title, inside in (("includes", True), ("near, but does not include", False)):
        chosen = near_texts[q][text_inside[q] == inside]
        print(f"  {title}:", ", ".join(captions[c] for c in chosen[:8] if captions[c] != query))
    print("  pictures inside:")
    for i in near_images[q][image_inside[q]][:4]:
        names = ", ".join(captions[c] for c in split.image_captions[i][:3])
        print(f"    picture {i}: {names}")
