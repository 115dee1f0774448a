from __future__ import annotations

from edgeward.node.envoy.rejections import Rejections
from edgeward.xds import messages
from edgeward.xds.events import Refused


def refused(name: str, type_url: str = messages.LISTENER) -> Refused:
    return Refused(type_url, name, "v1", f"listen/default/{name}", "bad")


def objects(rejections: Rejections) -> set[str]:
    return {r.object.rpartition("/")[2] for r in rejections.all()}


def test_while_no_envoy_serves_everything_is_told() -> None:
    found = Rejections()
    found.add(refused("a"), 1, generation=1)
    found.add(refused("b"), 1, generation=2)

    assert objects(found) == {"a", "b"}


def test_what_only_an_envoy_that_starts_or_drains_refuses_is_not_told() -> None:
    found = Rejections()
    found.keep(1, [1, 2])
    found.add(refused("both"), 1, generation=1)
    found.add(refused("old"), 1, generation=1)
    found.add(refused("both"), 1, generation=2)
    found.add(refused("new"), 1, generation=2)
    assert objects(found) == {"both", "old"}

    found.keep(2, [2])
    assert objects(found) == {"both", "new"}


def test_what_an_envoy_refused_that_never_served_is_forgotten_with_it() -> None:
    found = Rejections()
    found.keep(1, [1, 2])
    found.add(refused("new"), 1, generation=2)
    found.keep(1, [1])
    found.keep(None, ())

    assert objects(found) == set()


def test_a_refused_certificate_is_told_whoever_refused_it() -> None:
    found = Rejections()
    found.add(refused("shop.example", messages.SECRET), 1, generation=1)
    found.keep(2, [2])

    assert objects(found) == {"shop.example"}
