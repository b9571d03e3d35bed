"""The portal's pages in a real browser, on a real Odoo with the whole stack behind it."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from deploy.local.real_odoo.beside import Beside
from tests.odoo.browser import PATIENCE_MS, PHONE, Visit
from tests.odoo.newcomers import admin_of
from tests.odoo.people import LATENCY_SECONDS

pytestmark = pytest.mark.timeout(900)  # the first has Odoo and the stack started, assets compiled


def _calls(beside: Beside) -> int:
    """How many submissions the image service has seen."""
    url = f"{beside.stack.images_url}/_sandbox/calls"
    answer = httpx.get(url, params={"operation": "submit"}, trust_env=False)
    return len(answer.json()["calls"])


@pytest.fixture
def dear_model(threaded: Beside) -> Iterator[str]:
    """The name of a model that no user can pay."""
    models = admin_of(threaded.odoo).env["duragen.ai.model"]
    values = {"name": "Too Dear", "price": 100_000, "resolutions": "256x256", "sequence": 99}
    made = models.create({**values, "model_uuid": "99999999-9999-4999-8999-999999999999"})
    yield values["name"]
    models.unlink([made])


def test_an_image_arrives_without_a_reload(visit: Visit) -> None:
    """The card stands there at once, passes through its states and ends with the image."""
    visitor = visit(by_form=True)
    # The server is never asked: what changes has come by the bus.
    visitor.page.route("**/my/images/state*", lambda route: route.abort())
    visitor.opens_images()
    expect(visitor.balance).to_have_text("1000 credits")
    card = visitor.asks_for("a red fox in the snow")
    expect(card).to_have_attribute("data-phase", re.compile("pending|completed"))
    assert visitor.shows(card) == 256
    expect(card.locator("img")).to_have_attribute("alt", "a red fox in the snow")
    expect(visitor.balance).to_have_text("999 credits")
    expect(visitor.page.locator("[data-part=announcer]")).to_have_text(
        "Ready: a red fox in the snow"
    )
    visitor.assert_no_reload()


def test_the_detail_page_is_live(
    visit: Visit, images_meet: Callable[..., None], threaded: Beside
) -> None:
    """Opened while the image is being made, it shows what happens.

    It says what canceling may cost, and after it what it has cost: the call was under way.
    """
    images_meet(latency_seconds=20)
    before = _calls(threaded)
    visitor = visit()
    visitor.opens_images()
    visitor.asks_for("a tower of glass").get_by_role("link", name="a tower of glass").first.click()
    page = visitor.page
    page.wait_for_url(re.compile(r"/my/images/\d+$"))
    detail = page.locator("article.o_duragen_item")
    expect(detail.locator(".o_duragen_badge")).to_have_text("Generating")
    page.evaluate("window.stillTheSamePage = true")
    expect(detail).to_contain_text("Your credits are then charged (1).")
    while _calls(threaded) == before:
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Cancel").click()
    expect(detail).to_have_attribute("data-phase", "canceled")
    expect(detail).to_contain_text("so it was charged (credits: 1)")
    expect(detail).not_to_contain_text("then charged")
    expect(detail.locator("[data-step=ended]")).to_have_attribute("data-done", "1")
    visitor.assert_no_reload()
    page.get_by_role("link", name="Edit the prompt").click()
    expect(page.get_by_label("What should it show?")).to_have_value("a tower of glass")
    expect(visitor.balance).to_have_text("999 credits")


def test_a_refused_prompt_is_explained_and_free(visit: Visit) -> None:
    """Guidance in plain words, no charge, and the words go back into the form to be changed."""
    visitor = visit()
    visitor.opens_images()
    card = visitor.asks_for("something forbidden")
    expect(card).to_have_attribute("data-phase", "failed")
    expect(card).to_contain_text("Please rephrase it.")
    expect(card).to_contain_text("Nothing was charged.")
    expect(card.get_by_role("button", name="Try again")).to_be_hidden()
    expect(visitor.balance).to_have_text("1000 credits")
    prompt = visitor.page.get_by_label("What should it show?")
    prompt.fill("")
    card.get_by_role("link", name="Edit the prompt").click()
    expect(prompt).to_have_value("something forbidden")
    expect(prompt).to_be_focused()
    visitor.assert_no_reload()


def test_a_fault_of_ours_can_be_tried_again(visit: Visit, images_meet: Callable[..., None]) -> None:
    """It says so, charges nothing, and one press asks for the same once more."""
    visitor = visit()
    visitor.opens_images()
    images_meet(always={"kind": "status", "status": 500})
    card = visitor.asks_for("a quiet harbour")
    expect(card).to_have_attribute("data-phase", "failed")
    images_meet(latency_seconds=LATENCY_SECONDS)
    expect(card).to_contain_text("Nothing was charged.")
    card.get_by_role("button", name="Try again").click()
    expect(visitor.cards).to_have_count(1)
    expect(visitor.lines).to_have_count(0)
    assert visitor.shows(visitor.cards.first) == 256
    expect(visitor.balance).to_have_text("999 credits")
    visitor.assert_no_reload()


def test_what_cannot_be_paid_cannot_be_asked_for(visit: Visit, dear_model: str) -> None:
    """The button is off and says why; whoever gets past it gets the server's answer."""
    visitor = visit()
    visitor.opens_images()
    page = visitor.page
    page.get_by_label("What should it show?").fill("a palace")
    page.get_by_text(dear_model, exact=True).click()
    button = page.locator("[data-part=submit]")
    expect(button).to_be_disabled()
    expect(button).to_contain_text("100000 credits")
    expect(page.locator("[data-part=reckoning]")).to_contain_text("and you have 1000")
    button.evaluate("button => { button.disabled = false; button.click(); }")
    error = page.locator("[data-part=error]")
    expect(error).to_contain_text("Not enough credits")
    expect(error).to_be_focused()
    expect(visitor.cards).to_have_count(0)
    page.get_by_role("button", name="Ask for more credits").click()
    expect(page.locator("[data-part=asked]")).to_have_text(re.compile("has been asked"))
    page.get_by_role("radio", name=dear_model).press("ArrowUp")
    expect(button).to_be_enabled()


