"""Owns what a target is: a row with what was promised, what was measured, and whether that is met."""


def at_most(key: str, what: str, measured: float, bound: float) -> dict:
    return _row(key, what, f"{bound:g} or less" if bound else "0", measured, bool(measured <= bound))


def at_least(key: str, what: str, measured: float, bound: float) -> dict:
    return _row(key, what, f"{bound:g} or more", measured, bool(measured >= bound))


def figure(key: str, what: str, measured: float) -> dict:
    """That it be measured is all that was promised."""
    return _row(key, what, "", measured, None)


def _row(key: str, what: str, target: str, measured: float, met: bool | None) -> dict:
    return {"key": key, "what": what, "target": target, "measured": measured, "met": met}
