"""The names that somebody may have meant."""

from collections.abc import Iterable


def nearest_names(name: str, known: Iterable[str], n: int = 3, cutoff: float = 0.6) -> list[str]:
    """Up to `n` known names that look like the one given, the likeliest first; `cutoff` from 0 to 1 is how alike."""
    from difflib import get_close_matches  # only errors need it, and it is slow to import

    return get_close_matches(name, list(known), n=n, cutoff=cutoff)
