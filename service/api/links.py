"""Addresses in answers, as the client sees them."""

from collections.abc import Callable

PREFIX = "/api/v1"

# From a path of the API, e.g. `/jobs/<id>`, to the path that reaches it from outside.
Link = Callable[[str], str]
