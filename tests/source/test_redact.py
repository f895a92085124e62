"""A URL that is shown never shows the password."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source import connect, redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////data/shop.db", "sqlite:////data/shop.db"),
        ("postgresql://ada:pw@db:5432/shop", "postgresql://ada:***@db:5432/shop"),
        ("postgresql://ada:p%40%2Fx@db/shop", "postgresql://ada:***@db/shop"),
        ("postgresql://ada@db/shop?password=pw", "postgresql://ada:***@db/shop"),
        ("postgresql://ada:a@db/shop?password=pw", "postgresql://ada:***@db/shop"),
        ("postgres://ada@db/shop", "postgresql://ada@db/shop"),
        ("postgresql:///shop", "postgresql:///shop"),
        ("postgresql://ada:p@x@db/shop", "postgresql://***"),
        ("postgresql://ada:p/x@db/shop", "postgresql://***"),
        ("postgresql://ada:12/x@db/shop", "postgresql://***"),
        ("postgresql://ada:p%zz@db/shop", "postgresql://***"),
        ("mysql://ada:pw@db/shop", "mysql://***"),
        ("postgresql://ada%40north:pw@db/shop", "postgresql://ada@north:***@db/shop"),
        ("postgresql://ada:pw@one:1,two:2/shop", "postgresql://ada:***@one,two:1,2/shop"),
        ("host=db password=pw", "***"),
        ("sqlite", "sqlite"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    """Only what is certainly no password is shown."""
    assert redact(url) == shown


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_an_escaped_password_is_hidden(password: str) -> None:
    """Whatever the password, the shown URL does not depend on it."""
    url = f"postgresql://ada:{quote(password, safe='')}@db:5432/shop"
    assert redact(url) == "postgresql://ada:***@db:5432/shop"


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1))
def test_an_unescaped_password_is_hidden(password: str) -> None:
    """A password pasted as it is, with any character that splits a URL, stays hidden as well."""
    secret = f"Secret{password}Secret"
    assert "Secret" not in redact(f"postgresql://ada:{secret}@db:5432/shop")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite",
        "sqlite:///",
        "host=db password=Secret",
        "mysql://ada:Secret@db/shop",
        "postgresql://ada:Sec%zzret@db/shop",
        "postgresql://ada:not@Secret@db/shop",
        "postgresql://ada:Secret@db:port/shop",
    ],
)
def test_an_unusable_url_is_refused(url: str) -> None:
    """Another kind of URL, or one that cannot be split for certain, is refused without a secret."""
    with pytest.raises(PipelineError, match=r"write it as .*postgresql://") as caught:
        connect(url)
    assert "Sec" not in str(caught.value)
