"""Images for records of any model, for modules that build on this one."""

from odoo import models
from odoo.exceptions import UserError


class ImageMixin(models.AbstractModel):
    """A model that inherits from this asks for images, and gets them.

    `_duragen_generate` asks. `_duragen_image_ready` or `_duragen_image_failed` is called once for
    each outcome, after it was written, with the rights of the user who asked. When it raises, what
    it wrote is undone, and it is called again after a while, until it returns. An image may come
    after a failure: then both are called.
    """

    _name = "duragen.image.mixin"
    _description = "Images from Duragen"

    def _duragen_prompt(self):
        """What the image shows, when nobody says so."""
        return self.display_name

    def _duragen_generate(self, prompt=None, **values):
        """Ask for an image for this record; the request, which is submitted and paid for.

        `values` are those of `submit_generation`; without `model_id` the first model is taken.
        Raises AccessError for a user who may not write this record, and what that method raises.
        In sudo nothing is checked, and the hooks are called in sudo, too.
        """
        self.ensure_one()
        if not isinstance(self.id, int):
            raise UserError(self.env._("Save it first."))
        self.check_access("write")
        if not values.get("model_id"):
            available = self.env["duragen.ai.model"].sudo()._available(self.env.company)
            values["model_id"] = available[:1].id
        values["prompt"] = self._duragen_prompt() if prompt is None else prompt
        for_this = {"res_model": self._name, "res_id": self.id, "record_in_sudo": self.env.su}
        return self.env["duragen.generation.request"]._submit_generation(values, **for_this)

    def _duragen_image_ready(self, request, image):
        """The image is there: `image.image()` has its bytes. Posts it, where there is a chatter."""
        file = (image.file_name, image.image())
        self._duragen_post(request, self.env._("The image is ready."), attachments=[file])

    def _duragen_image_failed(self, request):
        """There is no image; `request.state` is failed or canceled. Posts a note, as above."""
        text = self.env._("There is no image.")
        message = " ".join(filter(None, [text, request.friendly_message]))
        self._duragen_post(request, message)

    def _duragen_post(self, request, body, **more):
        """A note in the chatter, which goes when the words of the request are erased."""
        if "message_ids" in self._fields:
            odoo = self.env.ref("base.partner_root")
            message = self.message_post(body=body, author_id=odoo.id, **more)
            request.sudo().record_message_ids += message
