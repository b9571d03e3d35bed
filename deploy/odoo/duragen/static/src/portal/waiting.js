import { part } from "./item";

const LONG_SECONDS = 60;
const TICK_MS = 1_000;

/** What waiting looks like: the time so far, a word after a minute, and the tab's title when it is over. */
export class Waiting {
    constructor(root, words) {
        this.root = root;
        this.words = words;
        this.title = document.title;
        this.ready = 0;
        this.timer = null;
        document.addEventListener("visibilitychange", () => this.seen());
        this.tick();
    }

    /** A request has changed its state: one that is ready while nobody looks is counted in the title. */
    changed({ state }) {
        if (state === "completed" && document.hidden) {
            this.ready += 1;
            document.title = `${this.words.ready.replace("%s", this.ready)} ${this.title}`;
        }
    }

    seen() {
        if (!document.hidden) {
            this.ready = 0;
            document.title = this.title;
            this.tick();
        }
    }

    /** Write the times; once a second while something is pending. */
    tick() {
        clearTimeout(this.timer);
        const items = this.root.querySelectorAll(".o_duragen_item[data-phase=pending][data-created]");
        for (const item of items) {
            const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(item.dataset.created)) / 1_000));
            part(item, "elapsed").textContent = this.words.elapsed.replace("%s", clock(seconds));
            part(item, "long").hidden = seconds < LONG_SECONDS;
        }
        this.timer = items.length && !document.hidden ? setTimeout(() => this.tick(), TICK_MS) : null;
    }
}

// 0:07, 1:05, 1:02:03
function clock(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3_600)];
    return hours ? `${hours}:${two(minutes % 60)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
