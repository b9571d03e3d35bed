"""Odoo's backend in a real browser: what a manager and an administrator see and press."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from deploy.local.real_odoo.beside import Beside
from deploy.local.real_odoo.configure import ADMIN, MANAGER, USER, Login, connect, set_parameters
from deploy.local.sandbox.images.protocols import OPENAI_MODEL_ID
from tests.odoo.browser import PATIENCE_MS, axe_findings, chromium, is_logged_in
from tests.odoo.people import Person

WINDOW = {"width": 1400, "height": 900}
GENERATIONS = "action-duragen.generation_request_action"
SETTINGS = "action-duragen.res_config_settings_action"

_CUT_OFF = """
[...document.querySelectorAll('.o_data_cell:not([name=name]), th .text-truncate')]
    .filter(each => each.scrollWidth > each.clientWidth + 1)
    .map(each => each.outerHTML.slice(0, 120))
"""
"""Cells of a list that do not show all that they hold, but for the prompts."""
_ODOOS_OWN = re.compile(
    r'o_kanban_record|role="tab"|avatar_128|class="badge|searchabletext|o_clipboard_button'
    r"|o_select_menu|o-dropdown|o_form_label"
)
"""In what axe-core finds: elements of Odoo's own widgets."""
_NO_CLOCK = "window.setInterval = () => 0"
"""Nothing is asked for by the clock: what changes has come by the bus."""

pytestmark = pytest.mark.timeout(900)  # the first page compiles Odoo's assets of the backend

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of this file."""
    with chromium() as running:
        yield running


@pytest.fixture
def backend(browser: Browser, threaded: Beside) -> Iterator[Open]:
    """Opens an action of the backend for somebody who is logged in; no page may complain."""
    contexts = []
    complaints: list[str] = []

    def open_action(who: Login, path: str, script: str = "") -> Page:
        context = browser.new_context(viewport=WINDOW, locale="en-US")
        contexts.append(context)
        is_logged_in(context, threaded.odoo, who)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(script)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{threaded.odoo.url}/odoo/{path}")
        return page

    yield open_action
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_generation_is_made_on_the_form(backend: Open, threaded: Beside) -> None:
    """New, prompt, model, size by the keyboard, Generate: the image comes by the bus alone."""
    page = backend(MANAGER, f"{GENERATIONS}/new", _NO_CLOCK)
    page.locator("[name=prompt] textarea").fill("a whale above the clouds")
    _choose_model(page, "flare, else FLUX.2")
    assert _axe_findings_of_ours(page, ".o_form_view") == []
    sizes = page.get_by_role("radiogroup", name="Size").get_by_role("radio")
    sizes.first.focus()
    while _chosen_size(page) != "256x256":
        page.keyboard.press("ArrowRight")
    _presses_generate(page)
    _until(page, "Completed")
    assert _natural_width(page, ".o_field_widget[name=image_ids] img") == 256
    assert _axe_findings_of_ours(page, ".o_form_view") == []
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.endswith(".png")
    with page.expect_popup() as workflow:
        page.get_by_role("button", name="Open Workflow").click()
    workflow.value.wait_for_url(re.compile(re.escape(threaded.stack.ui_url) + ".*/generation-"))

    page.goto(f"{threaded.odoo.url}/odoo/{GENERATIONS}")
    card = page.locator(".o_kanban_record", has_text="a whale above the clouds")
    expect(card.get_by_text("Completed")).to_be_visible()
    assert _natural_width(page, ".o_kanban_record:has-text('a whale above the clouds') img") > 0
    assert _axe_findings_of_ours(page, ".o_kanban_renderer") == []


def test_a_refused_prompt_says_why(backend: Open) -> None:
    """The user reads a friendly sentence, the manager the code as well; it can be tried again."""
    page = backend(MANAGER, f"{GENERATIONS}/new")
    page.locator("[name=prompt] textarea").fill("a forbidden garden")
    _choose_model(page, "GPT Image 2.5 flare")
    _presses_generate(page)
    _until(page, "Failed")
    expect(page.locator(".o_form_view [role=alert]")).to_contain_text("content rules")
    expect(page.locator("[name=error_code]")).to_have_text("POLICY_INPUT")
    expect(page.get_by_text("not charged")).to_be_visible()
    expect(page.get_by_role("button", name="Try Again · 1 credit")).to_be_visible()


def test_a_user_has_no_managers_things(backend: Open, threaded: Beside) -> None:
    """His form has neither the workflow's button nor the technical page."""
    page = backend(USER, "action-duragen.generation_request_action_mine/new")
    page.locator("[name=prompt] textarea").fill("a red fox in the snow")
    _choose_model(page, "GPT Image 2.5 flare")
    _presses_generate(page)
    _until(page, "Completed")
    expect(page.get_by_role("tab", name="Credits")).to_be_visible()
    expect(page.locator(".o_field_widget[name=seed]")).to_have_count(0)  # none was given
    expect(page.get_by_role("tab", name="Technical")).to_have_count(0)
    expect(page.get_by_role("button", name="Open Workflow")).to_have_count(0)


