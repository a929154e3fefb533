"""The inception score: confident classes in every clip, and all classes among the clips."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evaluation.jackknife import Jackknife, deal
from evaluation.metrics.by_id import keys_of
from evaluation.scores.base import Measured, Metric, Outcome, Score
from mav_lightning.common.errors import UserError

__all__ = ["InceptionScore", "inception_score"]

_SMALLEST = 1e-20  # added before the logarithm, as TGANv2 does; it only matters where a probability is 0


@dataclass(frozen=True)
class InceptionScore(Metric):
    """exp E KL(p(y|x) ‖ p(y)), mean over splits.

    The marginal is that of a split, so small splits are biased low: n and splits belong to the number.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), §4. https://arxiv.org/abs/1606.03498
        Train Sparsely, Generate Densely (Saito et al., 2020), on videos. https://arxiv.org/abs/1811.09245

    Attributes:
        of: A classifier that gives probabilities.
        splits: Parts of the clips, as equal as can be, in the order of their hashed ids.
    """

    of: str
    splits: int

    kind: ClassVar[str] = "inception-score"
    reads_real: ClassVar[bool] = False
    roles = {"of": ("classifier-torchscript",)}

    def outcome(self, name: str, measured: Measured) -> Outcome:
        """The score, from the clips in the order of their hashed ids."""
        found = measured.features(self.of, "generated")
        order = np.argsort(keys_of(found.ids).numpy(), kind="stable")
        rows, groups = found.values[order, 0].astype(np.float64), [found.groups[row] for row in order]
        if len(rows) < 2 * self.splits:
            raise UserError(
                f"{name}: {len(rows)} generated clips cannot be cut into {self.splits} splits of 2 or more; bring "
                f"{2 * self.splits}, or give a protocol of your own fewer splits."
            )
        value, blocks = inception_score(rows, self.splits), deal(groups)
        interval, count = None, int(blocks.max()) + 1
        if count >= 3 and np.bincount(blocks).max() <= len(rows) - 2 * self.splits:
            without = [inception_score(rows[blocks != block], self.splits) for block in range(count)]
            interval = Jackknife(value, (np.array(without),)).interval(value)
        kind = "delete-a-block jackknife by source video, 95 %, of the expected score at this number of clips"
        unit = f"classes, {self.splits} splits of {len(rows)} clips"
        return Outcome({name: Score(value, interval, kind, len(rows), "higher", unit)})


def inception_score(probabilities: NDArray[np.float64], splits: int = 1) -> float:
    """Of class probabilities (n, classes), each row summing to 1; 1 if all are alike, at most the number of classes.

    Example:
        >>> import numpy as np
        >>> round(inception_score(np.eye(4)), 6), round(inception_score(np.full((8, 4), 0.25), splits=2), 6)
        (4.0, 1.0)
    """
    scores = []
    for part in np.array_split(probabilities, splits):
        marginal = part.mean(axis=0, keepdims=True)
        divergence = (part * (np.log(part + _SMALLEST) - np.log(marginal + _SMALLEST))).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores))
