"""A version that is worse than the champion does not take its place unnoticed."""

import pytest
from sqlalchemy import text

from service.domain.ids import DEFAULT_TENANT_ID, new_id
from service.domain.jobs import Kind
from service.store import versions
from service.store.session import unit_of_work
from service.store.versions import NewVersion
from service.usecases import jobs
from tests.contract.acting import claim, succeed
from tests.contract.conftest import LABELS, spec

GOOD, SLIGHTLY_LESS, POOR = (0.95, 0.93, 0.97), (0.94, 0.90, 0.96), (0.80, 0.75, 0.85)


def metrics(**areas: tuple) -> dict:
    labels = {
        label: {"auc": dict(zip(("value", "low", "high"), area, strict=True))}
        for label, area in areas.items()
    }
    return {"frames": 100, "groups": 9, "labels": labels}


def trained(api, name: str, *, spec_changes: dict | None = None, **areas: tuple) -> int:
    """A version as a training registers it, with its figures."""
    new = NewVersion(name, spec(name, **(spec_changes or {})), metrics(**areas), new_id().hex, "0" * 64, 16)
    with unit_of_work(api.database.engine("worker"), tenant_id=DEFAULT_TENANT_ID) as session:
        return versions.register(session, tenant_id=DEFAULT_TENANT_ID, new=new).version


def evaluated(api, name: str, version: int, *, fingerprint: str = "d" * 64, **areas: tuple) -> None:
    """An evaluation job of the version, ended as a worker ends it."""
    version_id = api.send("GET", f"/models/{name}/versions/{version}").json()["id"]
    person = api.database.new_principal(tenant_id=DEFAULT_TENANT_ID)
    with unit_of_work(
        api.database.engine("api"), tenant_id=person.tenant_id, principal_id=person.id
    ) as session:
        body = {"model_version_id": version_id, "dataset_id": str(new_id())}
        job = jobs.submit(session, person, Kind.EVALUATION, body)
    measured = metrics(**areas) | {"dataset_fingerprint": fingerprint, "trained_on_it": False}
    succeed(api, claim(api, job.id), {"metrics": measured})


def promote(api, name: str, version: int, *, alias: str = "champion", **force):
    body = {"version": version, "reason": "it is time", **force}
    return api.send("PUT", f"/models/{name}/aliases/{alias}", json=body)


def compared(api, name: str, version: int) -> dict:
    return api.send("GET", f"/models/{name}/versions/{version}/comparison").json()


@pytest.fixture
def name() -> str:
    return f"gated-{new_id().hex[:12]}"


@pytest.fixture
def champion(api, name: str) -> int:
    version = trained(api, name, polyp=GOOD, bleeding=GOOD)
    assert promote(api, name, version).status_code == 200
    return version


@pytest.mark.usefixtures("champion")
def test_worse_beyond_the_interval_is_refused_with_the_figures(api, name):
    worse = trained(api, name, polyp=GOOD, bleeding=POOR)
    refused = promote(api, name, worse)
    assert (refused.status_code, refused.json()["code"]) == (409, "worse_than_champion")
    assert refused.headers["content-type"] == "application/problem+json"
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/version"
    for part in ("bleeding", "0.800 (0.750 to 0.850)", "0.950 (0.930 to 0.970)", "different frames"):
        assert part in error["detail"]
    assert api.send("GET", f"/models/{name}").json()["aliases"] == {"champion": 1}
    assert len(api.send("GET", f"/models/{name}/promotions").json()["items"]) == 1


@pytest.mark.usefixtures("champion")
def test_force_promotes_it_and_is_kept_with_the_comparison(api, name):
    worse = trained(api, name, polyp=POOR, bleeding=GOOD)
    made = promote(api, name, worse, force=True).json()
    kept = api.send("GET", f"/models/{name}/promotions").json()["items"][0]
    assert kept == made
    assert kept["forced"] is True
    verdicts = {label["label"]: label["verdict"] for label in kept["comparison"]["labels"]}
    assert verdicts == {"polyp": "worse", "bleeding": "not_worse"}


