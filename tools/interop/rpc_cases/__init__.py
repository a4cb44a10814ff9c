"""RPC sequences that etcdctl cannot send; each module has its list `CASES`."""
