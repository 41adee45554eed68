"""Which captions and pictures is a model unsure of? python examples/uncertainty.py runs/demo

Ranks the held-out captions and pictures by their uncertainty (trace of the covariance) and says how
it goes with the number of pictures that a caption matches.
"""

import argparse
from pathlib import Path

import numpy as np

import prolip
from prolip.data.evaluation import eval_set
from prolip.workdir import Workdir

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workdir", help="of a run, as runs/demo")
args = parser.parse_args()
workdir = args.workdir
config = Workdir(Path(workdir)).read_config()
model = prolip.load(workdir)
split = eval_set(config.data, config.model.image.image_size)
captions = [caption.text for caption in split.captions]
matches = np.array([len(images) for images in split.positives])

uncertainty = np.asarray(model.encode_text(captions).uncertainty)
order = np.argsort(-uncertainty)
for title, some in (("most uncertain captions", order[:8]), ("least", order[:-9:-1])):
    print(title)
    for c in some:
        print(f"  {uncertainty[c]:.5f}  {captions[c]} ({matches[c]} pictures)")

print("mean uncertainty of captions by how many pictures they match")
for low, high in ((1, 1), (2, 3), (4, 9), (10, 1000)):
    chosen = (matches >= low) & (matches <= high)
    if chosen.any():
        name = str(low) if low == high else f"{low}+" if high == 1000 else f"{low}-{high}"
        print(f"  {name:>5}: {uncertainty[chosen].mean():.5f} ({chosen.sum()} captions)")

images = model.encode_image(np.concatenate(list(split.images(256))))
print("most uncertain pictures")
for i in np.argsort(-np.asarray(images.uncertainty))[:5]:
    names = ", ".join(captions[c] for c in split.image_captions[i][:3])
    print(f"  {float(images.uncertainty[i]):.5f}  {names}")
