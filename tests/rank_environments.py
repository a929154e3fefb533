"""Environments of processes that share one training or generation, as `torchrun` sets them."""

import socket


def rank_environments(ranks: int) -> list[dict[str, str]]:
    """Return the variables of each rank; a single rank needs none."""
    if ranks == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "WORLD_SIZE": str(ranks)}
    return [{**shared, "LOCAL_RANK": str(rank)} for rank in range(ranks)]
