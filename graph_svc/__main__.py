"""graph_svc: users and who follows whom. `python -m graph_svc`, configured by the environment."""

from __future__ import annotations

from starling.graph.v1.graph_lookup_service_pb2_grpc import add_GraphLookupServiceServicer_to_server
from starling.graph.v1.graph_service_pb2_grpc import add_GraphServiceServicer_to_server

from graph_svc.config import GraphConfig
from graph_svc.counter import Counter
from graph_svc.edge_store import EdgeStore
from graph_svc.lookup import GraphLookup
from graph_svc.service import GraphService
from graph_svc.user_store import UserStore
from meshkit.outbox import Outbox
from meshkit.page_token import PageTokens
from meshkit.process import Process, run
from meshkit.streams import COUNTS, GRAPH
from meshkit.write_clock import WriteClock


async def main() -> None:
    config = GraphConfig.from_env()
    async with Process(config) as process:
        session = await process.cassandra()
        bus = await process.events([GRAPH, COUNTS])
        clock = WriteClock()
        outbox = Outbox(session, bus, "graph_outbox")
        users = UserStore(session, clock)
        edges = EdgeStore(session, outbox, clock)
        counter = Counter(users, edges, bus, clock, config.followers_a_shard)
        service = GraphService(users, edges, PageTokens(config.page_token_key()))
        lookup = GraphLookup(users, edges)
        await process.serve(
            [
                (add_GraphServiceServicer_to_server, service),
                (add_GraphLookupServiceServicer_to_server, lookup),
            ],
            background=[
                outbox.relay(config.service_instance, edges.restore).background(),
                *(consumer.background() for consumer in counter.consumers()),
            ],
        )


if __name__ == "__main__":
    run(main)
