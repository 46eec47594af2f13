"""Settings and URLs as they may be seen: without passwords, wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# What has one of these words in its name is not shown.
SECRETS = ("password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "cookie")
MASK = "***"
_LOGIN = re.compile(r"(?<=://)([^:]*)(:.*)?@", re.DOTALL)  # to the last @: a password may have one
_QUERY = re.compile(rf"([?&][^=&]*(?:{'|'.join(SECRETS)})[^=&]*=)[^&#]+", re.IGNORECASE)


def masked(name: str, value: Any) -> Any:
    """A value that may be shown: in place of a secret, known by its name, and of a URL's password, stars."""
    if value in (None, "", False) or isinstance(value, int | float):
        return value
    if any(word in name.lower() for word in SECRETS):
        return MASK
    if isinstance(value, str):
        return masked_url(value) if "://" in value else value
    if isinstance(value, Mapping):
        return {key: masked(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(masked("", each) for each in value)
    return value


def masked_url(url: str) -> str:
    """A URL with stars in place of passwords."""
    shown = _LOGIN.sub(lambda found: f"{found[1]}{f':{MASK}' if found[2] else ''}@", url, count=1)
    return _QUERY.sub(rf"\g<1>{MASK}", shown)
