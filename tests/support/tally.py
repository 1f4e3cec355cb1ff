"""How many random trees were really compared: a property that skips all its examples proves nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    examples: int = 0
    compared: int = 0
    clashes: int = 0
    refused: int = 0
    differences: int = 0

    def __str__(self) -> str:
        return (
            f"compared {self.compared} random trees with the original, {self.differences} differences"
            f" ({self.clashes} of them where its open refuses what its walk kept;"
            f" {self.refused} that it refuses, refused here too)"
        )


TALLY = Tally()
