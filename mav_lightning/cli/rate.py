"""``mav rate``: ask people which of two systems they prefer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mav_lightning.cli.options import SpreadOptions, existing, within
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker
from mav_lightning.common.counting import counted
from mav_lightning.common.schema import PositiveFloat

__all__ = ["RateCommand", "rate"]


class RateCommand(SpreadOptions):
    """Command whose options --ask and --collect take several values each."""

    spread = ("--ask", "--collect")


def rate(
    systems: Annotated[
        list[Path] | None,
        typer.Argument(callback=existing("folder"), help="Folders of clips of two systems.", show_default=False),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            callback=existing("file"),
            help="Table id<TAB>prompt, with the same ids in both folders; or the prompts to rate, one per line, if the "
            "folders record prompts. Default: all prompts that the folders record.",
            show_default=False,
        ),
    ] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option(
            help="quality, faithfulness, motion, or questions of your own that end in `?`; default: the first two.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the page, its key and the results.")] = Path("rating"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random choices.")] = 0,
    fps: Annotated[
        float | None,
        typer.Option(callback=within(PositiveFloat), help="Frames per second of .png frames or .npy arrays."),
    ] = None,
    collect: Annotated[
        list[Path] | None,
        typer.Option(
            callback=existing("file"), help="Files of answers that raters saved; evaluates them.", show_default=False
        ),
    ] = None,
) -> None:
    """Ask people which of two systems they prefer: write a page for raters, then evaluate their answers.

    OUT/page is for the raters: it opens in any browser without a network, plays the clips of a pair in step, and does
    not show whose they are; each rater saves a file of answers. OUT/key.json records which clip is whose.

    With --collect, the majority of the raters decides each pair, and OUT/preference.json gets the win rate of the
    first system with an interval over prompts, the raters' agreement, and every vote. `mav report --with` adds it to
    the report of a study.

    Examples:
        mav rate runs/ours runs/theirs --prompts prompts.tsv --out runs/rating --ask quality faithfulness motion

        mav rate --out runs/rating --collect answers-1.json answers-2.json
    """
    from mav_lightning.common.errors import UserError

    if collect:
        if systems or prompts or ask:
            raise UserError(
                "only --out can be combined with it; leave out the folders, --prompts and --ask.", argument="collect"
            )
        _collect(collect, out)
        return
    given = systems or []
    if len(given) != 2:
        raise UserError(f"2 folders are needed, got {len(given)}; name both before the options.", argument="systems")
    _write((given[0], given[1]), prompts, ask or ["quality", "faithfulness"], out, seed, fps)


def _write(
    systems: tuple[Path, Path], prompts: Path | None, ask: list[str], out: Path, seed: int, fps: float | None
) -> None:
    from evaluation.preference.rating_page import write_rating
    from evaluation.preference.rating_plan import pair_clips, questions
    from mav_lightning.cli.evaluate import prompts_by_id
    from mav_lightning.common.output import check_output
    from mav_lightning.prompts import read_prompts

    asked = questions(ask)
    check_output(out, "new folder", "out", replacing="another --out")
    texts: Any = None
    if prompts is not None:
        read = read_prompts(prompts)
        has_ids = any("prompt_id" in one.attributes for one in read)
        texts = prompts_by_id(prompts) if has_ids else [one.text for one in read]
    pairs = pair_clips(systems, texts, fps)
    with tracker() as track:
        page = write_rating(pairs, asked, (str(systems[0]), str(systems[1])), out, seed, track)
    echo(f"{counted(len(pairs), 'pair')}, {counted(len(asked) * len(pairs), 'question')} for each rater: {page}")
    echo(f"send raters a copy of {page.parent}, without the key; then `mav rate --out {out} --collect FILES`")


def _collect(files: list[Path], out: Path) -> None:
    from evaluation.preference.rater_answers import read_answers, read_key
    from evaluation.preference.rating_page import KEY
    from evaluation.preference.win_rates import FEWEST_RATERS, preference_results
    from mav_lightning.cli.evaluate import print_scores
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.common.json_files import write_json

    key = read_key(out / KEY)
    results = preference_results(key, read_answers(files, key))
    write_json(out / "preference.json", results)
    echo(results["title"])
    print_scores(results["metrics"], SafeConsole())
    for question, about in results["questions"].items():
        won, tied, lost = (about["pairs"][name] for name in ("won", "tied", "lost"))
        kappa = "–" if about["kappa"] is None else f"{about['kappa']:.2f}"
        left = "" if about["left"] is None else f", left side chosen {about['left']:.0%}"
        echo(f"{question}: {won} won, {tied} tied, {lost} lost; Fleiss' kappa {kappa}{left}")
        if about["unanswered"]:
            echo(f"warning: {question}: {counted(about['unanswered'], 'pair')} without an answer, not counted.")
        if about["raters_per_pair"][0] < FEWEST_RATERS:
            fewest = about["raters_per_pair"][0]
            echo(f"warning: {question}: a pair has {fewest} answers; the paper takes the majority of {FEWEST_RATERS}.")
    echo(f"results: {out / 'preference.json'}")
