"""HTML as values: what is not marked as HTML is escaped, so that text of users stays text."""

import re
from html import escape

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_VOID = frozenset({"meta", "br", "hr"})


class Html(str):
    """Text that is HTML already; made here and by the plots, never from data."""

    __slots__ = ()


Child = str | None


def element(tag: str, *children: Child, **attributes: str | None) -> Html:
    """One element; `class_` and the like lose their underscore, children that are None are left out."""
    pairs = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    written = "".join(f' {_name(name)}="{escape(value)}"' for name, value in pairs if value is not None)
    opening = f"<{_name(tag)}{written}>"
    return Html(opening) if tag in _VOID else Html(f"{opening}{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """Children after each other, escaped unless they are HTML."""
    return Html("".join(_escaped(child) for child in children if child is not None))


def _escaped(child: str) -> str:
    return child if isinstance(child, Html) else escape(child)


def _name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("not a name of HTML")
    return name
