"""The scale at which studies run: towers and lengths for which a run takes a minute on one core."""

TOWERS = (
    "config.model.embed_dim=64",
    "config.model.image.width=64",
    "config.model.image.depth=2",
    "config.model.image.mlp_dim=128",
    "config.optimizer.warmup_steps=50",
    "config.checkpoint.keep_every=0",
    "config.checkpoint.keep_latest=1",
    "config.logging.tensorboard=False",
)

EMOJI = "config.data.name=emoji/fold_{seed}"
EMOJI_SEEDS = 5  # Parts that the builder can hold out beside `plain`, by which recipes are chosen.
EVALUATORS = "config.eval.evaluators=('retrieval', 'uncertainty', 'annotation')"


def emoji(steps: int = 260) -> tuple[str, ...]:
    """Changes of `emoji`: 32 pixels; each seed holds out another part of the emoji."""
    return (
        *TOWERS,
        "config.model.image.image_size=32",
        "config.model.image.patch=16",
        EMOJI,
        *_length(steps),
    )


def shapes(steps: int = 220) -> tuple[str, ...]:
    """Changes of `shapes`: 32 pixels."""
    return (
        *TOWERS,
        "config.model.image.image_size=32",
        "config.model.image.patch=8",
        *_length(steps),
    )


def _length(steps: int) -> tuple[str, ...]:
    return (f"config.total_steps={steps}", f"config.checkpoint.every={steps}")
