"""Neutron's own reading of bodies: takes JSON lines [kind, verb, values], gives {"values"} or {"error"} each.

Run by an environment with neutron-lib.
"""

import json
import logging
import sys
import types

from neutron_lib import exceptions
from neutron_lib.api import attributes
from neutron_lib.api.definitions import vpn, vpn_aes_ctr, vpn_endpoint_groups, vpn_flavors
from webob import exc

logging.disable(logging.CRITICAL)
TABLES = {**vpn.RESOURCE_ATTRIBUTE_MAP, **vpn_endpoint_groups.RESOURCE_ATTRIBUTE_MAP}
for definition in (vpn_aes_ctr, vpn_flavors):
    for plural, attributes_of in definition.RESOURCE_ATTRIBUTE_MAP.items():
        TABLES[plural] = {**TABLES[plural], **attributes_of}
CONTEXT = types.SimpleNamespace(project_id="a", can_set_project_id=True)


def judged(plural, verb, values):
    table = dict(TABLES[plural])
    table["project_id"] = table["tenant_id"]
    table["name"] = {**table["name"], "validate": {"type:string": 255}}  # as up to 2026.1
    info = attributes.AttributeInfo(table)
    info.populate_project_id(CONTEXT, values, verb == "post")
    info.verify_attributes(values)
    if verb == "post":
        info.fill_post_defaults(values, exc_cls=exc.HTTPBadRequest)
    else:
        for name, spec in table.items():
            if name in values and not spec["allow_put"]:
                raise exc.HTTPBadRequest(f"Cannot update read-only attribute {name}")
    info.convert_values(values, exc_cls=exc.HTTPBadRequest)
    return values


for line in sys.stdin:
    try:
        answer = {"values": judged(*json.loads(line))}
    except (exc.HTTPBadRequest, exceptions.NeutronException) as error:
        answer = {"error": [type(error).__name__, getattr(error, "detail", None) or str(error)]}
    except Exception as error:
        answer = {"defect": repr(error)}
    print(json.dumps(answer))
