"""Owns raw access to the gRPC API for the tools in Python: message classes made from our own .proto
files at run time, and calls by name. Needs the packages grpcio and grpcio-tools.

Never hides a reply: an error comes back as (code, text). Invariant: no generated file is kept.
"""

import os
import tempfile

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../net/wire/proto")


def _load():
    names = sorted(name for name in os.listdir(PROTO) if name.endswith(".proto"))
    with tempfile.TemporaryDirectory() as tmp:
        out = f"{tmp}/all"
        status = protoc.main(["protoc", f"-I{PROTO}", "--include_imports",
                              f"--descriptor_set_out={out}", *names])
        if status != 0:
            raise RuntimeError(f"protoc failed on {PROTO}")
        with open(out, "rb") as data:
            files = descriptor_pb2.FileDescriptorSet.FromString(data.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool, files


POOL, _FILES = _load()
METHODS = {
    f"{service.name}/{method.name}": (file.package, method)
    for file in _FILES.file
    for service in file.service
    for method in service.method
}


def message(name, /, **fields):
    """A message of package etcdserverpb, or of the package named before the dot."""
    full = name if "." in name else f"etcdserverpb.{name}"
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(full))(**fields)


class Failed(Exception):
    """A call that ended with an error status."""

    def __init__(self, error):
        super().__init__(f"{error.code().name}: {error.details()}")
        self.code, self.text = error.code().name, error.details()
        self.number = error.code().value[0]


class Api:
    """One connection. `api.call("KV/Put", message)`, `api.stream("Watch/Watch", messages)`."""

    def __init__(self, endpoint, options=()):
        self.channel = grpc.insecure_channel(
            endpoint,
            options=[("grpc.max_receive_message_length", -1),
                     ("grpc.max_send_message_length", -1),
                     ("grpc.use_local_subchannel_pool", 1), *options],
        )

    def _stub(self, name):
        package, method = METHODS[name]
        kinds = {(False, False): "unary_unary", (False, True): "unary_stream",
                 (True, False): "stream_unary", (True, True): "stream_stream"}
        reply = POOL.FindMessageTypeByName(method.output_type.lstrip("."))
        return getattr(self.channel, kinds[method.client_streaming, method.server_streaming])(
            f"/{package}.{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(reply).FromString,
        )

    def call(self, name, request, timeout=10, metadata=None):
        """The reply of a unary call; raises Failed."""
        try:
            return self._stub(name)(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise Failed(error) from None

    def begin(self, name, request, timeout=10):
        """The future of a unary call."""
        return self._stub(name).future(request, timeout=timeout)

    def stream(self, name, request, timeout=20, metadata=None):
        """The call object of a streaming method; iterate it, cancel it."""
        return self._stub(name)(request, timeout=timeout, metadata=metadata)

    def close(self):
        self.channel.close()
