import { registry } from "@web/core/registry";
import { WarningDialog } from "@web/core/errors/error_dialogs";

/** Refusals of the addon are for people to read. Odoo knows its own by name alone, and reports others as faults. */
const REFUSALS = ["CreditsError", "PriceError", "QuotaError", "ConflictError", "SettingsError", "AwayError"];

for (const name of REFUSALS) {
    registry.category("error_dialogs").add(`odoo.addons.duragen.exceptions.${name}`, WarningDialog);
}
