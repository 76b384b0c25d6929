"""Who may do what, as arithmetic: scopes, filters, roles. Pure functions; the rows they judge come from ``hub/store``.

``scopes`` is the vocabulary, ``expand`` turns what was written down into what is held, ``scope_set`` answers questions
about it, ``grants`` says what may be handed on to a token, client or share, and ``roles`` plans a start-up.
"""
