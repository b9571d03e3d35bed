import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { Component } from "@odoo/owl";

const FRAME_PIXELS = 36;
let last = 0;

/** The sizes of the chosen model (`size_choices`), as tiles of their shape. */
export class Sizes extends Component {
    static template = "duragen.Sizes";
    static props = { ...standardFieldProps };

    setup() {
        this.group = `duragen_sizes_${++last}`;
        this.label = _t("Size");
    }

    get value() {
        return this.props.record.data[this.props.name];
    }

    get choices() {
        return this.props.record.data.size_choices || [];
    }

    /** For those who only read: Square, 1024 × 1024. */
    get text() {
        const choice = this.choices.find(({ value }) => value === this.value);
        return choice ? `${choice.name}, ${choice.pixels}` : (this.value || "").replace("x", "\u00a0×\u00a0");
    }

    /** The tile's little frame: its longer side is the same for all. */
    frame(ratio) {
        const width = ratio >= 1 ? FRAME_PIXELS : FRAME_PIXELS * ratio;
        return `width: ${Math.round(width)}px; height: ${Math.round(width / ratio)}px`;
    }

    choose(value) {
        this.props.record.update({ [this.props.name]: value });
    }
}

registry.category("fields").add("duragen_sizes", {
    component: Sizes,
    displayName: _t("Sizes as tiles"),
    supportedTypes: ["char"],
    fieldDependencies: [{ name: "size_choices", type: "json" }],
});
