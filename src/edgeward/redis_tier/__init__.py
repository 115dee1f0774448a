"""The tier of certificates between nodes and controllers: sealed entries in a Redis that nobody trusts."""
