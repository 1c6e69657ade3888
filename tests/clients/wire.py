"""A wire between two network namespaces with delay, limited bandwidth, loss, and outages.

usage: wire.py DELAY_MS KBIT_PER_S LOSS_PERCENT

Makes two TUN devices, `client` and `server`, and prints `ready`. The caller moves them and sets their
addresses. Packets written to one device leave the other. On standard input, `cut` stops all packets
and `mend` lets them pass again; the end of the input ends the wire.

Replaces netem, which some kernels lack.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MAX_PACKET_BYTES = 65535
# Queue of a link before it drops packets, in packets.
QUEUE = 100


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def main():
    delay = float(sys.argv[1]) / 1000
    bytes_per_s = float(sys.argv[2]) * 1000 / 8
    loss = float(sys.argv[3]) / 100
    chance = random.Random(1)
    ends = [tun("client"), tun("server")]
    print("ready", flush=True)
    under_way = []  # (arrival time, sequence number, direction, packet)
    free_at = [0.0, 0.0]  # time at which each direction has sent its queue
    waiting = [0, 0]
    count = lost = 0
    is_cut = False
    while True:
        timeout = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        readable, _, _ = select.select([0, *ends], [], [], timeout)
        now = time.monotonic()
        if 0 in readable:
            words = os.read(0, 64).decode().split()
            if not words:
                return
            is_cut = words[-1] == "cut"
            print(words[-1], f"{lost} of {count} packets lost", flush=True)
        for way, end in enumerate(ends):
            if end not in readable:
                continue
            try:
                packet = os.read(end, MAX_PACKET_BYTES)
            except OSError:  # not up yet
                continue
            count += 1
            if is_cut or chance.random() < loss or waiting[way] >= QUEUE:
                lost += 1
                continue
            free_at[way] = max(now, free_at[way]) + len(packet) / bytes_per_s
            waiting[way] += 1
            heapq.heappush(under_way, (free_at[way] + delay, count, 1 - way, packet))
        while under_way and under_way[0][0] <= now:
            _, _, to, packet = heapq.heappop(under_way)
            waiting[1 - to] -= 1
            if not is_cut:
                try:
                    os.write(ends[to], packet)
                except OSError:  # not up yet, or down again
                    pass


main()
