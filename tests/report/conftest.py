"""Reports are looked at with their figures drawn."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def with_figures(drawn_figures: None) -> None:
    """Have figures drawn in every module here."""