def test_a_price_that_has_risen_is_shown_first(backend: Open, threaded: Beside) -> None:
    """The open form charges no more than it said; pressed again, it has said the new price."""
    page = backend(USER, "action-duragen.generation_request_action_mine/new")
    page.locator("[name=prompt] textarea").fill("a very dear fox")
    _choose_model(page, "GPT Image 2.5 flare")
    generate = page.get_by_role("button", name=re.compile("^Generate · 1 credit · "))
    expect(generate).to_be_visible()
    models = connect(threaded.odoo).env["duragen.ai.model"]
    [model] = models.search([("model_uuid", "=", str(OPENAI_MODEL_ID))])
    models.write([model], {"price": 2})
    try:
        generate.click()
        said = page.get_by_role("dialog")
        expect(said).to_contain_text("it is now 2 credits")
        said.get_by_role("button", name="Close").last.click()
        page.get_by_role("button", name=re.compile("^Generate · 2 credits · ")).click()
        _until(page, "Completed")
        expect(page.locator("[name=price]").first).to_have_text("2")
    finally:
        models.write([model], {"price": 1})


def test_a_managers_form_of_anothers_request_lives_as_well(backend: Open, threaded: Beside) -> None:
    """It says how long it has waited for Duragen; Try Now starts it, and its end is seen."""
    session = connect(threaded.odoo)
    with Person(threaded.odoo, USER) as user:
        set_parameters(session, {"duragen.temporal_address": "127.0.0.1:9"})
        try:
            made = user.submits("a patient fox")
            page = backend(MANAGER, f"{GENERATIONS}/{made['id']}")
            expect(page.locator(".o_duragen_live")).to_contain_text("Waiting for")
            expect(page.get_by_role("button", name="Open Workflow")).to_have_count(0)
        finally:
            set_parameters(session, {"duragen.temporal_address": threaded.stack.temporal_address})
        page.get_by_role("button", name="Try Now").click()
        _until(page, "Completed")


def test_many_are_tried_again_from_the_list(backend: Open, threaded: Beside) -> None:
    """What failed is, what is completed is not: a message says so, and the new one is listed."""
    _have_ended(threaded, {"a forbidden list": "failed", "an allowed list": "completed"})
    page = backend(MANAGER, f"{GENERATIONS}?view_type=list")
    for prompt in ("a forbidden list", "an allowed list"):
        page.locator(".o_data_row", has_text=prompt).first.get_by_role("checkbox").check()
    assert page.evaluate(_CUT_OFF) == []
    page.get_by_role("button", name="Try Again").click()
    page.get_by_role("dialog").get_by_role("button", name="Ok").click()
    # Beside it stands the news of what was made before.
    said = page.locator(".o_notification", has_text="Done: 1. Not done: 1.")
    expect(said).to_be_visible()
    expect(page.locator(".o_last_breadcrumb_item, .o_breadcrumb .active")).to_contain_text(
        "Tried Again"
    )
    expect(page.locator(".o_data_row")).to_have_count(1)


