"""What is known of clips before they are made, so that their evaluation can be checked before hours of work."""

from dataclasses import dataclass

__all__ = ["PlannedClips"]


@dataclass(frozen=True)
class PlannedClips:
    """Clips that will be made.

    Attributes:
        count: Number of clips.
        frames: Frames of each clip.
        fps: Frame rates, in frames per second; the clips of a rate are equally many.
        facts: Names of what will be known of every clip: ``prompt``, and attributes such as ``shape``. None if unknown.
        counted: Settings from which the number results, for messages. Empty for none.
        setting: Setting that is proportional to the number of clips, for example ``task.per_prompt``; empty for none.
        each: Clips for each unit of the setting.
    """

    count: int
    frames: int
    fps: tuple[float, ...]
    facts: frozenset[str] | None = None
    counted: str = ""
    setting: str = ""
    each: int = 1

    @property
    def described(self) -> str:
        """Description for messages: the number of clips and the settings that it results from."""
        return f"{self.count} clips" + (f" ({self.counted})" if self.counted else "")

    def way_to(self, fewest: int) -> str:
        """Return how to make at least `fewest` clips, for messages.

        Args:
            fewest: Number of clips.
        """
        return f"set `{self.setting}` to {-(-fewest // self.each)} or more" if self.setting else "generate more"
