"""Tests against a real kube-apiserver and etcd, started by the tests themselves."""
