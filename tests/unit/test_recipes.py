"""The list of recipes answers an unknown name with what it knows."""

import pytest

from models.artifacts import MODULE_BUILDERS, ArtifactRefused
from models.recipes import RECIPES, UnknownRecipe, find, measuring


def test_a_recipe_is_found_by_its_name_and_by_its_builder():
    assert find("lesion-detector") is measuring("lesion-detector") is RECIPES["lesion-detector"]


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(UnknownRecipe, match="lesion-detector") as refused:
        find("alchemy")
    assert refused.value.code == "unknown_recipe"


def test_a_builder_that_no_recipe_measures_is_refused_with_the_known_ones():
    with pytest.raises(ArtifactRefused, match="lesion-detector") as refused:
        measuring("alchemy")
    assert refused.value.code == "unknown_builder"


def test_every_builder_has_a_recipe_that_measures_it():
    assert set(MODULE_BUILDERS) <= set(RECIPES)
