"""tarcast beside its peers, on a tree and a machine of the user's: what `tarcast bench` is made of.

`peers` finds who takes part, `measure` runs one of them once (`processes`, `worker`), `rounds` all of them in
turn; `stats`, `table` and `plot` say what came of it. The developers' `benchmarks/` share the parts.
"""
