"""Has another daemon show that it is there and takes what it is to carry, while the present one goes on."""

from __future__ import annotations

from edgeward.errors import Invalid, Unavailable
from edgeward.node.tunnels.daemons import Daemons
from edgeward.node.tunnels.root import Root
from edgeward.vpn.plan import Leave, Rehearse


async def rehearse(step: Rehearse, root: Root, daemons: Daemons) -> None:
    """Start it in a namespace that leads nowhere, and load everything; raises Unavailable with the reason."""
    await root.do("remove-namespace", namespace=step.namespace)  # what a killed one left behind
    await root.do("create-namespace", namespace=step.namespace)
    try:
        driver = await daemons.start(step.namespace, step.driver, ())
        try:
            for one in step.connections:
                await driver.load(one, None, initiate=False)
        finally:
            await driver.close()
    except (Invalid, Unavailable) as error:
        raise Unavailable(f"{step.driver} cannot take over, all stays as it is: {error}") from error
    finally:
        await root.do("remove-namespace", namespace=step.namespace)


async def leave(step: Leave, root: Root) -> None:
    """Have the present one end, and its keys stay; raises Unavailable, and then it goes on."""
    try:
        await root.do("leave-keys", namespace=step.namespace, driver=step.driver)
    except Unavailable as error:
        raise Unavailable(f"{step.driver} cannot take over, all stays as it is: {error}") from error
