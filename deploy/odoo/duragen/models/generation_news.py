"""News of an outcome for its user: a notification, an email or an activity, as he has chosen."""

from markupsafe import Markup
from odoo import models

TODO = "mail.mail_activity_data_todo"


class GenerationNews(models.Model):
    """Sends the news of a request's end, once for each outcome."""

    _name = "duragen.generation.request"
    _inherit = ["duragen.generation.request", "mail.activity.mixin"]

    def _wants_news(self):
        """Whether the user hears of it: not of what came by the API, nor what he canceled."""
        by_him = self.state == "canceled" and self.canceled_by_id == self.user_id
        if self.origin == "api" or by_him:
            return False
        return self.user_id._duragen_news() != "none"

    def _send_news(self):
        """Send it in the way that the user has chosen by now. Raises what Odoo's mail raises."""
        user = self.user_id
        way = user._duragen_news()
        if way == "none" or not user.active:
            return
        seen = self.with_context(lang=user.lang)
        title = seen._news_title()
        if way == "activity":
            # Without Odoo's email that somebody has assigned it.
            quiet = seen.with_context(mail_activity_quick_update=True)
            quiet.activity_schedule(TODO, user_id=user.id, summary=title, note=seen._news_body())
            return
        if way == "inbox":
            seen._show_popup(title)
        sender = self.env["duragen.news"].with_context(lang=user.lang, duragen_news=way)
        sender.message_notify(
            partner_ids=user.partner_id.ids,
            subject=title,
            body=seen._news_body(),
            model=self._name,
            res_id=self.id,
            author_id=self.env.ref("base.partner_root").id,
            # A slow mail server would hold up the news behind it.
            force_send=False,
        )
        if way == "email":
            self.env.ref("mail.ir_cron_mail_scheduler_action").sudo()._trigger()

    def _news_title(self):
        if self.state == "completed":
            return self.env._("Your image is ready")
        return self.env._("There is no image this time")

    def _news_body(self):
        base = self.env["ir.config_parameter"].sudo().get_param("web.base.url").rstrip("/")
        link = Markup('<p><a href="{}">{}</a></p>').format(
            base + self._news_path(), self.env._("Open it")
        )
        why = self.friendly_message if self.state != "completed" else ""
        lines = [self.name, why or ""]
        return Markup().join(Markup("<p>{}</p>").format(line) for line in lines if line) + link

    def _news_path(self):
        """Where the user sees it: in the portal, or in the backend."""
        if self.user_id.share:
            return f"/my/images/{self.id}"
        # With the request's id: erasing finds what was sent to open pages by it.
        named = f"model={self._name}&res_id={self.id}&request={self.request_uuid}"
        return f"/mail/view?{named}"

    def _show_popup(self, title):
        kind = "success" if self.state == "completed" else "warning"
        shown = {"type": kind, "title": title, "message": self.name, "sticky": False}
        shown["request"] = self.request_uuid  # erasing finds it by that
        self.user_id.partner_id._bus_send("simple_notification", shown)

    # Odoo's activities write on the chatter of their record. Here is none: it would cost each
    # submission and each outcome several queries, and hold words.

    def message_subscribe(self, *_args, **_kwargs):
        """Nobody follows a request."""
        return True

    def message_notify(self, *_args, **_kwargs):
        """An activity that is given to somebody else is in his list all the same."""
        return self.env["mail.message"]

    def message_post_with_source(self, *_args, **_kwargs):
        """An activity that is done leaves nothing behind."""
        return self.env["mail.message"]


class News(models.AbstractModel):
    """Sends a message in the way that its recipient has chosen for Duragen's news."""

    _name = "duragen.news"
    _inherit = ["mail.thread"]
    _description = "Duragen's News"

    def _notify_get_recipients(self, *args, **kwargs):
        found = super()._notify_get_recipients(*args, **kwargs)
        way = self.env.context.get("duragen_news")
        return [{**each, "notif": way or each["notif"]} for each in found]
