"""What can be said of manifests without running them: one topic a file, each a function ``check(bundle)``.

A check reads a whole Bundle and yields what it finds as (the object it is about, Problem). It never raises
for what manifests say, and says nothing above ``info`` that is not certainly so: a false alarm costs more
than a miss. Every code that it uses stands in ``argosy.manifests.checks.rules``, with an example that
produces it. ``argosy.manifests.crosscheck`` runs them all.
"""
