"""Configuration: what is read, and the messages when it cannot be read."""

import dataclasses
import math
import tomllib
from pathlib import Path

import pytest

from fingertrio.config.config import Config, load_backend, load_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.table import DEFAULT, FIXED_SECTIONS
from fingertrio.net.address import Address
from fingertrio.net.limits import RateLimiter

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "f.toml"
        path.write_text(text)
        return path

    return write


def mistake(path, environ=None, *, to_serve=False):
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {}, to_serve=to_serve)
    return str(caught.value)


def test_without_a_file_the_built_in_default_opens_three_doors_on_loopback():
    config = load_config(None, {})
    assert config.backend.use == "sqlite"
    assert list(config.doors) == ["finger", "setter", "http"]
    for section in config.doors.values():
        assert all(address.is_local for address in section.listen)


def test_the_sections_that_belong_to_no_front_end_are_those_of_the_configuration():
    assert (*FIXED_SECTIONS, "doors") == tuple(field.name for field in dataclasses.fields(Config))


def test_the_file_that_make_run_uses_says_what_the_built_in_default_says_but_for_the_place_of_the_database():
    table = tomllib.loads((ROOT / "conf/fingertrio.toml").read_text())
    assert table["backend"].pop("path") == "var/fingertrio.db"
    assert table == DEFAULT


def test_what_the_default_file_has_commented_out_is_a_valid_configuration(write):
    lines = (ROOT / "conf/fingertrio.toml").read_text().splitlines()
    enabled = [
        line.removeprefix("# ") if line.startswith(("# [", "# ")) and ("=" in line or "[" in line) else line
        for line in lines
    ]
    text = "\n".join(
        line for line in enabled if not line.startswith(("FINGERTRIO", "A section", "certfile", "keyfile"))
    )
    config = load_config(write(text), {})
    assert "irc" in config.doors
    assert config.service == load_config(None, {}).service
    assert config.doors["finger"] == load_config(None, {}).doors["finger"]
    assert config.log == load_config(None, {}).log
    assert config.doors["admin"] == load_config(write('[backend]\nuse = "memory"\n[admin]\n'), {}).doors["admin"]


def test_a_section_that_is_absent_starts_nothing(write):
    config = load_config(write('[backend]\nuse = "memory"\n'), {})
    assert not config.doors


def test_the_admin_door_listens_on_loopback_by_default(write):
    admin = load_config(write('[backend]\nuse = "memory"\n[admin]\n'), {}).doors["admin"]
    assert [str(address) for address in admin.listen] == ["127.0.0.1:9079"]


def test_the_admin_door_is_public_only_where_the_operator_says_so(write):
    config = load_config(write('[backend]\nuse = "memory"\n[admin]\nlisten = ["0.0.0.0:0"]\nallow_public = true\n'), {})
    assert not config.doors["admin"].listen[0].is_local


def test_the_backend_alone_is_read_without_the_front_ends(write):
    path = write('[backend]\nuse = "x"\npath = "p"\n[finger]\nlisten = 1\n[http]\n')
    assert load_backend(path, {"FINGERTRIO_BACKEND__PATH": "q"}).options == {"path": "q"}
    with pytest.raises(ConfigError, match=r"\[backend\]: is missing"):
        load_backend(write("[finger]\n"), {})


def test_the_backends_own_options_are_handed_on_unread(write):
    config = load_config(write('[backend]\nuse = "x"\npath = "p"\n[backend.users]\na = "b"\n'), {})
    assert config.backend.options == {"path": "p", "users": {"a": "b"}}


