"""Which visitors' server names reach the certificate selector; all others are turned away before it.

The selector subscribes to a name as the visitor spelled it. ``xdstp://x`` ends Envoy 1.40 (its parser
throws on the main thread), and a name that is no UTF-8 makes Envoy refuse the answer and its stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeward.xds import messages as m

_NAME = "[A-Za-z0-9_.-]{1,254}"  # a trailing dot included
_ANY_BYTES = r"\C+"  # RE2's dot and [^…] do not match what is no UTF-8
_NOBODY = "nobody"  # there is no such chain: Envoy closes the connection


def chain_matcher(proxies: Sequence[str]) -> Any:
    """Choose the chain by name and, where ``proxies`` (networks) are trusted, by address."""
    served = _by_address(proxies) if proxies else _chain("strangers")
    return m.ChainMatcher(
        matcher_list=m.ChainMatcher.MatcherList(
            matchers=[
                m.ChainMatcher.MatcherList.FieldMatcher(predicate=_named(_NAME), on_match=served),
                m.ChainMatcher.MatcherList.FieldMatcher(
                    predicate=_named(_ANY_BYTES), on_match=_chain(_NOBODY)
                ),
            ]
        ),
        on_no_match=served,  # no name at all: the selector's default
    )


def _named(regex: str) -> Any:
    match = m.ChainRegex(regex=regex)
    match.google_re2.SetInParent()
    return m.ChainMatcher.MatcherList.Predicate(
        single_predicate=m.ChainMatcher.MatcherList.Predicate.SinglePredicate(
            input=_typed("envoy.matching.inputs.server_name", m.ServerNameInput()),
            value_match=m.ChainString(safe_regex=match),
        )
    )


def _by_address(proxies: Sequence[str]) -> Any:
    ranges = []
    for network in sorted(set(proxies)):
        prefix, _, bits = network.partition("/")
        ranges.append(m.ChainRange(address_prefix=prefix, prefix_len=m.UInt32Value(value=int(bits))))
    addresses = m.ChainAddresses(
        range_matchers=[m.ChainAddresses.IPRangeMatcher(ranges=ranges, on_match=_chain("proxies"))]
    )
    tree = m.ChainMatcher.MatcherTree(
        input=_typed("envoy.matching.inputs.source_ip", m.SourceIPInput()),
        custom_match=_typed("ip", addresses),
    )
    return m.ChainMatcher.OnMatch(matcher=m.ChainMatcher(matcher_tree=tree, on_no_match=_chain("strangers")))


def _chain(name: str) -> Any:
    return m.ChainMatcher.OnMatch(action=_typed(name, m.StringValue(value=name)))


def _typed(name: str, message: Any) -> Any:
    return m.ChainExtension(name=name, typed_config=m.packed(message))
