import { load } from "./ask";

const WITHOUT_BUS_MS = 10_000;
const WITH_BUS_MS = 60_000;
/** The subscription is sent a moment after a connection; what happens in between is asked for. */
const SUBSCRIBED_MS = 1_500;

// Odoo 18 names the bus's events without the prefix.
const names = (event) => [`BUS:${event}`, event.toLowerCase()];

/**
 * Keep the board up to date. News come on the bus. What the page may have missed is asked for once
 * after a connection, and when the user looks at the page again. While something is pending, the
 * server is asked every ten seconds without a bus, and every minute with one: a message may be lost.
 */
export function keepLive(bus, board) {
    let isConnected = bus.workerState === "CONNECTED";
    let timer = null;
    let running = null;

    function schedule(delay) {
        clearTimeout(timer);
        timer = board.pending.length ? setTimeout(refresh, delay ?? (isConnected ? WITH_BUS_MS : WITHOUT_BUS_MS)) : null;
    }

    async function refresh() {
        if (document.hidden) {
            return;
        }
        running ||= look().finally(() => (running = null));
        await running;
        schedule();
    }

    async function look() {
        try {
            await ask(board.pending);
        } catch {
            // Asked again by the timer, or after the next connection.
        }
    }

    async function ask(ids) {
        const answer = await load(`/my/images/state?ids=${ids.join(",")}`);
        // Oldest first: each new one is put before the cards that are there.
        answer.requests.reverse().forEach((values) => board.apply(values));
        board.setBalance(answer.balance);
    }

    function listen(event, listener) {
        names(event).forEach((name) => bus.addEventListener(name, listener));
    }

    function connected() {
        isConnected = true;
        clearTimeout(timer);
        timer = setTimeout(refresh, SUBSCRIBED_MS);
    }

    listen("CONNECT", connected);
    listen("RECONNECT", connected);
    listen("DISCONNECT", () => {
        isConnected = false;
        schedule();
    });
    listen("WORKER_STATE_UPDATED", ({ detail }) => {
        isConnected = detail === "CONNECTED";
    });
    bus.subscribe("duragen.generation", ({ balance, companyId, ...values }) => {
        if (companyId === board.companyId) {
            board.setBalance(balance);
        }
        if (!board.receive(values)) {
            // Asked also while nobody looks: the tab's title says what is ready.
            ask([values.id]).catch(() => schedule());
        }
    });
    document.addEventListener("visibilitychange", refresh);
    window.addEventListener("online", refresh);
    window.addEventListener("pageshow", ({ persisted }) => persisted && refresh());
    board.onChange(() => schedule());
    Promise.resolve(bus.start()).catch(() => {});
    schedule();
}
