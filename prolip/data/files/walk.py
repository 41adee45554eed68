"""All files below a folder; links may not lead out of it."""

import os
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from prolip.data.files.foreign import is_hidden
from prolip.data.files.names import extensions, is_image_name, printable
from prolip.data.records import DataError

LEAVES = "link leaves the folder"
HIDDEN = "hidden"
NAMED = 5  # Hidden names that a sentence lists.


class File(NamedTuple):
    """A file by its path below the root."""

    name: str
    reason: str  # Why it can't be used, or "".
    size: int


class ImageFiles(NamedTuple):
    """The files below a folder, each list in the order of names."""

    images: Sequence[File]  # By their names, and what can't be used, folders too.
    others: Sequence[File]
    hidden: Sequence[str]  # Files, and folders with all that is in them.
    folders: Sequence[str]  # Those in the root itself.

    def notes(self, texts: Collection[str] = ()) -> list[str]:
        """Sentences on the files that are left out.

        Args:
          texts: Those of the other files that are used.
        """
        left = [file.name for file in self.others if file.name not in texts]
        notes = []
        if left:
            files = "file is" if len(left) == 1 else "files are"
            notes.append(
                f"{len(left):,} {files} left out, neither an image of a format that is read nor "
                f"a caption in use: {extensions(left)}"
            )
        if self.hidden:
            names = sorted({os.path.basename(name) for name in self.hidden})
            files = "file or folder is" if len(self.hidden) == 1 else "files or folders are"
            notes.append(f"{len(self.hidden):,} hidden {files} left out: {_listed(names)}")
        return notes

    def kinds(self) -> list[str]:
        """A sentence that counts the images by extension, where there is more than one."""
        counted = extensions(file.name for file in self.images)
        return [f"images: {counted}"] if ", " in counted else []

    def class_notes(self) -> list[str]:
        """Sentences on what is left out where the folders in the root are classes."""
        filled = {file.name.partition("/")[0] for file in self.images if "/" in file.name}
        others = dict[str, list[str]]()
        for file in self.others:
            others.setdefault(file.name.partition("/")[0], []).append(file.name)
        notes = []
        if empty := [name for name in self.folders if name not in filled]:
            about = [
                f"{name} ({extensions(others[name]) if name in others else 'empty'})"
                for name in empty
            ]
            folders = "folder has" if len(empty) == 1 else "folders have"
            notes.append(
                f"{len(empty):,} {folders} no image of a format that is read, and no class: "
                f"{_listed(about)}"
            )
        if loose := [file.name for file in self.images if "/" not in file.name and not file.reason]:
            one = len(loose) == 1
            lie, have = ("image lies", "has") if one else ("images lie", "have")
            notes.append(
                f"{len(loose):,} {lie} beside the class folders and {have} no class: "
                f"{_listed(loose)}"
            )
        return notes


def image_files(root: str) -> ImageFiles:
    """All files below a folder, sorted out.

    Args:
      root: A real path.

    Raises:
      DataError: the root can't be read.
    """
    images, others, hidden = list[File](), list[File](), list[str]()
    for file in sorted(walk(root)):
        if file.reason == HIDDEN:
            hidden.append(file.name)
        elif file.reason or is_image_name(file.name):
            images.append(file)
        else:
            others.append(file)
    with os.scandir(root) as entries:
        folders = [
            e.name for e in entries if not is_hidden(e.name) and e.is_dir(follow_symlinks=False)
        ]
    return ImageFiles(images, others, hidden, sorted(folders))


def walk(root: str) -> Iterator[File]:
    """Every file below the root; a hidden folder is one entry.

    Links are followed as long as they lead to a place inside the root. Links to folders inside it
    add nothing.

    Args:
      root: A real path.

    Raises:
      DataError: the root can't be read.
    """
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    name = os.path.join(folder, entry.name)
                    if is_hidden(entry.name):
                        yield File(name, HIDDEN, 0)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif (judged := _judge(root, entry)) is not None:
                        yield File(name, *judged)
        except OSError as error:
            if not folder:
                raise DataError(f"{printable(root)} can't be read: {error.strerror}") from error
            yield File(folder, "folder can't be read", 0)


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return ", ".join(map(printable, names[:NAMED])) + more


def _judge(root: str, entry: os.DirEntry) -> tuple[str, int] | None:
    """None for what needs no mention: a second way to a folder that is walked anyway."""
    try:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            inside = os.path.commonpath([root, target]) == root
            if os.path.isdir(target):
                return None if inside else (LEAVES, 0)
            if not inside and is_image_name(entry.name):
                return LEAVES, 0
        if not entry.is_file():
            return ("not a regular file", 0) if is_image_name(entry.name) else ("", 0)
        return "", entry.stat().st_size
    except OSError:
        return "file can't be read", 0
