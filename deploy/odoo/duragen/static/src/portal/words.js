/**
 * The page's words (controllers/portal_words.py), which the server has put into `data-words` in the
 * page's own language. What a card says follows from its facts by these rules, here and there.
 */
export function wordsOf(root) {
    return JSON.parse(root.dataset.words || "{}");
}

/** "1 credit", "2 credits". */
export function creditsLabel(credits, words) {
    return credits === 1 ? words.credit : words.credits.replace("%s", credits);
}

/** The same for a price, which may be free. */
export function priceLabel(price, words) {
    return price ? creditsLabel(price, words) : words.free;
}

export function hintText({ state, cancelRequested }, words) {
    const isPending = state === "requested" || state === "started";
    return cancelRequested && isPending ? words.beingCanceled : words.hints[state];
}

export function warningText({ cancelPrice }, words) {
    return cancelPrice ? words.warning.replace("%s", cancelPrice) : "";
}

export function reasonText({ message, state }, words) {
    return message || words.hints[state];
}

export function chargeText({ costSaid, price, charged }, words) {
    if (costSaid || !price) {
        return "";
    }
    return charged ? words.charged : words.uncharged;
}
