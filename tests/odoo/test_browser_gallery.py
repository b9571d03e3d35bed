"""The portal's gallery: how it looks, reads and is used, in three languages and at two widths."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from deploy.local.real_odoo.beside import Beside
from tests.odoo.browser import Visit, Visitor, axe_findings
from tests.odoo.newcomers import admin_of

pytestmark = pytest.mark.timeout(900)  # the first has Odoo and the stack started, assets compiled

LANGUAGES = {"en_US": "en-US", "de_DE": "de-DE", "ar_001": "ar-001"}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MODELS = 8
SMALLEST_TARGET = 44
_SEEN = """
root => [...root.querySelectorAll('*')]
    .filter(each => each.checkVisibility() && !each.closest('noscript'))
    .map(each => [
        each.tagName,
        each.dataset.part || '',
        each.getAttribute('href') || each.getAttribute('action') || each.getAttribute('src') || '',
        [...each.childNodes].filter(node => node.nodeType === 3)
            .map(node => node.data.trim()).join(''),
    ].join('|'))
"""
"""What is seen of a part of the page: elements, names, addresses, words."""
_TARGETS = "a, button, summary, input, select, textarea, label:has(input)"
_SMALL = f"""
() => [...document.querySelectorAll('.o_duragen :is({_TARGETS})')]
    .filter(each => each.checkVisibility())
    .filter(each => !each.matches('.stretched-link, .visually-hidden, [type=hidden]'))
    .map(each => [each.outerHTML.slice(0, 120), each.getBoundingClientRect()])
    .filter(([, box]) => box.width < {SMALLEST_TARGET} || box.height < {SMALLEST_TARGET})
    .map(([html, box]) => `${{Math.round(box.width)}}x${{Math.round(box.height)}} ${{html}}`)
"""
_CLIPPED = """
() => [...document.querySelectorAll('.o_duragen_models, .o_duragen_models *')]
    .filter(each => each.checkVisibility() && !each.matches('.visually-hidden'))
    .filter(each => each.scrollHeight > each.clientHeight + 1)
    .filter(each => getComputedStyle(each).overflowY !== 'visible')
    .map(each => each.outerHTML.slice(0, 120))
"""


@pytest.fixture(scope="module")
def languages(threaded: Beside) -> None:
    """English, German and Arabic are installed."""
    env = admin_of(threaded.odoo).env
    found = env["res.lang"].search(
        [("code", "in", list(LANGUAGES)), ("active", "in", [True, False])]
    )
    wizard = env["base.language.install"]
    made = wizard.create({"lang_ids": [(6, 0, found)], "overwrite": False})
    wizard.lang_install([made])


@pytest.fixture
def many_models(threaded: Beside) -> Iterator[None]:
    """Eight of them, until the test ends."""
    models = admin_of(threaded.odoo).env["duragen.ai.model"]
    more = range(MODELS - models.search_count([]))
    values = [
        {
            "name": f"A model with a rather long name, number {number}",
            "description": "It paints slowly, and with great care for each detail.",
            "price": number,
            "model_uuid": str(uuid4()),
            "resolutions": "256x256",
            "sequence": 50,
        }
        for number in more
    ]
    made = [models.create(each) for each in values]
    yield
    models.unlink(made)


def _speaks(visitor: Visitor, language: str) -> Visitor:
    """The page's language is switched, the user's own stays English."""
    cookie = {"name": "frontend_lang", "value": language, "url": visitor.url}
    visitor.page.context.add_cookies([cookie])  # type: ignore[list-item]  # a dict of these is one
    return visitor


def _picture(page: Page, folder: Path, name: str) -> None:
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.mark.usefixtures("languages", "many_models")
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_at_both_widths(
    visit: Visit, language: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing overflows or is clipped, fingers find every target, and axe has no finding.

    The page is in its language, live texts too, whatever language its user has chosen.
    """
    visitor = _speaks(visit(viewport=NARROW), language)
    page, folder = visitor.page, tmp_path_factory.getbasetemp()
    page.goto(f"{visitor.url}/my/images")
    expect(page.locator("html")).to_have_attribute("lang", LANGUAGES[language])
    prompt = page.locator("[name=prompt]")
    submit = page.locator("[data-part=submit]")
    expect(submit).to_be_in_viewport(ratio=1)
    for words in ("ثعلب في الثلج", "a red fox in the snow", "something forbidden"):
        prompt.fill(words)
        page.locator("label:has(input[value='256x256'])").click()
        with page.expect_response("**/my/images/submit"):
            submit.click()
    expect(page.locator("li.o_duragen_card[data-phase=completed]")).to_have_count(2)
    expect(visitor.lines).to_have_count(1)
    if language == "de_DE":
        expect(visitor.lines).to_contain_text("Inhaltsregeln")
    detail = page.locator("li.o_duragen_card [data-part=link]").first.get_attribute("href")
    failed = visitor.lines.locator("[data-part=link]").get_attribute("href")
    for path in ("/my/images", detail, failed, "/my/credits"):
        if path != "/my/images":
            page.goto(f"{visitor.url}{path}")
        if page.locator("[data-part=more] summary").count():
            page.locator("[data-part=more] summary").click()
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)  # type: ignore[arg-type]  # a dict of these is one
            where = f"{language} {path} {size['width']}"
            assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), where
            assert page.evaluate(_CLIPPED) == [], where
            assert axe_findings(page, ".o_duragen") == [], where
            _picture(
                page, folder, f"{language}-{path.split('/')[2][:6]}-{len(path)}-{size['width']}"
            )
        assert page.evaluate(_SMALL) == [], path


