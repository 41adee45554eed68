"""A split for evaluation: positions, matches, levels and labels are right."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from toy import make_set, png, rows

from prolip.config import AugmentConfig, DataConfig
from prolip.data.evaluation import eval_set
from prolip.data.image import decode, inference_image
from prolip.data.pipeline import TrainPipeline
from prolip.data.records import Caption, DataError
from prolip.data.sources.choose import open_source
from prolip.data.text import clean


@pytest.mark.parametrize("form", ["exact", "released"])
@pytest.mark.parametrize("cache", [False, True])
def test_images_come_in_order_in_blocks(toy, form, cache):
    data = eval_set(dataclasses.replace(toy, cache=cache), 8, form=form)
    source = open_source(toy, "train")
    blocks = list(data.images(10))
    assert [len(block) for block in blocks] == [10, 10, 3] and data.num_images == 23
    for number, image in zip(data.records, np.concatenate(blocks), strict=True):
        expected = inference_image(decode(source[int(number)].image, 10**6), 8, form)
        np.testing.assert_array_equal(image, expected)


def test_matches_are_all_pairs_of_a_record_and_its_cleaned_texts(toy):
    data = eval_set(toy, 8, ["kind"])
    source = open_source(toy, "train", ["kind"])
    records = [source[int(number)] for number in data.records]
    texts = [{clean(t, "canonicalize") for f in r.captions for t in f} for r in records]
    assert {c.text for c in data.captions} == set().union(*texts)
    assert len({c.text for c in data.captions}) == len(data.captions)
    for number, caption in enumerate(data.captions):
        expected = [image for image, own in enumerate(texts) if caption.text in own]
        assert data.positives[number].tolist() == expected
        for image in range(data.num_images):
            assert (number in data.image_captions[image]) == (image in expected)
    assert data.labels == {"kind": tuple(record.labels[0] for record in records)}
    assert data.name == "toy/2.1.0 train"


def test_level_is_the_most_general_over_records_of_the_most_specific_in_each(tmp_path):
    titles = {"cat": ["Cat", "animal"], "tiger": ["cat"], "animal": ["animal"], "fish": []}
    names = [
        {"title": title, "picture": png(n), "texts": texts}
        for n, (title, texts) in enumerate(titles.items())
    ]
    data = eval_set(make_set(tmp_path, names), 8)
    assert set(data.captions) == {
        Caption("cat", "captions/text"),  # Of the tiger.
        Caption("tiger", "title"),
        Caption("animal", "captions/text"),  # Of the cat.
        Caption("fish", "title"),
    }
    assert sorted(map(len, data.positives)) == [1, 1, 2, 2]


def test_bad_records_are_left_out_named_and_do_not_shift_the_others(tmp_path, toy):
    spoilt = rows(12)
    spoilt[4]["picture"] = b"?"
    spoilt[9]["title"] = spoilt[9]["title"].encode() + b"\xff"
    config = make_set(tmp_path, spoilt, max_bad_fraction=0.5)
    data = eval_set(config, 8)
    assert data.num_images == 10 == sum(map(len, data.images(3)))
    assert sorted(data.quarantine.reasons.items()) == [
        ("not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image", 1),
        ("text is not UTF-8", 1),
    ]
    assert {line["record"] for line in data.quarantine.lines()} == set(range(12)) - set(
        data.records.tolist()
    )
    numbers = {clean(f"picture number {n}", "canonicalize"): n for n in range(12)}
    (images,) = data.images(12)
    for image, own in zip(images, data.image_captions, strict=True):
        (number,) = (numbers[t] for t in (data.captions[c].text for c in own) if t in numbers)
        np.testing.assert_array_equal(image, inference_image(decode(png(number), 10**6), 8))
    with pytest.raises(DataError, match="max_bad_fraction"):
        eval_set(dataclasses.replace(config, max_bad_fraction=0.001), 8)


def test_emoji_levels_are_what_their_names_say(emoji):
    data = eval_set(emoji, 32, ["group", "subgroup"])
    level = {caption.text: caption.level for caption in data.captions}
    matches = {c.text: len(p) for c, p in zip(data.captions, data.positives, strict=True)}
    assert {level[clean(group, "canonicalize")] for group in data.labels["group"]} == {"group"}
    assert level["petri dish"] == "name" and matches["petri dish"] == 1
    assert level["animals nature"] == "group" and matches["animals nature"] > 10
    assert len(data.captions) == len(level) == 823


def test_the_form_of_the_configuration_is_that_of_training_and_evaluation(tmp_path, tokenizer):
    """Seen whole: training pixels are those of evaluation but for the resize."""
    clear = Image.new("RGBA", (8, 8), (200, 10, 10, 0))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([9, 9, 9, 10, 200, 10])
    pictures = []
    for image, options in ((clear, {}), (palette, {"transparency": b"\xff\0"})):
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **options)
        pictures.append(buffer.getvalue())
    records = [{"title": f"thing {n}", "picture": p} for n, p in enumerate(pictures)]
    config = make_set(tmp_path, records)
    plain = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), jitter_probability=0.0)
    plain = dataclasses.replace(plain, grey_probability=0.0)
    for form, colours in (
        ("exact", [[255] * 3] * 2),
        ("source", [[255] * 3] * 2),
        ("released", [[200, 10, 10], [10, 200, 10]]),
    ):
        own = dataclasses.replace(config, image_form=form, augment=plain)
        (images,) = eval_set(own, 8).images(2)
        assert images[:, 0, 0].tolist() == colours
        pipeline = TrainPipeline(own, 8, tokenizer, 2)
        batch = next(batches := pipeline.batches())
        batches.close()
        assert batch.image[np.argsort(batch.index), 0, 0].tolist() == colours
        assert ("image_form" in pipeline.fingerprint) == (form == "released")


def test_a_split_without_a_usable_record_says_why(tmp_path):
    config = make_set(tmp_path, [{"title": "x", "picture": b"?"}], max_bad_fraction=1.0)
    with pytest.raises(DataError, match=r"no record that can be used \(1 x not a JPEG"):
        eval_set(config, 8)


def test_identity_goes_by_what_the_records_say_and_not_by_where_they_are(tmp_path):
    def split(folder, caption="a thing", label="one", seed=0, **options):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "0.png").write_bytes(png(seed))
        line = f"image,caption,kind\n0.png,{caption},{label}\n"
        (tmp_path / folder / "test.csv").write_text(line)
        config = DataConfig(
            name="table",
            data_dir=str(tmp_path / folder),
            eval_split="test.csv",
            caption_features=("caption",),
            caption_weights=(1.0,),
            **options,
        )
        return eval_set(config, 8, ["kind"]).identity

    first = split("a")
    assert split("b") == first  # A copy.
    assert split("a", caption="a thong") != first  # As many bytes.
    assert split("a", label="two") != first
    assert split("a", seed=1) != first
    assert split("a") == first