def test_states_have_their_colours_in_the_graph(backend: Open, threaded: Beside) -> None:
    """What is completed is green, what failed is red."""
    _have_ended(threaded, {"a forbidden graph": "failed", "an allowed graph": "completed"})
    page = backend(MANAGER, "action-duragen.generation_request_action_analysis")
    page.wait_for_function("window.Chart && Chart.getChart(document.querySelector('canvas'))")
    colors = dict(
        page.evaluate(
            "Chart.getChart(document.querySelector('canvas')).data.datasets"
            ".map(each => [each.label, each.backgroundColor])"
        )
    )
    assert colors.items() >= {("Completed", "#28A745"), ("Failed", "#DC3545")}


def test_the_connection_test_says_what_works(backend: Open, threaded: Beside) -> None:
    """Everything works; then, with an address without a server, it says what does not."""
    page = backend(ADMIN, SETTINGS)
    page.get_by_role("button", name="Test the Connection").click()
    said = page.locator(".o_duragen_test")
    expect(said).to_contain_text("Everything works")
    expect(said).to_contain_text(threaded.stack.temporal_address)
    assert _axe_findings_of_ours(page, ".app_settings_block[data-key=duragen]") == []

    session = connect(threaded.odoo)
    set_parameters(session, {"duragen.temporal_address": "127.0.0.1:9"})
    try:
        page.reload()
        page.get_by_role("button", name="Test the Connection").click()
        expect(said).to_contain_text("Not everything works")
        expect(said).to_contain_text("127.0.0.1:9")
    finally:
        set_parameters(session, {"duragen.temporal_address": threaded.stack.temporal_address})


def test_credits_are_granted(backend: Open, threaded: Beside) -> None:
    """From the menu: user, number, Grant; the account shows the entry."""
    page = backend(MANAGER, "action-duragen.grant_credits_action")
    page.locator("[name=user_id] input").fill(USER.login.capitalize())
    page.locator(".o-autocomplete--dropdown-item", has_text=USER.login.capitalize()).first.click()
    page.locator("[name=credits] input").fill("25")
    page.locator("[name=note] input").fill("for the catalogue")
    page.get_by_role("button", name="Grant", exact=True).click()
    row = page.locator(".o_data_row", has_text="for the catalogue")
    expect(row.locator("[name=delta]")).to_have_text("25")


def _have_ended(threaded: Beside, prompts: Mapping[str, str]) -> None:
    """Generations of a user, each with the state that its prompt leads to."""
    with Person(threaded.odoo, USER) as user, user.listens() as bus:
        for prompt, state in prompts.items():
            bus.until(user.submits(prompt)["request_uuid"], state)


def _choose_model(page: Page, name: str) -> None:
    page.locator("[name=model_id] input").fill(name)
    page.locator(".o-autocomplete--dropdown-item", has_text=name).first.click()
    # The sizes come with the model.
    expect(page.locator(".o_duragen_size input:checked")).to_have_count(1)
    expect(page.locator("[name=model_id] input")).to_have_value(re.compile(re.escape(name)))


def _chosen_size(page: Page) -> str:
    return page.locator(".o_duragen_size input:checked").input_value()


def _presses_generate(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Generate · ")).click()


def _until(page: Page, label: str) -> None:
    """The status bar says so by itself: no reload, and no other page."""
    expect(page.locator(".o_statusbar_status .o_arrow_button_current")).to_have_text(label)


def _natural_width(page: Page, selector: str) -> Any:
    image = page.locator(selector).first
    return image.evaluate("image => image.decode().then(() => image.naturalWidth)")


def _axe_findings_of_ours(page: Page, where: str) -> list[str]:
    found = axe_findings(page, where)
    return [each for each in found if "o_duragen" in each or not _ODOOS_OWN.search(each)]
