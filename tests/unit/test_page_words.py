"""The page has a sentence for everything the service may say, and none for what it never says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from models.imaging.archive import MemberCode
from models.imaging.decode import DECODE_CODES
from models.imaging.quality import QUALITY_FLAGS
from models.imaging.zip_directory import ArchiveCode
from service.api import problems
from service.domain import errors, promotion
from service.domain.jobs import State
from service.store import objects
from service.usecases.jobs import SHOWN_AS, TITLES
from workers.sandbox_client import LostCode

ROOT = Path(__file__).parents[2]
WEB = ROOT / "service" / "web"
SCRIPTS = {path.name: path.read_text() for path in sorted(WEB.glob("*.js"))}
WORDS = SCRIPTS["strings.js"]
ANSWERING = ("api", "usecases", "store", "domain")
PAGES_OWN = {"offline"}
AT_START_ONLY = {"weak_pepper"}  # the API does not come up


def table(name: str) -> set[str]:
    """Keys of an exported object of strings.js."""
    body = re.search(rf"^export const {name} = \{{$(.*?)^\}};$", WORDS, re.MULTILINE | re.DOTALL)
    assert body is not None
    return set(re.findall(r'^  "?([\w.]+)"?:', body[1], re.MULTILINE))


def class_codes() -> dict[str, str]:
    """Every error class that the service raises, and the code it carries unless another is given."""
    modules = (errors, objects, promotion)
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    return {kind.__name__: kind.code for kind in kinds if issubclass(kind, errors.ServiceError)}


def words(node: ast.AST) -> set[str]:
    """Strings below a node that have the form of a code."""
    constants = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {
        value for value in constants if isinstance(value, str) and re.fullmatch(r"[a-z]+(_[a-z]+)*", value)
    }


def given_code(call: ast.Call, tree: ast.Module) -> set[str]:
    """What a call says as `code=`; a variable stands for whatever the module assigns to its name."""
    value = next((word.value for word in call.keywords if word.arg == "code"), None)
    if value is None or not isinstance(value, ast.Name):
        return set() if value is None else words(value)
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    mine = [node.value for node in assigned if ast.unparse(node.targets[0]) == value.id]
    return set().union(*map(words, mine))


def codes_of(tree: ast.Module) -> Iterator[set[str]]:
    known = class_codes()
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name == "HttpProblem":
            yield words(call.args[1])
        elif name in known:
            yield given_code(call, tree) or {known[name]}
        elif name == "answer":
            yield given_code(call, tree)


def sent_codes() -> set[str]:
    """Codes of problem documents, and of analyses that failed: for the service's reasons or their zip's."""
    paths = [path for part in ANSWERING for path in (ROOT / "service" / part).rglob("*.py")]
    found = [codes for path in paths for codes in codes_of(ast.parse(path.read_text()))]
    return set().union(*found, problems._HTTP_CODES.values(), TITLES, get_args(ArchiveCode)) - AT_START_ONLY


def test_codes_are_found_in_each_of_their_forms() -> None:
    forms = {
        "conflict's own": "already_there",
        "a class's": "forbidden",
        "a variable's": "storage_full",
        "of HTTP alone": "body_too_slow",
        "a mistake": "internal_error",
        "a job's": "gave_up",
    }
    assert set(forms.values()) <= sent_codes()


def test_there_is_advice_for_every_problem_and_for_no_other() -> None:
    assert table("WHAT_TO_DO") == sent_codes() | PAGES_OWN


def test_every_reason_why_a_frame_is_not_read_has_its_sentence() -> None:
    assert table("FRAME_ERRORS") == {*DECODE_CODES, *get_args(MemberCode), *get_args(LostCode)}


def test_states_quality_and_log_lines_are_those_of_the_service() -> None:
    assert table("STATES") == {state.value for state in State} - {state.value for state in SHOWN_AS}
    assert table("LOG") == {f"state.{state}" for state in State}
    assert table("QUALITY") == set(QUALITY_FLAGS)


def test_sentences_are_used_and_defined() -> None:
    used = {name for script in SCRIPTS.values() for name in re.findall(r"\bTEXT\.(\w+)", script)}
    assert used == table("TEXT")


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_exported_that_nobody_imports(name: str) -> None:
    exported = set(
        re.findall(r"^export (?:async )?(?:function\*?|const|class) (\w+)", SCRIPTS[name], re.MULTILINE)
    )
    imports = re.compile(rf'import \{{([^}}]*)\}} from "\./{re.escape(name)}"')
    imported = {
        word for script in SCRIPTS.values() for word in re.findall(r"\w+", " ".join(imports.findall(script)))
    }
    assert exported <= imported | {"csvCell"}  # which the tests call
