"""Two customers of an edge, and the internet between, on one machine; everything goes when it ends (Ctrl-C):

    sudo .venv/bin/python examples/everything/customers.py

Needs Debian's charon-systemd, libcharon-extra-plugins, libstrongswan-extra-plugins, iproute2 and util-linux.
"""

from edgeward.cli.demo import customers

if __name__ == "__main__":
    customers.run()
