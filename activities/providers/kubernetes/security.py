"""What a container may do on its node: by default, Kubernetes' Pod Security Standard "restricted".

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

UserId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Security(BaseModel):
    """A route's parameter `security`: what an image cannot live with is given back to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_as_non_root: bool = True
    """An image that names no user, or root, does not start."""
    run_as_user: UserId | None = None
    """For an image that names its user by name, or names none. None: the image's."""
    allow_privilege_escalation: bool = False
    drop_capabilities: tuple[str, ...] = ("ALL",)
    seccomp: Literal["RuntimeDefault", "Unconfined"] = "RuntimeDefault"

    @property
    def of_pod(self) -> dict[str, Any]:
        """The pod's `securityContext`."""
        context: dict[str, Any] = {
            "runAsNonRoot": self.run_as_non_root,
            "seccompProfile": {"type": self.seccomp},
        }
        if self.run_as_user is not None:
            context["runAsUser"] = self.run_as_user
        return context

    @property
    def of_container(self) -> dict[str, Any]:
        """The container's `securityContext`."""
        context: dict[str, Any] = {"allowPrivilegeEscalation": self.allow_privilege_escalation}
        if self.drop_capabilities:
            context["capabilities"] = {"drop": list(self.drop_capabilities)}
        return context
