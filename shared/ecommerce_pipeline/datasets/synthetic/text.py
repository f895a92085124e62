"""The words that the synthetic rows are made of, awkward ones included.

No entry contains NUL, which PostgreSQL's text cannot store.
"""

from __future__ import annotations

import pyarrow as pa

from ecommerce_pipeline.datasets.rows import BoolArray
from ecommerce_pipeline.datasets.synthetic.bits import Words, field

_FIRST_NAMES = (
    "Ada", "Björn", "Chloé", "Dmitri", "Esra", "Fatima", "Grace", "Hùng",
    "Inês", "José", "Kwame", "Łucja", "Mei", "Noor", "Olga", "Priya",
)  # fmt: skip
_LAST_NAMES = (
    "Almeida", "Brown", "Çelik", "Dubois", "Eriksson", "Ferrari", "García", "Haddad",
    "Ivanova", "Jansen", "Kowalski", "Lê", "Müller", "Nakamura", "O'Brien", "Patel",
)  # fmt: skip
_AWKWARD_NAMES = (
    None,
    "",
    " ",
    "  padded  ",
    "NULL",
    "null",
    "\\N",
    "\\.",
    'Ann "Quote" Lee',
    "Lee, Ann",
    '"',
    "'",
    "'; DROP TABLE customers; --",
    "back\\slash\\",
    "two\nlines",
    "carriage\r\nreturn",
    "tab\there",
    "{curly} {{ braces }} %s $1",
    "<b>bold</b> & co",
    "李小龍",
    "مريم عبد الله",
    "🦊 Fox & Söhne 👩‍👩‍👧‍👦",
    "e\u0301 decomposed, \u00e9 composed",
    "\u202eright to left\u202c",
)
_ADJECTIVES = (
    "Blue", "Crème", "Dark", "Extra", "Fine", "Grand", "Heavy", "Light", "Mini", "Naïve",
)  # fmt: skip
_NOUNS = (
    "Backpack", "Chair", "Desk", "Earphones", "Flask", "Gloves", "Headlamp", "Kettle", "Lamp",
    "Mug", "Notebook", "Pillow",
)  # fmt: skip
_AWKWARD_PRODUCT_NAMES = (
    None,
    "",
    '27" monitor, black',
    "Cable\n2 m",
    "Étagère à 5 niveaux",
    "寿司セット 🍣",
    "C:\\temp\\mug",
    "It's a 'mug'",
)

CUSTOMER_NAMES = pa.array(
    [f"{first} {last}" for first in _FIRST_NAMES for last in _LAST_NAMES] + [*_AWKWARD_NAMES] * 4,
    pa.string(),
)
EMAIL_DOMAINS = pa.array(
    ["example.com", "example.org", "mail.example", "bücher.example", "shop.example"], pa.string()
)
COUNTRIES = pa.array(
    ["US", "DE", "FR", "GB", "JP", "BR", "VN", "IN", "Côte d'Ivoire", None], pa.string()
)
PRODUCT_NAMES = pa.array(
    [f"{adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    + [*_AWKWARD_PRODUCT_NAMES] * 4,
    pa.string(),
)
CATEGORIES = pa.array(
    [
        "Books", "Café & Tea", "Electronics", "Garden", "Home, Kitchen", 'Toys "R" Fun',
        "Sports", "Travel", "日用品", None,
    ],
    pa.string(),
)  # fmt: skip
EXTERNAL_REFERRERS = (
    None,
    "",
    "https://search.example/?q=desk+lamp",
    "https://news.example/a,b?title=%22quoted%22",
    "https://bücher.example/straße",
    "https://social.example/@kwame/🎒",
)
HOME_PAGE = "/"
INNER_PAGES = (
    "/cart",
    "/checkout",
    "/search?q=caf%C3%A9",
    "/search?q=crème, brûlée",
    '/search?q="blue desk"',
    "/search?q=🎧",
    "/search?q=it's\\here",
    "/search?q=two\nlines",
)


def pick(choices: pa.Array, words: Words, start: int, moved: BoolArray | int = 0) -> pa.Array:
    """One of the choices for each word, by 20 bits from bit ``start``; the next one where moved."""
    return choices.take(pa.array((field(words, start, 20) + moved) % len(choices)))
