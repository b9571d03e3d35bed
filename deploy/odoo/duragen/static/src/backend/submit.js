import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";
import { Component, useState } from "@odoo/owl";

/**
 * Saves the draft and submits it at the price that the button showed when it was pressed. A plain
 * button could not: saving reads the price again, and that one would be sent.
 */
export class Submit extends Component {
    static template = "duragen.Submit";
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ isBusy: false });
    }

    get label() {
        return this.props.record.data.submit_label;
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
        try {
            const context = { ...record.context, shown_price: shown };
            await this.orm.call(record.resModel, "action_submit", [[record.resId]], { context });
        } finally {
            // Refused, it may have another price by now.
            await record.load();
        }
    }
}

registry.category("view_widgets").add("duragen_submit", { component: Submit });
