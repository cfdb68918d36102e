"""The table of settings in the docs is what the code reads."""

from pathlib import Path

from service.settings import Limits, Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def rows(settings):
    return [
        f"| `ENTERON_{name.upper()}` | {shown(field.default)} | {field.description} |"
        for name, field in settings.model_fields.items()
    ]


def shown(default):
    return "" if default in (None, "") else f"`{default}`"


def test_every_setting_is_described():
    for field in (*Settings.model_fields.values(), *Limits.model_fields.values()):
        assert field.description


def test_the_page_lists_exactly_the_settings():
    listed = [line for line in PAGE.read_text().splitlines() if line.startswith("| `ENTERON_")]
    assert listed == rows(Settings) + rows(Limits)
