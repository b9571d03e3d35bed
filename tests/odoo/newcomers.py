"""Users who were not there before. A password costs Odoo half a second, so there is one for all."""

from functools import cache
from typing import Any

from deploy.local.real_odoo.configure import ADMIN, USER, Login, connect, groups_field
from deploy.local.real_odoo.server import RealOdoo


@cache
def admin_of(odoo: RealOdoo) -> Any:
    """The administrator's session of odoorpc: one for each server."""
    return connect(odoo, ADMIN)


def newcomer(odoo: RealOdoo, name: str, *groups: str) -> tuple[int, Login]:
    """Somebody with these groups (XML ids) and the password of `USER`; his id, and his login."""
    admin = admin_of(odoo)
    values = {
        "name": name,
        "login": name,
        "email": f"{name}@example.com",
        groups_field(admin): [(6, 0, [admin.env.ref(group).id for group in groups])],
    }
    quiet = {"context": {"no_reset_password": True}}
    [user] = admin.execute_kw("res.users", "create", [[values]], quiet)
    same = f"(SELECT password FROM res_users WHERE login = '{USER.login}')"
    change = f"UPDATE res_users SET password = {same} WHERE id = {user}"
    odoo.site.postgres.sql(odoo.database, change)
    return user, Login(name, USER.password)
