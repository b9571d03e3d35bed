import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { user } from "@web/core/user";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";
import { Component, onMounted, onWillUnmount, useExternalListener, useState } from "@odoo/owl";

const { Duration } = luxon;

const TICK_MS = 1_000;
/** The subscription is sent a moment after a connection; what happens in between is asked for. */
const SUBSCRIBED_MS = 1_500;
/** A message may be lost, and a manager who looks at somebody else's request gets none. */
const WITH_MESSAGES_MS = 60_000;
const WITHOUT_MESSAGES_MS = 10_000;
const LONG_MS = 60_000;

// Odoo 18 names the bus's events without the prefix.
const CONNECTED = ["BUS:CONNECT", "connect", "BUS:RECONNECT", "reconnect"];

/**
 * Keeps a request's form up to date: its outcome comes on the bus, to the one who asked for it.
 * While the request is open, it also says for how long.
 */
export class Live extends Component {
    static template = "duragen.Live";
    static props = { ...standardWidgetProps };

    setup() {
        this.bus = useService("bus_service");
        this.state = useState({ now: Date.now() });
        this.loadedAt = Date.now();
        this.isLoading = false;
        this.isWanted = false;
        this.isLost = false;
        this.onMessage = this.onMessage.bind(this);
        const refresh = () => this.refresh();
        const connected = () => {
            clearTimeout(this.soon);
            this.soon = setTimeout(refresh, SUBSCRIBED_MS);
        };
        useExternalListener(document, "visibilitychange", refresh);
        useExternalListener(window, "online", refresh);
        onMounted(() => {
            this.bus.subscribe("duragen.generation", this.onMessage);
            CONNECTED.forEach((name) => this.bus.addEventListener(name, connected));
            this.clock = setInterval(() => this.tick(), TICK_MS);
            this.bus.start();
        });
        onWillUnmount(() => {
            this.bus.unsubscribe("duragen.generation", this.onMessage);
            CONNECTED.forEach((name) => this.bus.removeEventListener(name, connected));
            clearInterval(this.clock);
            clearTimeout(this.soon);
        });
    }

    get data() {
        return this.props.record.data;
    }

    get isOpen() {
        return ["requested", "started"].includes(this.data.state);
    }

    /** How long messages may fail to come before the server is asked. */
    get patience() {
        const owner = this.data.user_id;
        // A pair on Odoo 18.
        const ownerId = owner && (owner.id ?? owner[0]);
        const hears = ownerId === user.userId && this.bus.workerState === "CONNECTED";
        return hears ? WITH_MESSAGES_MS : WITHOUT_MESSAGES_MS;
    }

    get elapsed() {
        const since = (this.data.state === "started" && this.data.started_at) || this.data.requested_at;
        return this.isOpen && since ? Math.max(0, this.state.now - since.toMillis()) : 0;
    }

    get text() {
        if (!this.isOpen) {
            return "";
        }
        const time = duration(this.elapsed);
        return this.data.state === "started" ? _t("Being made for %s", time) : _t("Waiting for %s", time);
    }

    get isLong() {
        return this.elapsed > LONG_MS;
    }

    onMessage({ id }) {
        if (id === this.props.record.resId) {
            this.reload();
        }
    }

    tick() {
        if (!this.isOpen) {
            return;
        }
        this.state.now = Date.now();
        if (!this.isLost && this.state.now - this.loadedAt >= this.patience) {
            this.refresh();
        }
    }

    refresh() {
        if (this.isOpen && !document.hidden) {
            this.reload();
        }
    }

    /** Read the record again, unless somebody is changing it; once more if news come meanwhile. */
    async reload() {
        this.isWanted = true;
        if (this.isLoading) {
            return;
        }
        this.isLoading = true;
        try {
            while (this.isWanted) {
                this.isWanted = false;
                this.loadedAt = Date.now();
                const { record } = this.props;
                if (record.resId && !(await record.isDirty())) {
                    await record.load();
                }
            }
            this.isLost = false;
        } catch (error) {
            // Not again by the clock: each time Odoo would say it in a dialog.
            this.isLost = true;
            throw error;
        } finally {
            this.isLoading = false;
        }
    }
}

/** 12 sec; 2 min; 1 hr, 5 min: in the user's language. */
function duration(milliseconds) {
    const seconds = Math.floor(milliseconds / 1_000);
    const minutes = Math.floor(seconds / 60);
    const parts =
        minutes >= 60
            ? { hours: Math.floor(minutes / 60), minutes: minutes % 60 }
            : minutes
              ? { minutes }
              : { seconds };
    return Duration.fromObject(parts).toHuman({ unitDisplay: "short" });
}

registry.category("view_widgets").add("duragen_live", { component: Live });
