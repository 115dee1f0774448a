"""The layouts in Redis: what a client finds, whatever was there, at any moment in between."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.controller.openresty import layout
from edgeward.controller.openresty.layout import LINGER, There
from tests.unit.api.openresty.certificates import NOW, made

CERTIFICATES = [made(name, days * 86400.0) for name in ("a.example", "b.example") for days in (1, 7, 90)]


class Redis:
    """As much of Redis as the commands need; time is moved by hand."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.ends: dict[str, float] = {}
        self.now = NOW

    def do(self, command):
        return getattr(self, f"_{command[0].lower()}")(*command[1:])

    def pass_time(self, seconds):
        self.now += seconds
        for key in [k for k, end in self.ends.items() if end <= self.now]:
            self._del(key)

    def there(self, name):
        one, two = layout.questions(name)
        return layout.there(self.do(one), self.do(two))

    def _set(self, key, value, *options):
        if "NX" in options and key in self.values:
            return
        self.values[key] = value
        if "EXAT" in options:
            self.ends[key] = options[options.index("EXAT") + 1]
        elif "KEEPTTL" not in options:
            self.ends.pop(key, None)

    def _del(self, *keys):
        for key in keys:
            self.values.pop(key, None)
            self.ends.pop(key, None)

    def _hset(self, key, *words):
        self.values.setdefault(key, {}).update(zip(words[::2], words[1::2], strict=True))

    def _hget(self, key, field):
        return self.values.get(key, {}).get(field)

    def _hmget(self, key, *fields):
        return [self._hget(key, field) for field in fields]

    def _expireat(self, key, at, option=None):
        if key in self.values and not (option == "GT" and at <= self.ends.get(key, float("inf"))):
            self.ends[key] = at

    def _expire(self, key, seconds, option=None):
        at = self.now + seconds
        if key in self.values and not (option == "LT" and at >= self.ends.get(key, float("inf"))):
            self.ends[key] = at

    def type_1(self, name, ids=None):
        """Read as the client does, ``ids`` perhaps from before a change."""
        c, p, i = ids or self._hmget(f"d1:{name}", "c", "p", "i")
        key, certificate, rest = (self.values.get(k) for k in (f"p:{p}", f"c:{c}", f"i:{i}"))
        return None if None in (key, certificate, rest) else (f"{certificate}\n{rest}", key)

    def type_2(self, name):
        p, f = self._hmget(f"d2:{name}", "p", "f")
        return None if None in (p, f) else (f, p)


def put(redis, certificate, types=(1, 2)):
    for command in layout.put(certificate, types, redis.there(certificate.name)):
        redis.do(command)


changes = st.lists(st.one_of(st.sampled_from(CERTIFICATES), st.sampled_from(["a.example", "b.example"])))


@given(changes)
@settings(max_examples=200)
def test_both_types_give_what_was_put_last_and_nothing_once_it_was_dropped(steps):
    redis, wanted = Redis(), {}
    for step in steps:
        if isinstance(step, str):
            wanted.pop(step, None)
            for command in layout.drop(step, redis.there(step)):
                redis.do(command)
        else:
            wanted[step.name] = step
            put(redis, step)
        for name in ("a.example", "b.example"):
            certificate = wanted.get(name)
            expected = None if certificate is None else (certificate.chain, certificate.key.reveal())
            assert redis.type_1(name) == expected
            assert redis.type_2(name) == expected
    assert all(key in redis.ends for key in redis.values), "everything has an end"


@given(changes)
def test_nothing_is_left_once_everything_has_ended(steps):
    redis = Redis()
    for step in steps:
        if not isinstance(step, str):
            put(redis, step)

    redis.pass_time(91 * 86400.0)

    assert redis.values == {}


def test_who_began_to_read_finds_the_old_chain_with_the_old_key():
    redis, (old, new) = Redis(), CERTIFICATES[:2]
    put(redis, old)
    began = redis.do(("HMGET", "d1:a.example", "c", "p", "i"))

    put(redis, new)

    assert redis.type_1("a.example", began) == (old.chain, old.key.reveal())
    redis.pass_time(LINGER)
    assert redis.type_1("a.example", began) is None
    assert redis.type_1("a.example") == (new.chain, new.key.reveal())


def test_the_shared_rest_of_the_chain_stays_as_long_as_the_last_that_leads_to_it():
    redis, quarter = Redis(), CERTIFICATES[2]
    put(redis, quarter)
    put(redis, CERTIFICATES[3])

    redis.pass_time(2 * 86400.0)

    assert redis.type_1("a.example") == (quarter.chain, quarter.key.reveal())


def test_what_somebody_else_wrote_is_left_alone_until_we_have_a_certificate():
    redis = Redis()
    redis.do(("HSET", "d1:a.example", "c", "1", "p", "100", "i", "1000"))
    redis.do(("SET", "c:1", "theirs"))

    assert layout.drop("a.example", redis.there("a.example")) == []
    put(redis, CERTIFICATES[0])

    assert redis.type_1("a.example") == (CERTIFICATES[0].chain, CERTIFICATES[0].key.reveal())
    assert redis.values["c:1"] == "theirs"
    assert "c:1" not in redis.ends


def test_a_type_that_is_not_wanted_any_more_goes():
    redis = Redis()
    put(redis, CERTIFICATES[0])

    put(redis, CERTIFICATES[0], types=(2,))

    assert redis.type_1("a.example") is None
    assert redis.type_2("a.example") is not None


def test_a_chain_of_one_certificate_has_an_empty_rest_that_exists():
    from dataclasses import replace

    from edgeward.api.openresty.payload import leaf_and_rest

    redis, leaf = Redis(), leaf_and_rest(CERTIFICATES[0].chain)[0]
    put(redis, replace(CERTIFICATES[0], chain=leaf))

    assert redis.type_1("a.example") == (leaf, CERTIFICATES[0].key.reveal())


def test_before_there_is_anything_there_is_nothing_of_ours():
    assert Redis().there("a.example") == There()
