"""Which held-out pictures match a caption: python examples/search.py runs/demo "smiling cat"."""

import argparse
from pathlib import Path

import numpy as np

import prolip
from prolip.data.evaluation import eval_set
from prolip.workdir import Workdir

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workdir", help="of a run, as runs/demo")
parser.add_argument("caption")
args = parser.parse_args()
workdir, caption = args.workdir, args.caption
config = Workdir(Path(workdir)).read_config()
model = prolip.load(workdir)
split = eval_set(config.data, config.model.image.image_size)
images = model.encode_image(np.concatenate(list(split.images(256))))
text = model.encode_text([caption])
scores = np.asarray(prolip.similarity(text, images))[0]
print(f"{caption!r}: uncertainty {float(text.uncertainty[0]):.4f}")
for rank, i in enumerate(np.argsort(-scores, kind="stable")[:8], 1):
    names = [split.captions[c].text for c in split.image_captions[i]]
    print(f"{rank}. {scores[i]:+.3f}  image {i}: {', '.join(names[:4])}")
