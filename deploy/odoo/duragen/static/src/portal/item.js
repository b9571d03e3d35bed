import { _t } from "@web/core/l10n/translation";

// Later states win: an answer is stale when the bus has sent something newer meanwhile.
// Odoo lets `completed` follow `failed`; nothing follows `completed`.
const RANK = { draft: 0, requested: 1, started: 2, failed: 3, canceled: 3, completed: 4 };

/** pending, completed, failed or canceled. */
export function phaseOf(state) {
    return RANK[state] < 3 ? "pending" : state;
}

/** Whether `values` is older than what is known already. */
export function isStale(values, known) {
    return known && RANK[values.state] < RANK[known.state];
}

/** "1 credit", "2 credits". */
export function creditsLabel(credits) {
    return credits === 1 ? _t("1 credit") : _t("%s credits", credits);
}

/** The first (or every) element that the templates named `name`. */
export function part(root, name) {
    return root.querySelector(`[data-part="${name}"]`);
}

export function parts(root, name) {
    return root.querySelectorAll(`[data-part="${name}"]`);
}

/** Make a card or the detail page (`item`) show `values`; texts always as text, never as HTML. */
export function fill(item, values) {
    const focused = item.contains(document.activeElement);
    const phase = phaseOf(values.state);
    item.dataset.id = values.id;
    item.dataset.phase = phase;
    for (const label of parts(item, "label")) {
        label.textContent = values.stateLabel;
    }
    write(item, "link", values.name);
    write(item, "hint", values.stateHint);
    write(item, "about", values.about ?? [values.model, values.resolution].filter(Boolean).join(" · "));
    write(item, "message", values.userMessage || values.stateHint || values.stateLabel);
    write(item, "warning", values.cancelWarning);
    write(item, "charge", values.charged ? _t("It was charged.") : _t("Nothing was charged."));
    if (phase !== "pending") {
        write(item, "ended", values.stateLabel);
    }
    point(item, values);
    const retry = part(item, "retry");
    retry.hidden = !values.retrySuggestion;
    say(retry, _t("Try again · %s", values.retryLabel ?? creditsLabel(values.price)));
    part(item, "frame").style.setProperty("--dg-ratio", values.ratio ?? ratioOf(values.resolution));
    waiting(part(item, "cancel"), Boolean(values.cancelRequested));
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
export function waiting(form, isWaiting) {
    form.querySelector("button").disabled = isWaiting;
    say(form, isWaiting ? _t("Canceling…") : _t("Cancel"));
}

// A button's own text, before the name that only a screen reader says.
function say(form, text) {
    form.querySelector("button").firstChild.textContent = text;
}

function write(item, name, text) {
    const element = part(item, name);
    if (element) {
        element.textContent = text || "";
    }
}

function point(item, { id, name, downloadUrl }) {
    const urls = { link: `/my/images/${id}`, edit: `/my/images?like=${id}#create`, download: downloadUrl };
    for (const [target, url] of Object.entries(urls)) {
        const element = part(item, target);
        if (element && url) {
            element.href = url;
        }
    }
    for (const action of ["cancel", "retry"]) {
        part(item, action).action = `/my/images/${id}/${action}`;
    }
    for (const hidden of item.querySelectorAll(".o_duragen_actions .visually-hidden")) {
        hidden.textContent = `: ${name}`;
    }
}

function ratioOf(resolution) {
    const [width, height] = (resolution || "1x1").split("x").map(Number);
    return width / height || 1;
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
    if (!url || item.dataset.image === url) {
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
    part(item, "frame").querySelector("img")?.remove();
    part(item, "frame").prepend(image);
    image.src = url;
}