def test_the_environment_overrides_the_file(write):
    path = write('[backend]\nuse = "memory"\n[finger]\nlisten = ["127.0.0.1:79"]\n')
    environ = {
        "FINGERTRIO_FINGER__LISTEN": '["127.0.0.1:0", "[::1]:0"]',
        "FINGERTRIO_FINGER__USER_LIST": "false",
        "FINGERTRIO_SETTER__LISTEN": "127.0.0.1:0",
        "FINGERTRIO_BACKEND__USERS__ADA": "busy",
        "HOME": "/",
    }
    config = load_config(path, environ)
    assert config.doors["finger"].listen == (Address("127.0.0.1", 0), Address("::1", 0))
    assert config.doors["finger"].user_list is False
    assert [str(address) for address in config.doors["setter"].listen] == ["127.0.0.1:0"]
    assert config.backend.options == {"users": {"ada": "busy"}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[backend]\nuse = memory", ["not valid TOML", "line 2"]),
        ("", ["[backend]", "missing"]),
        ("[backend]\n", ["[backend] use", "missing"]),
        ('[backend]\nuse = "memory"\n[fingr]\n', ["[fingr]", "unknown section", 'did you mean "finger"?']),
        (
            '[backend]\nuse = "memory"\n[finger]\nlistn = ["127.0.0.1:79"]\nlisten = ["127.0.0.1:79"]',
            ["[finger] listn", "unknown key", 'did you mean "listen"?'],
        ),
        ('[backend]\nuse = "memory"\n[finger]\n', ["[finger] listen", "missing"]),
        (
            '[backend]\nuse = "memory"\n[finger]\nlisten = [79]\n',
            ["[finger] listen.0", "expected an address in quotes"],
        ),
        ('[backend]\nuse = "memory"\n[finger]\nlisten = ["79"]\n', ["[finger] listen.0", '"79" is not an address']),
        (
            '[backend]\nuse = "memory"\n[finger]\nlisten = ["[::1]:79"]\nuser_list = "perhaps"\n',
            ["[finger] user_list", "boolean"],
        ),
        (
            '[backend]\nuse = "memory"\n[setter]\nlisten = ["0.0.0.0:1079"]\n',
            ["[setter]", '"0.0.0.0:1079"', 'auth = "none"', "loopback", "unix:"],
        ),
        (
            '[backend]\nuse = "memory"\n[setter]\nlisten = ["example.org:1079"]\n',
            ["[setter]", "example.org:1079", "loopback"],
        ),
        (
            '[backend]\nuse = "memory"\n[http]\nlisten = ["127.0.0.1:0"]\ncertfile = "conf/fingertrio.toml"\n',
            ["[http]: certfile and keyfile go together"],
        ),
        (
            '[backend]\nuse = "memory"\n[http]\nlisten = ["127.0.0.1:0"]\nkeyfile = "/nowhere"\n',
            ['[http] keyfile: there is no file "/nowhere"'],
        ),
        (
            '[backend]\nuse = "memory"\n[http]\nlisten = ["127.0.0.1:0"]\nurl = "finger.example.org"\n',
            ["[http] url", '"finger.example.org"', '"https://finger.example.org"'],
        ),
        (
            '[backend]\nuse = "memory"\n[http]\nlisten = ["127.0.0.1:0"]\nurl = "https://u:p@a.example/?x"\n',
            ["[http] url", "is not the address of a site"],
        ),
        (
            '[backend]\nuse = "memory"\n[http]\nlisten = ["127.0.0.1:0"]\nurl = "https://a.example/?x"\n',
            ["[http] url", "has a part after the path"],
        ),
        (
            '[backend]\nuse = "memory"\n[http]\nlisten = ["127.0.0.1:0"]\nallowed_origins = ["https://example.org/"]\n',
            ["[http] allowed_origins.0", '"https://example.org/"', "without a path"],
        ),
        (
            '[backend]\nuse = "memory"\n[irc]\nserver = "irc.example.net"\n',
            ["[irc] server", '"irc.example.net" is not', '"irc.example.net:6667"'],
        ),
        ('[backend]\nuse = "memory"\n[irc]\nserver = 6667\n', ["[irc] server: expected an address in quotes"]),
        (
            '[backend]\nuse = "memory"\n[irc]\nserver = "irc:6667"\nnick = "no spaces"\n',
            ['[irc] nick: "no spaces" is not a nickname: expected a letter'],
        ),
        (
            '[backend]\nuse = "memory"\n[finger]\nlisten = ["127.0.0.1:0"]\nforwarding = true\n',
            ["[finger]", "forward_to"],
        ),
        (
            '[backend]\nuse = "memory"\n[finger]\nlisten = ["127.0.0.1:0"]\nforward_to = ["a b"]\n',
            ["[finger] forward_to", '"a b"'],
        ),
        ('backend = "memory"\n', ["[backend]: expected a table"]),
        ('[backend]\nuse = "memory"\n[finger]\nlisten = 79\n', ["[finger] listen: expected an array"]),
        ('[backend]\nuse = "memory"\n[limits]\nexempt = [1]\n', ["[limits] exempt.0", "expected a network in quotes"]),
        ('[backend]\nuse = "memory"\n[log]\nlevel = "x"\n', ['[log] level: expected "debug", "info", "warning" or']),
        (
            '[backend]\nuse = "memory"\n[admin]\nlisten = ["127.0.0.1:0", "192.0.2.1:9079"]\n',
            ["[admin]", '"192.0.2.1:9079"', "loopback", "allow_public = true"],
        ),
    ],
)
def test_a_mistake_is_named_with_its_file_its_key_and_what_was_expected(write, text, parts):
    path = write(text)
    message = mistake(path)
    assert message.startswith(str(path))
    for part in parts:
        assert part in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("section", "line", "expected"),
    [
        ("service", 'deadline = "5"', "a number"),
        ("service", "grace = true", "a number"),
        ("service", "cache_size = 10.0", "an integer"),
        ("service", "deadline = 0", "a number greater than 0"),
        ("limits", "queries = 1e-310", "a number greater than or equal to 0.00001"),
        ("limits", "writes = 0", "a number greater than or equal to 0.00001"),
        ("limits", "queries = nan", "a number greater than or equal to 0.00001"),
        ("limits", "query_burst = 0.5", "a number greater than or equal to 1"),
        ("admin", 'max_connections = "7"', "an integer"),
        ("admin", "max_connections = true", "an integer"),
        ("admin", "allow_public = 0", "a boolean, true or false"),
        ("log", 'anonymize_addresses = "yes"', "a boolean, true or false"),
    ],
)
def test_a_value_of_another_type_is_a_mistake_however_it_might_be_read(write, section, line, expected):
    message = mistake(write(f'[backend]\nuse = "memory"\n[{section}]\n{line}\n'))
    assert message.endswith(f"[{section}] {line.split()[0]}: expected {expected}")


