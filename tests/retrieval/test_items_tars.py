"""Tars are read in place; whatever is odd about a member or a tar is an item that fails."""

import io
import tarfile

import pytest

from prolip.data.files.tar_members import members
from prolip.data.records import BadRecord, DataError
from prolip.retrieval.collections.choose import open_collection


def add(tar, name, content=b"", kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(content))


def make(path, contents, form=tarfile.PAX_FORMAT):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in contents.items():
            add(tar, name, content)
    return path


def read(collection):
    """Id to image bytes or text, or to the reason in brackets."""
    found = {}
    for number in range(len(collection)):
        try:
            item = collection[number]
            found[item.id] = item.text if item.image is None else item.image
        except BadRecord as bad:
            found[collection.id(number)] = [str(bad)]
    assert len(found) == len(collection)
    return found


def samples(first, count):
    """Members as `webdataset` writes them."""
    return {
        f"{n:06}.{end}": f"{end} of {n}".encode()
        for n in range(first, first + count)
        for end in ("jpg", "txt", "json")
    }


@pytest.fixture
def shards(tmp_path):
    for shard in range(3):
        make(tmp_path / "set" / f"shard-{shard:05}.tar", samples(4 * shard, 4))
    return tmp_path / "set"


@pytest.mark.parametrize("form", ["folder", "glob", "braces"])
def test_many_tars_are_one_collection(shards, form):
    data = {"folder": "", "glob": "/shard-*.tar", "braces": "/shard-{00000..00002}.tar"}[form]
    collection = open_collection(f"{shards}{data}")
    assert collection.kind == "image"
    assert read(collection) == {
        f"shard-{n // 4:05}/{n:06}": f"jpg of {n}".encode() for n in range(12)
    }
    assert collection[5].uri == f"{shards}/shard-00001.tar::000005.jpg"


def test_texts_are_the_members_of_that_name(shards):
    found = read(open_collection(str(shards / "shard-00002.tar"), kind="text"))
    assert found == {f"shard-00002/{n:06}": f"txt of {n}" for n in range(8, 12)}
    found = read(open_collection(str(shards), kind="text", column="json"))
    assert found["shard-00000/000003"] == "json of 3"


def test_texts_are_a_field_of_the_json(tmp_path):
    contents = [b'{"caption": "a cat", "n": 1}', b'{"n": 2}', b'{"caption": 3}', b"[", b"[1]"]
    contents.append(b'{"caption": ["a", "b"]}')
    path = str(make(tmp_path / "t.tar", {f"{i}.json": c for i, c in enumerate(contents)}))
    collection = open_collection(path, column="json/caption")
    assert collection.kind == "text"
    assert read(collection) == {
        "t/0": "a cat",
        "t/1": ["no text"],
        "t/2": ["the JSON field is not a text"],
        "t/3": ["JSON of the sample is damaged"],
        "t/4": ["no text"],
        "t/5": ["the JSON field is a list; store each text in a field of its own"],
    }
    assert collection.fingerprint() != open_collection(path, column="json/n").fingerprint()


def test_tars_of_texts_alone_are_inferred(tmp_path):
    path = make(tmp_path / "t.tar", {"a.TXT": b"one", "b.TXT": b"caf\xe9", "c.json": b"{}"})
    assert read(open_collection(str(path))) == {
        "t/a": "one",
        "t/b": ["text is not UTF-8"],
        "t/c": ["sample has no .txt"],
    }


def test_second_images_of_a_sample_are_items_of_their_own(tmp_path):
    contents = {"x/a.b.c/000.jpg": b"1", "x/a.b.c/000.seg.png": b"2", ".png": b"3", "._1.png": b"4"}
    path = make(tmp_path / "t.tar", contents)
    assert read(open_collection(str(path))) == {
        "t/x/a.b.c/000": b"1",
        "t/x/a.b.c/000.seg.png": b"2",
        "t/.png": ["sample has no image"],
        "t/._1": b"4",
    }
    chosen = read(open_collection(str(path), column="seg.png"))
    assert chosen["t/x/a.b.c/000"] == b"2"


def test_names_of_tars_are_told_apart_by_their_folders(tmp_path):
    for folder in ("a", "b"):
        make(tmp_path / folder / "0.tar", {"1.png": folder.encode()})
    expected = {"a/0/1": b"a", "b/0/1": b"b"}
    assert read(open_collection(f"{tmp_path}/{{a,b}}/0.tar")) == expected
    assert read(open_collection(str(tmp_path))) == expected


def test_ids_that_two_tars_make_are_refused(tmp_path):
    make(tmp_path / "a.tar", {"b/1.png": b""})
    make(tmp_path / "a" / "b.tar", {"1.png": b""})
    with pytest.raises(DataError, match="'a/b/1' stands for items"):
        open_collection(str(tmp_path))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read(tmp_path, form):
    name = "/".join(["folder" * 10] * 4) + "/ünïcode.png"
    path = make(tmp_path / "t.tar", {name: b"1"}, form)
    assert read(open_collection(str(path))) == {f"t/{name.removesuffix('.png')}": b"1"}


