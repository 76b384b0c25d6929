"""Who is believed about others: the proxies in front of this one, whose X-Forwarded-* and Forwarded are passed on."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: what is no address of the public internet: load balancers and ingresses stand there, strangers do not
PRIVATE = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)


class Trust:
    """Addresses that are trusted. Clients on a Unix socket always are: only a local program can be there."""

    def __init__(self, networks: Sequence[str]) -> None:
        """Raises ``ValueError`` for what is neither an address nor a network."""
        self._networks: list[Network] = [ipaddress.ip_network(network, strict=False) for network in networks]
        self.includes = lru_cache(maxsize=4096)(self._includes)

    @classmethod
    def everybody(cls) -> Trust:
        return cls(["0.0.0.0/0", "::/0"])

    @classmethod
    def parse(cls, text: str) -> Trust:
        """Read a comma-separated list of addresses, networks, ``private``, ``all`` and ``none``."""
        networks: list[str] = []
        for word in filter(None, (word.strip() for word in text.split(","))):
            networks += _WORDS.get(word, [word])
        return cls(networks)

    def _includes(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            return True
        return any(address in network for network in self._networks)


_WORDS = {"private": PRIVATE, "all": ("0.0.0.0/0", "::/0"), "none": ()}
