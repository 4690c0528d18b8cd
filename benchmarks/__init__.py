"""
Measure this package side by side with its peers, in one run, on one machine.

``python -m benchmarks`` needs nothing but Python: the peers are installed from their
published distributions into environments of their own under ``.benchmarks``.
"""
