"""Which platforms a source has results for, as BuildKit's frontends say it in the metadata."""

from __future__ import annotations

import json
import platform as machine
import sys

from tarcast.errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PLATFORMS_KEY = "refs.platforms"
IMAGE_CONFIG_KEY = "containerimage.config"

_ARCHITECTURES = {
    "i386": "386",
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
}
_IMPLIED_VARIANTS = {"i386": "", "armhf": "v7", "armel": "v6"}
# (architecture, variant) as people write it, and its canonical form (containerd's platforms.Normalize)
_VARIANTS = {
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm64", "v8.0"): "",
    ("arm64", "9"): "v9",
    ("arm64", "9.0"): "v9",
    ("arm64", "v9.0"): "v9",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}
_MACHINES = {
    "i686": "386",
    "i586": "386",
    "armv7l": "arm",
    "armv6l": "arm",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
}


def platform_ids(metadata: Mapping[str, bytes]) -> list[str]:
    """The platforms of a source, in the order given; one alone where the source says nothing of several.

    Raises:
        OptionError: what the metadata says is malformed.
    """
    if PLATFORMS_KEY in metadata:
        listed = (
            _get(_json(metadata[PLATFORMS_KEY], PLATFORMS_KEY), "Platforms")
            if metadata[PLATFORMS_KEY]
            else None
        )
        if not isinstance(listed, list) or not listed:
            raise OptionError(
                f"the platforms mapping ({PLATFORMS_KEY}) is empty", hint='{"Platforms": [{"ID": ...}]}'
            )
        return [_listed_id(item) for item in listed]
    if IMAGE_CONFIG_KEY not in metadata:
        return [default_platform()]
    config = _json(metadata[IMAGE_CONFIG_KEY], IMAGE_CONFIG_KEY)
    system, architecture = _text(config, "os"), _text(config, "architecture")
    if bool(system) != bool(architecture):
        raise OptionError(f"{IMAGE_CONFIG_KEY}: os and architecture must be specified together")
    features = _get(config, "os.features") or []
    if not isinstance(features, list) or not all(isinstance(feature, str) for feature in features):
        raise OptionError(f"{IMAGE_CONFIG_KEY}: os.features is no list of text")
    return [_format(system, architecture, _text(config, "variant"), _text(config, "os.version"), features)]


def default_platform() -> str:
    """The platform of this machine, such as linux/amd64."""
    name = machine.machine().lower()
    variant = {"armv6l": "v6", "armv7l": "v7"}.get(name, "")
    return _format(sys.platform, _MACHINES.get(name, name), variant)


def _format(
    system: str, architecture: str, variant: str, version: str = "", features: list[str] | None = None
) -> str:
    system = system.lower() or sys.platform
    system = {"macos": "darwin"}.get(system, system)
    variant = _IMPLIED_VARIANTS.get(architecture.lower(), variant.lower())
    architecture = _ARCHITECTURES.get(architecture.lower(), architecture.lower())
    variant = _VARIANTS.get((architecture, variant), variant)
    extra = "+".join([version, *sorted(set(features or ()))])
    return "/".join(filter(None, (f"{system}({extra})" if extra else system, architecture, variant)))


def _listed_id(item: Any) -> str:
    identity = _text(item, "ID")
    if not identity:
        raise OptionError(f"the platforms mapping ({PLATFORMS_KEY}) has a platform without ID")
    described = _get(item, "Platform")
    if not _text(described, "os") or not _text(described, "architecture"):
        raise OptionError(f"the platforms mapping ({PLATFORMS_KEY}): {identity} lacks os or architecture")
    return identity


def _json(text: bytes, key: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise OptionError(f"metadata {key} is no JSON: {error}") from error


def _get(values: Any, name: str) -> Any:
    """A member of a JSON object; case does not matter, as to Go."""
    if not isinstance(values, dict):
        return None
    if name in values:
        return values[name]
    return next((value for key, value in values.items() if key.lower() == name.lower()), None)


def _text(values: Any, name: str) -> str:
    value = _get(values, name)
    if value is not None and not isinstance(value, str):
        raise OptionError(f"metadata: {name} must be text, not {value!r}")
    return value or ""
