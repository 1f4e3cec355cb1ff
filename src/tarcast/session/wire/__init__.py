"""BuildKit's session protocol: gRPC over a connection on which the side that dialled is the server.

grpcio cannot adopt a connection, so on either side it talks to a private socket, and a `Relay` moves the
bytes between that and the wire.
"""
