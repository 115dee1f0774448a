from __future__ import annotations

from edgeward.xds.blame import blamed


def test_envoys_sentence_about_clusters_is_taken_apart() -> None:
    text = (
        "Error adding/updating cluster(s) default/shop: cluster: eds_config is wrong, other/api: bad field: x"
    )

    assert blamed(text, ["default/shop", "other/api", "default/fine"]) == {
        "default/shop": "cluster: eds_config is wrong",
        "other/api": "bad field: x",
    }


def test_envoys_sentence_about_listeners_is_taken_apart() -> None:
    text = (
        "Error adding/updating listener(s) https 127.0.0.1:443: cannot bind '127.0.0.1:443'\n"
        "http 127.0.0.1:80: no such thing\n"
    )

    assert blamed(text, ["https 127.0.0.1:443", "http 127.0.0.1:80", "https [::1]:443"]) == {
        "https 127.0.0.1:443": "cannot bind '127.0.0.1:443'",
        "http 127.0.0.1:80": "no such thing",
    }


def test_a_name_inside_another_is_not_blamed() -> None:
    assert blamed("Error: xdefault/shop: wrong, default/shop2: wrong", ["default/shop"]) == {}


def test_a_text_that_names_nothing_blames_nobody() -> None:
    assert blamed("Proto constraint validation failed", ["a", "b"]) == {}
