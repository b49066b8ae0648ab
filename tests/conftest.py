"""Before any test imports paddle: threads and math library, as the commands set them."""

import logging

import pytest
from hypothesis import settings

from ofa_bert import runtime

runtime.prepare()

# How long an example takes says more about the machine than about what is tested.
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")


@pytest.fixture(autouse=True, scope="module")
def _kept_handlers():
    """Commands set up the log of a process; here it goes on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A directory with a random model and a few labelled lines, and the cache elsewhere."""
    yield from made_base(tmp_path_factory)


def made_base(tmp_path_factory):
    from tests.runs import write_base

    folder = tmp_path_factory.mktemp("runs")
    write_base(folder)
    patch = pytest.MonkeyPatch()
    patch.setenv("OFA_BERT_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield folder
    patch.undo()
