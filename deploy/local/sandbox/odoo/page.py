"""The sandbox Odoo's only page: the latest requests, for people to look at."""

import time
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import urlsplit

from contracts.plain import plain

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src http: https:; base-uri 'none'"
)
"""No script at all: what stands on the page came over the wire."""

_STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #8889; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2.5rem auto;
  padding: 0 1rem }
h1 { font-size: 1.4rem; margin: 0 } p { color: var(--soft); margin: .2rem 0 1.5rem }
article { display: grid; grid-template-columns: 8rem 1fr auto; gap: 1.2rem; padding: 1rem 0;
  border-top: 1px solid var(--line); align-items: start }
img, .none { width: 8rem; height: 8rem; object-fit: cover; border-radius: .5rem;
  background: var(--line) }
.none { display: grid; place-items: center; color: var(--soft); font-size: .85rem }
h2 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; font-weight: 600 }
code, small { font-size: .8rem; color: var(--soft); overflow-wrap: anywhere }
.state { border-radius: 1rem; padding: .1rem .7rem; font-size: .85rem; color: #fff }
.completed { background: #2b8a3e } .failed { background: #c92a2a }
.requested { background: #868e96 }
.error { margin: .4rem 0 0; color: inherit }
"""


def page(requests: Iterable[dict[str, Any]]) -> str:
    """The whole document; every value in it is escaped."""
    articles = "\n".join(_article(request) for request in requests)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<title>Sandbox Odoo</title>
<style>{_STYLE}</style>
<h1>Sandbox Odoo</h1>
<p>Generation requests, the latest first. A real Odoo takes this place by one setting.</p>
{articles or "<p>Nothing has been asked for yet.</p>"}
</html>"""


def _article(request: dict[str, Any]) -> str:
    title = request["prompt"] or f"Request {request['request_id']}"
    facts = [f"credits: {request['entries'] or 'none'}", f"deliveries: {request['delivered']}"]
    if request["width"]:
        facts.append(f"{request['width']}x{request['height']} {request['format']}")
        facts.append(f"{request['size']:,} bytes")
    error = ""
    if request["error_code"] or request["user_message"]:
        message = request["user_message"] or ""
        error = f'<p class="error"><b>{_text(request["error_code"])}</b> {_text(message)}</p>'
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(request["updated_at"]))
    return f"""<article>
{_picture(request["image_url"])}
<div>
<h2>{_text(title)}</h2>
<code>{_text(request["request_id"])}</code><br>
<small>{" · ".join(_text(fact) for fact in facts)}</small>{error}
</div>
<div><span class="state {_text(request["state"])}">{_text(request["state"])}</span><br>
<small>{when}</small></div>
</article>"""


def _picture(url: str | None) -> str:
    # Anything but http could run in the reader's browser (javascript:, data:).
    if url and urlsplit(url).scheme in {"http", "https"}:
        return f'<a href="{_text(url)}"><img src="{_text(url)}" alt="the image" loading="lazy"></a>'
    return '<div class="none">no image</div>'


def _text(value: object) -> str:
    return escape(plain(value), quote=True)
