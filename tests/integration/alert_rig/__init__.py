"""Days of the real exporter in seconds, and what its alerts would have told whom.

`life` lives through them on a clock that the tests move, `history` asks the shipped rules about
what it exposed, `hearing` asks the shipped routes who hears of it.
"""
