import { load } from "./ask";

const WITHOUT_BUS_MS = 10_000;
const WITH_BUS_MS = 60_000;
/** After a connection the subscription is sent a moment later; what happens between is asked for. */
const SUBSCRIBED_MS = 1_500;

// Odoo 18 names the bus's events without the prefix.
const names = (event) => [`BUS:${event}`, event.toLowerCase()];

/**
 * Keep the board true: news come on the bus; what may have been missed is asked for once after a
 * connection or when the page is looked at again. Without a bus the server is asked every ten
 * seconds while something is pending, with one every minute, should a message have got lost.
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
            const answer = await load(`/my/images/state?ids=${board.pending.join(",")}`);
            // Oldest first: each new one is put before the ones that stand.
            answer.requests.reverse().forEach((values) => board.apply(values));
            board.setBalance(answer.balance);
        } catch {
            // Asked again by the timer, or after the next connection.
        }
    }

    function hear(event, listener) {
        names(event).forEach((name) => bus.addEventListener(name, listener));
    }

    function connected() {
        isConnected = true;
        clearTimeout(timer);
        timer = setTimeout(refresh, SUBSCRIBED_MS);
    }

    hear("CONNECT", connected);
    hear("RECONNECT", connected);
    hear("DISCONNECT", () => {
        isConnected = false;
        schedule();
    });
    hear("WORKER_STATE_UPDATED", ({ detail }) => {
        isConnected = detail === "CONNECTED";
    });
    bus.subscribe("duragen.generation", ({ balance, ...values }) => {
        board.apply(values);
        board.setBalance(balance);
    });
    document.addEventListener("visibilitychange", refresh);
    window.addEventListener("online", refresh);
    window.addEventListener("pageshow", ({ persisted }) => persisted && refresh());
    board.onChange(() => schedule());
    Promise.resolve(bus.start()).catch(() => {});
    schedule();
}
