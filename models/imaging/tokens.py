"""The light tokens of the page (service/web/tokens.css) for what is drawn here; a test compares the two."""

LIGHT = {
    "ground": "#fbfbf9",
    "panel": "#ffffff",
    "line": "#d9d9d4",
    "ink": "#16181c",
    "quiet": "#5b636d",
    "accent": "#0b63c4",
    "good": "#1c7c43",
    "warn": "#8a6100",
    "bad": "#b3261e",
}
LABEL_COLOURS = {
    "polyp": "#9a6500",
    "bleeding": "#c62828",
    "inflammatory": "#7b3fb5",
    "content": "#1f7a70",
    "other": "#5b636d",
}
# Shape and letter go with every colour (Vega's names of shapes).
LABEL_SHAPES = {
    "polyp": "circle",
    "bleeding": "diamond",
    "inflammatory": "triangle-up",
    "content": "square",
    "other": "circle",
}


_SYMBOLS = {"polyp": "●", "bleeding": "◆", "inflammatory": "▲", "content": "■"}


def symbol_of(label: str) -> str:
    """Shape and letter of a label, as text."""
    return f"{_SYMBOLS.get(label, '○')} {(label[:1] or '?').upper()}"


def colour_of(label: str) -> str:
    return LABEL_COLOURS.get(label, LABEL_COLOURS["other"])


def shape_of(label: str) -> str:
    return LABEL_SHAPES.get(label, LABEL_SHAPES["other"])


def class_of(label: str) -> str:
    return f"c-{label if label in LABEL_COLOURS else 'other'}"
