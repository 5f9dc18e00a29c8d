"""Talking to a Kubernetes API server: where it is and who we are (``config``), and what it is asked
(``client``).
"""
