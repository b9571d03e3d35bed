"""Somebody at the portal's pages with a real browser: Debian's Chromium, driven by Playwright."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from deploy.local.real_odoo.beside import Beside
from deploy.local.real_odoo.configure import Login, browse
from deploy.local.real_odoo.server import RealOdoo
from tests.odoo.newcomers import newcomer

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
PATIENCE_MS = 200_000
"""For what happens within seconds unless it never does; the first page compiles Odoo's assets."""

_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--no-proxy-server",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. Not for a session: Playwright's loop is in the way of asyncio's."""
    program = shutil.which("chromium")
    if not program:
        pytest.fail("Chromium is missing: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield running
        running.close()


def customer(beside: Beside) -> Login:
    """A new one with a login of their own, so that no test sees another's images."""
    _, login = newcomer(beside.odoo, f"customer-{uuid4().hex[:8]}", "base.group_portal")
    return login


def log_in(page: Page, url: str, who: Login) -> None:
    """By the form, as people do."""
    page.goto(f"{url}/web/login")
    page.fill("#login", who.login)
    page.fill("#password", who.password)
    page.press("#password", "Enter")
    page.wait_for_url(re.compile("/(my|odoo)"))


def is_logged_in(context: BrowserContext, odoo: RealOdoo, who: Login) -> None:
    """A context in which `log_in` was done before: two pages less to load."""
    with closing(browse(odoo, who)) as http:
        session = {"name": "session_id", "value": http.cookies["session_id"], "url": odoo.url}
    context.add_cookies([session])  # type: ignore[list-item]  # a dict of these is one


def axe_findings(page: Page, ours: str) -> list[str]:
    """What axe-core finds in the parts of the page that the selector `ours` names."""
    found = Axe().run(page, context={"include": [ours]}).response["violations"]
    return [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]


class Visitor:
    """One tab."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        page.set_default_timeout(PATIENCE_MS)

    @property
    def cards(self) -> Locator:
        """The gallery's, the newest first."""
        return self.page.locator("li.o_duragen_card")

    @property
    def lines(self) -> Locator:
        """What has no image, above the gallery."""
        return self.page.locator("li.o_duragen_line")

    @property
    def balance(self) -> Locator:
        """What the page says that is left."""
        return self.page.locator("[data-part=balance]")

    def opens_images(self) -> None:
        """The page, with its script at work, and with a mark that a reload would wipe off."""
        self.page.goto(f"{self.url}/my/images")
        self.is_at_work()

    def is_at_work(self) -> None:
        """Waits until the script of the page runs; see `opens_images`."""
        # The script computes it as soon as it runs.
        expect(self.page.locator("[data-part=reckoning]")).to_contain_text("credit")
        expect(self.page.locator("body")).not_to_have_class(re.compile("o_lazy_js_waiting"))
        self.page.evaluate("window.stillTheSamePage = true")

    def assert_no_reload(self) -> None:
        """It is still the document that was opened."""
        assert self.page.evaluate("window.stillTheSamePage") is True

    def asks_for(self, prompt: str, size: str = "256x256") -> Locator:
        """Submits the form; the new card, which stands first at once."""
        self.page.get_by_label("What should it show?").fill(prompt)
        self.page.locator(f"label:has(input[value='{size}'])").click()
        with self.page.expect_response("**/my/images/submit") as answered:
            self.page.get_by_role("button", name=re.compile("^Generate")).click()
        made = answered.value.json()["request"]["id"]
        item = self.page.locator(f"#gallery [data-id='{made}']")
        expect(item).to_have_count(1)
        return item

    def shows(self, card: Locator) -> Any:
        """Waits for the card's image; its width in pixels as it came."""
        expect(card).to_have_attribute("data-phase", "completed")
        image = card.locator("img")
        expect(image).to_have_js_property("complete", value=True)
        return image.evaluate("image => image.decode().then(() => image.naturalWidth)")

    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than the window."""
        wide: bool = self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        return wide


Visit = Callable[..., Visitor]
"""Opens a tab; see the fixture `visit`."""
