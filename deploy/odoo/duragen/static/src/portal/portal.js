import { registry } from "@web/core/registry";
import { load, send } from "./ask";
import { Board } from "./board";
import { Composer } from "./composer";
import { part, waiting } from "./item";
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
        const action = event.target.dataset.part;
        if (action === "cancel" || action === "retry") {
            event.preventDefault();
            act(board, event.target, action);
        }
    });
    root.addEventListener("click", (event) => {
        const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
        const link = event.target.closest("[data-part=edit], [data-part=example]");
        if (composer && link && isPlain) {
            event.preventDefault();
            takeUp(board, composer, link);
        }
    });
}

async function act(board, form, action) {
    const button = form.querySelector("button");
    board.quiet();
    button.disabled = true;
    if (action === "cancel") {
        waiting(form, true);
    }
    try {
        const answer = await send(form.action, new FormData(form));
        if (!part(board.root, "grid") && action === "retry") {
            window.location.assign(`/my/images/${answer.request.id}`);
            return;
        }
        const item = board.apply(answer.request, { insert: true });
        board.setBalance(answer.balance);
        if (item && action === "retry") {
            board.bring(item, { focus: true });
        }
    } catch (error) {
        waiting(part(form.closest(".o_duragen_item"), "cancel"), false);
        board.complain(error);
    } finally {
        if (action === "retry") {
            button.disabled = false;
        }
    }
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
