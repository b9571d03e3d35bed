import { chargeText, creditsLabel, hintText, priceLabel, reasonText, warningText } from "./words";

// Later states win: an answer is stale when the bus has sent something newer meanwhile.
// Odoo lets `completed` follow `failed`; nothing follows `completed`.
const RANK = { draft: 0, requested: 1, started: 2, failed: 3, canceled: 3, completed: 4 };

export { creditsLabel, priceLabel };

/** pending, completed, failed or canceled. */
export function phaseOf(state) {
    return RANK[state] < 3 ? "pending" : state;
}

/** Whether there is no image, and none to come: a line above the gallery, not a card. */
export function isFailure(state) {
    return RANK[state] === 3;
}

/** Whether `values` is older than what is known already. */
export function isStale(values, known) {
    return known && RANK[values.state] < RANK[known.state];
}

/** The first (or every) element that the templates named `name`. */
export function part(root, name) {
    return root.querySelector(`[data-part="${name}"]`);
}

export function parts(root, name) {
    return root.querySelectorAll(`[data-part="${name}"]`);
}

/**
 * Make a card, a line or the detail page (`item`) show `values`, in `words`: as the templates show
 * them after a reload. Texts always as text, never as HTML.
 */
export function fill(item, values, words) {
    const focused = item.contains(document.activeElement);
    const phase = phaseOf(values.state);
    item.dataset.id = values.id;
    item.dataset.phase = phase;
    if (values.createdAt && !item.classList.contains("o_duragen_line")) {
        item.dataset.created = values.createdAt;
    }
    for (const label of parts(item, "label")) {
        label.textContent = words.states[values.state];
    }
    write(item, "link", values.name);
    write(item, "about", values.about);
    write(item, "hint", hintText(values, words));
    write(item, "warning", warningText(values, words));
    write(item, "message", reasonText(values, words));
    write(item, "charge", chargeText(values, words));
    if (phase !== "pending") {
        write(item, "ended", words.states[values.state]);
    }
    point(item, values);
    // A live message has facts alone: what it does not say stays as it is.
    if (values.retryPrice !== undefined) {
        again(part(item, "retry"), values, words);
    }
    if (values.favorite !== undefined) {
        favor(part(item, "favorite"), values.favorite, words);
    }
    if (values.ratio) {
        part(item, "frame")?.style.setProperty("--dg-ratio", values.ratio);
    }
    waiting(part(item, "cancel"), Boolean(values.cancelRequested), words);
    for (const name of ["createdAt", "startedAt", "endedAt"]) {
        note(item, name, values[name]);
    }
    show(item, values);
    if (focused && !document.activeElement?.offsetParent) {
        // The button that was pressed is gone: the focus moves to the item itself.
        item.querySelector("[data-part='link'], .o_duragen_quote")?.focus({ preventScroll: true });
    }
}

/** Every time on the item in the reader's own zone and language. */
export function localize(item) {
    for (const time of item.querySelectorAll("time[datetime]")) {
        note(item, time.dataset.moment, time.getAttribute("datetime"));
    }
}

/** The cancel button's form, while the cancellation is on its way. */
export function waiting(form, isWaiting, words) {
    if (form) {
        form.querySelector("button").disabled = isWaiting;
        write(form, "say", isWaiting ? words.canceling : words.cancel);
    }
}

/** The price on the button that asks for the same once more, which the server checks. */
export function again(form, { retrySuggestion, retryPrice }, words) {
    if (form) {
        form.hidden = !retrySuggestion;
        form.elements.shown_price.value = retryPrice ?? 0;
        write(form, "say", words.retry.replace("%s", priceLabel(retryPrice ?? 0, words)));
    }
}

function favor(form, isFavorite, words) {
    if (form) {
        form.elements.favorite.value = isFavorite ? "0" : "1";
        form.querySelector(".fa").className = `fa ${isFavorite ? "fa-star" : "fa-star-o"}`;
        write(form, "say", isFavorite ? words.unfavorite : words.favorite);
    }
}

function write(item, name, text) {
    const element = part(item, name);
    if (element && text !== undefined) {
        element.textContent = text || "";
    }
}

function point(item, { id, name, downloadUrl }) {
    const urls = { link: `/my/images/${id}`, edit: `/my/images?like=${id}#create`, download: downloadUrl };
    for (const [target, url] of Object.entries(urls)) {
        const element = part(item, target);
        if (element && url) {
            element.setAttribute("href", url);
        }
    }
    const paths = { cancel: "cancel", retry: "retry", favorite: "favorite", dismiss: "dismiss", delete: "delete" };
    for (const [target, path] of Object.entries(paths)) {
        part(item, target)?.setAttribute("action", `/my/images/${id}/${path}`);
    }
    for (const hidden of parts(item, "of")) {
        hidden.textContent = `: ${name}`;
    }
}

function note(item, moment, iso) {
    const time = item.querySelector(`[data-moment="${moment}"]`);
    if (time && iso) {
        time.dateTime = iso;
        time.textContent = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
            dateStyle: "medium",
            timeStyle: "medium",
        }).format(new Date(iso));
        time.closest("[data-step]").dataset.done = "1";
    }
}

function show(item, values) {
    const url = item.dataset.whole ? values.imageUrl : values.thumbnailUrl || values.imageUrl;
    const frame = part(item, "frame");
    if (!frame || !url || item.dataset.image === url) {
        return;
    }
    const lost = part(item, "lost");
    const image = new Image();
    image.alt = values.name;
    image.className = "o_duragen_arriving";
    image.onload = () => image.classList.add("o_duragen_arrived");
    image.onerror = () => {
        // The next message about the item loads the image again.
        delete item.dataset.image;
        image.remove();
        lost.hidden = false;
    };
    lost.hidden = true;
    item.dataset.image = url;
    frame.querySelector("img")?.remove();
    frame.prepend(image);
    image.src = url;
}
