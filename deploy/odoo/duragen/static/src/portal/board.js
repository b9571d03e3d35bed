import { _t } from "@web/core/l10n/translation";
import { creditsLabel, fill, isFailure, isStale, localize, part, parts, phaseOf } from "./item";
import { Waiting } from "./waiting";
import { wordsOf } from "./words";

/** What the page shows: the items (or the one detail), the balance, and what a screen reader says. */
export class Board {
    /** @param {HTMLElement} root the element with data-duragen */
    constructor(root) {
        this.root = root;
        this.words = wordsOf(root);
        this.companyId = Number(root.dataset.company);
        this.known = new Map();
        this.listeners = [];
        this.waiting = new Waiting(root, this.words);
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

    /**
     * Show the facts of a live message; false when the server has to be asked for the rest: for an
     * item that is not here yet, and for why there is no image, which it says in words.
     */
    receive(facts) {
        if (facts.erased) {
            this.remove(facts.id);
            return true;
        }
        const item = this.item(facts.id);
        if (!item) {
            return !this.isNews(facts);
        }
        if (isFailure(facts.state) || item.classList.contains("o_duragen_line")) {
            return false;
        }
        this.apply(facts);
        return true;
    }

    /** Show `values`; a new request, or any request with `insert`, becomes the first card. */
    apply(values, { insert = false } = {}) {
        const known = this.known.get(values.id);
        const isLate = isStale(values, known);
        if (isLate && !known.name) {
            return null;
        }
        // The answer to a submission may come after newer messages of the bus: then it only adds.
        const merged = isLate ? { ...values, ...known } : { ...known, ...values };
        const item = this.placed(merged, insert);
        if (!item) {
            return null;
        }
        this.known.set(values.id, merged);
        fill(item, merged, this.words);
        if (!known || phaseOf(known.state) !== phaseOf(merged.state)) {
            this.announce(merged);
            this.waiting.changed(merged);
        }
        this.waiting.tick();
        return item;
    }

    /** The credits that are left. */
    setBalance(balance) {
        for (const element of parts(this.root, "balance")) {
            element.textContent = creditsLabel(balance, this.words);
        }
        this.listeners.forEach((listener) => listener(balance));
    }

    item(id) {
        return this.root.querySelector(`.o_duragen_item[data-id="${Number(id)}"]`);
    }

    isNews({ id }) {
        return Boolean(this.root.dataset.head) && id > Math.max(0, ...this.known.keys());
    }

    // The item in the place where its state belongs: a card in the grid, or a line above it.
    placed(values, insert) {
        const found = this.item(values.id);
        if (found?.dataset.whole) {
            return found;
        }
        const [list, blank] = isFailure(values.state) ? ["lines", "blank-line"] : ["grid", "blank"];
        const place = part(this.root, list);
        if (found?.parentElement === place) {
            return found;
        }
        if (!place || !(found || insert || this.isNews(values))) {
            return null;
        }
        const focused = found?.contains(document.activeElement);
        const item = part(this.root, blank).content.firstElementChild.cloneNode(true);
        place.prepend(item);
        found?.remove();
        part(this.root, "empty")?.remove();
        if (focused) {
            part(item, "link").focus({ preventScroll: true });
        }
        return item;
    }

    /** Take an item off the page: it was dismissed or deleted. */
    remove(id) {
        const item = this.item(id);
        if (item?.dataset.whole) {
            window.location.assign("/my/images");
            return;
        }
        const focused = item?.contains(document.activeElement);
        item?.remove();
        this.known.delete(Number(id));
        if (focused) {
            this.root.querySelector("h2[tabindex]")?.focus({ preventScroll: true });
        }
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

    announce({ name, state, message }) {
        const texts = {
            completed: () => _t("Ready: %s", name),
            failed: () => _t("Not made: %(name)s. %(message)s", { name, message: message || "" }),
            canceled: () => _t("Canceled: %s", name),
            pending: () => _t("Being made: %s", name),
        };
        part(this.root, "announcer").textContent = texts[phaseOf(state)]();
    }
}
