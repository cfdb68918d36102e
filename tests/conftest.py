"""Plugins and settings of the whole suite."""

import hypothesis

pytest_plugins = ["tests.prerequisites", "tests.databases", "tests.browser", "tests.page_site"]

# A property is judged by its answers, never by the speed of a busy machine.
hypothesis.settings.register_profile("enteron", deadline=None, print_blob=True)
hypothesis.settings.load_profile("enteron")
