import { registry } from "@web/core/registry";
import { load, send } from "./ask";
import { Board } from "./board";
import { Composer } from "./composer";
import { again, part, waiting } from "./item";
import { keepLive } from "./live";

// A service: the one thing that the public pages of Odoo 18 and 19 start in the same way.
registry.category("services").add("duragen.portal", {
    dependencies: ["bus_service"],
    start(env, { bus_service: bus }) {
        const root = document.querySelector("[data-duragen]");
        if (root) {
            open(root, bus);
        }
    },
});

function open(root, bus) {
    const board = new Board(root);
    const form = part(root, "composer");
    const composer = form ? new Composer(form, board) : null;
    keepLive(bus, board);
    root.addEventListener("submit", (event) => {
        if (event.target.dataset.action) {
            event.preventDefault();
            act(board, event.target);
        }
    });
    root.addEventListener("click", (event) => {
        const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
        const link = event.target.closest("[data-part=edit], [data-part=example]");
        if (composer && link && isPlain) {
            event.preventDefault();
            takeUp(board, composer, link);
        }
        shut(root, event.target);
    });
    root.addEventListener("keydown", (event) => {
        const dialog = event.key === "Escape" && event.target.closest(".o_duragen_delete[open]");
        if (dialog) {
            dialog.open = false;
            dialog.querySelector("summary").focus();
        }
    });
}

// The question whether to delete goes away when something else is pressed.
function shut(root, target) {
    for (const dialog of root.querySelectorAll(".o_duragen_delete[open]")) {
        if (!dialog.contains(target)) {
            dialog.open = false;
        }
    }
}

async function act(board, form) {
    const { action, busy } = form.dataset;
    if (busy) {
        return;
    }
    board.quiet();
    const body = new FormData(form);
    // Not `disabled`: a button that has the keyboard's focus would lose it.
    form.dataset.busy = "1";
    if (action === "cancel") {
        waiting(form, true, board.words);
    }
    try {
        settle(board, action, await send(form.getAttribute("action"), body));
    } catch (error) {
        if (action === "cancel") {
            waiting(form, false, board.words);
        }
        if (action === "retry" && error.price !== undefined) {
            again(form, { retrySuggestion: true, retryPrice: error.price }, board.words);
        }
        board.complain(error);
    } finally {
        delete form.dataset.busy;
    }
}

// What has become of it is shown as a reload would show it.
function settle(board, action, { request, dismissed, deleted, balance }) {
    if (action === "retry" && !part(board.root, "grid")) {
        window.location.assign(`/my/images/${request.id}`);
        return;
    }
    const gone = dismissed || deleted;
    const item = request && board.apply(request, { insert: action === "retry" });
    if (item && action === "retry") {
        board.bring(item, { focus: true });
    }
    if (gone) {
        board.remove(gone);
    }
    board.setBalance(balance);
}

async function takeUp(board, composer, link) {
    if (link.dataset.part === "example") {
        composer.take({ prompt: link.textContent });
        return;
    }
    const { id } = link.closest(".o_duragen_item").dataset;
    try {
        const { requests } = await load(`/my/images/state?ids=${id}`);
        composer.take(requests.find((values) => values.id === Number(id)).form);
    } catch {
        window.location.assign(link.href);
    }
}
