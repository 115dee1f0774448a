"""OpenStack's objects of networks and of VPN as a service as they are declared, and what they mean."""
