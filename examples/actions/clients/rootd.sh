#!/bin/sh
# Asks rootd to run an action: rootd.sh ipsec-reload ['{"connection": "berlin"}']; prints its answer, JSON.
request="{\"action\": \"$1\", \"values\": ${2:-"{}"}}"
length=$(printf %s "$request" | wc -c)
{
    printf "\\0\\0\\$(printf %03o $((length / 256)))\\$(printf %03o $((length % 256)))%s" "$request"
} | socat -t 60 - "UNIX-CONNECT:${ROOTD_SOCKET:-/run/edgeward-rootd/rootd.sock}" | tail -c +5
echo
