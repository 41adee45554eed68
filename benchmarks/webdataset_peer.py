"""The pictures of `input_pipeline.py` by webdataset, torchvision and PyTorch's DataLoader.

Not needed by the project, and not installed with it: `--torch` asks for it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from prolip.config import AugmentConfig


def check() -> None:
    """Raises SystemExit where a package is not installed."""
    try:
        import torch  # noqa: F401
        import torchvision  # noqa: F401
        import webdataset  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"--torch needs PyTorch, torchvision and webdataset ({error})") from error


def batches(
    tars: Sequence[str], augment: AugmentConfig, size: int, batch: int, workers: int, prefetch: int
) -> Iterator[int]:
    """Reads without end, shuffled, and gives the number of samples of each batch.

    Tars in random order, a buffer of 1,000 samples, Pillow's decoder, torchvision's crop (and
    changes of colour, where the probabilities are not zero) on Pillow images, uint8 tensors. Texts
    stay as they are.

    Args:
      tars: Paths.
      augment: As ours.
      size: Pixels a side.
      batch: Samples of a batch.
      workers: Processes of the DataLoader.
      prefetch: Batches that each makes ahead.
    """
    import torch
    import webdataset
    from torchvision import transforms

    steps: list[Any] = [
        transforms.RandomResizedCrop(
            size,
            scale=augment.crop_scale,
            ratio=augment.crop_ratio,
            interpolation=transforms.InterpolationMode.BICUBIC,
        )
    ]
    if augment.jitter_probability:
        jitter = transforms.ColorJitter(*augment.jitter)
        steps.append(transforms.RandomApply([jitter], augment.jitter_probability))
    if augment.grey_probability:
        steps.append(transforms.RandomGrayscale(augment.grey_probability))
    transform = transforms.Compose([*steps, transforms.PILToTensor()])
    samples = (
        webdataset.WebDataset(list(tars), resampled=True, shardshuffle=False)
        .shuffle(1000)
        .decode("pilrgb")
        .to_tuple("jpg", "txt")
        .map_tuple(transform, lambda text: text)
        .batched(batch)
    )
    loader = torch.utils.data.DataLoader(
        samples, batch_size=None, num_workers=workers, prefetch_factor=prefetch
    )
    for images, _ in loader:
        yield len(images)
