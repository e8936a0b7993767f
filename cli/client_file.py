"""Where the server is and who may speak to it: options, environment, or client.json, which `aob up` writes.

A token from a file goes only to the server of that file, and a file that another user could have planted above the
current directory is not believed.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

LOOPBACK = ("//localhost", "//127.0.0.1", "//[::1]")


def find(url: str | None, token: str | None) -> tuple[str, str | None, str]:
    """Address, token, and what to say when the token is refused."""
    url = url or os.environ.get("AOB_URL")
    token = (token or os.environ.get("AOB_TOKEN", "")).strip() or None
    if url and token:
        return url, token, ""
    name, known = _read()
    if url is None:
        url = known.get("url") or f"http://127.0.0.1:{os.environ.get('AOB_PORT') or 8800}"
    if token:
        return url, token, ""
    if not known.get("token"):
        return url, None, "Set AOB_TOKEN, or go to the directory in which `aob up` runs: its .aob/client.json has one."
    if _same(url, known.get("url") or url):
        return url, known["token"], f"The token comes from {name}."
    return url, None, f"The token in {name} belongs to {known['url']}; set AOB_TOKEN for {url}."


def _same(one: str, other: str) -> bool:
    """True for the same server; the names of this machine's loopback are one."""
    plain = []
    for url in (one, other):
        url = url.rstrip("/").lower()
        for name in LOOPBACK:
            url = url.replace(name, "//loopback", 1)
        plain.append(url)
    return plain[0] == plain[1]


def _read() -> tuple[str, dict[str, Any]]:
    """The name and the content of the file, or nothing."""
    home = os.environ.get("AOB_HOME")
    for folder in [home] if home else _parents():
        name = os.path.join(folder, "client.json")
        try:
            with open(name, encoding="utf-8") as file:
                about = os.fstat(file.fileno())
                known = json.load(file)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            _warn(f"{name} cannot be read: {getattr(error, 'strerror', None) or 'it is not JSON'}.")
            continue
        if not home and about.st_uid not in (os.geteuid(), 0):
            _warn(f"{name} belongs to another user and is not used; set AOB_URL and AOB_TOKEN.")
            continue
        if not isinstance(known, dict) or not all(isinstance(known.get(key) or "", str) for key in ("url", "token")):
            _warn(f'{name} is not {{"url": …, "token": …}} and is not used.')
            continue
        if about.st_mode & 0o077:
            _warn(f"others can read the token in {name}: chmod 600 {name}")
        return name, known
    return "", {}


def _parents() -> Iterator[str]:
    """.aob in the current directory and in each one above it."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        return
    while True:
        yield os.path.join(folder, ".aob")
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _warn(text: str) -> None:
    print(f"aob: warning: {text}", file=sys.stderr)
