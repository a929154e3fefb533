"""Clips that cannot be measured, collected so that one message counts all of them."""

from mav_lightning.common.errors import UserError

__all__ = ["Failures"]

_NAMED = 5  # the others are counted


class Failures:
    """Reasons why clips cannot be measured.

    Attributes:
        reasons: Id → reason.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Add a clip; later reasons for the same clip are ignored."""
        self.reasons.setdefault(name, reason)

    def raise_any(self, total: int, what: str, then: str = "") -> None:
        """Raise if any clip failed.

        Args:
            total: Number of clips that were tried.
            what: Plural noun for the clips in messages, such as "generated clips".
            then: Last sentence of the message: how to fix it, or what was kept.

        Raises:
            UserError: If any clip failed; names the first five and counts the others.
        """
        if not self.reasons:
            return
        named = [f"`{name}`: {reason.rstrip('.')}" for name, reason in list(self.reasons.items())[:_NAMED]]
        rest = len(self.reasons) - len(named)
        more = f"; and {rest} more" if rest else ""
        told = f"{len(self.reasons)} of {total} {what} cannot be measured: {'; '.join(named)}{more}"
        raise UserError(f"{told}{'' if told.endswith('?') else '.'} {then}".rstrip())
