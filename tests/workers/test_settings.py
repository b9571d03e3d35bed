"""Settings: where they come from, and what is said when one of them is wrong."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from activities.providers.flux import FluxSettings
from activities.providers.kubernetes.kind import KubernetesSettings
from deploy.local.stack.local_stack import LocalStack
from peers.settings import SettingsError
from tests.workers.worker_process import environment, run
from workers.settings import Settings
from workflows.options import STORE_ALLOWANCE

MODEL = "11111111-1111-4111-8111-111111111111"
SECRETS = ("sk-very-secret", "s3-very-secret", "token-very-secret", "odoo-very-secret")

GOOD = f"""
[storage]
bucket = "from-file"
secret_access_key = "s3-very-secret"

[providers.openai]
kind = "openai"
base_url = "https://api.example.com"
api_key = "sk-very-secret"

[models.{MODEL}]
routes = [{{ provider = "openai", model = "some-image-model" }}]

[[odoo]]
origin = "https://odoo.example.com"
token = "token-very-secret"
password = "odoo-very-secret"

[gateway]
keys = []
"""

PROVIDER = GOOD[GOOD.index("[providers.openai]") : GOOD.index("[models")]

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the settings file that `Settings.read` finds."""

    def file(text: str) -> Path:
        path = tmp_path / "some.toml"
        path.write_text(text)
        monkeypatch.setenv("DURAGEN_CONFIG", str(path))
        return path

    return file


def _fault() -> str:
    with pytest.raises(SettingsError) as raised:
        Settings.read()
    text = str(raised.value)
    assert not any(secret in text for secret in SECRETS)
    return text


def test_a_file_and_its_defaults_are_enough(write: Write) -> None:
    """All queues are served when none is named; the gateway's table is not ours to judge."""
    write(GOOD)
    settings = Settings.read()
    assert settings.storage.bucket == "from-file"
    assert settings.queues == ("generation", "provider.openai")
    assert settings.generation.deadline_seconds == 600


def test_duragen_toml_of_the_working_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without DURAGEN_CONFIG."""
    (tmp_path / "duragen.toml").write_text(GOOD)
    monkeypatch.delenv("DURAGEN_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Settings.read().storage.bucket == "from-file"


def test_a_variable_wins_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two underscores go into a table; its other settings stay the file's."""
    write(GOOD)
    monkeypatch.setenv("DURAGEN_PROVIDERS__OPENAI__API_KEY", "12345")
    monkeypatch.setenv("DURAGEN_WORKER__QUEUES", '["generation"]')
    settings = Settings.read()
    assert settings.providers["openai"].api_key.get_secret_value() == "12345"
    assert settings.providers["openai"].base_url == "https://api.example.com"
    assert settings.queues == ("generation",)