def test_a_used_up_quota_is_shown(visit: Visit, threaded: Beside) -> None:
    """It says so and when there is room again; nothing is made."""
    visitor = visit()
    visitor.opens_images()
    session = admin_of(threaded.odoo)
    login = visitor.page.locator("#top_menu .dropdown-toggle").inner_text().strip()
    [user] = session.env["res.users"].search([("login", "=", login)])
    session.env["duragen.quota"].create({"user_id": user, "period": "day", "limit": 0})
    visitor.page.get_by_label("What should it show?").fill("one too many")
    with visitor.page.expect_response("**/my/images/submit") as answered:
        visitor.page.get_by_role("button", name=re.compile("^Generate")).click()
    assert answered.value.status == 429
    assert 0 < int(answered.value.headers["retry-after"]) <= 86_401
    error = visitor.page.locator("[data-part=error]")
    expect(error).to_contain_text("That is all for now")
    expect(error).to_contain_text("There is room again in")
    expect(visitor.cards).to_have_count(0)
    expect(visitor.balance).to_have_text("1000 credits")


def test_it_fits_a_phone(visit: Visit) -> None:
    """Nothing is wider than a window of 360 pixels: form, options, gallery, detail page."""
    visitor = visit(viewport=PHONE)
    visitor.opens_images()
    visitor.page.locator("[data-part=more] summary").click()
    assert not visitor.scrolls_sideways()
    card = visitor.asks_for("unbreakable" * 40)
    visitor.shows(card)
    assert not visitor.scrolls_sideways()
    card.locator("[data-part=link]").click()
    visitor.page.wait_for_url(re.compile(r"/my/images/\d+$"))
    assert not visitor.scrolls_sideways()