def test_live_is_as_reloaded(visit: Visit, images_meet: Callable[..., None]) -> None:
    """An item that came by itself has the words and the structure that a reload gives it."""
    visitor = visit()
    visitor.page.clock.set_fixed_time(datetime.now(UTC))  # "0:00 so far", whenever it is read
    visitor.opens_images()
    done = visitor.asks_for("a red fox in the snow")
    visitor.shows(done)
    expect(visitor.asks_for("something forbidden")).to_have_attribute("data-phase", "failed")
    images_meet(latency_seconds=600)
    pending = visitor.asks_for("a tower of glass")
    expect(pending).to_contain_text("is being made")
    _reload_changes_nothing(visitor, done, pending)
    pending.get_by_role("button", name="Cancel").click()
    expect(pending).to_have_attribute("data-phase", "canceled")
    expect(visitor.lines).to_have_count(2)
    _reload_changes_nothing(visitor, done)


def _reload_changes_nothing(visitor: Visitor, *cards: Locator) -> None:
    """Neither of these, nor of the lines above them."""
    items = [visitor.page.locator("[data-part=lines]"), *cards]
    live = [_seen(each) for each in items]
    visitor.assert_no_reload()
    visitor.page.reload()
    visitor.is_at_work()
    assert [_seen(each) for each in items] == live


def _seen(item: Locator) -> Any:
    return item.evaluate(_SEEN)


def test_a_gallery_by_keyboard_alone(visit: Visit) -> None:
    """Ask, keep, find, delete: by Tab, Enter and letters."""
    visitor = visit()
    visitor.opens_images()
    page = visitor.page
    keyboard = page.keyboard
    page.locator("[name=prompt]").focus()
    keyboard.type("a heron at dusk")
    _tab_to(page, "[data-part=submit]")
    keyboard.press("Enter")
    card = visitor.cards.first
    expect(card).to_have_attribute("data-phase", "completed")
    _tab_to(page, "li [data-part=favorite] button")
    keyboard.press("Enter")
    expect(card.locator("[data-part=favorite]")).to_contain_text("Remove from favourites")
    page.locator("[name=search]").focus()
    keyboard.type("heron")
    keyboard.press("Enter")
    page.wait_for_url(re.compile("search=heron"))
    expect(visitor.cards).to_have_count(1)
    _tab_to(page, "li .o_duragen_delete summary")
    keyboard.press("Enter")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(visitor.cards).to_have_count(0)


def _tab_to(page: Page, selector: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"Tab does not reach {selector}")


def test_waiting_informs(visit: Visit, images_meet: Callable[..., None]) -> None:
    """The time so far, a word after a minute, and the tab's title when it is ready unseen."""
    images_meet(latency_seconds=4)
    visitor = visit()
    page = visitor.page
    page.clock.install()
    visitor.opens_images()
    title = page.title()
    card = visitor.asks_for("a kite above the dunes")
    expect(card.locator("[data-part=elapsed]")).to_have_text(re.compile(r"^\d:\d\d so far$"))
    expect(card.locator("[data-part=long]")).to_be_hidden()
    page.clock.fast_forward(61_000)
    expect(card.locator("[data-part=long]")).to_contain_text("You may leave")
    _look_away(page, hidden=True)
    expect(page).to_have_title(f"(1 ready) {title}")
    _look_away(page, hidden=False)
    expect(page).to_have_title(title)


def _look_away(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        "hidden => {"
        " Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_price_that_rises_is_agreed_to_first(visit: Visit, threaded: Beside) -> None:
    """Nothing is charged, the page shows the new price, and the second press takes it."""
    models = admin_of(threaded.odoo).env["duragen.ai.model"]
    values = {"name": "Rising", "price": 0, "resolutions": "256x256", "sequence": 0}
    visitor, page = (found := visit()), found.page
    made = models.create({**values, "model_uuid": str(uuid4())})
    try:
        visitor.opens_images()
        button = page.locator("[data-part=submit]")
        expect(button).to_contain_text("Free")
        models.write([made], {"price": 3})
        page.locator("[name=prompt]").fill("a palace")
        button.click()
        error = page.locator("[data-part=error]")
        expect(error).to_contain_text("it is now 3 credits. Press the button again to agree.")
        expect(button).to_contain_text("3 credits")
        expect(visitor.balance).to_have_text("1000 credits")
        with page.expect_response("**/my/images/submit") as agreed:
            button.click()
        assert agreed.value.json()["balance"] == 997
    finally:
        models.write([made], {"active": False})


def test_deleting_without_javascript(visit: Visit) -> None:
    """It asks before, and the picture is gone."""
    visitor = visit()
    visitor.opens_images()
    visitor.shows(visitor.asks_for("a snail on a leaf"))
    page = visitor.page
    page.route("**/*.js*", lambda route: route.abort())
    page.reload()
    page.locator(".o_duragen_delete summary").click()
    page.get_by_role("button", name=re.compile("^Delete for good")).click()
    page.wait_for_url(re.compile("#gallery"))
    expect(visitor.cards).to_have_count(0)
