"""One picture, several right captions: python examples/score.py runs/demo cat

Takes the first held-out picture that has the word among its captions, and scores its captions, from
specific to general, beside some that are wrong. Probability: sigmoid of the training loss's logit.
"""

import argparse
from pathlib import Path

import numpy as np

import prolip
from prolip.data.evaluation import eval_set
from prolip.workdir import Workdir

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workdir", help="of a run, as runs/demo")
parser.add_argument("word", nargs="?", default="cat")
args = parser.parse_args()
workdir, word = args.workdir, args.word
config = Workdir(Path(workdir)).read_config()
model = prolip.load(workdir)
split = eval_set(config.data, config.model.image.image_size)

right = {c.text for c in split.captions if word in c.text.split()}
found = (i for i, own in enumerate(split.image_captions) if split.texts(own) & right)
picture = next(found, None)
if picture is None:
    raise SystemExit(f"no held-out picture has a caption with the word {word!r}")
own = sorted(split.image_captions[picture], key=lambda c: len(split.positives[c]))
wrong = [c for c in range(len(split.captions)) if c not in own][:: len(split.captions) // 5]
captions = [split.captions[c].text for c in (*own, *wrong)]

image = model.encode_image(np.concatenate(list(split.images(256)))[picture : picture + 1])
texts = model.encode_text(captions)
distance = np.asarray(prolip.csd(image, texts))[0]
logit = model.logit_scale * (1 - distance / 2) + model.logit_bias

print(f"picture {picture} of the held-out emoji, uncertainty {float(image.uncertainty[0]):.5f}")
print(f"{'':4}{'caption':31}{'uncertainty':>12}{'distance':>10}{'probability':>12}")
for i, caption in enumerate(captions):
    mark = "yes" if i < len(own) else "no"
    print(
        f"{mark:4}{caption[:30]:31}{float(texts.uncertainty[i]):>12.5f}{distance[i]:>10.3f}"
        f"{1 / (1 + np.exp(-logit[i])):>12.3f}"
    )
