import { _t } from "@web/core/l10n/translation";
import { send } from "./ask";
import { creditsLabel, part, priceLabel } from "./item";

const NEAR_THE_END = 0.9;

/** The form: what the chosen model allows and costs, and how the form is sent. */
export class Composer {
    constructor(form, board) {
        this.form = form;
        this.board = board;
        this.balance = Number(form.dataset.balance);
        this.isSending = false;
        form.addEventListener("input", (event) => this.onInput(event));
        form.addEventListener("submit", (event) => this.onSubmit(event));
        form.prompt.addEventListener("keydown", (event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
                event.preventDefault();
                this.form.requestSubmit(part(form, "submit"));
            }
        });
        board.onChange((balance) => {
            this.balance = balance;
            this.refresh();
        });
        this.refresh();
    }

    get model() {
        return this.form.querySelector("[name=model_id]:checked");
    }

    /** Fill the form in with another request's values, and scroll to it. */
    take(values) {
        const { form } = this;
        const model = form.querySelector(`[name=model_id][value="${Number(values.model_id) || 0}"]`);
        if (model) {
            model.checked = true;
        }
        for (const name of ["prompt", "negative_prompt", "seed", "inference_steps", "cfg_scale"]) {
            if (name in values && form.elements[name]) {
                form.elements[name].value = values[name] || "";
            }
        }
        this.refresh();
        const sizes = [...form.querySelectorAll("[name=resolution]:enabled")];
        const size = sizes.find(({ value }) => value === values.resolution);
        if (size) {
            size.checked = true;
        }
        const more = part(form, "more");
        if (more && ["negative_prompt", "seed", "inference_steps", "cfg_scale"].some((name) => values[name])) {
            more.open = true;
        }
        this.renew();
        this.complain(null);
        form.scrollIntoView({ block: "start" });
        form.prompt.focus();
    }

    /** Update everything that depends on the model, the prompt and the balance. */
    refresh() {
        const { form, model } = this;
        const sizes = model.dataset.sizes.split(" ");
        for (const size of form.querySelectorAll("[name=resolution]")) {
            const fits = sizes.includes(size.value);
            size.disabled = !fits;
            size.closest("label").hidden = !fits;
        }
        if (!form.querySelector("[name=resolution]:enabled:checked")) {
            form.querySelector(`[name=resolution][value="${sizes[0]}"]`).checked = true;
        }
        const allowed = model.dataset.options.split(" ").filter(Boolean);
        for (const option of form.querySelectorAll("[data-option]")) {
            const isAllowed = allowed.includes(option.dataset.option);
            option.hidden = !isAllowed;
            option.querySelector("input").disabled = !isAllowed;
        }
        const more = part(form, "more");
        if (more) {
            more.hidden = !allowed.length;
        }
        if (form.elements.inference_steps) {
            form.elements.inference_steps.max = model.dataset.maxSteps;
        }
        this.reckon();
        this.count();
    }

    reckon() {
        const { words } = this.board;
        const price = Number(this.model.dataset.price);
        const left = this.balance - price;
        const submit = part(this.form, "submit");
        const suffices = left >= 0 || !price;
        submit.disabled = !suffices;
        submit.classList.toggle("o_duragen_sending", this.isSending);
        const label = _t("Generate · %s", priceLabel(price, words));
        part(submit, "submit-label").textContent = this.isSending ? _t("Sending…") : label;
        const isAsked = Boolean(this.form.dataset.asked);
        part(this.form, "ask").hidden = suffices || isAsked;
        part(this.form, "asked").hidden = suffices || !isAsked;
        const reckoning = part(this.form, "reckoning");
        reckoning.classList.toggle("text-danger", !suffices);
        const text = this.reckoned(price, left);
        // Set only when it changed, or a screen reader would say it at each key.
        if (reckoning.textContent !== String(text)) {
            reckoning.textContent = text;
        }
    }

    reckoned(price, left) {
        const { words } = this.board;
        const balance = creditsLabel(this.balance, words);
        if (left < 0 && price) {
            return _t("This costs %(price)s and you have %(balance)s. Choose another model, or ask for more credits.", {
                price: creditsLabel(price, words),
                balance: this.balance,
            });
        }
        return price
            ? _t("You have %(balance)s; this leaves %(left)s.", { balance, left })
            : _t("You have %s; this one is free.", balance);
    }

    count() {
        const count = part(this.form, "count");
        const length = this.form.prompt.value.length;
        const longest = Number(count.dataset.longest);
        const format = new Intl.NumberFormat(document.documentElement.lang || undefined);
        const near = _t("%(length)s of %(longest)s characters", {
            length: format.format(length),
            longest: format.format(longest),
        });
        const far = length === 1 ? _t("1 character") : _t("%s characters", format.format(length));
        count.textContent = length > longest * NEAR_THE_END ? near : length ? far : "";
    }

    onInput({ target }) {
        target.classList.remove("is-invalid");
        target.removeAttribute("aria-invalid");
        this.renew();
        if (target.name === "model_id") {
            this.refresh();
        } else if (target === this.form.prompt) {
            this.count();
        }
    }

    /** A changed form gets a new reference; the same form, sent again after a lost answer, keeps its own. */
    renew() {
        const bytes = crypto.getRandomValues(new Uint8Array(16));
        this.form.elements.client_reference.value = [...bytes]
            .map((byte) => byte.toString(16).padStart(2, "0"))
            .join("");
    }

    async onSubmit(event) {
        event.preventDefault();
        if (event.submitter?.dataset.part === "ask") {
            await this.askForCredits();
            return;
        }
        if (this.isSending) {
            return;
        }
        this.isSending = true;
        this.complain(null);
        this.board.quiet();
        this.reckon();
        try {
            const answer = await send(this.form.getAttribute("action"), new FormData(this.form));
            this.renew();
            this.board.bring(this.board.apply(answer.request, { insert: true }) || this.form);
            this.board.setBalance(answer.balance);
        } catch (error) {
            this.reprice(error);
            this.complain(error);
        } finally {
            this.isSending = false;
            this.reckon();
        }
    }

    /** Ask a manager for credits; the answer stands in place of the button. */
    async askForCredits() {
        this.complain(null);
        try {
            const body = new FormData();
            body.set("csrf_token", this.form.elements.csrf_token.value);
            const { message } = await send("/my/credits/ask", body);
            this.form.dataset.asked = "1";
            this.reckon();
            part(this.form, "asked").textContent = message;
        } catch (error) {
            this.complain(error);
        }
    }

    // A price that has risen: shown from now on, so that pressing again agrees to it.
    reprice({ price, modelId }) {
        const model = this.form.querySelector(`[name=model_id][value="${Number(modelId) || 0}"]`);
        if (price === undefined || !model) {
            return;
        }
        model.dataset.price = price;
        this.form.elements[`price_${modelId}`].value = price;
        model.closest("label").querySelector(".o_duragen_price").textContent = priceLabel(price, this.board.words);
    }

    complain(error) {
        const box = part(this.form, "error");
        box.hidden = !error;
        for (const field of this.form.querySelectorAll(".is-invalid")) {
            field.classList.remove("is-invalid");
            field.removeAttribute("aria-invalid");
        }
        if (!error) {
            return;
        }
        part(box, "error-title").textContent = error.title || _t("That did not work.");
        part(box, "error-message").textContent = error.message;
        const field = error.field && this.form.querySelector(`[name="${CSS.escape(error.field)}"]`);
        field?.classList.add("is-invalid");
        field?.setAttribute("aria-invalid", "true");
        (field || box).focus();
        box.scrollIntoView({ block: "nearest" });
    }
}
