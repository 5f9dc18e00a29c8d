"""NATS, as the sources and the trigger share it: how a manifest says where it is and who we are."""
