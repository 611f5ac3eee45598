"""A FastAPI application under the Pyroscope SDK, with work of a known split.

`GET /work?cpu_milliseconds=N` works for about N milliseconds of CPU time: 70 % of it in `heavy_seventy`, 20 % in `middle_twenty`,
10 % in `light_ten`. `GET /remember` keeps some memory for the allocation profile.
"""

import os
import socket
import time
from contextlib import asynccontextmanager

import pyroscope
import uvicorn
from fastapi import FastAPI

UNIT = 200
MEBIBYTE = 1 << 20
REMEMBERED_AT_MOST = 64

remembered: list[bytearray] = []


def heavy_seventy() -> int:
    state = 1
    for _ in range(7 * UNIT):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    return state


def middle_twenty() -> int:
    state = 1
    for _ in range(2 * UNIT):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    return state


def light_ten() -> int:
    state = 1
    for _ in range(UNIT):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    return state


def allocate_mebibyte() -> bytearray:
    return bytearray(MEBIBYTE)


@asynccontextmanager
async def profiled(_: FastAPI):
    pyroscope.configure(
        application_name=os.environ["PYROSCOPE_APPLICATION_NAME"],
        server_address=os.environ["PYROSCOPE_SERVER_ADDRESS"],
        mem_enabled=True,
    )
    yield
    pyroscope.shutdown()


app = FastAPI(lifespan=profiled)


@app.get("/work")
def work(cpu_milliseconds: int = 100) -> dict[str, int]:
    end = time.thread_time() + cpu_milliseconds / 1000
    rounds = 0
    while time.thread_time() < end:
        heavy_seventy()
        middle_twenty()
        light_ten()
        rounds += 1
    return {"rounds": rounds}


@app.get("/remember")
def remember() -> dict[str, int]:
    if len(remembered) < REMEMBERED_AT_MOST:
        remembered.append(allocate_mebibyte())
    return {"mebibytes": len(remembered)}


def main() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address, port = listener.getsockname()
        print(f"listening on {address}:{port}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
