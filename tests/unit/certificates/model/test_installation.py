"""What the API says of a webhook's URL is what it takes: one that everybody may see, or a secret."""

from __future__ import annotations

from edgeward.certificates.model import Alarms


def test_the_schema_allows_each_spelling_in_one_way():
    of_webhook = Alarms.model_json_schema()["properties"]["webhook"]
    url, secret = of_webhook["anyOf"][0]["oneOf"]

    assert url["type"] == "string"
    assert [one["type"] for one in secret["anyOf"]] == ["object", "object"]  # a text would be both
    assert [one["required"] for one in secret["anyOf"]] == [["secret"], ["kept"]]
