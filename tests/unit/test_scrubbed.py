from workers.scrubbed import child_environment


def test_children_get_what_is_listed_and_no_secret() -> None:
    environment = {
        "PATH": "/bin",
        "LANG": "C",
        "ENTERON_DATABASE_URL": "x",
        "ENTERON_DATABASE_PASSWORD_FILE": "x",
        "PGPASSWORD": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "PYTHONPATH": "x",
        "LD_PRELOAD": "x",
    }
    assert child_environment(environment) == {"PATH": "/bin", "LANG": "C"}


def test_extra_variables_win() -> None:
    assert child_environment({"OMP_NUM_THREADS": "8"}, OMP_NUM_THREADS="1") == {"OMP_NUM_THREADS": "1"}
