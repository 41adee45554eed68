"""Ready evaluation sets: each form is read, counted, and refused where something is missing."""

import dataclasses
import re

import numpy as np
import pytest
import stand_ins

from prolip.config import ConfigError
from prolip.data.image import Preprocessing, decode, inference_image
from prolip.data.records import DataError
from prolip.evals.sets import class_names, known, prompts
from prolip.evals.sets.address import Address, addresses, parse
from prolip.evals.sets.layouts import imagenet_flat
from prolip.evals.sets.opened import names_of, open_set
from prolip.evals.sets.pixels import Pixels


def opened(kind, where, **options):
    """A part of a set, as all stand-ins are."""
    return open_set(Address(kind, str(where), kind, **{"partial": True, **options}))


def pairs(found):
    """Key and class of each image."""
    listing = found.listing
    return {k: listing.classes[c] for k, c in zip(listing.keys, listing.labels, strict=True)}


@pytest.mark.parametrize("kind", ["imagenet", "imagenet_sketch"])
def test_folders_by_wordnet_id_are_answered_among_all_classes(tmp_path, kind):
    found = opened(kind, stand_ins.class_folders(tmp_path))
    assert len(found.listing) == 6 and len(found.listing.classes) == 1000
    assert found.listing.labels.tolist() == [0, 0, 1, 1, 999, 999]
    assert found.listing.names[999] == "toilet paper"
    assert pairs(found)["n01443537/n01443537_1.JPEG"] == "n01443537"


@pytest.mark.parametrize("kind", ["imagenet_a", "imagenet_r"])
def test_subsets_are_answered_among_the_classes_that_they_have(tmp_path, kind):
    root = stand_ins.class_folders(tmp_path)
    stand_ins.write(root / "README.txt", "not an image")
    found = opened(kind, root)
    assert found.listing.classes == stand_ins.WORDNET
    assert found.listing.names == ("tench", "goldfish", "toilet paper")
    assert found.listing.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_folders_of_v2_are_class_numbers(tmp_path):
    found = opened("imagenet_v2", stand_ins.class_folders(tmp_path, ("999", "1", "0"), end=".jpeg"))
    assert {p.split("/")[0]: c for p, c in pairs(found).items()} == {
        "0": "n01440764",
        "1": "n01443537",
        "999": "n15075141",
    }
    with pytest.raises(DataError, match="folder 'n99', which is neither"):
        opened("imagenet_v2", stand_ins.class_folders(tmp_path, ("n99",)))


def test_flat_validation_images_get_their_classes_from_what_is_there(tmp_path):
    root = stand_ins.imagenet_flat(tmp_path / "val")
    shipped = imagenet_flat.validation_labels()
    assert len(shipped) == 50_000 and len(set(shipped)) == 1000
    first = list(pairs(opened("imagenet", root)).values())
    assert first == shipped[:4]

    numbers = {name: i + 1 for i, name in enumerate(sorted(set(shipped), reverse=True))}
    truth = tmp_path / "data" / "ILSVRC2012_validation_ground_truth.txt"
    stand_ins.write(truth, "".join(f"{numbers[name]}\n" for name in shipped))
    assert list(pairs(opened("imagenet", root)).values()) == first
    stand_ins.write(truth, "".join(f"{numbers[name]}\n" for name in reversed(shipped)))
    with pytest.raises(DataError, match="not the ground truth"):
        opened("imagenet", root)

    names = [f"ILSVRC2012_val_{n:08}.JPEG" for n in (1, 2, 3, 4)]
    ids = ["n01440764", "n01443537", "n15075141", "n01443537"]
    listed = zip(names, (0, "n01443537", 999, 1), strict=True)
    stand_ins.write(tmp_path / "val.txt", "".join(f"{name} {label}\n" for name, label in listed))
    assert pairs(opened("imagenet", root)) == dict(zip(names, ids, strict=True))
    stand_ins.write(tmp_path / "val.txt", f"{names[0]} 1000\n")
    with pytest.raises(DataError, match="class number from 0 or its WordNet id"):
        opened("imagenet", root)

    rows = "".join(f"{n[:-5]},{i} 1 2 3 4 {i} 5 6 7 8\n" for n, i in zip(names, ids, strict=True))
    solution = tmp_path / "LOC_val_solution.csv"
    stand_ins.write(solution, "ImageId,PredictionString\n" + rows)
    assert pairs(opened("imagenet", root)) == dict(zip(names, ids, strict=True))
    stand_ins.write(solution, "ImageId,PredictionString\n" + rows[: rows.rindex("ILSVRC")])
    with pytest.raises(DataError, match=r"which class ILSVRC2012_val_00000004\.JPEG is of"):
        opened("imagenet", root)


