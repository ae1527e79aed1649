"""Review: people decide what no rule can, together, and can take it back (promises P4 to P7).

``kinds`` is what the rooms declare: which cases there are, what may be decided, who reacts to it. ``cases`` opens and
closes cases and leases them; ``deciding`` previews and decides; ``reversing`` takes decisions back; ``approving`` asks a
second person. docs/adr/0011 says why it is built so.
"""
