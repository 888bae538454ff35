"""The [[webhook]] tables: what is accepted, and what each mistake is called."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from fingertrio.config.config import load_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.webhook import WebhookSection
from fingertrio.server.reload import compare

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "QUJD" * 8
START = '[backend]\nuse = "memory"\n'
TEAM = f'[[webhook]]\nname = "team"\nurl = "https://hooks.example.org/x/?a=1"\nsecret = "{SECRET}"\n'


@pytest.fixture
def load(tmp_path: Path):
    def load(text: str, environ: dict[str, str] | None = None) -> WebhookSection:
        path = tmp_path / "fingertrio.toml"
        path.write_text(START + text)
        section = load_config(path, environ or {}, to_serve=True).doors["webhook"]
        assert isinstance(section, WebhookSection)
        return section

    return load


@pytest.fixture
def mistake(load):
    def mistake(text: str, environ: dict[str, str] | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        assert SECRET.removeprefix("whsec_") not in str(caught.value)
        return str(caught.value)

    return mistake


def test_what_has_to_be_said_and_what_holds_without(load):
    [hook] = load(TEAM).root
    assert (hook.name, hook.users, hook.timeout, hook.allow, hook.insecure) == ("team", ("*",), 15.0, (), False)
    url = hook.url
    assert (url.host, url.port, url.tls, url.path, url.query) == ("hooks.example.org", 443, True, "/x/", "a=1")
    assert [secret.reveal() for secret in hook.secrets()] == [SECRET]


def test_several_with_everything(load, tmp_path: Path):
    more = f"""[[webhook]]
