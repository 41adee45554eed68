"""The evaluation sets that are known by name: what is in them, and how to get their files."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prolip.data.records import DataError
from prolip.evals.sets import class_names, tfds_table
from prolip.evals.sets.layouts import (
    captioned,
    cifar,
    cub,
    folders,
    hierarcaps,
    imagenet_flat,
    prepared,
    stored,
)
from prolip.evals.sets.listing import Listing

TARS = "Tars of CLIP_benchmark's form (test/*.tar with .cls, classnames.txt) are read too."


@dataclasses.dataclass(frozen=True)
class Known:
    """A set, and what must be in it."""

    name: str
    what: str
    how_to: str  # Get the files; printed by `prolip eval --list NAME`.
    read: Callable[[Path], Listing]
    images: int = 0  # 0: any number.
    classes: int = 0
    captions: int = 0
    prompts: str = "simple"  # The usual ones.
    templates: tuple[str, ...] = ()  # Of the set's own, before `prompts`.
    metric: str = "top1"  # That is usually reported, of sets with classes.
    tfds: stored.Prepared | None = None
    form: prepared.Form | None = None  # Read from TFDS alone.
    all_imagenet: bool = False  # All 1,000 classes of ImageNet can be answered.
    real: bool = False  # There are ReaL labels of it.

    @property
    def counts(self) -> str:
        """For people."""
        parts = [(self.images, "images"), (self.classes, "classes"), (self.captions, "captions")]
        return ", ".join(f"{count:,} {what}" for count, what in parts if count) or "any number"

    @property
    def prompts_named(self) -> str:
        """The usual prompts, by a name that results can be compared by."""
        return f"{self.name} v{tfds_table.VERSION}" if self.templates else self.prompts

    def classes_known(self) -> tuple[list[str], list[str]]:
        """Classes and names that are known before any file is read; both may be empty."""
        names = class_names.imagenet() if self.all_imagenet else {}
        return list(names), list(names.values())


def _imagenet(root: Path) -> Listing:
    return imagenet_flat.read(root) if imagenet_flat.is_flat(root) else folders.imagenet(root)


def _cifar(form: cifar.Form, root: Path) -> Listing:
    return cifar.read(root, form) if cifar.is_binary(root, form) else folders.any_classes(root)


def _no_files(root: Path) -> Listing:
    raise DataError("it is read from TFDS, =tfds:DIR, not from a folder")


SETS = (
    Known(
        "imagenet",
        "ImageNet-1k, validation (ILSVRC 2012)",
        "Register at image-net.org and download ILSVRC2012_img_val.tar, or the archive of Kaggle's "
        "imagenet-object-localization-challenge. Unpack it and give the folder of the images, as "
        "they are (their classes come from LOC_val_solution.csv or val.txt beside them, or by the "
        "numbers in their names), or moved into folders by WordNet id: val/n01440764/*.JPEG. "
        "`imagenet=tfds:DIR` reads what `tfds build imagenet2012 --file_format=array_record` made. "
        "real=FILE after the place, the real.json of github.com/google-research/"
        "reassessed-imagenet, adds real/top1: right is each label that people found right.",
        _imagenet,
        images=50_000,
        classes=1_000,
        prompts="openai",
        tfds=stored.Prepared("imagenet2012", "validation", "label", key="file_name"),
        all_imagenet=True,
        real=True,
    ),
    Known(
        "imagenet_v2",
        "ImageNet-V2, matched frequency (arXiv 1902.10811)",
        "Download imagenetv2-matched-frequency.tar.gz from the Hub's data set vaishaal/ImageNetV2, "
        "unpack it and give the folder imagenetv2-matched-frequency-format-val: its folders are "
        "called by class numbers, 0 to 999.",
        folders.imagenet,
        images=10_000,
        classes=1_000,
        prompts="openai",
        tfds=stored.Prepared("imagenet_v2/matched-frequency", "test", "label"),
        all_imagenet=True,
    ),
    Known(
        "imagenet_a",
        "ImageNet-A, natural adversarial examples (arXiv 1907.07174); 200 classes are answered",
        "Download imagenet-a.tar as github.com/hendrycks/natural-adv-examples says, unpack it and "
        "give the folder imagenet-a: its folders are called by WordNet ids.",
        partial(folders.imagenet, all_classes=False),
        images=7_500,
        classes=200,
        prompts="openai",
        tfds=stored.Prepared("imagenet_a", "test", "label"),
    ),
    Known(
        "imagenet_r",
        "ImageNet-R, renditions (arXiv 2006.16241); 200 classes are answered",
        "Download imagenet-r.tar as github.com/hendrycks/imagenet-r says, unpack it and give the "
        "folder imagenet-r: its folders are called by WordNet ids.",
        partial(folders.imagenet, all_classes=False),
        images=30_000,
        classes=200,
        prompts="openai",
        tfds=stored.Prepared("imagenet_r", "test", "label"),
    ),
    Known(
        "imagenet_sketch",
        "ImageNet-Sketch (arXiv 1905.13549)",
        "Download ImageNet-Sketch.zip as github.com/HaohanWang/ImageNet-Sketch says, unpack it and "
        "give the folder sketch: its folders are called by WordNet ids.",
        folders.imagenet,
        images=50_889,
        classes=1_000,
        prompts="openai",
        tfds=stored.Prepared("imagenet_sketch", "test", "label"),
        all_imagenet=True,
    ),
    *(
        Known(
            name,
            f"{title}, test",
            f"Download {archive} from www.cs.toronto.edu/~kriz/cifar.html (the binary version: "
            f"that for Python is of pickles), unpack it and give the folder {form.folder}. "
            "A folder of class folders with 10,000 images will do too. "
            f"`{name}=tfds:DIR` reads what `tfds build {name} --file_format=array_record` made.",
            partial(_cifar, form),
            images=10_000,
            classes=classes,
            tfds=stored.Prepared(name, "test", "label"),
        )
        for name, title, archive, form, classes in (
            ("cifar10", "CIFAR-10", "cifar-10-binary.tar.gz", cifar.CIFAR10, 10),
            ("cifar100", "CIFAR-100", "cifar-100-binary.tar.gz", cifar.CIFAR100, 100),
        )
    ),
    Known(
        "cub",
        "CUB-200-2011, birds, test",
        "Download CUB_200_2011.tgz from data.caltech.edu (doi 10.22002/D1.20098), unpack it and "
        "give the folder CUB_200_2011, with images.txt, classes.txt, image_class_labels.txt and "
        "train_test_split.txt in it.",
        cub.read,
        images=5_794,
        classes=200,
        tfds=stored.Prepared("caltech_birds2011", "test", "label_name"),
    ),
    Known(
        "coco",
        "COCO, Karpathy's test part; five captions of each image (arXiv 1412.2306)",
        "Download val2014.zip from cocodataset.org and dataset_coco.json (caption_datasets.zip of "
        "Karpathy's page, cs.stanford.edu/people/karpathy/deepimagesent). Give the folder that has "
        "dataset_coco.json and val2014/. With prolip[eval], COCO 1K, CxC and ECCV Caption as well.",
        partial(captioned.read, file="dataset_coco.json"),
        images=5_000,
        captions=25_000,
    ),
    Known(
        "flickr30k",
        "Flickr30k, Karpathy's test part (arXiv 1412.2306)",
        "Ask for the images at shannon.cs.illinois.edu/DenotationGraph, and take "
        "dataset_flickr30k.json from Karpathy's caption_datasets.zip. Give the folder that has "
        "dataset_flickr30k.json and flickr30k-images/.",
        partial(captioned.read, file="dataset_flickr30k.json"),
        images=1_000,
        captions=5_000,
    ),
    Known(
        "hierarcaps",
        "HierarCaps, test; four captions of each image from general to specific (arXiv 2407.08521)",
        "Clone github.com/TAU-VAILab/hierarcaps and give its folder: it has "
        "data/hierarcaps_test.csv and, in assets/test_imgs, the images, which are COCO's. Or a "
        "folder with hierarcaps_test.csv and val2014/ of cocodataset.org's val2014.zip.",
        hierarcaps.read,
        images=1_000,
        captions=4_000,
    ),
    Known(
        "folder",
        "images of your own in class folders",
        "A folder for each class, called as the class, `_` as a blank: pets/great_dane/1.jpg. "
        "`folder=/data/pets as=pets names=FILE` gives results and classes other names.",
        folders.any_classes,
    ),
    *(
        Known(
            row.name,
            row.what,
            f"Where TensorFlow is, `tfds build {row.form.data_set} --file_format=array_record` "
            f"makes it; give TFDS's data directory, {row.name}=tfds:DIR. As tars or class folders "
            f"it is measured by `folder=DIR as={row.name}`.",
            _no_files,
            images=row.images,
            classes=row.classes,
            templates=row.templates,
            metric=row.metric,
            form=row.form,
        )
        for row in tfds_table.rows()
    ),
)
BY_NAME = {known.name: known for known in SETS}


def how_to(known: Known) -> str:
    """How to get the files of a set, and what forms are read."""
    also = [TARS] if known.name == "folder" or (known.classes and not known.form) else []
    return "\n".join([known.how_to, *also])


def read_tars(known: Known, root: Path) -> Listing:
    """A set from tars; those of ImageNet's 200 classes need a `classnames.txt`."""
    return stored.tars(root, *known.classes_known())