@pytest.mark.usefixtures("champion")
def test_force_that_was_not_needed_is_not_kept_as_such(api, name):
    better = trained(api, name, polyp=GOOD, bleeding=SLIGHTLY_LESS)
    made = promote(api, name, better, force=True).json()
    assert made["forced"] is False
    assert {label["verdict"] for label in made["comparison"]["labels"]} == {"not_worse"}


def test_a_data_set_that_both_were_measured_on_decides(api, name, champion):
    challenger = trained(api, name, polyp=GOOD, bleeding=GOOD)
    evaluated(api, name, champion, polyp=GOOD, bleeding=GOOD)
    evaluated(api, name, challenger, polyp=GOOD, bleeding=(0.92, 0.85, 0.99))
    refused = promote(api, name, challenger)
    (error,) = refused.json()["errors"]
    assert "same data set " + "d" * 64 in error["detail"]
    evaluated(api, name, challenger, polyp=GOOD, bleeding=(0.94, 0.85, 0.99))  # the newest counts
    assert promote(api, name, challenger).status_code == 200


@pytest.mark.usefixtures("champion")
def test_a_label_that_would_be_lost_is_refused(api, name):
    only_polyp = {
        "labels": [label for label in spec(name)["labels"] if label["name"] == "polyp"],
        "calibration": {"polyp": {"slope": 1.0, "intercept": 0.0}},
        "operating_points": {"balanced": {"polyp": 0.5}},
    }
    fewer = trained(api, name, spec_changes=only_polyp, polyp=GOOD)
    unmeasured = trained(api, name, polyp=GOOD)
    for version, verdict in ((fewer, "missing"), (unmeasured, "not_measured")):
        assert promote(api, name, version).json()["code"] == "worse_than_champion"
        found = {label["label"]: label for label in compared(api, name, version)["labels"]}
        assert (found["bleeding"]["verdict"], found["bleeding"]["refuses"]) == (verdict, True)
        assert found["polyp"]["refuses"] is False


def test_what_nobody_measured_is_not_compared_and_says_so(api, name):
    for _ in range(2):
        trained(api, name)
    promote(api, name, 1)
    made = promote(api, name, 2)
    assert made.status_code == 200
    assert {label["verdict"] for label in made.json()["comparison"]["labels"]} == {"not_comparable"}


@pytest.mark.usefixtures("champion")
def test_going_back_and_other_aliases_are_never_gated(api, name):
    better = trained(api, name, polyp=(1.0, 0.99, 1.0), bleeding=GOOD)
    assert promote(api, name, 1, alias="careful").status_code == 200
    assert promote(api, name, better).status_code == 200
    assert promote(api, name, 1).json()["code"] == "worse_than_champion"
    assert promote(api, name, better, alias="careful").status_code == 200
    worse_again = promote(api, name, 1, alias="careful").json()
    assert (worse_again["forced"], worse_again["comparison"]) == (False, None)
    back = api.send("POST", f"/models/{name}/aliases/champion/rollback", json={"reason": "as before"})
    assert (back.json()["to_version"], back.json()["forced"]) == (1, False)


def test_the_comparison_can_be_looked_at_before(api, name, champion):
    assert compared(api, name, champion) == {"champion": None, "version": 1, "refuses": False, "labels": []}
    challenger = trained(api, name, polyp=GOOD, bleeding=POOR)
    found = compared(api, name, challenger)
    assert (found["champion"], found["version"], found["refuses"]) == (1, 2, True)
    assert {label["label"] for label in found["labels"]} == set(LABELS)
    assert api.send("GET", f"/models/{name}/versions/99/comparison").status_code == 404


def test_force_is_a_truth_value(api, name, champion):
    assert promote(api, name, champion, force="yes").status_code == 422


@pytest.mark.usefixtures("champion")
def test_a_forced_promotion_is_for_good(api, name):
    promote(api, name, trained(api, name, polyp=POOR, bleeding=GOOD), force=True)
    with api.database.engine("owner").connect() as connection:
        rows = connection.execute(
            text(
                "SELECT p.forced, p.comparison IS NULL AS free, p.comparison"
                " FROM promotion p JOIN model m ON m.id = p.model_id WHERE m.name = :name ORDER BY p.id"
            ),
            {"name": name},
        ).all()
    assert [row.forced for row in rows] == [False, True]
    assert [row.free for row in rows] == [True, False]
    assert rows[1].comparison["champion"] == 1
