"""Installing: what no data file can say for both versions of Odoo. Uninstalling: the reverse."""

_GROUPS = {
    "Duragen": ("duragen.group_user", "duragen.group_manager"),
    "Duragen (technical)": ("duragen.group_gateway",),
}


def post_init_hook(env):
    """Show the groups on a user's form; without this only the developer mode shows them.

    Odoo 18 shows them by the category of a group, Odoo 19 by its privilege, which has a category.
    """
    in_category = "category_id" in env["res.groups"]._fields
    for number, (name, groups) in enumerate(_GROUPS.items()):
        place = _made(env, "ir.module.category", number, {"name": name})
        if not in_category:
            values = {"name": name, "category_id": place.id}
            place = _made(env, "res.groups.privilege", number, values)
        for xml_id in groups:
            env.ref(xml_id)["category_id" if in_category else "privilege_id"] = place


def uninstall_hook(env):
    """Delete what Odoo leaves behind: images' files, our settings, the trigger's function."""
    images = [("res_model", "=", "duragen.generated.image"), ("res_field", "!=", False)]
    env["ir.attachment"].sudo().search(images).unlink()
    env["ir.config_parameter"].sudo().search([("key", "=like", "duragen.%")]).unlink()
    env.cr.execute("DROP FUNCTION IF EXISTS duragen_credit_entry_stays() CASCADE")


def _made(env, model, number, values):
    # With an id of ours, so that uninstalling deletes it; upgrades leave it as it is.
    xml_id = f"duragen.{model.replace('.', '_')}_{number}"
    record = {"xml_id": xml_id, "values": values, "noupdate": True}
    return env[model]._load_records([record])
