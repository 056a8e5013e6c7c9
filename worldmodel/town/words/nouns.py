"""Nouns: what the things of the town are called."""

NAMES = {"cone": "traffic cone", "barrier": "road barrier", "van": "van", "bus": "bus"}
PLURALS = {"bus": "buses"}
SMALL_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def noun(kind: str) -> str:
    """How a kind of body is called."""
    return NAMES.get(kind, kind.replace("_", " "))


def plural(name: str) -> str:
    """More than one of it."""
    return PLURALS.get(name, f"{name}s")


def a(name: str) -> str:
    """The noun with its article."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def number(count: int) -> str:
    """A small number as a word."""
    return SMALL_NUMBERS[count] if count < len(SMALL_NUMBERS) else str(count)


def listed(parts: list[str]) -> str:
    """'x', 'x and y', 'x, y and z'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
