"""What the embedded servers do before any server runs: folders, secrets, wheels."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.embedded import Embedded
from service.embedded_process import EmbeddedError, wheel_folder


def test_a_missing_wheel_names_the_extra():
    with pytest.raises(EmbeddedError, match=r"enteron\[embedded\]"):
        wheel_folder("there_is_no_such_wheel")


def test_a_folder_that_others_may_enter_is_refused_and_left_alone(tmp_path):
    home = tmp_path / "shared"
    home.mkdir()
    home.chmod(0o755)
    with pytest.raises(EmbeddedError, match="chmod 700"):
        Embedded(home)
    assert home.stat().st_mode & 0o777 == 0o755
    assert list(home.iterdir()) == []


def test_racing_processes_agree_on_one_secret(tmp_path):
    embedded = [Embedded(tmp_path / "home") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda each: each.secret_file("key-pepper").read_text(), embedded))
    assert len(set(found)) == 1
    assert len(found[0]) >= 43  # 256 bits in base 64
    assert not [name for name in os.listdir(tmp_path / "home" / "secrets") if name.startswith("tmp")]


def test_urls_carry_no_password(tmp_path):
    embedded = Embedded(tmp_path / "home")
    password = embedded.password_file("api").read_text()
    assert embedded.database_url("api").startswith("postgresql+psycopg://enteron_api@/enteron?")
    assert embedded.database_url().startswith("postgresql+psycopg:///enteron?")
    assert password not in embedded.database_url("api") + embedded.redis_url
