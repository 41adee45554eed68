"""ProLIP ViT-B/16 on DataComp-1B: `:12b` (12.8 billion samples) or `:1b` (1.28 billion), and twins.

The twins have the same towers, data, steps and optimizer: `:12b_siglip`, `:12b_clip`, `:1b_siglip`,
`:1b_clip`.
Source: arXiv 2410.18857 with the values of its released code (naver-ai/prolip), whose 32 processes
each added the inclusion and bottleneck terms; twins: arXiv 2303.15343 and 2103.00020.
Command: prolip train --config vit_b16_datacomp:12b --workdir runs/b16
  --config.data.data_dir=WHERE --config.data.tokenizer.path=SENTENCEPIECE.model
Data: webdataset tars of the pool's filtered list (arXiv 2304.14108) as img2dataset writes them,
read in place: WHERE/train/*.tar, and a few of them moved to WHERE/held_out to evaluate. `prolip
data index` makes their indices beforehand. A SentencePiece vocabulary of at most 32,100 pieces that
pads with 1.
Expect: 12.8 billion samples of the published run give 74.6 % zero-shot on ImageNet. No run of this
file is recorded here.
"""

import dataclasses

from prolip import config
from prolip.models import sizes

BATCH = 16_384
SAMPLES = {"1b": 1_280_000_000, "12b": 12_800_000_000}
OFF = dict(ppcl=0.0, bottleneck=0.0, inclusion_image_text=0.0, inclusion_masked=0.0)
OBJECTIVES = {
    "prolip": config.ObjectiveConfig(form="released", reference_world_size=32),
    "siglip": config.ObjectiveConfig(siglip=1.0, **OFF),
    "clip": config.ObjectiveConfig(clip=1.0, **OFF),
}


def get_config(variant="12b"):
    samples, _, objective = variant.partition("_")
    objective = objective or "prolip"
    if samples not in SAMPLES or objective not in OBJECTIVES:
        raise ValueError(
            f"vit_b16_datacomp:{variant}: choose {' or '.join(SAMPLES)}, and after it nothing, "
            "_siglip or _clip"
        )
    heads = "released" if objective == "prolip" else "deterministic"
    experiment = config.TrainConfig(
        total_steps=SAMPLES[samples] // BATCH,
        global_batch=BATCH,
        model=dataclasses.replace(sizes.VIT_B16, heads=heads, dtype="bfloat16", remat="dots"),
        objective=OBJECTIVES[objective],
        optimizer=config.OptimizerConfig(),  # The defaults are this recipe.
        data=config.DataConfig(
            name="webdataset",
            train_split="train/*.tar",
            eval_split="held_out/*.tar",
            caption_features=("txt",),
            caption_weights=(1.0,),
            max_captions=1,
            tokenizer=config.TokenizerConfig(kind="sentencepiece", pad_id=1),
            num_workers=16,
        ),
        checkpoint=config.CheckpointConfig(every=2000, keep_latest=2, keep_every=50_000),
        eval=config.EvalConfig(evaluators=("retrieval", "uncertainty"), label_features=()),
        logging=config.LoggingConfig(every=50),
    )
    return config.to_config_dict(experiment)