@pytest.mark.parametrize("key", ["queries", "writes"])
def test_the_lowest_rate_still_gives_a_number_of_seconds_to_wait(write, key):
    path = write(f'[backend]\nuse = "memory"\n[limits]\n{key} = 1e-5\n')
    limits = load_config(path, {}).limits
    limiter = RateLimiter(rate=getattr(limits, key), burst=1)
    assert limiter.allow("192.0.2.1", 0.0)
    assert not limiter.allow("192.0.2.1", 0.0)
    assert 86_400 < math.ceil(limiter.wait("192.0.2.1", 0.0)) <= 100_000


def test_an_integer_is_a_number(write):
    assert load_config(write('[backend]\nuse = "memory"\n[service]\ndeadline = 3\n'), {}).service.deadline == 3.0


def test_all_mistakes_are_reported_at_once(write):
    message = mistake(write('[backend]\nuse = "memory"\nx = 1\n[finger]\nlisten = ["x"]\nansver = "full"\n[lgo]\n'))
    assert "3 mistakes" in message
    assert [part in message for part in ("[finger] listen.0", '"answer"', '"log"')] == [True, True, True]


@pytest.mark.parametrize("text", ["", "[log]\n[limits]\n[service]\n[process]\n"])
def test_a_server_without_a_door_is_a_mistake(write, text):
    path = write(f'[backend]\nuse = "memory"\n{text}')
    assert (
        mistake(path, to_serve=True)
        == f"{path}: no section opens a door: add [finger], [setter], [http], [irc] or [admin]"
    )
    assert load_config(path, {"FINGERTRIO_FINGER__LISTEN": "127.0.0.1:0"}, to_serve=True).doors


def test_a_mistyped_door_is_reported_once(write):
    assert "no section opens a door" not in mistake(write('[backend]\nuse = "memory"\n[fingr]\n'), to_serve=True)


@pytest.mark.parametrize(
    ("backend", "parts"),
    [
        ('use = "memory"\nuzers = {}\nusers = 1', ['[backend] uzers: unknown key; did you mean "users"?', "users: "]),
        ('use = "sqlite"\nhistory = "7"', ["[backend] history: expected an integer"]),
        ('use = "memroy"', ['[backend] use: no backend "memroy"; installed are:']),
    ],
)
def test_the_backends_own_mistakes_are_reported_with_all_others(write, backend, parts):
    message = mistake(write(f'[backend]\n{backend}\n[finger]\nlisten = ["x"]\n[lgo]\n'), to_serve=True)
    for part in [*parts, "[finger] listen.0", '[lgo]: unknown section; did you mean "log"?']:
        assert part in message


@pytest.mark.parametrize("text", ["", 'backend = "memory"\n', "[backend]\nuse = 1\n"])
def test_a_backend_that_is_not_named_is_reported_once(write, text):
    assert mistake(write(f"{text}[finger]\nlisten = []\n"), to_serve=True).count("[backend]") == 1


def test_a_file_that_is_not_there_or_cannot_be_read_is_named(tmp_path):
    assert mistake(tmp_path / "gone.toml") == f"{tmp_path}/gone.toml: there is no such file"
    assert "cannot be read" in mistake(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'[backend]\nuse = "\xff"\n')
    assert "not UTF-8" in mistake(tmp_path / "latin.toml")


@pytest.mark.parametrize("variable", ["FINGERTRIO_LISTEN", "FINGERTRIO_FINGR__LISTEN", "FINGERTRIO_FINGER__"])
def test_a_mistyped_variable_is_a_mistake(variable):
    message = mistake(None, {variable: "x"})
    assert variable in message
    assert "FINGERTRIO_SECTION__KEY" in message


def test_a_mistyped_key_in_a_variable_is_reported_with_the_variables_name():
    message = mistake(None, {"FINGERTRIO_FINGER__LISTN": "127.0.0.1:0"})
    assert "FINGERTRIO_FINGER__LISTN" in message
    assert 'did you mean "listen"?' in message


def test_origins_are_kept_as_browsers_write_them(write):
    origins = '["https://Example.org", "https://a.example:443", "http://b.example:8080", "*"]'
    config = load_config(write(f'[backend]\nuse = "memory"\n[http]\nlisten = []\nallowed_origins = {origins}\n'), {})
    assert config.doors["http"].allowed_origins == (
        "https://example.org",
        "https://a.example",
        "http://b.example:8080",
        "*",
    )
