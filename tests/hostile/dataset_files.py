"""Small datasets: shards, indexes, tables and texts, to be damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

Case = tuple[str, Path, Callable[[], object]]
"""Name, the file that is changed, and what reads it."""


def shard_cases(root: Path) -> list[Case]:
    """Return what is read of datasets: shards by every reader, indexes, tables, prompts and texts of samples."""
    import io
    import tarfile

    from PIL import Image

    from datamodules.captions import read_captions
    from datamodules.decoders import ImageDecoder
    from datamodules.index import INDEX, build_index, load_index
    from datamodules.msrvtt import read_described
    from datamodules.sample_reader import SampleReader
    from datamodules.shard_scan import scan_shard
    from datamodules.shard_urls import shard_urls
    from datamodules.streaming import StreamingLoader
    from datamodules.ucf101 import read_class_prompts
    from evaluation.folders import open_clips
    from mav_lightning.prompts import read_prompts
    from mav_lightning.shards.sample_facts import read_facts

    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    facts = json.dumps({"caption": ["a", "b"], "attributes": {"shape": "circle"}, "group": "g"}).encode()
    for name, layout in (("train", tarfile.PAX_FORMAT), ("indexed", tarfile.GNU_FORMAT)):
        (root / name).mkdir()
        with tarfile.open(root / name / "0.tar", "w", format=layout) as archive:
            for key in ("a", "ä" * 120, "c/d"):
                for suffix, data in (("png", picture.getvalue()), ("txt", b"caption"), ("json", facts)):
                    entry = tarfile.TarInfo(f"{key}.{suffix}")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
    build_index(root / "indexed")
    (root / "old").mkdir()
    shutil.copy(root / "indexed" / "0.tar", root / "old")
    index = load_index(root / "indexed")
    samples = [
        {"key": one.key, "members": {suffix: vars(member) for suffix, member in one.members.items()},
         "media": one.media and vars(one.media), "error": one.error}
        for _, one in index
    ]  # fmt: skip
    shard = {"name": "0.tar", "bytes": index.shards[0].bytes, "sha256": index.shards[0].sha256, "samples": samples}
    (root / "old" / "index.json").write_text(json.dumps({"version": 1, "sha256": index.sha256, "shards": [shard]}))
    (root / "facts.json").write_bytes(facts)
    (root / "pattern").write_text("https://h:8/{00..19}/{a,b{1..3}}.tar")
    (root / "caption").write_text("a caption é\n")
    table = "file\tcaption\tgroup\na.mp4\ta cat, “two” dogs\tx\nb.mp4\té\t\n"
    (root / "t.tsv").write_text(table)
    (root / "t.csv").write_text(table.replace("a cat, “two” dogs", '"a cat, ""two"" dogs"').replace("\t", ","))
    (root / "p.tsv").write_text("id\tprompt\nv1\ta dog\nv2\ta cat\n")
    (root / "classes.tsv").write_text("# x\n#class_index\tclass_name\tprompt\n1\tArchery\ta bow\n")
    video = {"video_id": "video0", "split": "train", "url": "u"}
    sentence = {"video_id": "video0", "sen_id": 0, "caption": "a car"}
    (root / "msrvtt.json").write_text(json.dumps({"videos": [video], "sentences": [sentence]}))

    def stream() -> None:
        loader = StreamingLoader(shard_urls(root / "train"), ImageDecoder(4), 2, 0, shuffle=2, max_bad=4)
        next(iter(loader))

    def load(folder: Path) -> None:
        opened = load_index(folder)
        reader = SampleReader(opened, ImageDecoder(4), 0, max_bad=2)
        for number in range(len(reader)):
            reader.read(number, 0, {})
        _ = opened.errors, list(opened)

    texts = {"txt": root / "caption", "json": root / "facts.json"}
    return [
        ("shard, indexed", root / "train/0.tar", lambda: scan_shard(root / "train/0.tar")),
        ("shard, streamed", root / "train/0.tar", stream),
        ("shard, evaluated", root / "train/0.tar", lambda: open_clips(root / "train")),
        ("shard, trained on", root / "indexed/0.tar", lambda: load(root / "indexed")),
        ("index", root / "indexed" / INDEX, lambda: load(root / "indexed")),
        ("index of version 1", root / "old/index.json", lambda: load(root / "old")),
        ("facts", root / "facts.json", lambda: read_facts({"json": texts["json"].read_bytes()})),
        ("caption", root / "caption", lambda: read_facts({"txt": texts["txt"].read_bytes()})),
        ("caption table", root / "t.tsv", lambda: read_captions(root / "t.tsv", ["a.mp4", "b.mp4"])),
        ("caption table", root / "t.csv", lambda: read_captions(root / "t.csv", ["a.mp4", "b.mp4"])),
        ("prompts", root / "p.tsv", lambda: read_prompts(root / "p.tsv")),
        ("class prompts", root / "classes.tsv", lambda: read_class_prompts(root / "classes.tsv")),
        ("pattern", root / "pattern", lambda: shard_urls((root / "pattern").read_text(errors="replace"))),
        ("msrvtt", root / "msrvtt.json", lambda: read_described(root / "msrvtt.json")),
    ]