def test_what_is_no_plain_file_is_never_followed(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    path = tmp_path / "t.tar"
    odd = {"symlink": tarfile.SYMTYPE, "link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE}
    odd |= {"device": tarfile.CHRTYPE, "disk": tarfile.BLKTYPE}
    with tarfile.open(path, "w") as tar:
        add(tar, "folder", kind=tarfile.DIRTYPE)
        add(tar, "folder/good.png", b"good")
        for name, kind in odd.items():
            add(tar, f"{name}.png", kind=kind, linkname="secret.png")
        add(tar, "sparse.png", b"x" * 512, kind=tarfile.GNUTYPE_SPARSE)
        for name in ("../secret.png", "/secret.png", "a/../../secret.png", ".."):
            add(tar, name, b"inner")
        add(tar, "folder/good.png", b"second")
    found = read(open_collection(str(path)))
    assert found.pop("t/folder/good") == b"good"
    assert found.pop("t/folder/good.png") == ["name is twice in the tar"]
    for name in (*odd, "sparse"):
        assert found.pop(f"t/{name}.png") == ["not a regular file"]
    assert list(found.values()) == [["name leaves the tar"]] * 4


def test_names_that_are_not_utf8_fail_by_name(tmp_path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin1") as tar:
        add(tar, "café.png", b"1")
    assert list(read(open_collection(str(path))).values()) == [["name of the member is not UTF-8"]]


def test_a_tar_that_is_cut_anywhere_says_so_and_keeps_what_is_whole(tmp_path):
    contents = {f"{n}.png": bytes([n]) * 700 for n in range(3)}
    whole = make(tmp_path / "whole.tar", contents).read_bytes()
    ends = 3 * (512 + 1024)  # A header and two blocks each; then zeros to the end.
    path = tmp_path / "t.tar"
    for size in range(0, ends, 100):
        path.write_bytes(whole[:size])
        found = read(open_collection(str(path)))
        good = {name: value for name, value in found.items() if isinstance(value, bytes)}
        at_most = min(size // 1536 + (size % 1536 >= 512 + 700), 3)
        assert good == {f"t/{n}": bytes([n]) * 700 for n in range(at_most)}, size
        assert {value[0] for value in found.values() if isinstance(value, list)} == {
            "tar is cut short"
        }, size
    path.write_bytes(whole[:ends])  # Between two members: only the end mark is missing.
    assert ["tar is cut short"] in read(open_collection(str(path))).values()
    path.write_bytes(whole)
    assert len(read(open_collection(str(path)))) == 3


def test_every_damaged_byte_of_a_header_is_found_or_harmless(tmp_path):
    """A checksum guards headers; what is after a bad one is not left out in silence."""
    whole = make(tmp_path / "whole.tar", {"0.png": b"a", "1.png": b"b"}).read_bytes()
    path = tmp_path / "t.tar"
    for position in range(1024, 1536, 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        path.write_bytes(damaged)
        values = list(read(open_collection(str(path))).values())
        assert values[0] == b"a"
        assert values[1] in (b"b", ["damaged tar"], ["tar is cut short"]), position


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def test_headers_that_lead_in_circles_end(tmp_path):
    path = tmp_path / "t.tar"
    # The last one's size leads back into the data of the first, which are a header.
    circle = header("0.png", 512) + header("1.png", 0) + header("2.png", -1024)
    path.write_bytes(circle + bytes(1024))
    found = list(members(path))
    assert [member.name for member in found if not member.reason] == ["0.png"]
    assert found[-1].reason == "damaged tar"


@pytest.mark.parametrize("size", [-512, -1024, 1 << 70])
def test_sizes_that_cannot_be_are_named(tmp_path, size):
    (tmp_path / "t.tar").write_bytes(header("0.png", size) + bytes(1536))
    found = list(members(tmp_path / "t.tar"))
    assert 1 <= len(found) <= 3 and all(member.reason for member in found)


def test_headers_without_end_are_named(tmp_path):
    path = tmp_path / "t.tar"
    path.write_bytes(header("x", 0, tarfile.GNUTYPE_LONGNAME) * 3000 + bytes(1024))
    assert [member.reason for member in members(path)] == ["damaged tar"]


def test_tars_that_change_after_they_were_indexed(tmp_path):
    path = make(tmp_path / "t.tar", {"0.png": b"a" * 600, "1.png": b"b" * 600})
    collection = open_collection(str(path))
    with path.open("rb+") as file:
        file.truncate(2100)
    assert read(collection) == {"t/0": b"a" * 600, "t/1": ["file ends too early"]}


def test_the_fingerprint_tells_other_members(tmp_path):
    seen = set()
    for contents in (
        {"0.png": b"a"},
        {"0.png": b"ab"},
        {"1.png": b"a"},
        {"0.png": b"a", "1.png": b""},
    ):
        path = make(tmp_path / "t.tar", contents)
        first, again = (open_collection(str(path)).fingerprint() for _ in range(2))
        assert first == again
        seen.add(first)
    assert len(seen) == 4


def test_missing_and_empty_tars_are_named(tmp_path):
    make(tmp_path / "s-0.tar", {"0.png": b""})
    with pytest.raises(DataError, match=r"s-1\.tar is missing"):
        open_collection(f"{tmp_path}/s-{{0..1}}.tar")
    make(tmp_path / "s-0.tar", {})
    with pytest.raises(DataError, match="has no member"):
        open_collection(f"{tmp_path}/s-0.tar")
