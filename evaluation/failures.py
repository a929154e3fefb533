"""Clips that cannot be measured: all are counted and named before anything is given up."""

from mav_lightning.common.errors import UserError

__all__ = ["Failures"]

_NAMED = 5  # the others are counted


class Failures:
    """What went wrong, clip by clip.

    Attributes:
        reasons: Id → what is wrong with it.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Notes a clip; its first reason counts."""
        self.reasons.setdefault(name, reason)

    def raise_any(self, total: int, what: str, then: str = "") -> None:
        """Does nothing where all is well.

        Args:
            total: How many there were.
            what: Of what, such as "generated clips".
            then: What to do about it, or what was kept.

        Raises:
            UserError: Names the first five and counts the rest.
        """
        if not self.reasons:
            return
        named = [f"`{name}`: {reason.rstrip('.')}" for name, reason in list(self.reasons.items())[:_NAMED]]
        rest = len(self.reasons) - len(named)
        more = f"; and {rest} more" if rest else ""
        told = f"{len(self.reasons)} of {total} {what} cannot be measured: {'; '.join(named)}{more}."
        raise UserError(f"{told} {then}".rstrip())
