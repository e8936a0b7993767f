"""Refuses addresses that nodes must not reach: checked is what is actually connected to (hazard S15).

A name is resolved once; every answer is checked; the connection goes to the checked address itself, so a
second, different answer (DNS rebinding) cannot matter. TLS still verifies the name.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import httpx

from worker.executors.base import TaskError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

RESOLVE_SECONDS = 10.0
RESOLVERS = 32

# Of their own: a resolver that does not answer must not hold up what leases and records (hazard F28).
_resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
_lookups: dict[tuple[str, int], Future[Any]] = {}

_NAT64 = ip_network("64:ff9b::/96")
_INNER = (ip_network("64:ff9b:1::/48"), ip_network("192.0.0.0/24"), ip_network("3fff::/20"))
"""What IANA's registries say is not global, also where this Python's `is_global` does not know it.

The first is where a network translates at its own choice (RFC 8215): where in it the IPv4 address stands is known there
alone. In the second some clouds tell their machines their credentials.
"""

_COMPATIBLE = ip_network("::/96")
_ISATAP, _ISATAP_BITS = 0x00005EFE, 0xFCFFFFFF
"""RFC 5214, section 6.1: whatever the bits u and g are."""


@dataclass(frozen=True)
class AllowList:
    """What may be reached although it is not public, from AOB_HTTP_ALLOW: `host`, `host:port`, `CIDR`, `CIDR:port`."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowList:
        hosts: set[tuple[str, int | None]] = set()
        networks: list[tuple[Network, int | None]] = []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, port = _split_port(entry)
            try:
                networks.append((ip_network(name, strict=False), port))
            except ValueError:
                hosts.add((name.lower().rstrip("."), port))
        return cls(frozenset(hosts), tuple(networks))

    def admits(self, host: str, address: Address, port: int) -> bool:
        name = host.lower().rstrip(".")
        if (name, None) in self.hosts or (name, port) in self.hosts:
            return True
        return any(
            address.version == network.version and address in network and wanted in (None, port)
            for network, wanted in self.networks
        )


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, int(port[1:]) if port else None
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        return name, int(port)
    return entry, None


def embedded_addresses(address: Address) -> Iterable[Address]:
    """The address itself and every IPv4 address that an IPv6 transition form carries."""
    yield address
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or address in _COMPATIBLE or (number >> 32) & _ISATAP_BITS == _ISATAP:
        yield last


def is_public(address: Address) -> bool:
    """True when the address, and every IPv4 address inside it, is globally reachable unicast."""
    for part in embedded_addresses(address):
        if any(part in network for network in _INNER):
            return False
        if isinstance(part, IPv6Address) and (part.ipv4_mapped or part in _NAT64):
            # What is reached is the IPv4 address inside.
            continue
        if not part.is_global or part.is_multicast or part.is_reserved or part.is_unspecified:
            return False
        if isinstance(part, IPv6Address) and part.is_site_local:
            return False
    return True


async def resolve(host: str, port: int) -> list[Address]:
    """Every address of a name, in the resolver's order; a name that is being looked up is waited for together."""
    lookup = _lookups.get((host, port))
    if lookup is None:
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        lookup = _lookups[host, port] = _resolvers.submit(look)
        lookup.add_done_callback(lambda _: _lookups.pop((host, port), None))
    try:
        answers = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(lookup)), RESOLVE_SECONDS)
    except TimeoutError:
        message = f"The name {host!r} was not resolved within {RESOLVE_SECONDS:g} s."
        raise TaskError("http_name_unknown", message, transient=True) from None
    except OSError as error:
        raise TaskError(
            "http_name_unknown",
            f"The name {host!r} cannot be resolved: {error.strerror or error}.",
            transient=True,
        ) from None
    return list(dict.fromkeys(ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers))


def literal_address(host: str) -> Address | None:
    """The address that a host is written as, or None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


@dataclass
class Guard:
    """Decides which addresses a connection to host:port may use."""

    allow: AllowList = field(default_factory=lambda: AllowList.parse(os.environ.get("AOB_HTTP_ALLOW", "")))
    resolver: Any = resolve

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The checked addresses. Raises TaskError `http_address_refused` when one of them is not public."""
        found: list[Address] = [literal] if (literal := literal_address(host)) else await self.resolver(host, port)
        for address in found:
            if not is_public(address) and not self.allow.admits(host, address, port):
                raise TaskError(
                    "http_address_refused",
                    f"{host}:{port} leads to {address}, which is not a public address.",
                    transient=False,
                    hint="An operator can allow it by the setting AOB_HTTP_ALLOW.",
                )
        return found


def host_admitted(url: httpx.URL, hosts: Any) -> bool:
    """Whether the URL's host equals one of `host` or `host:port`; without a port every port of the host is meant."""
    name = _plain(url.host)
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    for entry in hosts:
        try:
            granted = httpx.URL(f"//{entry}")
        except httpx.InvalidURL:
            continue
        if name and _plain(granted.host) == name and granted.port in (None, port):
            return True
    return False


def _plain(host: str) -> str:
    return host.lower().rstrip(".")
