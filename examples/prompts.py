"""Prompts weighted by what images say (BPRW): python examples/prompts.py runs/demo

Classifies the held-out pictures into the nine groups with several prompts for each: all alike, the
least uncertain ones only, and weighted by Bayesian prompt re-weighting. The support of each class
comes from the training pictures, so that nothing that is evaluated has been looked at.
"""

import argparse
from pathlib import Path

import numpy as np

import prolip
from prolip.data.evaluation import eval_set
from prolip.evals import prompts
from prolip.evals.zero_shot import class_logits, prompts_of
from prolip.gaussian import Gaussian
from prolip.workdir import Workdir

TEMPLATES = ("{}", "a picture of {}", "an emoji of {}", "{} symbol", "something about {}")
SHOTS = 16

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("workdir", help="of a run, as runs/demo")
args = parser.parse_args()
workdir = args.workdir
config = Workdir(Path(workdir)).read_config()
model = prolip.load(workdir)
size = config.model.image.image_size
test = eval_set(config.data, size, ("group",))
train = eval_set(config.data, size, ("group",), split=config.data.train_split)
names = sorted(set(train.labels["group"]))
labels = np.array([names.index(group) for group in test.labels["group"]])

flat = model.encode_text(prompts_of(names, TEMPLATES))
shape = (len(names), len(TEMPLATES), -1)
given = Gaussian(np.reshape(flat.mean, shape), np.reshape(flat.log_var, shape))
trace = np.exp(given.log_var).sum(-1)

support = [np.flatnonzero(np.array(train.labels["group"]) == name)[:SHOTS] for name in names]
chosen = np.concatenate(support)
pictures = np.concatenate(list(train.images(256)))[chosen]
ends = np.cumsum([len(rows) for rows in support])[:-1]
weighted, weights = prompts.reweight_prompts(
    given, model.encode_image(pictures), support=np.split(np.arange(len(chosen)), ends)
)

images = model.encode_image(np.concatenate(list(test.images(256))))
print(f"{len(labels)} held-out pictures, {len(names)} groups, {len(TEMPLATES)} prompts each")
for title, classes in (
    ("all prompts alike", prompts.filtered(given, np.ones(trace.shape, bool))),
    ("two least uncertain", prompts.filtered(given, prompts.keep_least_of_each(trace, 2))),
    (f"re-weighted, {SHOTS} shots", weighted),
):
    correct = class_logits(images, classes).argmax(1) == labels
    print(f"  {title:24} accuracy {correct.mean():.3f}")
for name, row in zip(names, weights, strict=True):
    best = TEMPLATES[int(row.argmax())].replace("{}", name)
    print(f"  {name}: {row.max():.2f} of the weight on {best!r}")
