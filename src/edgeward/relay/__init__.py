"""The relay: takes streams on given sockets and carries them to a backend whose address may move."""