def test_cifar_pixels_and_the_finer_class_are_read_from_bytes(tmp_path):
    found = opened("cifar10", stand_ins.cifar10(tmp_path))
    assert found.listing.names == ("airplane", "automobile", "bird")
    assert found.listing.labels.tolist() == [0, 1, 2, 0, 1, 2]
    stored = np.fromfile(tmp_path / "cifar-10-batches-bin" / "test_batch.bin", np.uint8)
    image = np.asarray(found.listing.open(4))
    for channel in range(3):
        plane = stored.reshape(6, -1)[4, 1 + 1024 * channel :][:1024].reshape(32, 32)
        np.testing.assert_array_equal(image[:, :, channel], plane)
    fine = opened("cifar100", stand_ins.cifar100(tmp_path))
    assert fine.listing.labels.tolist() == [0, 1] * 3
    assert fine.listing.names == ("apple", "aquarium fish")
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(DataError, match="not of records of 3,073 bytes"):
        opened("cifar10", tmp_path)


def test_cub_takes_the_test_part_and_names_birds_without_numbers(tmp_path):
    found = opened("cub", stand_ins.cub(tmp_path))
    files = [key.split("/")[1] for key in found.listing.keys]
    assert files == [f"{n}.jpg" for n in (1, 2, 4, 5, 7, 8)]
    assert found.listing.names == ("Black footed Albatross", "Laysan Albatross")
    for key, own in pairs(found).items():
        assert key.startswith(own)
    (tmp_path / "CUB_200_2011" / "classes.txt").write_text("1 001.Black_footed_Albatross\n")
    with pytest.raises(DataError, match="no list says which class"):
        opened("cub", tmp_path)


@pytest.mark.parametrize(
    ("kind", "folder"), [("coco", "val2014"), ("flickr30k", "flickr30k-images"), ("flickr30k", "")]
)
def test_karpathy_sets_take_five_captions_of_each_test_image(tmp_path, kind, folder):
    root = stand_ins.karpathy(tmp_path, f"dataset_{kind}.json", folder)
    captions = opened(kind, root).listing.captions
    assert captions.image_ids.tolist() == [8, 10, 12]
    assert captions.image_of_text.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert captions.ids.tolist() == [100 * n + i for n in (1, 3, 5) for i in range(5)]
    assert captions.texts[6] == "caption 1 of 3"
    (root / folder / f"{3:012}.jpg").unlink()
    with pytest.raises(DataError, match="lacks 1 of the 3 images"):
        opened(kind, root)


def test_tars_bring_their_classes_and_templates(tmp_path):
    found = opened("folder", stand_ins.tars(tmp_path))
    assert found.listing.names == ("cat", "dog", "red fox")
    assert found.listing.labels.tolist() == [0, 1, 2] * 2
    assert found.prompts.templates == ("a photo of a {}.", "a drawing of {}")
    pixels = np.concatenate([*Pixels(found.listing, Preprocessing(8, (), ())).images(4)])
    expected = [inference_image(decode(stand_ins.jpeg(n), 10**6), 8) for n in range(6)]
    np.testing.assert_array_equal(pixels, np.stack(expected))
    assert opened("folder", tmp_path, prompts="siglip").prompts.name == "siglip v1"
    with pytest.raises(DataError, match="class '3' of 3"):
        opened("folder", stand_ins.tars(tmp_path / "b", spoilt="3"))
    with pytest.raises(DataError, match="not read from tars"):
        opened("coco", tmp_path)


def test_counts_are_those_of_the_set_or_a_part_is_asked_for(tmp_path, monkeypatch):
    root = stand_ins.class_folders(tmp_path)
    with pytest.raises(DataError, match=r"6 images, not 7,500 and 3 classes, not 200.*partial=yes"):
        opened("imagenet_a", root, partial=False)
    small = dataclasses.replace(known.BY_NAME["imagenet_a"], images=6, classes=3)
    monkeypatch.setitem(known.BY_NAME, "imagenet_a", small)
    whole = opened("imagenet_a", root, partial=False)
    assert not whole.about["partial"] and opened("imagenet_a", root).about["partial"]
    for name, right in (
        ("imagenet", (50_000, 1_000, 0)),
        ("imagenet_v2", (10_000, 1_000, 0)),
        ("imagenet_r", (30_000, 200, 0)),
        ("imagenet_sketch", (50_889, 1_000, 0)),
        ("cifar100", (10_000, 100, 0)),
        ("cub", (5_794, 200, 0)),
        ("coco", (5_000, 0, 25_000)),
        ("flickr30k", (1_000, 0, 5_000)),
    ):
        one = known.BY_NAME[name]
        assert (one.images, one.classes, one.captions) == right


