"""Small folders in the forms in which evaluation sets are distributed."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

WORDNET = ("n01440764", "n01443537", "n15075141")  # Tench, goldfish, toilet paper: 0, 1, 999.


def jpeg(number: int) -> bytes:
    """A picture that differs from that of every other number."""
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def class_folders(root: Path, folders=WORDNET, each: int = 2, end: str = ".JPEG") -> Path:
    for i, folder in enumerate(folders):
        for number in range(each):
            write(root / folder / f"{folder}_{number}{end}", jpeg(10 * i + number))
    return root


def imagenet_flat(root: Path, count: int = 4) -> Path:
    for number in range(1, count + 1):
        write(root / f"ILSVRC2012_val_{number:08}.JPEG", jpeg(number))
    return root


def cifar10(root: Path, count: int = 6) -> Path:
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (count, 1 + 3 * 32 * 32), dtype=np.uint8)
    records[:, 0] = np.arange(count) % 3
    write(root / "cifar-10-batches-bin" / "test_batch.bin", records.tobytes())
    write(root / "cifar-10-batches-bin" / "batches.meta.txt", "airplane\nautomobile\nbird\n\n")
    return root


def cifar100(root: Path, count: int = 6) -> Path:
    records = np.zeros((count, 2 + 3 * 32 * 32), np.uint8)
    records[:, 0], records[:, 1] = 9, np.arange(count) % 2
    write(root / "cifar-100-binary" / "test.bin", records.tobytes())
    write(root / "cifar-100-binary" / "fine_label_names.txt", "apple\naquarium_fish\n")
    return root


def cub(root: Path) -> Path:
    folder = root / "CUB_200_2011"
    classes = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    rows = [(n, classes[n % 2], n % 3 == 0) for n in range(1, 9)]
    write(folder / "classes.txt", "".join(f"{i} {c}\n" for i, c in enumerate(classes, 1)))
    write(folder / "images.txt", "".join(f"{n} {c}/{n}.jpg\n" for n, c, _ in rows))
    write(folder / "image_class_labels.txt", "".join(f"{n} {1 + n % 2}\n" for n, _, _ in rows))
    write(folder / "train_test_split.txt", "".join(f"{n} {int(t)}\n" for n, _, t in rows))
    for n, c, _ in rows:
        write(folder / "images" / c / f"{n}.jpg", jpeg(n))
    return root


def karpathy(root: Path, file: str, folder: str, captions: int = 6) -> Path:
    images = []
    for n in range(6):
        name = f"{n:012}.jpg"
        texts = [{"raw": f"caption {i} of {n}", "sentid": 100 * n + i} for i in range(captions)]
        split = "test" if n % 2 else "train"
        images.append(dict(filename=name, imgid=n, cocoid=n + 7, split=split, sentences=texts))
        if split == "test":
            write(root / folder / name, jpeg(n))
    write(root / file, json.dumps({"images": images}))
    return root


def hierarcaps(root: Path, folder: str = "assets/test_imgs", count: int = 5) -> Path:
    """As the repository of HierarCaps has it; commas and quotes stand in captions."""
    lines = ["id,captions,image_url"]
    for n in range(count):
        name = f"COCO_val2014_{100 + n:012}.jpg"
        levels = (
            f'animal => pet {n % 2} => a small, soft pet {n} => A ""small"", soft pet {n} sits.'
        )
        lines.append(f'{n},"{levels}",http://images.cocodataset.org/val2014/{name}')
        write(root / folder / name, jpeg(n))
    write(root / "data" / "hierarcaps_test.csv", "\n".join(lines) + "\n")
    return root


def tars(root: Path, count: int = 6, spoilt: str = "") -> Path:
    for tar_number in range(2):
        path = root / "test" / f"{tar_number}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for n in range(tar_number * count // 2, (tar_number + 1) * count // 2):
                label = spoilt or str(n % 3)
                for name, content in ((f"s{n:04}.jpg", jpeg(n)), (f"s{n:04}.cls", label.encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    write(root / "classnames.txt", "cat\ndog\nred fox\n")
    write(root / "zeroshot_classification_templates.txt", "a photo of a {c}.\na drawing of {c}\n")
    return root
