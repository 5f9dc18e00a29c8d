"""A server that is not installed: the test is skipped on a laptop, and fails where ``CI`` is set."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(sentence: object) -> NoReturn:
    """End the test that asks; ``sentence`` says what is missing and how to get it."""
    if os.environ.get("CI"):
        pytest.fail(str(sentence), pytrace=False)
    pytest.skip(str(sentence))