name = "other"
url = "https://10.1.2.3:8443/"
secret = "{SECRET}"
old_secrets = ["{OTHER}"]
users = "ops-*"
timeout = 5
allow = ["10.0.0.0/8"]
ca_file = "{tmp_path}/ca.pem"
"""
    hook = load(TEAM + more).root[1]
    assert [secret.reveal() for secret in hook.secrets()] == [SECRET, OTHER]
    assert (hook.users, hook.timeout, hook.allow) == (("ops-*",), 5.0, (ip_network("10.0.0.0/8"),))


def test_an_empty_array_is_none(tmp_path: Path):
    path = tmp_path / "fingertrio.toml"
    path.write_text(f"webhook = []\n{START}")
    assert load_config(path, {}).doors["webhook"] == WebhookSection(())


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_http_is_for_this_machine_if_the_operator_says_so(load, mistake, host: str):
    table = f'[[webhook]]\nname = "team"\nurl = "http://{host}/"\nsecret = "{SECRET}"\n'
    assert load(f"{table}insecure = true\n").root[0].url.tls is False
    assert "http is not encrypted; use https, or insecure = true" in mistake(table)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('name = "team"\n', "", "[[webhook]] number 1 name: is missing"),
        ('"team"', '""', "number 1 name: a name has up to 40 letters"),
        ('"team"', '"a b"', "number 1 name: a name has up to 40 letters"),
        ('"https://hooks.example.org/x/?a=1"', "7", "number 1 url: expected a URL in quotes"),
        ("https://hooks.example.org", "http://hooks.example.org", "http is not encrypted"),
        ("https://hooks.example.org", "ftp://hooks.example.org", "starts with http:// or https://"),
        ("https://hooks.example.org", "https://ada:pw@hooks.example.org", "a scheme, host, port, path and query"),
        ("https://hooks.example.org/x/", "https://hooks.example.org/a b", "must be percent-encoded"),
        (f'"{SECRET}"', "7", "number 1 secret: expected a secret in quotes"),
        ("whsec_", "", 'number 1 secret: expected a secret that begins with "whsec_"'),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "QUJD", "number 1 secret: the secret has 3 bytes; expected 24 to 64"),
        (f'secret = "{SECRET}"\n', "", "needs either secret or secret_file; fingertrio webhook secret makes one"),
        (f'secret = "{SECRET}"\n', f'secret = "{SECRET}"\nsecret_file = "/x"\n', "needs either secret or secret_file"),
        ('name = "team"\n', 'name = "team"\nuser = "ada"\n', 'number 1 user: unknown key; did you mean "users"?'),
        ('name = "team"\n', 'name = "team"\nusers = []\n', "number 1 users: without users nothing is sent"),
        ('name = "team"\n', 'name = "team"\ntimeout = 0\n', "number 1 timeout: expected a number greater"),
        ('name = "team"\n', 'name = "team"\nallow = ["ten"]\n', '"ten" is not a network'),
        ('name = "team"\n', f'name = "team"\nold_secrets = ["{SECRET[:-3]}"]\n', "number 1 old_secrets.0: "),
    ],
)
def test_mistakes(mistake, old: str, new: str, reason: str):
    assert old in TEAM
    assert reason in mistake(TEAM.replace(old, new))


def test_http_to_another_machine_is_a_mistake_even_if_the_operator_says_so(mistake):
    assert "http is for a receiver on this machine alone" in mistake(
        TEAM.replace("https:", "http:") + "insecure = true\n"
    )


def test_a_path_is_not_in_a_message_since_it_may_be_a_secret(mistake):
    assert "T0KEN" not in mistake(TEAM.replace("/x/", "/T0KEN T0KEN"))
    assert "T0KEN" not in mistake(TEAM.replace("https://hooks.example.org/x/", "https:///T0KEN"))


def test_two_with_one_name_and_single_brackets(mistake):
    assert 'two have the name "team"' in mistake(TEAM + TEAM)
    assert "write [[webhook]], in double brackets" in mistake(TEAM.replace("[[webhook]]", "[webhook]"))


def test_secrets_in_a_file_the_first_is_the_present_one(load, mistake, tmp_path: Path):
    file = tmp_path / "secret"
    table = TEAM.replace(f'secret = "{SECRET}"', f'secret_file = "{file}"')
    assert load(table), "it may be readable for the server's user only"
    file.write_text(f"{OTHER}\n{SECRET}\n\n")
    assert [secret.reveal() for secret in load(table).root[0].secrets()] == [OTHER, SECRET]
    file.write_text(SECRET[6:])
    assert f'secret_file: "{file}": expected a secret that begins with "whsec_"' in mistake(table)
    file.write_text("\n")
    assert "is empty" in mistake(table)


def test_variables_override_a_key_of_one_or_all_of_it(load, mistake):
    [hook] = load(TEAM, {"FINGERTRIO_WEBHOOK__TEAM__SECRET": OTHER}).root
    assert [secret.reveal() for secret in hook.secrets()] == [OTHER]
    named = TEAM.replace('"team"', '"Team-2"')
    assert load(named, {"FINGERTRIO_WEBHOOK__TEAM_2__TIMEOUT": "7"}).root[0].timeout == 7
    added = {
        "FINGERTRIO_WEBHOOK__NEW__URL": "https://new.example.org/",
        "FINGERTRIO_WEBHOOK__NEW__SECRET": SECRET,
    }
    assert [hook.name for hook in load(TEAM, added).root] == ["team", "new"]
    whole = f'[{{name = "x", url = "https://x.example.org/", secret = "{SECRET}"}}]'
    assert [hook.name for hook in load(TEAM, {"FINGERTRIO_WEBHOOK": whole}).root] == ["x"]
    assert "FINGERTRIO_SECTION__NAME__KEY" in mistake(TEAM, {"FINGERTRIO_WEBHOOK__TEAM": "1"})
    assert "expected FINGERTRIO_SECTION__KEY" in mistake(TEAM, {"FINGERTRIO_FINGER": "1"})
    assert "in double brackets" in mistake(TEAM.replace("[[webhook]]", "[webhook]"), {"FINGERTRIO_WEBHOOK__A__B": "1"})


def test_a_section_shows_no_secret(load):
    assert SECRET.removeprefix("whsec_") not in repr(load(TEAM))


def test_a_reload_can_change_all_of_it(tmp_path: Path):
    path = tmp_path / "fingertrio.toml"
    configs = []
    for text in (TEAM, TEAM, TEAM.replace("team", "crew")):
        path.write_text(START + text)
        configs.append(load_config(path, {}))
    assert compare(configs[0], configs[1], {"webhook": {"root"}}) == ([], [])
    assert compare(configs[0], configs[2], {"webhook": {"root"}}) == (["webhook"], [])
    assert compare(configs[0], configs[2], {"webhook": set()}) == ([], ["webhook"])
