"""How amounts and names are put into words, for people and for JSON; importing it costs nothing."""

from __future__ import annotations

from .errors import printable


def counted(entries: int) -> str:
    """`1 entry`, `12,345 entries`."""
    return f"{entries:,} {'entry' if entries == 1 else 'entries'}"


def amounts(entries: int | None, size: int, seconds: float) -> str:
    """`12,345 entries, 1.23 GB in 0.52 s (2.37 GB/s)`; None: the entries are not known."""
    return f"{'' if entries is None else f'{counted(entries)}, '}{human(size)}{pace(size, seconds)}"


def pace(size: int, seconds: float) -> str:
    """` in 0.52 s (2.37 GB/s)`; without the rate where no time has passed."""
    rate = f" ({human(size / seconds)}/s)" if seconds > 0 else ""
    return f" in {seconds:.2f} s{rate}"


def how_far(current: int, total: int | None) -> str:
    """`1.23 GB of 4.56 GB (27 %)`; None: the total is not known."""
    if total is None:
        return human(current)
    return f"{human(current)} of {human(total)} ({min(100 * current // total, 100) if total > 0 else 100} %)"


def still(seconds: float | None) -> str:
    """`, 12:34 left`, `, 1:02:03 left`; "" where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f", {hours}:{minutes:02}:{rest:02} left" if hours else f", {minutes}:{rest:02} left"


def human(size: float) -> str:
    """Bytes in decimal units with three significant digits: 999 B, 1.00 kB, 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 999.5 or unit == "PB":
            break
        size /= 1000
    if unit == "B":
        return f"{size:.0f} B"
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {unit}"


def json_text(text: str | None) -> str | None:
    r"""`text` as JSON may hold it: exact if it is valid Unicode, else with bad bytes as \xNN."""
    if text is not None:
        try:
            text.encode()
        except UnicodeEncodeError:
            return printable(text)
    return text
