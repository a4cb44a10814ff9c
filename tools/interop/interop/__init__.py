"""The differential suite: the same steps on real etcd and on the server under test."""