def test_what_was_missed_offline_is_shown_afterwards(
    visit: Visit, threaded: Beside, images_meet: Callable[..., None]
) -> None:
    """The outcome came while the page was cut off; back online it asks, without a reload."""
    images_meet(latency_seconds=5)
    visitor = visit()
    visitor.opens_images()
    card = visitor.asks_for("a lonely lighthouse")
    context = visitor.page.context
    context.set_offline(True)
    requests = admin_of(threaded.odoo).env["duragen.generation.request"]
    wanted = [("id", "=", int(card.get_attribute("data-id") or 0)), ("state", "=", "completed")]
    expect_soon(lambda: requests.search(wanted))
    expect(card).to_have_attribute("data-phase", "pending")
    context.set_offline(False)
    assert visitor.shows(card) == 256
    visitor.assert_no_reload()


def test_a_restart_of_the_server_goes_unnoticed(visit: Visit, threaded: Beside) -> None:
    """The websocket was cut; the page connects again and receives what comes then."""
    visitor = visit()
    visitor.opens_images()
    threaded.odoo.restart()
    card = visitor.asks_for("a bridge in the mist")
    assert visitor.shows(card) == 256
    visitor.assert_no_reload()


def test_without_a_websocket_it_asks(visit: Visit) -> None:
    """Where no websocket can be had it asks every ten seconds, until nothing is pending."""
    visitor = visit()
    page = visitor.page
    # Neither kind of worker answers: Odoo's bus has nothing to run its websocket in.
    page.add_init_script(
        "delete window.SharedWorker;window.Worker = class extends EventTarget { postMessage() {} };"
    )
    page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visitor.opens_images()
    card = visitor.asks_for("a kite above the dunes")
    page.clock.fast_forward(10_000)
    assert visitor.shows(card) == 256
    assert [url for url in asked if "/my/images/state" in url]
    asked.clear()
    page.clock.fast_forward(300_000)
    visitor.assert_no_reload()
    assert asked == []


def test_it_works_without_javascript(visit: Visit, dear_model: str) -> None:
    """The form is posted and the gallery shown; a refusal keeps the words and says why."""
    visitor = visit(java_script_enabled=False)
    page = visitor.page
    page.goto(f"{visitor.url}/my/images")
    page.get_by_label("What should it show?").fill("a field of poppies")
    page.locator("label:has(input[value='256x256'])").click()
    page.get_by_role("button", name=re.compile("^Generate")).click()
    expect(visitor.cards).to_have_count(1)
    page.get_by_label("What should it show?").fill("a palace")
    page.get_by_text(dear_model, exact=True).click()
    page.locator("label:has(input[value='256x256'])").click()
    page.get_by_role("button", name=re.compile("^Generate")).click()
    expect(page.get_by_role("alert")).to_contain_text("Not enough credits")
    expect(page.get_by_label("What should it show?")).to_have_value("a palace")
    expect(visitor.cards).to_have_count(1)


def test_words_are_only_ever_words(visit: Visit) -> None:
    """Markup in a prompt is shown as it was typed, live and after a reload."""
    visitor = visit()
    visitor.opens_images()
    nasty = "<img src=x onerror=window.fooled=1>\"'<script>window.fooled=1</script> \u202e&amp;"
    card = visitor.asks_for(nasty)
    expect(card.locator("[data-part=link]")).to_contain_text("<img src=x onerror=window.fooled=1>")
    visitor.shows(card)
    visitor.page.reload()
    expect(visitor.cards.first.locator("[data-part=link]")).to_contain_text("<script>")
    visitor.cards.first.locator("[data-part=link]").click()
    expect(visitor.page.locator(".o_duragen_quote")).to_contain_text("<script>")
    assert visitor.page.evaluate("window.fooled") is None


