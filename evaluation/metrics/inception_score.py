"""The inception score: confident classes in every clip, and all classes among the clips."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.extractors.base import ClipProbabilities
from evaluation.jackknife import INTERVAL, Jackknife, deal
from evaluation.metrics.base import ExtractedFeatures, Metric, MetricResult, Number
from evaluation.metrics.clip_states import keys_of
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt

__all__ = ["InceptionScore", "inception_score", "require_splits"]

_SMALLEST = 1e-20  # added before the logarithm, as TGANv2 does; it only matters where a probability is 0


@dataclass(frozen=True)
class InceptionScore(Metric):
    """Inception score: exp E KL(p(y|x) ‖ p(y)), averaged over splits.

    The marginal p(y) is that of a split, so small splits are biased low: n and splits belong to the number.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), §4. https://arxiv.org/abs/1606.03498
        Train Sparsely, Generate Densely (Saito et al., 2020), on videos. https://arxiv.org/abs/1811.09245

    Attributes:
        of: Classifier of clips.
        splits: Number of parts, as equal as possible, that the clips are split into in the order of their hashed ids.
    """

    kind = "inception-score"
    numbers = {"{name}": Number("higher", "classes")}
    roles = {"of": ClipProbabilities}
    reads_real = False
    reads_prompts = False

    of: str
    splits: PositiveInt

    def fewest_clips(self, shape_of: Callable[[str], tuple[int, int]]) -> int:
        """Return two clips for each split."""
        return 2 * self.splits

    def measure(self, name: str, extracted: ExtractedFeatures) -> MetricResult:
        """Compute the score from the clips in the order of their hashed ids."""
        found = extracted.features(self.of, "generated")
        order = np.argsort(keys_of(found.ids).numpy(), kind="stable")
        rows, groups = found.values[order, 0].astype(np.float64), [found.groups[row] for row in order]
        require_splits(name, len(rows), self.splits)
        value, blocks = inception_score(rows, self.splits), deal(groups)
        interval, count = None, int(blocks.max()) + 1
        if count >= 3 and np.bincount(blocks).max() <= len(rows) - 2 * self.splits:
            without = [inception_score(rows[blocks != block], self.splits) for block in range(count)]
            interval = Jackknife(value, (np.array(without),)).interval(value)
        kind = f"{INTERVAL} expected score of {counted(len(rows), 'clip')} in {counted(self.splits, 'split')}"
        return MetricResult({name: self.score("{name}", value, interval, kind, len(rows))})


def require_splits(name: str, clips: int, splits: int) -> None:
    """Check that clips can be split into parts of two or more.

    Raises:
        UserError: If there are too few clips.
    """
    if clips < 2 * splits:
        raise UserError(
            f"{name}: {clips} generated clips cannot be cut into {splits} splits of 2 or more; provide {2 * splits}, "
            "or use a protocol with fewer splits."
        )


def inception_score(probabilities: NDArray[np.float64], splits: int = 1) -> float:
    """Compute the inception score: 1 if all rows are equal, at most the number of classes.

    Args:
        probabilities: Class probabilities, shape (n, classes), each row with sum 1.
        splits: Number of parts that are scored separately and averaged.

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