def test_a_variable_reaches_the_settings_of_a_kind(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists are JSON; a text that looks like a number stays a text."""
    write(GOOD.replace('kind = "openai"', 'kind = "flux"'))
    monkeypatch.setenv("DURAGEN_PROVIDERS__OPENAI__JOB_HOSTS", '["jobs.example.com"]')
    monkeypatch.setenv("DURAGEN_PROVIDERS__OPENAI__POLL_SECONDS", "2.5")
    monkeypatch.setenv("DURAGEN_PROVIDERS__OPENAI__API_KEY", "1e5")
    flux = Settings.read().providers["openai"]
    assert isinstance(flux, FluxSettings)
    assert (flux.job_hosts, flux.poll_seconds) == (("jobs.example.com",), 2.5)
    assert flux.api_key.get_secret_value() == "1e5"


def test_a_provider_by_variables_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace of digits stays a text."""
    write(GOOD)
    for name, value in (
        ("KIND", "kubernetes"),
        ("BASE_URL", "https://10.0.0.1"),
        ("API_KEY", "007"),
        ("NAMESPACE", "42"),
    ):
        monkeypatch.setenv(f"DURAGEN_PROVIDERS__CLUSTER__{name}", value)
    cluster = Settings.read().providers["cluster"]
    assert isinstance(cluster, KubernetesSettings)
    assert (cluster.namespace, cluster.api_key.get_secret_value()) == ("42", "007")


def test_variables_alone_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container needs no file."""
    monkeypatch.delenv("DURAGEN_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DURAGEN_STORAGE__BUCKET", "from-variable")
    monkeypatch.setenv("DURAGEN_ODOO", '[{"origin": "https://odoo.example.com"}]')
    settings = Settings.read()
    assert settings.storage.bucket == "from-variable"
    assert [odoo.origin for odoo in settings.odoo] == ["https://odoo.example.com"]


FAULTS = {
    "missing table": (
        ("[storage]", "[gateway.x]"),
        ["storage: is missing; docs/settings.md"],
    ),
    "misspelt in a route": (
        ('model = "some-image-model"', 'model = "m", timeout_second = 9'),
        [f"models.{MODEL}.routes.0.timeout_second"],
    ),
    "signing secret that is none": (
        ('token = "token-very-secret"', 'signing_secret = "nonsense!"'),
        ["odoo.0.signing_secret", "whsec_"],
    ),
    "missing setting": (('bucket = "from-file"', ""), ["storage.bucket: is missing"]),
    "misspelt table": (("[[odoo]]", "[[oddo]]"), ["oddo: ", "not permitted"]),
    "misspelt setting": (("bucket =", "bukcet ="), ["storage.bucket", "storage.bukcet"]),
    "unknown kind": (
        ('kind = "openai"', 'kind = "dalle"'),
        ["providers.openai.kind: must be one of flux, kubernetes, openai"],
    ),
    "no kind": (('kind = "openai"\n', ""), ["providers.openai.kind: must be one of flux"]),
    "kind of another type": (('kind = "openai"', "kind = 5"), ["providers.openai.kind: must be"]),
    "no table": (
        (
            GOOD[GOOD.index("[providers.openai]") : GOOD.index("[models")],
            "[providers]\nopenai = 3\n",
        ),
        ["providers.openai.kind: must be one of"],
    ),
    "setting of another kind": (
        ('kind = "openai"', 'kind = "openai"\npoll_seconds = 1'),
        ["providers.openai.poll_seconds: kind openai has only kind, base_url, api_key"],
    ),
    "wrong url": (
        ('"https://api.example.com"', '"api.example.com"'),
        ["providers.openai.base_url", "http"],
    ),
    "password in a url": (
        ("https://api.example.com", "https://me:sk-very-secret@api.example.com"),
        ["providers.openai.base_url", "password"],
    ),
    "key with a line break": (
        ('"sk-very-secret"', '"sk-very-secret\\n"'),
        ["providers.openai.api_key", "ASCII without spaces or line breaks"],
    ),
    "empty key": (('"sk-very-secret"', '""'), ["providers.openai.api_key", "not empty"]),
    "provider's name": (
        ("[providers.openai]", '[providers."openai.jobs"]'),
        ["providers.openai.jobs.[key]", "pattern"],
    ),
    "unknown provider": (
        ('provider = "openai"', 'provider = "opneai"'),
        [f"models.{MODEL}", "'opneai'", "[providers]: openai"],
    ),
    "bad modelId": ((MODEL, "flux"), ["models.flux.[key]", "valid UUID"]),
    "no route": (('{ provider = "openai", model = "some-image-model" }', ""), ["routes", "1 item"]),
    "unknown queue": (
        ("[gateway]", '[worker]\nqueues = ["provider.flux"]\n[gateway]'),
        ["worker.queues", "'provider.flux'", "generation, provider.openai"],
    ),
    "port": (("[gateway]", "[worker]\nhealth_port = 70000\n[gateway]"), ["worker.health_port"]),
    "origin with a path": (
        ("https://odoo.example.com", "https://odoo.example.com/web"),
        ["odoo.0.origin", "scheme://host[:port]"],
    ),
    "callback path that is none": (
        ('token = "token-very-secret"', 'callback_paths = ["/a/../b"]'),
        ["odoo.0.callback_paths.0", "must be a path such as /duragen/v1/callback"],
    ),
    "no callback path": (
        ('token = "token-very-secret"', "callback_paths = []"),
        ["odoo.0.callback_paths", "1 item"],
    ),
    "previous token alone": (
        ('token = "token-very-secret"', 'previous_token = "token-very-secret"'),
        ["odoo.0", "previous_token needs token"],
    ),
    "odoorpc without its login": (
        ('token = "token-very-secret"', 'delivery = "odoorpc"'),
        ["odoo.0", "odoorpc needs database, login"],
    ),
    "same origin twice": (
        ("[gateway]", '[[odoo]]\norigin = "https://ODOO.example.com/"\n[gateway]'),
        ["odoo", "same origin"],
    ),
    "not TOML": (('"sk-very-secret"', '"sk-very-secret'), ["cannot read", "some.toml", "line 9"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_the_setting_and_what_is_expected(write: Write, name: str) -> None:
    """And shows no secret, whatever is wrong."""
    (right, wrong), expected = FAULTS[name]
    assert right in GOOD
    write(GOOD.replace(right, wrong))
    text = _fault()
    assert [part for part in expected if part not in text] == [], text


def test_all_faults_are_named_at_once(write: Write) -> None:
    """Nobody fixes one setting, starts again, and hears of the next."""
    write(GOOD.replace("bucket =", "bukcet =").replace('kind = "openai"', 'kind = "dalle"'))
    text = _fault()
    assert "storage.bukcet" in text
    assert "providers.openai.kind" in text


@pytest.mark.parametrize("there", ["nowhere.toml", "."])
def test_a_settings_file_that_is_not_there_is_no_silent_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """DURAGEN_CONFIG names what must be a file."""
    monkeypatch.setenv("DURAGEN_CONFIG", str(tmp_path / there))
    assert f"DURAGEN_CONFIG names {tmp_path / there}" in _fault()


def test_a_settings_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that belongs to somebody else; root may read all, but not this one."""
    monkeypatch.setenv("DURAGEN_CONFIG", "/proc/self/mem")
    assert "cannot read the settings (/proc/self/mem)" in _fault()


def test_a_list_in_a_variable_must_be_json(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text shows how it is written."""
    write(GOOD)
    monkeypatch.setenv("DURAGEN_WORKER__QUEUES", "generation")
    text = _fault()
    assert "worker" in text
    assert """DURAGEN_WORKER__QUEUES='["generation"]'""" in text


def test_an_unknown_queue_of_the_command_line_is_refused(write: Write) -> None:
    """`duragen worker --queue` knows the same queues as the file."""
    write(GOOD)
    settings = Settings.read()
    assert settings.with_queues(("provider.openai",)).queues == ("provider.openai",)
    with pytest.raises(SettingsError, match=r"worker\.queues: 'provider\.flux' is not one of"):
        settings.with_queues(("provider.flux",))


def test_secrets_are_in_no_text_of_the_settings(write: Write) -> None:
    """They end up in logs and tracebacks."""
    write(GOOD)
    settings = Settings.read()
    texts = (repr(settings), str(settings), settings.model_dump_json())
    assert not any(secret in text for secret in SECRETS for text in texts)


def test_settings_are_frozen(write: Write) -> None:
    """At every depth: what was read at the start holds until the end."""
    write(GOOD)
    settings = Settings.read()
    with pytest.raises(ValidationError):
        settings.storage = settings.storage  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.storage.bucket = "other"  # type: ignore[misc]


REFUSALS = {
    "settings": ({"DURAGEN_WORKER__HELTH_PORT": "1"}, "worker.helth_port"),
    "tracing": ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER='jaeger': use otlp"),
    "profile": ({"TEMPORAL_PROFILE": "nowhere"}, "TEMPORAL_* variables or profile"),
    "certificate": (
        {"TEMPORAL_TLS_CLIENT_CERT_PATH": "/none", "TEMPORAL_TLS_CLIENT_KEY_PATH": "/none"},
        "TEMPORAL_* variables or profile",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_worker_with_a_wrong_setting_refuses_to_start(stack: LocalStack, name: str) -> None:
    """Exit code 2, the setting on the last line of stderr, and no traceback."""
    variables, expected = REFUSALS[name]
    ended = await run("-m", "workers", env=environment(stack, **variables))
    assert ended.code == 2
    assert expected in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


async def test_a_taken_health_port_is_named(stack: LocalStack) -> None:
    """Exit code 2, with the variable that moves it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await run("-m", "workers", env=environment(stack, DURAGEN_WORKER__HEALTH_PORT=port))
    assert ended.code == 2
    last = ended.err.splitlines()[-1]
    assert f"127.0.0.1:{port}" in last
    assert "DURAGEN_WORKER__HEALTH_PORT" in last
    assert "Traceback" not in ended.err


async def test_an_unknown_queue_as_an_option_is_refused(stack: LocalStack) -> None:
    """Exit code 2, naming the queues there are."""
    ended = await run("-m", "workers", "--queue", "provider.nobody", env=environment(stack))
    assert ended.code == 2
    assert "generation, provider.openai, provider.flux" in ended.err


@pytest.mark.parametrize(
    ("route", "says"),
    [
        ('provider = "flux", model = "flux-kontext-pro"', "knows only an aspect ratio"),
        ('provider = "flux", model = "flux-pro-1.1-ultra"', 'set size_by = "aspect_ratio"'),
        ('provider = "flux", model = "flux-2-pro", size_by = "ratio"', "size_by"),
        ('provider = "k", model = "img:1", parameters = { gpu = 1 }', "make no Job: gpu"),
        (
            'provider = "k", model = "img:1", parameters = { env = { DURAGEN_X = "1" } }',
            "DURAGEN_X",
        ),
    ],
)
def test_a_route_that_can_make_no_image_stops_at_the_start(
    write: Write, route: str, says: str
) -> None:
    """What is known beforehand is said before money is spent."""
    head, _, rest = GOOD.partition("routes = [")
    _, _, tail = rest.partition("]")
    cluster = '[providers.k]\nkind = "kubernetes"\nbase_url = "https://k"\napi_key = "t"\n'
    flux = '[providers.flux]\nkind = "flux"\nbase_url = "https://f"\napi_key = "t"\n'
    flux = "" if "[providers.flux]" in GOOD else flux
    write(f"{head}routes = [{{ {route} }}]{tail}\n{cluster}{flux}")
    assert says in _fault()


def test_a_jobs_timeout_is_no_calls(write: Write) -> None:
    """What a worker needs to leave: the longest call, and not a Kubernetes Job's time."""
    head, _, rest = GOOD.partition("routes = [")
    _, _, tail = rest.partition("]")
    route = '{ provider = "k", model = "img:1", timeout_seconds = 3600 }'
    openai = '{ provider = "openai", model = "m", timeout_seconds = 60 }'
    cluster = '[providers.k]\nkind = "kubernetes"\nbase_url = "https://k"\napi_key = "t"\n'
    write(f"{head}routes = [{route}, {openai}]{tail}\n{cluster}")
    assert Settings.read().longest_call_seconds == 60 + STORE_ALLOWANCE.total_seconds()


@pytest.mark.parametrize("kind", ["flux", "kubernetes"])
@pytest.mark.parametrize("end", ["?a=b", "#there"])
def test_a_base_url_with_a_query_stops_at_the_start(write: Write, kind: str, end: str) -> None:
    """What is appended to it would be lost in the query."""
    table = f'[providers.k]\nkind = "{kind}"\nbase_url = "https://k/{end}"\napi_key = "t"\n'
    write(f"{GOOD}\n{table}")
    assert "without a query" in _fault()


@pytest.mark.parametrize("asked", ["jpg", "PNG", "gif", ""])
def test_a_format_that_no_image_can_have_stops_at_the_start(write: Write, asked: str) -> None:
    """Every image would be paid for and refused: said before the first one."""
    route = 'routes = [{ provider = "openai", model = "m", parameters = { output_format = "%s" } }]'
    head, _, rest = GOOD.partition("routes = [")
    _, _, tail = rest.partition("]")
    write(f"{head}{route % asked}{tail}")
    assert f"output_format {asked!r} is not one of png, jpeg, webp" in _fault()