def test_the_keyboard_suffices(visit: Visit) -> None:
    """Ctrl+Enter asks, the sizes are radio buttons, and cards are links that can be reached."""
    visitor = visit()
    visitor.opens_images()
    page = visitor.page
    prompt = page.get_by_label("What should it show?")
    prompt.focus()
    page.keyboard.type("a heron at dusk")
    page.keyboard.press("Tab")
    first, second, *_ = page.locator("[name=resolution]:enabled").all()
    expect(first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(second).to_be_checked()
    prompt.press("Control+Enter")
    expect(visitor.cards).to_have_count(1)
    expect(prompt).to_be_focused()
    visitor.cards.first.locator("[data-part=link]").press("Enter")
    page.wait_for_url(re.compile(r"/my/images/\d+$"))


def test_a_repeated_submission_is_one_request(visit: Visit) -> None:
    """An answer that got lost is asked for again under the same reference: one image, one price."""
    visitor = visit()
    visitor.opens_images()
    lost = []

    def lose(route: Any) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch())  # the server has it
        route.abort()

    visitor.page.route("**/my/images/submit", lose)
    prompt = visitor.page.get_by_label("What should it show?")
    prompt.fill("a snail on a leaf")
    button = visitor.page.get_by_role("button", name=re.compile("^Generate"))
    button.click()
    expect(visitor.page.locator("[data-part=error]")).to_contain_text("nothing is made or charged")
    button.click()
    expect(visitor.page.locator("[data-part=error]")).to_be_hidden()
    visitor.shows(visitor.cards.first)
    expect(visitor.cards).to_have_count(1)
    expect(visitor.balance).to_have_text("999 credits")


def test_strangers_and_nonsense_get_nothing(visit: Visit, threaded: Beside) -> None:
    """Another's image is not there at all, and no input makes a server error."""
    owner = visit()
    owner.opens_images()
    theirs = owner.asks_for("mine alone").get_attribute("data-id")
    stranger = visit()
    stranger.opens_images()
    token = stranger.page.evaluate("odoo.csrf_token")
    ask = stranger.page.request
    for path in (theirs, "999999999", "99999999999999999999", "0", "abc", "-1"):
        assert ask.get(f"{stranger.url}/my/images/{path}").status == 404, path
        for action in ("cancel", "retry", "dismiss", "favorite", "delete"):
            url = f"{stranger.url}/my/images/{path}/{action}"
            assert ask.post(url, form={"csrf_token": token}).status == 404, url
    state = ask.get(f"{stranger.url}/my/images/state?ids={theirs},x,-1,{9**30}").json()
    assert state["requests"] == []
    for query in ("page/0", "page/99999999999999999999", f"?like={theirs}", "?show=x&like=x"):
        answer = ask.get(f"{stranger.url}/my/images/{query}".replace("/?", "?"))
        assert answer.status == 200, query
        assert "mine alone" not in answer.text()
    [model] = admin_of(threaded.odoo).env["duragen.ai.model"].search([], limit=1)
    good = {"csrf_token": token, "prompt": "x", "model_id": str(model)}
    wrong = [
        {"prompt": ""},
        {"prompt": "\0 \0"},
        {"prompt": "x" * 32_001},
        *({"model_id": value} for value in ("", "x", "-1", "2147483647", str(9**30))),
        {"resolution": "1x1"},
        {"resolution": "nonsense\0"},
        {"seed": "one"},
        {"seed": str(2**63)},
        *({"inference_steps": value} for value in ("1.5", "-1", "1e3", str(9**30))),
        *({"cfg_scale": value} for value in ("nan", "inf", "-1", "many")),
    ]
    for values in wrong:
        answer = ask.post(
            f"{stranger.url}/my/images/submit",
            form={**good, **values},
            headers={"Accept": "application/json"},
        )
        assert answer.status == 422, (values, answer.text()[:200])
        assert answer.json()["error"]["message"]
    forged = {**good, "csrf_token": "x"}
    assert ask.post(f"{stranger.url}/my/images/submit", form=forged).status == 400
    assert ask.get(f"{stranger.url}/my/images/submit").status in {404, 405}
    expect(stranger.cards).to_have_count(0)


def expect_soon(look: Callable[[], Any]) -> None:
    """Ask again until it is so: there is no page that could be waited on."""
    give_up = time.monotonic() + PATIENCE_MS / 1_000
    while not look():
        assert time.monotonic() < give_up, "it did not become so"
        time.sleep(0.1)
