"""Every declared object at once, and what must hold between objects of different kinds.

``World`` (``objects``) holds every object with the lookups that checks need, so that a change of one object
looks at what that change touches (``touch``) and not at everything; ``checks`` says what does not hold.
"""
