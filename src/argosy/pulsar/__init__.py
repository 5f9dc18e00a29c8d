"""Apache Pulsar for the source and the trigger: how a manifest says where it is and who we are, and a client of it."""
