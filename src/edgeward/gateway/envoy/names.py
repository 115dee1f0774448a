"""Which visitors' server names reach the certificate selector; all others are turned away before it.

The selector subscribes to a name as the visitor spelled it. ``xdstp://x`` ends Envoy 1.40 (its parser
throws on the main thread), and a name that is no UTF-8 makes Envoy refuse the answer and its stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeward.gateway.envoy.proxied import believed, by_network, typed
from edgeward.xds import messages as m

_NAME = "[A-Za-z0-9_.-]{1,254}"  # a trailing dot included
_ANY_BYTES = r"\C+"  # RE2's dot and [^…] do not match what is no UTF-8
NOBODY = "nobody"  # there is no such chain: Envoy closes the connection


def chain_matcher(proxies: Sequence[str], balancers: Sequence[str]) -> Any:
    """Choose the chain by name and, where ``proxies`` (networks) are trusted, by address.

    ``balancers`` (networks): who may speak the PROXY protocol.
    """
    served = chain_by_address(proxies)
    guard = m.ChainMatcher(
        matcher_list=m.ChainMatcher.MatcherList(
            matchers=[
                m.ChainMatcher.MatcherList.FieldMatcher(predicate=_named(_NAME), on_match=served),
                m.ChainMatcher.MatcherList.FieldMatcher(predicate=_named(_ANY_BYTES), on_match=chain(NOBODY)),
            ]
        ),
        on_no_match=served,  # no name at all: the selector's default
    )
    if not balancers:
        return guard
    return believed(balancers, m.ChainMatcher.OnMatch(matcher=guard), chain(NOBODY)).matcher


def plain_chain_matcher(proxies: Sequence[str], balancers: Sequence[str]) -> Any:
    """Choose the chain of a listener where no names are said, and the PROXY protocol is spoken."""
    return believed(balancers, chain_by_address(proxies), chain(NOBODY)).matcher


def chain_by_address(proxies: Sequence[str]) -> Any:
    if not proxies:
        return chain("strangers")
    return by_network(m.SourceIPInput(), proxies, chain("proxies"), chain("strangers"))


def _named(regex: str) -> Any:
    match = m.ChainRegex(regex=regex)
    match.google_re2.SetInParent()
    return m.ChainMatcher.MatcherList.Predicate(
        single_predicate=m.ChainMatcher.MatcherList.Predicate.SinglePredicate(
            input=typed("envoy.matching.inputs.server_name", m.ServerNameInput()),
            value_match=m.ChainString(safe_regex=match),
        )
    )


def chain(name: str) -> Any:
    return m.ChainMatcher.OnMatch(action=typed(name, m.StringValue(value=name)))
