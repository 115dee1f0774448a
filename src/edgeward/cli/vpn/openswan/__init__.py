"""Reads what Openswan and Libreswan keep: ``ipsec.conf`` and ``ipsec.secrets``."""
