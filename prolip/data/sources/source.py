"""What every source of records gives."""

import abc
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from prolip.data.records import Bad, Record

# Batches carry numbers of records as int32.
MAX_RECORDS = 2**31 - 1


class Source(abc.ABC):
    """Random access to the records of a split, from many threads.

    A number always stands for the same record. Pickled, a source opens its files anew: that is how
    reader processes get it.

    Attributes:
      name: Of the data set, for people and for the fingerprint: without places on a disk.
      damage: What is wrong with the files, beside the records that are bad.
      notes: Sentences on what was left out.
    """

    name: str
    damage: Sequence[Bad] = ()
    notes: Sequence[str] = ()

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Record:
        """Raises BadRecord if the record can't be read."""

    def captions(self, index: int) -> tuple[tuple[str, ...], ...]:
        """Texts of each caption feature of a record, by some sources without reading its image.

        Raises:
          BadRecord: they can't be read.
        """
        return self[index].captions

    def same_image(self, index: int) -> Sequence[int]:
        """Numbers of the other records that are known to have the same image, without reading it.

        That images repeat may only be seen when they are read: `image.image_id`.
        """
        return ()

    @abc.abstractmethod
    def key(self, index: int) -> str:
        """Names a record, good or bad, without reading it."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Hash that tells data sets apart, without reading them whole."""

    def state(self) -> str:
        """Changes whenever a file does, as far as sizes and times tell; a copy has another one.

        What is kept on a disk of all records goes by it: a digest need not know their content.
        """
        return self.digest()

    @property
    def parts(self) -> tuple[range, ...]:
        """Numbers of the components; a bad record is replaced by one of its own component."""
        return (range(len(self)),)

    @property
    def fields(self) -> Collection[str]:
        """Names that `about` knows, as far as the source has been looked through."""
        return ()

    def seek_fields(self, names: Collection[str]) -> Collection[str]:
        """Looks through more records for fields, and returns those that it knows then."""
        return [name for name in names if name in self.fields]

    def about(self, index: int, names: Collection[str]) -> Mapping[str, Any]:
        """Values of some fields of a record; those that it lacks are left out.

        Raises:
          BadRecord: they can't be read.
        """
        return {}

    def describe(self) -> dict[str, Any]:
        """What a run's fingerprint says of the source; JSON values."""
        return {"data_set": self.name, "records": len(self), "digest": self.digest()}
