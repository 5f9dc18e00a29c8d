"""The expression languages of manifests, each compiled once. No word of events, sensors or triggers in here."""
