from .scan import Member

def text_and_raw(name: bytes) -> tuple[str, bytes | None]:
    """A name as two columns: text, and the bytes themselves where they are no UTF-8."""

def row(member: Member) -> tuple[str | bytes | int | None, ...]:
    """The member's columns, in the order of tarcast.index.form.COLUMNS; what says nothing is None."""

def json_lines(members: list[Member]) -> bytes:
    """Each member as a line of JSON; see docs/index.md for the fields."""
