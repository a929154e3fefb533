"""Downloads of known weights: on request only, over https only, and stored only after their hashes are checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from evaluation.weight_files import Weights, WeightsFile, file_hashes
from mav_lightning.common.errors import UserError
from mav_lightning.common.whole_file import whole_file

if TYPE_CHECKING:
    from mav_lightning.common.tracking import Track

__all__ = ["HTTPSRedirects", "fetch_weights"]

_MIB = 1 << 20
_LARGEST = 4096 * _MIB  # bytes, for files of unknown size
_TIMEOUT = 60.0  # seconds without an answer


def fetch_weights(
    weights: Weights, folder: Path, track: "Track | None" = None, opener: OpenerDirector | None = None
) -> dict[Path, str]:
    """Download the files of some weights that are missing in `folder` or have other hashes than the catalogue records.

    A file appears under its name after it is complete and its hashes match. Files without a recorded hash are accepted
    as they are. A file that an existing other file replaces is not downloaded.

    Args:
        weights: Entry of `evaluation.weight_files.known_weights`.
        folder: Folder of the weights, see `evaluation.weight_files.weights_folder`; created if missing.
        track: Progress tracker that wraps the iteration over MiB. None for no progress.
        opener: Opener of URLs. None for one that follows redirects to https only.

    Returns:
        Path → sha256 of each file that was downloaded.

    Raises:
        UserError: If no URL is known, the network fails, or a hash does not match. Files downloaded before the error
            are kept.
    """
    lacking = [file for file in weights.files if _lacks(weights, file, folder)]
    if without := [file.name for file in lacking if file.url is None]:
        raise UserError(
            f"`{weights.name}`: no URL is known for {', '.join(without)}; download it manually ({weights.where}) and "
            f"store it as {weights.path(lacking[0], folder)}."
        )
    opener = opener or build_opener(HTTPSRedirects)
    return {weights.path(file, folder): _download(weights, file, folder, track, opener) for file in lacking}


class HTTPSRedirects(HTTPRedirectHandler):
    """Redirect handler that follows redirects to https only, since weights can contain code."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the redirected request.

        Raises:
            URLError: If it is not https.
        """
        if not newurl.startswith("https://"):
            raise URLError(f"sent on to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _lacks(weights: Weights, file: WeightsFile, folder: Path) -> bool:
    path = weights.path(file, folder)
    if file.instead_of is not None or not path.is_file():
        return file in weights.missing(folder)
    return file.pinned and bool(file_hashes(path).mismatch(file.sha256, file.git_blob))


def _download(weights: Weights, file: WeightsFile, folder: Path, track: "Track | None", opener: OpenerDirector) -> str:
    url, most = str(file.url), file.bytes or _LARGEST
    with whole_file(weights.path(file, folder)) as partial:
        with _network(url):
            response = opener.open(Request(url, headers={"User-Agent": "mav-lightning"}), timeout=_TIMEOUT)
        with response, partial.open("wb") as target:
            length = _length(url, response, most)
            pieces, total = _pieces(url, response, length, most), -(-(length or most) // _MIB)
            for piece in track(pieces, total, f"{file.name}, MiB") if track else pieces:
                target.write(piece)
        found = file_hashes(partial)
        if problem := found.mismatch(file.sha256, file.git_blob):
            raise UserError(f"{url}: the file that came {problem}; it was not kept. Other sources: {weights.where}.")
    return found.sha256


def _length(url: str, response: Any, most: int) -> int | None:
    """Return the number of bytes that the server announces, or None."""
    if response.headers.get_content_type() == "text/html":
        raise UserError(
            f"{url}: returned a web page instead of a file; open it in a browser and download the file manually."
        )
    announced = response.headers.get("Content-Length") or ""
    if not announced.isdecimal():
        return None
    if int(announced) > most:
        raise UserError(
            f"{url}: announces {announced} bytes, more than the {most} expected; download the file manually."
        )
    return int(announced)


def _pieces(url: str, response: Any, length: int | None, most: int) -> Iterator[bytes]:
    got = 0
    while True:
        with _network(url):
            piece = response.read(_MIB)
        if not piece:
            break
        got += len(piece)
        if got > most:
            raise UserError(f"{url}: gives more than the {most} bytes expected; download the file manually.")
        yield piece
    if length is not None and got != length:
        raise UserError(f"{url}: the connection ended after {got} of {length} bytes; try again.")


@contextmanager
def _network(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException, ValueError) as error:
        raise UserError(f"{url}: the download failed ({error}); try again, or download the file manually.") from error
