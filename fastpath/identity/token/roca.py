"""RSA keys of the ROCA kind (CVE-2017-15361): primes of a form that can be factored in affordable time. Pure.

Nemec, Sys, Svenda, Klinec, Matyas: "The Return of Coppersmith's Attack", CCS 2017. Such primes are
k * M + (65537^a mod M), M a product of small primes, so modulo each of those the modulus is a power of 65537, too.
"""

from typing import Final

_PRIMES: Final = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97),
    *(101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)


def is_roca(modulus: int) -> bool:
    """Whether a modulus bears the mark; another key does by chance less than once in a hundred million."""
    return all(modulus % prime in _powers(prime) for prime in _PRIMES)


def _powers(prime: int) -> set[int]:
    found, power = set(), 1
    while power not in found:
        found.add(power)
        power = power * 65537 % prime
    return found
