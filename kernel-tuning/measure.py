#!/usr/bin/env python3
"""Measures what a setting of the table does, over loopback, in a network namespace of its own.

    sudo kernel-tuning/measure.py            # everything, about half a minute
    sudo kernel-tuning/measure.py backlog    # one of: backlog buffers unread ports datagrams sending idle socket

Nothing outside the namespace is changed. A network with delay is two namespaces and a wire between them that holds each
packet back; what cannot be measured like this (a network's losses, its cards) is marked "not measured" in the table.
"""

import collections
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

MARK = "SWITCHYARD_MEASURE_INSIDE"
SO_MEMINFO = 55  # asm-generic/socket.h: an array of u32, indexed by SK_MEMINFO_* of linux/sock_diag.h
RMEM_ALLOC, WMEM_QUEUED = 0, 5
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000


def sysctl(key, value=None):
    path = "/proc/sys/" + key.replace(".", "/")
    if value is None:
        with open(path) as file:
            return file.read().split()
    with open(path, "w") as file:
        file.write(str(value))


def listener(backlog=4096):
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(backlog)
    return sock


def pair(server):
    client = socket.create_connection(server.getsockname())
    return client, server.accept()[0]


def held(sock):
    """Bytes that the kernel keeps for a socket: (received and unread, written and not acknowledged)."""
    words = struct.unpack("9I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return words[RMEM_ALLOC], words[WMEM_QUEUED]


def backlog():
    """2,000 clients connect at once to a server that accepts for the first time after 300 ms."""
    print(f"{'somaxconn':>10} {'at once':>8} {'all after ms':>13} {'dropped SYNs':>13}")
    for value in (128, 1024, 4096):
        sysctl("net.core.somaxconn", value)
        server, poll = listener(), select.poll()
        before, begun = counter("ListenOverflows"), time.monotonic()
        clients = {}
        for _ in range(2000):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            clients[client.fileno()] = client
            poll.register(client, select.POLLOUT)
        open_at_once = connected(poll, clients, begun + 0.3)
        server.setblocking(False)
        kept, open_later = [], open_at_once
        while open_later < len(clients) and time.monotonic() < begun + 20:
            try:
                kept.append(server.accept()[0])
            except BlockingIOError:
                open_later += connected(poll, clients, time.monotonic() + 0.005)
        took = (time.monotonic() - begun) * 1000
        print(f"{value:>10} {open_at_once:>8} {took:>13.0f} {counter('ListenOverflows') - before:>13}")


def connected(poll, clients, until):
    """How many connections complete until then."""
    count = 0
    while (left := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            poll.unregister(descriptor)
            count += 1
            assert clients[descriptor].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    return count


def counter(name):
    with open("/proc/net/netstat") as file:
        names, values = (line.split() for line in file if line.startswith("TcpExt:"))
    return int(values[names.index(name)])


def buffers():
    """A peer takes 64 MiB as fast as it can, then nothing more, while the other side goes on writing."""
    keys = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_notsent_lowat")
    usual = {key: " ".join(sysctl(key)) for key in keys}
    receive = {"net.ipv4.tcp_rmem": "4096 131072 262144"}
    send = {"net.ipv4.tcp_wmem": "4096 16384 524288"}
    cases = [
        ("as the kernel chose", {}),
        ("tcp_rmem 4096 131072 262144", receive),
        ("tcp_wmem 4096 16384 524288", send),
        ("both", {**receive, **send}),
        ("tcp_notsent_lowat 131072", {"net.ipv4.tcp_notsent_lowat": "131072"}),
    ]
    print(f"{'':<28} {'writer KiB':>11} {'reader KiB':>11} {'MiB/s before':>13}")
    for name, values in cases:
        for key, value in {**usual, **values}.items():
            sysctl(key, value)
        server = listener()
        writer, reader = pair(server)
        writer.setblocking(False)
        reader.setblocking(False)
        speed = transfer(writer, reader, 64 << 20)
        fill(writer)
        print(f"{name:<28} {held(writer)[1] >> 10:>11} {held(reader)[0] >> 10:>11} {speed:>13.0f}")


def transfer(writer, reader, total):
    chunk, left, begun = bytes(65536), total, time.monotonic()
    while left > 0:
        try:
            writer.send(chunk)
        except BlockingIOError:
            pass
        try:
            left -= len(reader.recv(1 << 20))
        except BlockingIOError:
            pass
    return total / (1 << 20) / (time.monotonic() - begun)


def fill(writer):
    """Writes until the socket has taken nothing for 300 ms."""
    chunk, last = bytes(16384), time.monotonic()
    while time.monotonic() < last + 0.3:
        try:
            if writer.send(chunk):
                last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.001)


def unread():
    """2,000 sockets get 100 bytes each that nobody reads; pages are what tcp_mem counts."""
    server = listener()
    pairs = [pair(server) for _ in range(2000)]
    before = tcp_pages()
    for client, _ in pairs:
        client.send(bytes(100))
    print(f"tcp_mem pages for each socket with 100 unread bytes: {(tcp_pages() - before) / len(pairs):.2f}")


def tcp_pages():
    time.sleep(0.2)
    with open("/proc/net/sockstat") as file:
        line = next(line for line in file if line.startswith("TCP:")).split()
    return int(line[line.index("mem") + 1])


def ports():
    """Connections from one address to one destination while a range of 4,000 ports fills up."""
    sysctl("net.ipv4.ip_local_port_range", "20000 23999")
    server = listener()
    clients, first = [], 0
    print(f"{'range in use':>13} {'µs a connect':>13}")
    for percent in (25, 50, 75, 90, 95, 100):
        last, begun = 4000 * percent // 100, time.monotonic()
        try:
            for _ in range(first, last):
                clients.append(pair(server))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            print(f"refused after {len(clients)} connections: {error.strerror}")
            return
        print(f"{first * 100 // 4000:>4}–{percent:>3} % {'':>2} {(time.monotonic() - begun) / (last - first) * 1e6:>13.0f}")
        first = last


def datagrams():
    """20,000 datagrams of 1,200 bytes arrive while the thread that reads them is busy with something else."""
    print(f"{'SO_RCVBUF':>10} {'kept':>7}")
    for size in (212_992, 4 << 20, 8 << 20, 16 << 20):
        receiver, sender = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        for _ in range(20_000):
            sender.sendto(bytes(1200), receiver.getsockname())
        kept = 0
        try:
            while receiver.recv(2048):
                kept += 1
        except BlockingIOError:
            print(f"{size:>10} {kept:>7}")


def sending():
    """Datagrams of 1,200 bytes that a socket takes in a burst that the network is too slow for."""
    interface("out", "10.77.0.1")
    slow = ["tbf", "rate", "1mbit", "burst", "10kb", "limit", "100mb"]
    subprocess.run(["tc", "qdisc", "add", "dev", "out", "root", *slow], check=True)
    print(f"{'SO_SNDBUF':>10} {'taken':>7}")
    for size in (212_992, 4 << 20):
        sender = socket.socket(type=socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, size)
        sender.setblocking(False)
        taken = 0
        try:
            while sender.sendto(bytes(1200), ("10.77.0.2", 9)):
                taken += 1
        except BlockingIOError:
            print(f"{size:>10} {taken:>7}")


def idle():
    """256 KiB to a client 100 ms away that was sent 4 MiB before and then nothing for two seconds."""
    print(f"{'':<6} {'slow_start_after_idle':>22} {'there after ms':>15}")
    with wire(delay_s=0.05) as server:
        for control in ("cubic", "bbr"):
            for value in (1, 0):
                sysctl("net.ipv4.tcp_slow_start_after_idle", value)
                writer = socket.socket()
                writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
                writer.connect(server.getsockname())
                reader = server.accept()[0]
                sent(writer, reader, 4 << 20)
                time.sleep(2)
                print(f"{control:<6} {value:>22} {sent(writer, reader, 256 << 10):>15.0f}")


def sent(writer, reader, total):
    """Milliseconds until everything has arrived."""
    begun, left = time.monotonic(), total
    writing = threading.Thread(target=writer.sendall, args=(bytes(total),))
    writing.start()
    while left > 0:
        left -= len(reader.recv(1 << 20))
    writing.join()
    return (time.monotonic() - begun) * 1000


@contextlib.contextmanager
def wire(delay_s):
    """Moves this process to a second namespace; a listener that stays in the first, `delay_s` away in each direction."""
    there = interface("there", "10.77.0.1")
    server = socket.create_server(("10.77.0.1", 0))
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    here = interface("here", "10.77.0.2")
    over = threading.Event()

    def carry():
        waiting, other = collections.deque(), {here: there, there: here}
        while not over.is_set():
            pause = waiting[0][0] - time.monotonic() if waiting else 0.1
            for end in select.select([here, there], [], [], max(0.0, min(pause, 0.1)))[0]:
                waiting.append((time.monotonic() + delay_s, other[end], os.read(end, 65536)))
            while waiting and waiting[0][0] <= time.monotonic():
                _, end, packet = waiting.popleft()
                os.write(end, packet)

    carrier = threading.Thread(target=carry)
    carrier.start()
    try:
        yield server
    finally:
        over.set()
        carrier.join()


def interface(name, address):
    """A network interface of this namespace, whose packets are read from and written to the descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "address", "add", f"{address}/24", "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "txqueuelen", "10000", "up"], check=True)
    return descriptor


def socket_memory():
    """Kernel memory of an idle socket, from 8,000 connections with both ends here."""
    server = listener()
    keep = [pair(server) for _ in range(500)]
    before = slab_bytes()
    keep += [pair(server) for _ in range(8000)]
    print(f"kernel bytes for each socket end: {(slab_bytes() - before) / 16000:.0f}")


def slab_bytes():
    time.sleep(0.5)
    with open("/proc/meminfo") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("Slab:"))


MEASUREMENTS = {
    "backlog": backlog,
    "buffers": buffers,
    "unread": unread,
    "ports": ports,
    "datagrams": datagrams,
    "sending": sending,
    "idle": idle,
    "socket": socket_memory,
}


def main(names):
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"measure.py: {unknown[0]} is none of {' '.join(MEASUREMENTS)}")
    if MARK not in os.environ:
        if os.geteuid() != 0:
            sys.exit("measure.py: a network namespace needs root; start it with sudo")
        for name in names or MEASUREMENTS:
            # One namespace for each, so that none sees what another has set.
            command = ["unshare", "--net", sys.executable, os.path.abspath(__file__), name]
            subprocess.run(command, check=True, env={**os.environ, MARK: "1"})
        return
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    measurement = MEASUREMENTS[names[0]]
    print(f"\n{names[0]}: {measurement.__doc__}")
    measurement()


if __name__ == "__main__":
    main(sys.argv[1:])
