import { _t } from "@web/core/l10n/translation";

const PATIENCE_MS = 30_000;

/**
 * A refusal by the server, in words for users. `field` names the form's field that is wrong, if one
 * is; `price` is a model's new price, when it has risen.
 */
export class Refused extends Error {
    constructor(status, { title, message, field, price, modelId }) {
        super(message);
        Object.assign(this, { status, title, field, price, modelId });
    }
}

/** The JSON at `url`. Throws Refused. */
export function load(url) {
    return ask(url, {});
}

/** Post a form and return the JSON answer. Throws Refused. */
export function send(url, body) {
    return ask(url, { method: "POST", body });
}

async function ask(url, options) {
    let response, answer;
    try {
        response = await fetch(url, {
            ...options,
            // The answer's words are those of this page, whatever another tab has chosen meanwhile.
            headers: { Accept: "application/json", "Accept-Language": document.documentElement.lang || "en-US" },
            signal: AbortSignal.timeout?.(PATIENCE_MS),
        });
        const type = response.headers.get("Content-Type") || "";
        answer = type.startsWith("application/json") ? await response.json() : null;
    } catch {
        throw new Refused(0, {
            title: _t("No connection."),
            message: _t("Please try again; nothing is made or charged twice."),
        });
    }
    if (response.ok && answer) {
        return answer;
    }
    throw new Refused(response.status, answer?.error || explained(response));
}

// Odoo's own answers are pages, not JSON: a login form after a redirect, a refused CSRF token (400).
function explained({ ok, status }) {
    if (ok || status === 400) {
        return {
            title: _t("Your session has ended."),
            message: _t("Copy your text, then load the page again and log in."),
        };
    }
    if (status === 404) {
        return { title: _t("Not found."), message: _t("This image is not there any more.") };
    }
    return {
        title: _t("Something went wrong on our side."),
        message: _t("Please try again in a moment; nothing is made or charged twice."),
    };
}
