"""Tunnels by Libreswan: one pluto for each gateway, asked by whack and addconn, each connection by itself."""
