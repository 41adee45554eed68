"""Which captions are more general than this one? python examples/inclusion.py runs/demo "face"

Of captions about the same thing the wider one is the more general: the ratio of their traces puts
pairs of held-out emoji captions, one of which is true of all images of the other, the right way
round. It does not tell whether two captions are about the same thing, nor what is in a picture; no
form of the inclusion test does (results/inclusion.md). So: the captions that are nearest to the
query, and of them those that are wider and those that are narrower.
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

texts, asked = model.encode_text(captions), model.encode_text(queries)
# A block at a time: the same for a million captions.
distance = prolip.in_blocks(prolip.csd, asked, texts)
wider = np.log(np.asarray(texts.uncertainty)[None] / np.asarray(asked.uncertainty)[:, None])
for q, query in enumerate(queries):
    near = np.argsort(distance[q], kind="stable")[:NEAR]
    near = near[[captions[c] != query for c in near]]
    by_width = near[np.argsort(-wider[q][near], kind="stable")]
    print(f"{query!r}: uncertainty {float(asked.uncertainty[q]):.5f}")
    for title, some in (
        ("near and more general", by_width[wider[q][by_width] > 0]),
        ("near and more specific", by_width[wider[q][by_width] <= 0][::-1]),
    ):
        shown = ", ".join(f"{captions[c]} ({wider[q][c]:+.2f})" for c in some[:8])
        print(f"  {title}: {shown or 'none'}")