def test_a_damaged_image_is_named_or_left_out_of_a_part(tmp_path):
    root = stand_ins.class_folders(tmp_path, ("cat", "great_dane"))
    (root / "cat" / "cat_1.JPEG").write_bytes(b"?")
    part = opened("folder", root)
    assert (len(part.listing), part.left_out) == (3, 1)
    assert part.listing.names == ("cat", "great dane")
    assert part.listing.labels.tolist() == [0, 1, 1]
    images = np.concatenate([*Pixels(part.listing, Preprocessing(8, (), ())).images(2)])
    own = inference_image(decode(stand_ins.jpeg(10), 10**6), 8)
    np.testing.assert_array_equal(images[1], own)
    whole = opened("folder", root, partial=False)
    with pytest.raises(DataError, match=r"cat/cat_1\.JPEG: not a JPEG.*partial=yes"):
        list(Pixels(whole.listing, Preprocessing(8, (), ())).images(2))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_read_each_image_once(tmp_path, count):
    listing = opened("folder", stand_ins.class_folders(tmp_path, ("a", "b", "c"), 3)).listing
    pixels = Pixels(listing, Preprocessing(8, (), ()))
    whole = list(pixels.images(2))
    parts = [list(pixels.images(2, (i, count))) for i in range(count)]
    dealt = [parts[i % count][i // count] for i in range(len(whole))]
    assert sum(map(len, parts)) == len(whole) == 5
    for a, b in zip(whole, dealt, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_are_told_apart_by_files_names_and_prompts(tmp_path):
    root = stand_ins.class_folders(tmp_path / "a", ("cat", "dog"))
    names = tmp_path / "names.txt"
    names.write_text("dog\thound\ncat\tkitten\nfish\tcod\n")
    first = opened("folder", root)
    renamed = opened("folder", root, names=str(names))
    assert renamed.listing.names == ("kitten", "hound")
    known_names = {first.evaluator, renamed.evaluator}
    known_names.add(opened("folder", root, prompts="openai").evaluator)
    assert opened("folder", root).evaluator == first.evaluator
    stand_ins.write(root / "dog" / "new.png", stand_ins.jpeg(77))
    known_names.add(opened("folder", root).evaluator)
    assert len(known_names) == 4
    names.write_text("cat\n")
    with pytest.raises(DataError, match="1 names for 2 classes"):
        opened("folder", root, names=str(names))


def test_names_and_templates_that_come_along_are_whole():
    names = class_names.imagenet()
    assert len(names) == 1000 and list(names) == sorted(names)
    assert all(re.fullmatch(r"n\d{8}", identity) for identity in names)
    assert set(names) == set(imagenet_flat.validation_labels())
    doubles = [n for n in set(names.values()) if list(names.values()).count(n) > 1]
    assert sorted(doubles) == ["missile", "sunglasses"]
    sizes = {name: len(prompts.read(name).templates) for name in prompts.SHIPPED}
    assert sizes == {"simple": 3, "siglip": 8, "openai": 80}
    assert set(prompts.read("siglip").templates[:7]) < set(prompts.read("openai").templates)


def test_addresses_are_of_one_form():
    assert parse("imagenet=/data/a b/val prompts=siglip as=in1k partial=yes") == Address(
        "imagenet", "/data/a b/val", "in1k", "siglip", "", True
    )
    later = addresses(["coco=/a", "cub=/b", "coco=/c"])
    assert [(a.kind, a.where) for a in later] == [("coco", "/c"), ("cub", "/b")]
    for text in ("imagenet", "=/x", "a=/x as=a/b", "a=/x partial=maybe", "a=/x as=b as=c"):
        with pytest.raises(ConfigError):
            parse(text)
    with pytest.raises(ConfigError, match="did you mean 'imagenet_sketch'"):
        opened("imagenet_sketches", "/nowhere")
    with pytest.raises(DataError, match=r"is no folder; `prolip eval --list cub`"):
        opened("cub", "/nowhere")
    with pytest.raises(ConfigError, match="no set of prompts and no file"):
        prompts.read("opnai/nothing.txt")
    with pytest.raises(ConfigError, match=r"must have \{\} once"):
        prompts.checked("mine", ["a photo"])


def test_sets_of_a_run_are_named_before_their_files_are_read():
    assert names_of(["coco=/nowhere", "folder=/x as=pets"]) == ["coco", "pets"]
    for text in ("", "imagenet", "imagnet=/x"):
        with pytest.raises(ConfigError, match=r"^config\.eval\.sets: "):
            names_of([text])
