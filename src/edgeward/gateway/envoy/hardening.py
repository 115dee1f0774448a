"""What Envoy does not refuse by itself: misdirected requests, two Hosts, TRACE, forged forwarding headers."""

from __future__ import annotations

from typing import Any

from edgeward.xds import messages as m

_MISDIRECTED, _TWO_HOSTS, _METHOD, _NO_HOST = "misdirected", "two-hosts", "method", "no-host"
# Envoy itself overwrites x-forwarded-proto and -port and drops x-forwarded-client-cert and most x-envoy-…
_FORGEABLE = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-prefix",
    "x-original-url",
    "x-rewrite-url",
    "x-envoy-original-host",
    "x-envoy-attempt-count",
)


FILTER = "envoy.filters.http.rbac"


def denials(*, secure: bool, default_domain: str | None) -> Any:
    """Give the HTTP filter that denies what must never be routed."""
    policies = {
        _TWO_HOSTS: _policy(_header(":authority", m.StringMatcher(contains=","))),
        _METHOD: _method(),
    }
    if secure:
        policies[_MISDIRECTED] = _misdirected(default_domain)
    else:  # there is no SNI to hold it to, and redirects say it back
        name = m.StringMatcher(safe_regex=m.RegexMatcher(regex="[A-Za-z0-9.-]+"))
        policies[_NO_HOST] = _policy(m.Permission(not_rule=_header(":authority", name)))
    rules = m.RBAC(action=m.RBAC.DENY, policies=policies)
    return m.HttpFilter(
        name=FILTER,
        typed_config=m.packed(m.RbacFilter(rules=rules, rules_stat_prefix="edge_")),
    )


def denials_for(host: str, default_domain: str | None) -> Any:
    """Give the same denials for a virtual host of one exact host, where no expression need be evaluated.

    That virtual host is chosen by the Host (so there is one, and it is this), which leaves to compare
    the SNI with a constant; the expression costs 6 µs of a request's 53.
    """
    names = [host, f"{host}."] + ([""] if host == default_domain else [])
    served = [
        m.Permission(requested_server_name=m.StringMatcher(exact=name, ignore_case=True)) for name in names
    ]
    other = m.Permission(not_rule=m.Permission(or_rules=m.Permission.Set(rules=served)))
    policies = {_METHOD: _method(), _MISDIRECTED: _policy(other)}
    rules = m.RBAC(action=m.RBAC.DENY, policies=policies)
    return m.packed(m.RbacPerRoute(rbac=m.RbacFilter(rules=rules, rules_stat_prefix="edge_")))


def _method() -> Any:
    refused = [
        _header(":method", m.StringMatcher(exact=name, ignore_case=True))
        for name in ("TRACE", "TRACK", "CONNECT")
    ]
    return _policy(m.Permission(or_rules=m.Permission.Set(rules=refused)))


def _header(name: str, match: Any) -> Any:
    return m.Permission(header=m.HeaderMatcher(name=name, string_match=match))


def _policy(permission: Any, condition: Any = None) -> Any:
    return m.Policy(permissions=[permission], principals=[m.Principal(any=True)], condition=condition)


def _misdirected(default_domain: str | None) -> Any:
    """Deny where SNI and Host differ (RFC 9110 7.4), so that no certificate vouches for another's site.

    Port and trailing dot of the Host are stripped before; an SNI may have the dot that RFC 6066 3
    forbids. Without SNI only the default domain may be asked for.
    """
    host = _call("lowerAscii", _select("request", "host"), member=True)
    name = _call("lowerAscii", _select("connection", "requested_server_name"), member=True)
    differs = _call(
        "_&&_",
        _call("_!=_", host, name),
        _call("_!=_", _call("_+_", host, _text(".")), name),
    )
    if default_domain is not None:
        bare = _call("_&&_", _call("_==_", name, _text("")), _call("_==_", host, _text(default_domain)))
        differs = _call("_&&_", differs, _call("!_", bare))
    policy = _policy(m.Permission(any=True), differs)
    policy.cel_config.enable_string_functions = True
    policy.cel_config.enable_string_concat = True
    return policy


def _select(root: str, field: str) -> Any:
    operand = m.Expr(ident_expr=m.Expr.Ident(name=root))
    return m.Expr(select_expr=m.Expr.Select(operand=operand, field=field))


def _text(value: str) -> Any:
    return m.Expr(const_expr=m.Constant(string_value=value))


def _call(function: str, *arguments: Any, member: bool = False) -> Any:
    if member:
        return m.Expr(call_expr=m.Expr.Call(target=arguments[0], function=function, args=list(arguments[1:])))
    return m.Expr(call_expr=m.Expr.Call(function=function, args=list(arguments)))


def forget_forged_headers() -> Any:
    """Remove what a stranger says of where the request comes from, before anything reads it."""
    return m.extension(
        "envoy.http.early_header_mutation.header_mutation",
        m.EarlyHeaderMutation(mutations=[m.HeaderMutation(remove=name) for name in _FORGEABLE]),
    )


# --- plain pages -------------------------------------------------------------------------------


def local_replies() -> Any:
    """Give short plain pages for what Envoy itself answers; a denial gets the status it deserves."""
    return m.LocalReplyConfig(
        mappers=[
            _denied(_MISDIRECTED, 421, "Misdirected Request: this connection is for another host name."),
            _denied(_TWO_HOSTS, 400, "Bad Request: say one host."),
            _denied(_NO_HOST, 400, "Bad Request: the host is no domain name."),
            _denied(_METHOD, 405, "Method Not Allowed."),
            _page(404, "Not Found: there is no such page here."),
            _page(429, "Too Many Requests: please slow down."),
            _said("overflow", "Service Unavailable: too many visitors at once. Please try again soon."),
            _page(503, "Service Unavailable: the site's server does not answer. Please try again soon."),
            _page(504, "Gateway Timeout: the site's server took too long."),
        ],
        body_format=_text_body("%RESPONSE_CODE% %LOCAL_REPLY_BODY%\n"),
    )


def _denied(policy: str, status: int, page: str) -> Any:
    return m.ResponseMapper(
        filter=_expression(f"response.code_details == 'rbac_access_denied_matched_policy[{policy}]'"),
        status_code=m.UInt32Value(value=status),
        body_format_override=_text_body(f"{status} {page}\n"),
    )


def _said(word: str, page: str) -> Any:
    """Give the page of a 503 for which Envoy's own reason has this word."""
    return m.ResponseMapper(
        filter=_expression(f"response.code == 503 && response.code_details.contains('{word}')"),
        body_format_override=_text_body(f"503 {page}\n"),
    )


def _page(status: int, page: str) -> Any:
    return m.ResponseMapper(
        filter=_expression(f"response.code == {status}"),
        body_format_override=_text_body(f"{status} {page}\n"),
    )


def _expression(text: str) -> Any:
    return m.AccessLogFilter(
        extension_filter=m.ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=m.packed(m.ExpressionFilter(expression=text)),
        )
    )


def _text_body(text: str) -> Any:
    return m.SubstitutionFormatString(text_format_source=m.DataSource(inline_string=text))
