"""Random trees and options: what is counted ahead is what is written."""

from __future__ import annotations

import io
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tarcast
from tests.property.test_against_original import on_disk, sources
from tests.support.options import examples
from tests.support.trees import Example


@settings(
    max_examples=80,
    deadline=None,
    print_blob=True,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(example=examples(), align=st.booleans(), sparse=st.booleans())
def test_count_is_what_is_written(scratch: Path, example: Example, align: bool, sparse: bool) -> None:
    with on_disk(example.nodes, scratch) as directory:
        last: list[tarcast.Progress] = []
        try:
            result = tarcast.write_tar(
                sources(example, directory),
                io.BytesIO(),
                threads=1,
                align=align,
                sparse=sparse,
                count_first=True,
                progress=last.append,
            )
        except tarcast.InputError:  # the tree holds what no archive can: nothing to compare
            return
    assert (last[-1].total_entries, last[-1].total_bytes) == (result.entries, result.bytes_written)
