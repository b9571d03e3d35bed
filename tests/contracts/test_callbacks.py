"""Where an outcome may go: one function decides it for gateway and worker."""

import pytest
from httpx import URL
from hypothesis import given
from hypothesis import strategies as st

from contracts.callbacks import CALLBACK_PATHS, callback_fault, plain_path

ODOO = "https://odoo.example.com"
ALLOWED = {ODOO: ("/duragen/v1/callback", "/hooks"), "http://127.0.0.1:8069": ("/",)}


@pytest.mark.parametrize(
    "url",
    [
        f"{ODOO}/duragen/v1/callback",
        f"{ODOO}/duragen/v1/callback/",
        f"{ODOO}/hooks/images_2.0~x",
        "https://ODOO.example.com:443/hooks",
        "HTTPS://odoo.example.com/hooks",
        "http://127.0.0.1:8069",
        "http://127.0.0.1:8069/",
        "http://127.0.0.1:8069/any/path",
    ],
)
def test_allowed(url: str) -> None:
    """The prefix itself and what is below it; host and scheme in any case, as everywhere."""
    assert callback_fault(url, ALLOWED) is None


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/web/image/1",
        "/duragen/v1",
        "/duragen/v1/callbacks",
        "/duragen/v1/callback2/x",
        "/Duragen/v1/callback",
        "/DURAGEN/V1/CALLBACK",
        "/duragen/v1/callback/../../../web/binary/upload",
        "/duragen/v1/callback/..",
        "/duragen/v1/callback/.",
        "/./duragen/v1/callback",
        "/web/../duragen/v1/callback",
        "/duragen/v1/callback/%2e%2e/web",
        "/duragen/v1/callback/%2E./web",
        "/duragen/v1/callback/%252e%252e/web",
        "/duragen/v1/callback%2f..%2fweb",
        "/duragen%2fv1%2fcallback",
        "/duragen/v1/%63allback",
        "//duragen/v1/callback",
        "/duragen//v1/callback",
        "/duragen/v1/callback//evil.example.com",
        "/duragen/v1/callback/..\\web",
        "\\duragen\\v1\\callback",
        "/duragen/v1/callback;x=/../web",
        "/duragen/v1/callback;jsessionid=1",
        "/duragen;/v1/callback",
        "/duragen/v1/callback?to=https://evil.example.com",
        "/duragen/v1/callback?",
        "/web?/duragen/v1/callback",
        "/duragen/v1/callback#x",
        "/web#/duragen/v1/callback",
        "/duragen/v1/callback\r\nX-Evil: 1",
        "/duragen/v1/callback\n",
        "/duragen/v1/call\tback",
        "/duragen/v1/callback\x00",
        "/duragen/v1/callback ",
        "/duragen/v1/callbac\u212a",
        "/duragen\uff0fv1\uff0fcallback",
        "@evil.example.com/duragen/v1/callback",
        ":443@evil.example.com/duragen/v1/callback",
        ".evil.example.com/duragen/v1/callback",
        "./duragen/v1/callback",
        ":8443/duragen/v1/callback",
        ":99999/duragen/v1/callback",
    ],
)
def test_what_slips_past_a_careless_check(rest: str) -> None:
    """Another path, and every other spelling of an allowed one, is refused."""
    assert callback_fault(ODOO + rest, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/duragen/v1/callback",
        "//odoo.example.com/duragen/v1/callback",
        " https://odoo.example.com/duragen/v1/callback",
        "http://odoo.example.com/duragen/v1/callback",
        "ftp://odoo.example.com/duragen/v1/callback",
        "https:odoo.example.com/duragen/v1/callback",
        "https:///duragen/v1/callback",
        "https:\\\\odoo.example.com/duragen/v1/callback",
        "https://user@odoo.example.com/duragen/v1/callback",
        "https://user:word@odoo.example.com/duragen/v1/callback",
        "https://evil.example.com\\@odoo.example.com/duragen/v1/callback",
        "https://evil.example.com#@odoo.example.com/duragen/v1/callback",
        "https://evil.example.com/https://odoo.example.com/duragen/v1/callback",
        "https://[::1/duragen/v1/callback",
        "https://odoo.example.com%00.evil.example.com/duragen/v1/callback",
    ],
)
def test_another_address(url: str) -> None:
    """Nothing but the origin itself is the origin."""
    assert callback_fault(url, ALLOWED)


@given(st.text(alphabet="/\\.;%?#@:2eEfF5cC~aduragenv1callback\t\n ", max_size=60))
def test_what_is_allowed_arrives_there(rest: str) -> None:
    """Whatever is allowed, the HTTP client sends to that origin and a path below the prefix."""
    if callback_fault(ODOO + rest, ALLOWED) is None:
        sent = URL(ODOO + rest)
        assert (sent.scheme, sent.host, sent.port) == ("https", "odoo.example.com", None)
        assert sent.raw_path.startswith((b"/duragen/v1/callback", b"/hooks"))


def test_the_fault_names_the_setting() -> None:
    """An operator reads what to add, and where."""
    other_path = callback_fault(f"{ODOO}/web", ALLOWED)
    assert other_path is not None
    assert "/web" in other_path
    assert "callback_paths" in other_path
    other_origin = callback_fault("https://other.example.com/hooks", ALLOWED)
    assert other_origin is not None
    assert "https://other.example.com" in other_origin
    assert "[[odoo]]" in other_origin


@pytest.mark.parametrize("text", ["", "hooks", "/a/../b", "/a//b", "/a?b", "/a%2fb", "/a;b", "//"])
def test_a_prefix_is_plain(text: str) -> None:
    """A prefix that could never match, or would match too much, is a fault of the settings."""
    with pytest.raises(ValueError, match="must be a path"):
        plain_path(text)


def test_prefixes_end_without_a_slash() -> None:
    """`/hooks/` is `/hooks`; `/` stays every path; the defaults are as they should be."""
    assert [plain_path(text) for text in ("/hooks/", "/", "/a/b")] == ["/hooks", "/", "/a/b"]
    assert tuple(plain_path(path) for path in CALLBACK_PATHS) == CALLBACK_PATHS
