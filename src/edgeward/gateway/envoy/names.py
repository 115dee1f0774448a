"""Which visitors' server names reach the certificate selector; all others are turned away before it.

The selector subscribes to a name as the visitor spelled it. ``xdstp://x`` ends Envoy 1.40 (its parser
throws on the main thread), and a name that is no UTF-8 makes Envoy refuse the answer and its stream.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import re2

from edgeward.gateway.envoy.chains import COMMON, Names, checks, variants
from edgeward.gateway.envoy.proofs import checked_first
from edgeward.gateway.envoy.proxied import believed, by_network, typed
from edgeward.xds import messages as m

_NAME = "[A-Za-z0-9_.-]{1,254}"  # a trailing dot included
_ANY_BYTES = r"\C+"  # RE2's dot and [^…] do not match what is no UTF-8
NOBODY = "nobody"  # there is no such chain: Envoy closes the connection


def chain_matcher(
    names: Names, proxies: Sequence[str], balancers: Sequence[str], *, proofs: bool = False
) -> Any:
    """Choose the chain by name and, where ``proxies`` (networks) are trusted, by address.

    ``balancers`` (networks): who may speak the PROXY protocol. ``proofs``: whether the node answers an
    authority's checks.
    """
    matcher = _by_name(names, proxies)
    if proofs:
        matcher = checked_first(m.ChainMatcher.OnMatch(matcher=_by_name(checks(names), ())), matcher)
    if not balancers:
        return matcher
    return believed(balancers, m.ChainMatcher.OnMatch(matcher=matcher), chain(NOBODY)).matcher


def _by_name(names: Names, proxies: Sequence[str]) -> Any:
    served = chain_of(names.others, proxies)
    nameless = chain_of(names.nameless, proxies)
    guard = m.ChainMatcher(
        matcher_list=m.ChainMatcher.MatcherList(
            matchers=[
                *(_when(_below(found), chain_of(own, proxies)) for own, found in _grouped(names.wildcards)),
                _when(_NAME, served),
                _when(_ANY_BYTES, chain(NOBODY)),
            ]
        ),
        on_no_match=nameless,  # no name at all: the selector's default
    )
    return _exactly(names.exact, proxies, guard)


def _exactly(names: Mapping[str, str], proxies: Sequence[str], otherwise: Any) -> Any:
    if not names:
        return otherwise
    chains = {own: chain_of(own, proxies) for own in sorted(set(names.values()))}
    spelled = {f"{name}{dot}": chains[own] for name, own in names.items() for dot in ("", ".")}
    tree = m.ChainMatcher.MatcherTree(
        input=typed("envoy.matching.inputs.server_name", m.ServerNameInput()),
        exact_match_map=m.ChainMatcher.MatcherTree.MatchMap(map=spelled),
    )
    return m.ChainMatcher(matcher_tree=tree, on_no_match=m.ChainMatcher.OnMatch(matcher=otherwise))


def _grouped(wildcards: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = defaultdict(list)
    for pattern in sorted(wildcards):
        found[wildcards[pattern]].append(pattern.removeprefix("*."))
    return sorted(found.items())


def _below(suffixes: Sequence[str]) -> str:
    """Give the expression of any one label below these; Envoy has names in lower case here."""
    return rf"[a-z0-9-]{{1,63}}\.(?:{'|'.join(re2.escape(s) for s in suffixes)})\.?"


def _when(regex: str, then: Any) -> Any:
    return m.ChainMatcher.MatcherList.FieldMatcher(predicate=_named(regex), on_match=then)


def plain_chain_matcher(proxies: Sequence[str], balancers: Sequence[str]) -> Any:
    """Choose the chain of a listener where no names are said, and the PROXY protocol is spoken."""
    return believed(balancers, chain_of(COMMON, proxies), chain(NOBODY)).matcher


def chain_of(own: str, proxies: Sequence[str]) -> Any:
    """Decide for a chain, in the variant for trusted proxies where there is one."""
    strangers, trusted = variants(own)
    if not proxies or trusted is None:
        return chain(strangers)
    return by_network(m.SourceIPInput(), proxies, chain(trusted), chain(strangers))


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
