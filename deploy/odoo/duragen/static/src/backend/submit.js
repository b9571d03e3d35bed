import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";
import { Component, useState } from "@odoo/owl";

/**
 * Saves the draft and submits it, or tries it again, at the price that the button showed. A plain
 * button could not: saving reads the price again, and that one would be sent.
 */
export class Submit extends Component {
    static template = "duragen.Submit";
    static props = {
        ...standardWidgetProps,
        method: { type: String, optional: true },
        label: { type: String, optional: true },
    };
    static defaultProps = { method: "action_submit", label: "submit_label" };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.state = useState({ isBusy: false });
    }

    get label() {
        return this.props.record.data[this.props.label];
    }

    async submit() {
        const { record } = this.props;
        if (this.state.isBusy) {
            return;
        }
        this.state.isBusy = true;
        const shown = record.data.price_now;
        try {
            if (await record.save()) {
                await this.send(record, shown);
            }
        } finally {
            this.state.isBusy = false;
        }
    }

    async send(record, shown) {
        const context = { ...record.context, shown_price: shown };
        let next;
        try {
            next = await this.orm.call(record.resModel, this.props.method, [[record.resId]], { context });
        } catch (error) {
            // Refused, it may have another price by now.
            await record.load();
            throw error;
        }
        await (next?.type ? this.action.doAction(next) : record.load());
    }
}

registry.category("view_widgets").add("duragen_submit", {
    component: Submit,
    extractProps: ({ attrs: { method, label } }) => ({ method, label }),
});
