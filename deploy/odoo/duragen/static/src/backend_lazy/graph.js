import { cookie } from "@web/core/browser/cookie";
import { darkenColor, getCustomColor, lightenColor } from "@web/core/colors/colors";
import { registry } from "@web/core/registry";
import { GraphRenderer } from "@web/views/graph/graph_renderer";
import { graphView } from "@web/views/graph/graph_view";

/** As the badges of the other views: the same state has the same colour in every graph. */
export const COLORS = {
    draft: "#ADB5BD",
    requested: "#FFAC00",
    started: "#17A2B8",
    completed: "#28A745",
    failed: "#DC3545",
    canceled: "#6C757D",
};

const colorScheme = cookie.get("color_scheme");

export class StateGraphRenderer extends GraphRenderer {
    getBarChartData() {
        const data = super.getBarChartData();
        for (const dataset of data.datasets) {
            const color = this.colorOf(dataset.label);
            if (color && dataset.type !== "line") {
                dataset.backgroundColor = color;
            }
        }
        return data;
    }

    getLineChartData() {
        const data = super.getLineChartData();
        for (const dataset of data.datasets) {
            const color = this.colorOf(dataset.label);
            if (color) {
                dataset.backgroundColor = getCustomColor(
                    colorScheme,
                    lightenColor(color, 0.5),
                    darkenColor(color, 0.5)
                );
                dataset.borderColor = color;
                dataset.hoverBackgroundColor = color;
                dataset.pointBackgroundColor = color;
            }
        }
        return data;
    }

    getPieChartData() {
        const data = super.getPieChartData();
        const own = data.labels.map((label) => this.colorOf(label));
        for (const dataset of data.datasets) {
            const colors = dataset.backgroundColor.map((color, index) => own[index] || color);
            dataset.backgroundColor = colors;
            dataset.hoverBackgroundColor = colors;
        }
        return data;
    }

    /** The colour of the state that a label names, alone or beside other groups. */
    colorOf(label) {
        const words = String(label || "").split(" / ");
        const state = this.model.metaData.fields.state.selection.find(([, name]) => words.includes(name));
        return state && COLORS[state[0]];
    }
}

registry.category("views").add("duragen_graph", { ...graphView, Renderer: StateGraphRenderer });
