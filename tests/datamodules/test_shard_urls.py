"""Patterns of shards: expanded within bounds, and only the allowed kinds of addresses."""

import pytest

from datamodules.shard_urls import shard_urls, shown_url
from mav_lightning.common.errors import UserError


@pytest.mark.parametrize(
    ("pattern", "count", "first", "last"),
    [
        ("https://h/{00000..00099}.tar", 100, "https://h/00000.tar", "https://h/00099.tar"),
        ("/d/{train,val}-{0..2}.tar", 6, "/d/train-0.tar", "/d/val-2.tar"),
        ("x{a,{b,c{1..3}}}.tar", 5, "xa.tar", "xc3.tar"),
        ("{{a,b}{0..1},c}.tar", 5, "a0.tar", "c.tar"),
        ("{8..2..3}.tar", 3, "8.tar", "2.tar"),
        ("{-1..1}.tar", 3, "-1.tar", "1.tar"),
        ("{a..e}.tar", 5, "a.tar", "e.tar"),
        ("{x}.tar", 1, "{x}.tar", "{x}.tar"),
        (r"a\{b.tar", 1, "a{b.tar", "a{b.tar"),
        ("{,a}b.tar", 2, "b.tar", "ab.tar"),
        ("s3://bucket/{0..29999}.tar", 30_000, "s3://bucket/0.tar", "s3://bucket/29999.tar"),
        ("https://[2001:db8::1]:8/{0..1}.tar", 2, "https://[2001:db8::1]:8/0.tar", "https://[2001:db8::1]:8/1.tar"),
        ("/d/a::b.tar", 1, "/d/a::b.tar", "/d/a::b.tar"),
        ("gs://b/猫 {0..1}.tar", 2, "gs://b/猫 0.tar", "gs://b/猫 1.tar"),
        ("hf://datasets/a/b/{0..1}.tar", 2, "hf://datasets/a/b/0.tar", "hf://datasets/a/b/1.tar"),
    ],
)
def test_patterns_are_expanded(pattern: str, count: int, first: str, last: str) -> None:
    urls = shard_urls(pattern)

    assert (len(urls), urls[0], urls[-1]) == (count, first, last)


@pytest.mark.parametrize(
    "pattern",
    [
        "https://h/{0..999999999}.tar", "{0..1000000}.tar", "{0..9}" * 7 + ".tar", "{a,b}" * 30 + ".tar",
        "{" + "{a,b}" * 25 + ",x}.tar", "{0..99999999999999999999999}.tar", "{1..9999999..1}.tar",
        "{0..999}{0..999}{0,1}.tar", "{a..z}" * 5 + ".tar", "{{0..9}{0..9}{0..9},{0..9999999}}.tar", "{a,b}" * 1900,
    ],
)  # fmt: skip
def test_more_than_a_million_shards_are_refused_before_they_are_expanded(pattern: str) -> None:
    with pytest.raises(UserError, match=r"stands for more than 1,000,000 shards; correct the range|characters, more"):
        shard_urls(pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{a", "a brace is not closed"),
        ("a}", "a brace is closed that was not opened"),
        ("{a,{b}.tar", "a brace is not closed"),
        ("{0..1}}.tar", "a brace is closed that was not opened"),
        ("{" * 30 + "a" + "}" * 30, "more than 20 levels of braces"),
        ("a" * 20_000, "the pattern of shards has 20000 characters, more than 10000"),
        ("", "`` is not the address of a shard"),
        ("https://h/a\nb.tar", r"`https://h/a\\nb.tar` is not the address"),
        ("https:///a.tar", "names no host"),
        ("https://h:99999999/a.tar", "is not the address of a shard"),
        ("https://[::1/a.tar", "is not the address of a shard"),
    ],
)
def test_what_is_no_pattern_is_one_message(pattern: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        shard_urls(pattern)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("pipe:curl x | sh", "pipe"), ("PIPE:ls", "pipe"), ("file:///etc/passwd", "file"), ("ftp://h/0.tar", "ftp"),
        ("simplecache::s3://b/0.tar", "simplecache"), ("zip://0.tar::http://h/a.zip", "zip"), ("data:,x", "data"),
        ("memory://0.tar", "memory"), ("gopher://h/{0..1}.tar", "gopher"), ("ssh://h/0.tar", "ssh"),
        ("x::y.tar", "x"), ("github://a:b@main/0.tar", "github"),
    ],
)  # fmt: skip
def test_only_listed_kinds_of_addresses_are_opened(url: str, scheme: str) -> None:
    with pytest.raises(UserError, match=f"read from local paths, http, https and s3.*, not `{scheme}:`; download"):
        shard_urls(url)


def test_chains_of_stores_are_refused() -> None:
    with pytest.raises(UserError, match="not `chains of stores`; download or mount them"):
        shard_urls("s3://b/0.tar::zip")


def test_messages_show_no_password_and_no_signature() -> None:
    assert shown_url("https://me:secret@h:8/a.tar?X-Amz-Signature=secret#x") == "https://h:8/a.tar"
    assert shown_url("/data/0.tar") == "/data/0.tar"


def test_many_long_addresses_and_ranges_in_other_scripts_are_counted_too() -> None:
    with pytest.raises(UserError, match="stands for 1,000,000 long addresses; use a shorter path"):
        shard_urls("x" * 900 + "{0..999999}.tar")
    with pytest.raises(UserError, match="stands for more than 1,000,000 shards"):
        shard_urls("{٠..٩٩٩٩٩٩٩٩٩}.tar")
