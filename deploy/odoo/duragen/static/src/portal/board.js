import { _t } from "@web/core/l10n/translation";
import { creditsLabel, fill, isStale, localize, part, parts, phaseOf } from "./item";

/** What the page shows: the cards (or the one detail), the balance, and what a screen reader says. */
export class Board {
    /** @param {HTMLElement} root the element with data-duragen */
    constructor(root) {
        this.root = root;
        this.known = new Map();
        this.listeners = [];
        for (const item of root.querySelectorAll("li.o_duragen_item, article.o_duragen_item")) {
            const { id, phase } = item.dataset;
            this.known.set(Number(id), { state: phase === "pending" ? "requested" : phase });
            localize(item);
        }
    }

    /** Call `listener` with the balance after each change. */
    onChange(listener) {
        this.listeners.push(listener);
    }

    /** The ids of what is still being made. */
    get pending() {
        return [...this.known].filter(([, { state }]) => phaseOf(state) === "pending").map(([id]) => id);
    }

    /** Show `values`; a new request, or any request with `insert`, becomes the first card. */
    apply(values, { insert = false } = {}) {
        const known = this.known.get(values.id);
        const isLate = isStale(values, known);
        if (isLate && !known.name) {
            return null;
        }
        const item = this.item(values.id) || this.insert(values, insert);
        if (!item) {
            return null;
        }
        // The answer to a submission may come after newer messages of the bus: then it only adds.
        const merged = isLate ? { ...values, ...known } : { ...known, ...values };
        this.known.set(values.id, merged);
        fill(item, merged);
        if (!known || phaseOf(known.state) !== phaseOf(merged.state)) {
            this.announce(merged);
        }
        return item;
    }

    /** The credits that are left. */
    setBalance(balance) {
        for (const element of parts(this.root, "balance")) {
            element.textContent = creditsLabel(balance);
        }
        this.listeners.forEach((listener) => listener(balance));
    }

    item(id) {
        return this.root.querySelector(`.o_duragen_item[data-id="${Number(id)}"]`);
    }

    insert(values, insert) {
        const grid = part(this.root, "grid");
        const isNew = this.root.dataset.head && values.id > Math.max(0, ...this.known.keys());
        if (!grid || !(insert || isNew)) {
            return null;
        }
        const item = part(this.root, "blank").content.firstElementChild.cloneNode(true);
        grid.prepend(item);
        part(this.root, "empty")?.remove();
        return item;
    }

    /** Scroll the item into view and, with `focus`, give it the keyboard's focus. */
    bring(item, { focus = false } = {}) {
        const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
        item.scrollIntoView({ block: "nearest", behavior: isCalm ? "auto" : "smooth" });
        if (focus) {
            part(item, "link")?.focus({ preventScroll: true });
        }
    }

    /** An action was refused: say so above the gallery. */
    complain({ title, message }) {
        const notice = part(this.root, "notice");
        part(notice, "notice-title").textContent = title;
        part(notice, "notice-message").textContent = message;
        notice.hidden = false;
        notice.focus();
    }

    quiet() {
        part(this.root, "notice").hidden = true;
    }

    announce({ name, state, userMessage }) {
        const texts = {
            completed: () => _t("Ready: %s", name),
            failed: () => _t("Not made: %(name)s. %(message)s", { name, message: userMessage || "" }),
            canceled: () => _t("Canceled: %s", name),
            pending: () => _t("Being made: %s", name),
        };
        part(this.root, "announcer").textContent = texts[phaseOf(state)]();
    }
}
