"""OpenStack's Networking API v2.0 as far as its VPN-as-a-service goes, over what is declared here."""
