"""Data sets that tests of the input pipeline share."""

import pytest
from toy import make_set, rows

from prolip.config import DataConfig
from prolip.data.pipeline import train_tokenizer


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """23 good records."""
    return make_set(tmp_path_factory.mktemp("toy"), rows(23))


@pytest.fixture(scope="session")
def tokenizer(toy):
    return train_tokenizer(toy, 8)


@pytest.fixture(scope="session")
def emoji(tmp_path_factory):
    """The shipped data set, made on first use."""
    return DataConfig(data_dir=str(tmp_path_factory.mktemp("emoji")))
